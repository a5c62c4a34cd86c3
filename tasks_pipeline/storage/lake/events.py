"""Reading stored events back: by id, by place, and the newest, all or those that are wanted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events a list is of; what is left out narrows nothing. `search` is part of title or culprit, in any case;
    `user` a user's key, id or mail address; `since` when they happened."""

    project_id: int | None = None
    group_id: int | None = None
    environment: str | None = None
    release: str | None = None
    level: str | None = None
    user: str | None = None
    search: str = ""
    since: datetime | None = None

    def conditions(self) -> tuple[str, list[Any]]:
        """SQL that goes on a WHERE, and its parameters."""
        exact = ("project_id", "group_id", "environment", "release", "level")
        found = [(f"{name} = ?", [value]) for name in exact if (value := getattr(self, name)) is not None]
        if self.user is not None:
            found.append(("(user_key = ? OR user_id = ? OR user_email = ?)", [self.user] * 3))
        if self.search:
            contained = "contains(lower(title), lower(?)) OR contains(lower(coalesce(culprit, '')), lower(?))"
            found.append((f"({contained})", [self.search] * 2))
        if self.since is not None:
            found.append(("timestamp >= ?", [self.since]))
        return "".join(f" AND {sql}" for sql, _ in found), [value for _, values in found for value in values]


ALL = EventFilter()


def newest_events(
    state: StateDatabase,
    lake: Lake,
    group_id: int | None = None,
    limit: int = 10,
    wanted: EventFilter = ALL,
) -> list[dict[str, Any]]:
    """The newest events of a group, or of all, newest first: event_id, project_id, group_id, timestamp, level, title …

    Days of receipt are looked into from the newest one on until there are enough: what a page costs does not grow with the past,
    but with how far back the last of its events lies, or `wanted.since`.
    """
    wanted = wanted if group_id is None else replace(wanted, group_id=group_id)
    narrowed, parameters = wanted.conditions()
    found: list[dict[str, Any]] = []
    for first, last in _stretches(state, wanted, limit):
        found += lake.query(
            "SELECT event_id, project_id, group_id, timestamp, received_at, level, title, environment, release, "
            f"user_key AS user, server_name FROM lake.events WHERE day BETWEEN ? AND ?{narrowed} "
            "ORDER BY timestamp DESC, event_id LIMIT ?",
            [first, last, *parameters, limit],
        )
        if len(found) >= limit:
            break
    found.sort(key=lambda row: row["event_id"])
    return sorted(found, key=lambda row: row["timestamp"], reverse=True)[:limit]


def _stretches(state: StateDatabase, wanted: EventFilter, limit: int) -> Iterator[tuple[date, date]]:
    """First and last day of stretches of time, the newest first. Each holds as many events as the ones before it together, the
    first `limit`: so few are read where the first is enough, and few times where none is."""
    if wanted.group_id is None:
        counted = select(batches.c.day, func.sum(batches.c.stored)).where(batches.c.status == "done")
        query = counted.group_by(batches.c.day).order_by(batches.c.day.desc())
    else:
        query = (
            select(group_days.c.day, group_days.c.times_seen)
            .where(group_days.c.group_id == wanted.group_id)
            .order_by(group_days.c.day.desc())
        )
    if wanted.since is not None:
        query = query.where((batches if wanted.group_id is None else group_days).c.day >= wanted.since.date())
    days: list[date] = []
    held, before = 0, 0
    with state.read() as connection:
        for day, events in connection.execute(query):
            days.append(day)
            held += events
            if held >= max(limit, before):
                yield days[-1], days[0]
                days, held, before = [], 0, before + held
    if days:
        yield days[-1], days[0]


def event_ids_beginning(state: StateDatabase, digits: str, limit: int = 10) -> list[str]:
    """The ids of stored events that begin with these lower-case hex digits, at most so many."""
    low, high = (bytes.fromhex(digits.ljust(32, filling)) for filling in "0f")
    query = (
        select(event_ids.c.event_id)
        .where(event_ids.c.project_id.in_(select(projects.c.id)), event_ids.c.event_id.between(low, high))
        .limit(limit)
    )
    with state.read() as connection:
        return sorted({bytes(found).hex() for found in connection.execute(query).scalars()})


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
