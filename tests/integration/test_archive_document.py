"""docs/archive.md: what it shows of DuckDB and pandas works on an archive, without us."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.integration.test_archive import archiving, clean, fill, of
from tests.support.day import Day

DOCUMENT = Path(__file__).parents[2] / "docs" / "archive.md"


def test_the_blocks_of_the_document_read_an_archive(alone: Day, tmp_path: Path) -> None:
    day = archiving(alone, tmp_path / "archive")
    fill(day)
    clean(day)
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    for block in blocks:
        assert "tasks_pipeline" not in block
        there = block.replace("/mnt/archive/1/2026-08-31", f"{of(day).url}/{day.project}/{day.date}")
        exec(there.replace("/mnt/archive", of(day).url), names)
    assert [
        tuple(row) for row in names["worst"][["short_id", "events", "users"]].itertuples(index=False)
    ] == [(1, 2, 2), (2, 1, 0)]
    assert names["first"]["platform"] == "python"
    assert set(names["events"]["title"].str.partition(":")[0]) == {"A", "B"}
