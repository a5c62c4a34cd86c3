"""docs/storage.md names every table and column there is, as the code describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks_pipeline.storage.lake.tables import LAKE_TABLES, PLACE, LakeTable
from tasks_pipeline.storage.state.tables import metadata

DOCUMENT = (Path(__file__).parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", LAKE_TABLES.values(), ids=lambda table: str(table.name))
def test_tables_of_the_lake(table: LakeTable) -> None:
    section = DOCUMENT.partition(f"#### {table.name}\n")[2].partition("\n#")[0]
    assert table.description in section
    for column in table.columns:
        if column.name not in PLACE:
            assert f"| `{column.name}` | {column.type} | {column.description} |" in section


@pytest.mark.parametrize("name", metadata.tables)
def test_tables_of_the_state_database(name: str) -> None:
    (line,) = [
        line for line in DOCUMENT.splitlines() if line.startswith(f"| `{name}` |") and line.count("`") > 3
    ]
    for column in metadata.tables[name].columns:
        assert f"`{column.name}`" in line
