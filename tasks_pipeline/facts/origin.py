"""Where a fact comes from: which part of the product records it, and in which run. Said once, where work begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Source = Literal["drain", "sender", "web_api", "receiver", "cli", "ui", "schedule", "sensor"]
"""`ui`: a run that somebody started by hand."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A part of the product, and the Dagster run in which it works; None outside of runs."""

    source: Source
    run_id: str | None = None


_CLI = Origin("cli")
_origin: ContextVar[Origin] = ContextVar("origin_of_facts")


def origin() -> Origin:
    """The origin of what is recorded now. A thread that was told nothing is taken for a command."""
    return _origin.get(_CLI)


@contextmanager
def recorded_by(source: Source, run_id: str | None = None) -> Iterator[None]:
    """Within the block facts come from there; the run stays the one around it unless another is given."""
    before = origin()
    _origin.set(Origin(source, run_id or before.run_id))
    try:
        yield
    finally:
        _origin.set(before)  # and not `reset`: a generator may be closed in another context than it began in
