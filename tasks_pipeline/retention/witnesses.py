"""Witnesses: of rows of the lake that go together one, by which whoever comes later can see whether they went, also after files were
merged. Rows of a table, day and project that go for one reason leave the lake in one transaction: one of them speaks for all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES
from tasks_pipeline.storage.state.removals import ALL_PROJECTS, LastNoted

PLACE = "CAST((part, position, item) AS VARCHAR)"
"""What was received has a place, which stays what it is when the row is written again. Rows of figures are what they say."""


def witnesses(lake: Lake, table: str, day: date, condition: str) -> dict[int, str]:
    """Of the rows of a day that meet a condition one of each project, and one of all of them (ALL_PROJECTS)."""
    has_project = "project_id" in {column.name for column in LAKE_TABLES[table].columns}
    project = "project_id" if has_project else "0::BIGINT"
    row = "any_value((part, position, item))" if table in RECEIVED_TABLES else "any_value(t)"
    told = f"CAST({row} AS VARCHAR)" if table in RECEIVED_TABLES else f"md5(CAST({row} AS VARCHAR))"
    rows = lake.query(
        f"SELECT {project} AS project_id, {told} AS witness FROM lake.{table} t WHERE day = ? AND ({condition}) GROUP BY ALL",
        [day],
    )
    found = {row["project_id"]: row["witness"] for row in rows}
    return {**found, ALL_PROJECTS: next(iter(found.values()))} if found else {}


def that_stayed(lake: Lake, noted: Iterable[LastNoted]) -> list[LastNoted]:
    """What was noted, and did not go: whoever noted it died before."""
    return [each for each in noted if _is_there(lake, each)]


def _is_there(lake: Lake, noted: LastNoted) -> bool:
    told = PLACE if noted.name in RECEIVED_TABLES else "md5(CAST(t AS VARCHAR))"
    query = f"SELECT 1 FROM lake.{noted.name} t WHERE day = ? AND {told} = ? LIMIT 1"
    return bool(lake.query(query, [noted.day, noted.witness]))
