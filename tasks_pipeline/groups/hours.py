"""Hours of groups: how many of their events happened in which, counted with their days, derived with them, kept for thirty days."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_hours

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake

HOURS_FOR = timedelta(days=30)
"""Hours are known for so many days of receipt."""


def full_hour(moment: datetime) -> datetime:
    """The hour that a moment lies in."""
    return moment.replace(minute=0, second=0, microsecond=0)


def count_hours(
    state: StateDatabase, connection: Connection, day: date, hours: Mapping[int, Mapping[datetime, int]]
) -> None:
    """Add the events of a batch, by group and hour, in the transaction that counts their day of receipt."""
    rows = [
        {"group_id": group_id, "hour": hour, "day": day, "times_seen": n}
        for group_id, of_group in sorted(hours.items())
        for hour, n in sorted(of_group.items())
    ]
    if rows:
        state.put(connection, _added, rows)


def _added(state: StateDatabase) -> Any:
    insert = state.insert(group_hours)
    return insert.on_conflict_do_update(
        index_elements=list(group_hours.primary_key.columns),
        set_={"times_seen": group_hours.c.times_seen + insert.excluded.times_seen},
    )


def lake_hours(lake: Lake, where: str) -> list[dict[str, Any]]:
    """Rows of group_hours from the events that meet a condition."""
    return lake.query(
        "SELECT group_id, date_trunc('hour', timestamp) AS hour, day, count(*) AS times_seen "
        f"FROM lake.events WHERE {where} GROUP BY ALL ORDER BY ALL"
    )
