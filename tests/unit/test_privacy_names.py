"""Words of the program are nobody's id as texts."""

from __future__ import annotations

import importlib
import pkgutil
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import tasks_pipeline.alerts
import tasks_pipeline.config
import tasks_pipeline.facts
import tasks_pipeline.groups
import tasks_pipeline.storage.state
from tasks_pipeline.privacy.names import words_of_programs
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.tables import metadata

PACKAGES = (
    tasks_pipeline.alerts, tasks_pipeline.config, tasks_pipeline.facts, tasks_pipeline.groups, tasks_pipeline.storage.state,
)  # fmt: skip


def enumerated() -> Iterator[str]:
    """Words of enumerations and of annotations that list them."""
    for package in PACKAGES:
        for found in pkgutil.iter_modules(package.__path__):
            if found.ispkg:
                continue
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for value in vars(module).values():
                if isinstance(value, type) and issubclass(value, Enum):
                    yield from (each.value for each in value if isinstance(each.value, str))
                yield from _literals(value)


def _literals(value: Any) -> Iterator[str]:
    for each in typing.get_args(value):
        if isinstance(each, str):
            yield each
        else:
            yield from _literals(each)


def test_no_word_of_an_enumeration_table_or_column_is_missing() -> None:
    wanted = {each.casefold() for each in enumerated() if " " not in each} - {""}
    assert len(wanted) > 60
    wanted |= {column.name for table in metadata.tables.values() for column in table.columns}
    wanted |= set(LAKE_TABLES)
    assert wanted - words_of_programs() == set()
    assert {"warning", "firing", "error", "success"} <= words_of_programs()
    assert not {"usr-48151623", "annaplanted", "4711"} & words_of_programs()
