"""Rows of the state database that go by a condition: counted, and removed in small transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import func, select

from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.deletion.rules import STATE
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.pieces import delete_in_pieces


def count_rows(state: StateDatabase, chosen: Chosen) -> Iterator[Erased]:
    """How many rows of each table go."""
    with state.read() as connection:
        for goes in STATE[chosen.kind]:
            query = select(func.count()).select_from(goes.table).where(goes.where(chosen))
            if rows := int(connection.execute(query).scalar_one()):
                yield Erased(f"state.{goes.table.name}", rows, "deleted")


def delete_rows(state: StateDatabase, chosen: Chosen) -> Iterator[Erased]:
    """Remove them, what refers to others first. A process that dies in between leaves the rest to the next."""
    for goes in STATE[chosen.kind]:
        if rows := delete_in_pieces(state, goes.table, goes.where(chosen), walk=goes.walk):
            yield Erased(f"state.{goes.table.name}", rows, "deleted")


def count_lake(lake: Lake, conditions: Mapping[str, str]) -> Iterator[Erased]:
    """How many rows of tables of the lake meet a condition."""
    for name, condition in conditions.items():
        (row,) = lake.query(f"SELECT count(*) AS rows FROM lake.{name} WHERE {condition}")
        if row["rows"]:
            yield Erased(f"lake.{name}", row["rows"], "deleted")
