"""Reading stored events back: by id, by place, and the newest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.storage.lake.tail import Place, payloads_at, row_at
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import batches, event_ids, group_days, projects

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake

PLACE = ("day", "part", "position", "item")


def find_event(
    state: StateDatabase, lake: Lake, event_id: str, project_id: int | None = None
) -> dict[str, Any] | None:
    """A stored event: its columns of `events` and `payload` (JSON text); None when there is none.

    The state database knows its place: one in the tail is there, else one day's files are read. `event_id` is 32
    lower-case hex digits.
    """
    query = select(event_ids).where(
        event_ids.c.event_id == bytes.fromhex(event_id),
        # The key begins with the project: without one, each that has groups is looked into.
        event_ids.c.project_id.in_(select(projects.c.id) if project_id is None else [project_id]),
    )
    with state.read() as connection:
        found = connection.execute(query.order_by(event_ids.c.project_id).limit(1)).first()
    if found is None:
        return None
    place = {name: getattr(found, name) for name in PLACE}
    row = row_at(state, "events", **place)
    if row is None:  # not in the tail, or not any more
        rows = lake.query(
            "SELECT * FROM lake.events WHERE day = ? AND project_id = ? AND part = ? AND position = ? AND item = ?",
            [found.day, found.project_id, found.part, found.position, found.item],
        )
        row = rows[0] if rows else None
    if row is None:
        return None
    payload = payloads_of(state, lake, [row]).get(place_of(row))
    return row | {"payload": None if payload is None else payload.decode()}


def place_of(row: Mapping[str, Any]) -> Place:
    """The place that a row names."""
    return row["day"], row["part"], row["position"], row["item"]


def payloads_of(state: StateDatabase, lake: Lake, rows: Iterable[Mapping[str, Any]]) -> dict[Place, bytes]:
    """The JSON of the stored events at the places that rows name: from the tail, else from files. Some may be gone."""
    places = [place_of(row) for row in rows]
    found = payloads_at(state, places)
    return found | lake.payloads_at([place for place in places if place not in found])


def newest_events(
    state: StateDatabase, lake: Lake, group_id: int | None = None, limit: int = 10
) -> list[dict[str, Any]]:
    """The newest events of a group, or of all, newest first: event_id, project_id, group_id, timestamp, level, title …

    Of the newest days of receipt that hold as many: what a page costs does not grow with the past.
    """
    since = _since(state, group_id, limit)
    if since is None:
        return []
    only, parameters = ("AND group_id = ?", [group_id]) if group_id is not None else ("", [])
    return lake.query(
        "SELECT event_id, project_id, group_id, timestamp, received_at, level, title, environment, release, "
        f"user_key AS user, server_name FROM lake.events WHERE day >= ? {only} "
        "ORDER BY timestamp DESC, event_id LIMIT ?",
        [since, *parameters, limit],
    )


def _since(state: StateDatabase, group_id: int | None, limit: int) -> date | None:
    """The first of the newest days that together hold `limit` events; None when there are none at all."""
    if group_id is None:
        counted = select(batches.c.day, func.sum(batches.c.stored)).where(batches.c.status == "done")
        query = counted.group_by(batches.c.day).order_by(batches.c.day.desc())
    else:
        query = (
            select(group_days.c.day, group_days.c.times_seen)
            .where(group_days.c.group_id == group_id)
            .order_by(group_days.c.day.desc())
        )
    first, found = None, 0
    with state.read() as connection:
        for day, events in connection.execute(query):
            first, found = day, found + events
            if found >= limit:
                break
    return first


def payload_of(
    state: StateDatabase, lake: Lake, project_id: int, day: date, event_id: str
) -> dict[str, Any] | None:
    """The processed event of an id that was received on a day; None when it is gone."""
    import duckdb

    try:
        found = find_event(state, lake, event_id, project_id)
    except duckdb.IOException:  # a file that maintenance removed while it was read
        return None
    if found is None or found["payload"] is None:
        return None
    decoded: dict[str, Any] = decode_json(found["payload"].encode())
    return decoded
