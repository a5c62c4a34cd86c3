"""Events: who owns an event id, and reading stored events back."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import event_ids, projects

if TYPE_CHECKING:
    import duckdb

    from tasks_pipeline.storage.lake.lake import Lake


def find_event(
    state: StateDatabase, lake: duckdb.DuckDBPyConnection, event_id: str, project_id: int | None = None
) -> dict[str, Any] | None:
    """A stored event: its columns of `events` and `payload` (JSON text); None when there is none.

    The state database knows its day, so one day's files are read. `event_id` is 32 lower-case hex digits.
    """
    query = select(event_ids.c.project_id, event_ids.c.day).where(
        event_ids.c.event_id == bytes.fromhex(event_id),
        # The key begins with the project: without one, each that has groups is looked into.
        event_ids.c.project_id.in_(select(projects.c.id) if project_id is None else [project_id]),
    )
    with state.read() as connection:
        place = connection.execute(query.order_by(event_ids.c.project_id).limit(1)).first()
    if place is None:
        return None
    cursor = lake.execute(
        "SELECT e.*, p.payload FROM lake.events e LEFT JOIN lake.event_payloads p "
        "ON p.day = e.day AND p.project_id = e.project_id AND p.event_id = e.event_id "
        "WHERE e.day = $day AND p.day = $day AND e.project_id = $project AND p.project_id = $project "
        "AND e.event_id = $event AND p.event_id = $event",
        {"day": place.day, "project": place.project_id, "event": event_id},
    )
    row = cursor.fetchone()
    return None if row is None else dict(zip([d[0] for d in cursor.description or ()], row, strict=True))


def newest_events(
    lake: duckdb.DuckDBPyConnection, group_id: int | None = None, limit: int = 10
) -> list[dict[str, Any]]:
    """The newest events of a group, or of all, newest first: event_id, project_id, group_id, timestamp, level, title …"""
    only, parameters = ("WHERE group_id = ?", [group_id, limit]) if group_id is not None else ("", [limit])
    cursor = lake.execute(
        "SELECT event_id, project_id, group_id, timestamp, received_at, level, title, environment, release, "
        f"user_key AS user, server_name FROM lake.events {only} ORDER BY timestamp DESC, event_id LIMIT ?",
        parameters,
    )
    names = [d[0] for d in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def payload_of(lake: Lake, project_id: int, day: date, event_id: str) -> dict[str, Any] | None:
    """The processed event of an id, from the files of its day of receipt; None when it is gone."""
    import duckdb

    try:
        rows = lake.query(
            "SELECT payload FROM lake.event_payloads WHERE day = ? AND project_id = ? AND event_id = ? LIMIT 1",
            [day, project_id, event_id],
        )
    except duckdb.IOException:  # a file that maintenance removed while it was read
        return None
    decoded: dict[str, Any] | None = decode_json(rows[0]["payload"].encode()) if rows else None
    return decoded
