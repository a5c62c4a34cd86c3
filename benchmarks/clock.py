"""A clock that says what a simulation wants: for all of tasks_pipeline in this process, so that weeks pass without waiting.

What is measured with `time.monotonic` goes on as it is. Only modules that ask for the time (`datetime.now(`) are touched.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import ModuleType
from typing import Any

import tasks_pipeline

PACKAGES = (
    "alerts", "analytics", "commands", "facts", "groups", "monitors", "notifications", "processing", "releases", "reports", "retention",
    "storage", "uploads", "watch",
)  # fmt: skip
"""What is imported before time passes: a module that is imported later would see the machine's clock for a moment."""


class _IsInstance(type):
    """What was made by the real class is an instance too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


class Clock(datetime, metaclass=_IsInstance):
    """`datetime`, but that now is the moment that was said. Whatever it makes is a plain datetime."""

    moment = datetime(1970, 1, 1, tzinfo=UTC)

    def __new__(cls, *args: Any, **kwargs: Any) -> datetime:  # type: ignore[misc]
        return datetime(*args, **kwargs)  # noqa: DTZ001 - as the caller says

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """The moment that was said."""
        return cls.moment.astimezone(tz)


@contextmanager
def simulated(moment: datetime) -> Iterator[type[Clock]]:
    """Time stands at a moment until the block sets `Clock.moment` to another."""
    touched = [module for module in _modules() if vars(module).get("datetime") is datetime]
    Clock.moment = moment
    for module in touched:
        vars(module)["datetime"] = Clock
    try:
        yield Clock
    finally:
        for module in touched:
            vars(module)["datetime"] = datetime


def _modules() -> Sequence[ModuleType]:
    for package in PACKAGES:
        _import_all(f"tasks_pipeline.{package}")
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("tasks_pipeline.") and _asks(module)
    ]


def _import_all(name: str) -> None:
    package = importlib.import_module(name)
    for found in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(found.name)


def _asks(module: ModuleType) -> bool:
    """Whether a module asks for the time. Others may name `datetime` in types that are read as they stand."""
    path = Path(module.__file__ or "")
    return path.is_relative_to(Path(tasks_pipeline.__file__).parent) and "datetime.now(" in path.read_text(
        "utf-8"
    )
