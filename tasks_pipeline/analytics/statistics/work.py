"""A day at work: what all modules of statistics are given, and words of SQL that they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from tasks_pipeline.releases.spans import DAY, SLOT, SLOT_SQL, begin_of, slot_of
from tasks_pipeline.storage.lake.tables import STATISTICS_TABLES
from tasks_pipeline.stores import Stores

PIECE_ROWS = 50_000  # of a table that are in memory at once
SLOTS = DAY // SLOT
"""Slots of a day."""

Add = Callable[[str, pa.Table], None]
"""Takes rows of a table, in the order of its key: see `ordered`."""


@dataclass(frozen=True, slots=True)
class Work:
    """A day whose figures are computed at the moment `now`; `add` takes their rows."""

    stores: Stores
    day: date
    now: datetime
    add: Add

    @property
    def begin(self) -> datetime:
        """When the day begins."""
        return begin_of(self.day)

    @property
    def end(self) -> datetime:
        """When it is over."""
        return self.begin + DAY

    @property
    def of_day(self) -> str:
        """A condition on `day`: a constant, since parameters choose no files."""
        return f"day = {self.day_sql}"

    @property
    def day_sql(self) -> str:
        """The day in SQL."""
        return f"DATE '{self.day.isoformat()}'"

    def number_of_slot(self, moment: str) -> str:
        """SQL: the number of the slot of the day in which a moment lies."""
        microseconds = SLOT.seconds * 1_000_000
        return (
            f"((epoch_us({moment}) - {int(self.begin.timestamp()) * 1_000_000}) // {microseconds})::INTEGER"
        )

    def add_query(self, table: str, sql: str, *, rows: int = PIECE_ROWS) -> None:
        """Add what a query of the lake gives; it names the columns of the table and is in its order."""
        schema = STATISTICS_TABLES[table].arrow
        for piece in self.stores.lake.pieces(sql, rows=rows):
            self.add(table, piece.select(schema.names).cast(schema))

    def add_rows(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows without their day, in any order."""
        schema = STATISTICS_TABLES[table].arrow
        found = sorted(({"day": self.day, **row} for row in rows), key=lambda row: _key(table, row))
        for start in range(0, len(found), PIECE_ROWS):
            self.add(table, pa.Table.from_pylist(found[start : start + PIECE_ROWS], schema))

    def former(self, table: str) -> list[dict[str, Any]]:
        """The rows that the table holds of the day, without their day: what is kept where rows they were made of are gone."""
        columns = ", ".join(c.quoted for c in STATISTICS_TABLES[table].columns if c.name != "day")
        return self.stores.lake.query(f"SELECT {columns} FROM lake.{table} WHERE {self.of_day}")


KEYS: dict[str, tuple[str, ...]] = {
    "event_stats": ("project_id", "slot", "release", "environment", "level", "handled"),
    "event_users": ("user_hash", "project_id", "release", "environment"),
    "group_stats": ("group_id",),
    "group_moves": ("project_id", "at", "group_id", "action_id"),
    "group_levels": ("project_id", "status", "assigned", "open_days"),
    "transaction_stats": ("project_id", "name", "slot", "op", "release", "environment"),
    "outcome_stats": ("project_id", "slot", "public_key", "category", "outcome", "reason"),
    "monitor_stats": ("project_id", "monitor", "slot", "kind", "environment"),
    "notification_stats": ("project_id", "slot", "rule", "channel", "channel_type", "kind", "status"),
    "release_moves": ("project_id", "at", "version", "move", "environment"),
    "usage_stats": ("type", "slot", "project_id"),
    "pipeline_stats": ("slot",),
}
"""What makes a row of a day one of its kind, by table; its rows are in this order, so that the same figures have the same digest."""


def ordered(table: str) -> str:
    """ORDER BY of a table's key; null comes last."""
    return "ORDER BY " + ", ".join(f'"{name}" NULLS LAST' for name in KEYS[table])


def _key(table: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((row[name] is None, row[name]) for name in KEYS[table])


def slot_sql(moment: str) -> str:
    """SQL: the begin of the slot in which a moment lies."""
    return f"time_bucket({SLOT_SQL}, {moment})"


def in_slots(begin: datetime, end: datetime) -> Iterable[tuple[datetime, float]]:
    """The slots of a span, and how many seconds of each belong to it."""
    at = begin
    while at < end:
        slot = slot_of(at)
        until = min(slot + SLOT, end)
        yield slot, (until - at).total_seconds()
        at = until


def counts_map(counts: Mapping[int, int]) -> list[tuple[int, int]]:
    """A histogram as a MAP column takes it, in the order of its buckets."""
    return sorted(counts.items())


def named_map(rows: Sequence[Mapping[str, Any]], *names: str) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    """Rows by some of their columns."""
    return {tuple(row[name] for name in names): row for row in rows}
