"""Versions of the figures of days: what they came to, and why they came out otherwise."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, select

from tasks_pipeline.storage.state.tables import statistics_days


@dataclass(frozen=True, slots=True)
class DayVersion:
    """The newest version of a day's figures. `tables`: rows and digest of each table; `closed`: nothing of the day waited."""

    day: date
    version: int
    digest: str
    tables: dict[str, object]
    causes: list[str]
    closed: bool
    computed_at: datetime
    checked_at: datetime


_COLUMNS = [
    statistics_days.c[name]
    for name in ("day", "version", "digest", "tables", "causes", "closed", "computed_at", "checked_at")
]


def versions_of(connection: Connection, days: Collection[date]) -> dict[date, DayVersion]:
    """The newest version of each of these days that has one."""
    if not days:
        return {}
    query = select(*_COLUMNS).where(statistics_days.c.day.between(min(days), max(days)))
    rows = connection.execute(query.order_by(statistics_days.c.day, statistics_days.c.version))
    found = {row.day: DayVersion(*row) for row in rows}
    return {day: found[day] for day in sorted(set(days)) if day in found}


def causes_after(connection: Connection, day: date, version: int) -> list[str]:
    """Reasons of the changes that made the versions of a day behind this one."""
    s = statistics_days.c
    query = select(s.causes).where(s.day == day, s.version > version).order_by(s.version)
    return sorted({cause for causes in connection.execute(query).scalars() for cause in causes})
