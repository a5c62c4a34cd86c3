"""Figures of releases that are counted from the lake: events, users, first and last event."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, case, update

from tasks_pipeline.releases.due import Due, note_counting, to_count
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import UtcDateTime, releases

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake

AT_ONCE = 5_000


def count_releases(state: StateDatabase, lake: Lake, now: datetime) -> int:
    """Count the releases that are due, in one query; gives how many there were.

    What is stored while it is counted makes a release due again: counted is as of the change that was seen before.
    """
    with state.read() as connection:
        due = to_count(connection, now, AT_ONCE)
    if not due:
        return 0
    counted = _counted(lake, due)
    in_order = sorted(due, key=lambda each: (each.project_id, each.version))  # that of batches
    rows = [_row(each, counted.get((each.project_id, each.version))) for each in in_order]
    c = releases.c
    unchanged = c.changed_at == bindparam("seen", type_=UtcDateTime())
    values = {
        "events": bindparam("counted_events"),
        "users": bindparam("counted_users"),
        "figures_at": bindparam("seen", type_=UtcDateTime()),
        # Of a release that changed meanwhile the batch that changed it knows better.
        **{
            f"{end}_event_at": case(
                (unchanged, bindparam(f"counted_{end}", type_=UtcDateTime())), else_=c[f"{end}_event_at"]
            )
            for end in ("first", "last")
        },
    }
    named = (c.project_id == bindparam("of_project")) & (c.version == bindparam("of_version"))
    with state.write() as connection:
        connection.execute(update(releases).where(named).values(**values), rows)
        note_counting(state, connection, now)
    return len(due)


def _row(due: Due, counted: tuple[int, int, datetime, datetime] | None) -> dict[str, object]:
    events, users, first, last = counted or (0, 0, None, None)
    return {
        "of_project": due.project_id,
        "of_version": due.version,
        "seen": due.at,
        "counted_events": events,
        "counted_users": users,
        "counted_first": first,
        "counted_last": last,
    }


def _counted(lake: Lake, due: Sequence[Due]) -> dict[tuple[int, str], tuple[int, int, datetime, datetime]]:
    rows = lake.query(
        "SELECT project_id, release, count(*)::BIGINT AS events, count(DISTINCT user_key)::BIGINT AS users, "
        "min(timestamp) AS first, max(timestamp) AS last FROM lake.events "
        "WHERE release IN (SELECT unnest($versions)) GROUP BY ALL",
        {"versions": sorted({each.version for each in due})},
    )
    return {
        (row["project_id"], row["release"]): (row["events"], row["users"], row["first"], row["last"])
        for row in rows
    }


def releases_of_day(lake: Lake, day: date) -> set[tuple[int, str]]:
    """The releases that events received on a day are of, with their projects."""
    rows = lake.query(
        "SELECT DISTINCT project_id, release FROM lake.events WHERE day = ? AND release IS NOT NULL", [day]
    )
    return {(row["project_id"], row["release"]) for row in rows}
