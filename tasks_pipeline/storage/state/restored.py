"""Restored days: days that are back from an archive, and until when they stay although their retention is over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, delete, select, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import restored_days

_r = restored_days.c


@dataclass(frozen=True, slots=True)
class RestoredDay:
    """A day of a project that is back, or is on its way (`is_done` says which); `until` is the last day on which it stays."""

    day: date
    project_id: int
    until: date
    is_done: bool


def restored(connection: Connection, day: date | None = None) -> list[RestoredDay]:
    """All days that are back, or one, by project."""
    query = select(restored_days).order_by(_r.day, _r.project_id)
    rows = connection.execute(query if day is None else query.where(_r.day == day))
    return [RestoredDay(row.day, row.project_id, row.until, row.restored_at is not None) for row in rows]


def note_restoring(
    state: StateDatabase, connection: Connection, day: date, project_ids: Collection[int], until: date
) -> None:
    """Note that a day of projects is about to come back, and how long it stays then."""
    rows = [{"day": day, "project_id": p, "until": until, "restored_at": None} for p in sorted(project_ids)]
    state.put(connection, _noted, rows)


def keep_restored(connection: Connection, day: date, project_ids: Collection[int], until: date) -> None:
    """Have a day that is back stay for longer, or not as long."""
    these = _r.day == day, _r.project_id.in_(project_ids)
    connection.execute(update(restored_days).where(*these).values(until=until))


def note_restored(connection: Connection, day: date, project_ids: Collection[int], now: datetime) -> None:
    """Note that all of it is back."""
    these = _r.day == day, _r.project_id.in_(project_ids), _r.restored_at.is_(None)
    connection.execute(update(restored_days).where(*these).values(restored_at=now))


def forget_restored(connection: Connection, before: date) -> int:
    """Remove what is known of days that had to stay until a day before this; gives how many rows went."""
    return int(connection.execute(delete(restored_days).where(_r.until < before)).rowcount)


def _noted(state: StateDatabase) -> Any:
    insert = state.insert(restored_days)
    again = {"until": insert.excluded.until, "restored_at": insert.excluded.restored_at}
    return insert.on_conflict_do_update(index_elements=["day", "project_id"], set_=again)
