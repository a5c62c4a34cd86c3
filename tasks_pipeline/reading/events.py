"""Events of a group, or of all: pages of them, the next and the previous, one by its id, and the one to look at first.

Days first: the state database says on which days of receipt a group has how many events, and only days that are needed are read.
So the order is that of days, within a day that of when they happened; what came late stands on the day on which it came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.cursors import CursorError, microseconds, moment_of
from tasks_pipeline.reading.events_where import Sql, events_where, joined, of_listed_event
from tasks_pipeline.reading.filtered import Period, group_ids
from tasks_pipeline.reading.lake import ReadLake
from tasks_pipeline.reading.tree import EVERYTHING, Node, positive
from tasks_pipeline.storage.lake.tail import Place, payloads_at, row_at
from tasks_pipeline.storage.state.tables import batches, event_ids, group_days

MOST = 1_000
"""Events of a page."""
COLUMNS = (
    "day", "part", "position", "item", "project_id", "group_id", "event_id", "received_at", "timestamp", "type", "level", "platform",
    "title", "culprit", "logger", "transaction", "server_name", "release", "dist", "environment", "user_key", "user_id", "user_email",
    "user_ip", "exception_type", "exception_value", "handled", "sdk_name", "sdk_version", "trace_id", "tags", "missing_symbols",
)  # fmt: skip
_SELECTED = ", ".join(f'"{name}"' for name in COLUMNS)
_CURSOR = re.compile(r"(-?)([0-9]{4}-[0-9]{2}-[0-9]{2}):([0-9]{1,18}):([0-9a-f]{32})")
RECOMMENDED_DAYS, RECOMMENDED_OF = 14, 10


@dataclass(frozen=True, slots=True)
class EventPlace:
    """A place in a list of events: day of receipt, when it happened, its id. `back`: what comes before it is meant."""

    day: date
    timestamp: datetime
    event_id: str
    back: bool = False

    def __str__(self) -> str:
        return f"{'-' if self.back else ''}{self.day}:{microseconds(self.timestamp)}:{self.event_id}"


def parse_place(text: str) -> EventPlace:
    """A place from its text. Raises CursorError."""
    match = _CURSOR.fullmatch(text)
    try:
        if match is not None:
            day = date.fromisoformat(match[2])
            return EventPlace(day, moment_of(int(match[3])), match[4], bool(match[1]))
    except ValueError:
        pass
    raise CursorError(f"{text[:50]!r} is no place in a list of events")


def place_of(row: Mapping[str, Any], *, back: bool = False) -> EventPlace:
    """Where an event stands in lists."""
    return EventPlace(row["day"], row["timestamp"], row["event_id"], back)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """What a list of events is asked: of a group or of all, a query, a period, a page. `oldest`: the oldest first."""

    group_id: int | None = None
    tree: Node = EVERYTHING
    period: Period | None = None
    cursor: EventPlace | None = None
    limit: int = 50
    oldest: bool = False


@dataclass(frozen=True, slots=True)
class EventPage:
    """Rows of `lake.events` (COLUMNS), and where the pages before and behind begin."""

    events: Sequence[dict[str, Any]]
    newer: EventPlace | None = None
    older: EventPlace | None = None


def list_events(asked: Asked, lake: ReadLake, wanted: EventQuery) -> EventPage:
    """A page of events, the newest first. No event that is stored stands on two pages or on none, whatever comes meanwhile.
    Raises QueryError."""
    limit, back = min(wanted.limit, MOST), wanted.cursor is not None and wanted.cursor.back
    upwards = back != wanted.oldest
    rows = read_events(asked, lake, wanted, limit + 1, upwards=upwards)
    more, rows = len(rows) > limit, rows[:limit]
    if back:
        rows.reverse()
    before, behind = (more, True) if back else (wanted.cursor is not None, more)
    return EventPage(
        rows,
        place_of(rows[0], back=True) if rows and before else None,
        place_of(rows[-1]) if rows and behind else None,
    )


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The events around one, within a query; None where there is none."""

    older: dict[str, Any] | None
    newer: dict[str, Any] | None


def neighbours(asked: Asked, lake: ReadLake, wanted: EventQuery, row: Mapping[str, Any]) -> Neighbours:
    """The events before and after one of a list. Raises QueryError."""
    at = EventQuery(wanted.group_id, wanted.tree, wanted.period, place_of(row), 1)
    older, newer = (read_events(asked, lake, at, 1, upwards=upwards) for upwards in (False, True))
    return Neighbours(older[0] if older else None, newer[0] if newer else None)


def event_at_end(
    asked: Asked, lake: ReadLake, wanted: EventQuery, *, oldest: bool
) -> tuple[dict[str, Any] | None, Neighbours]:
    """The newest event of a list, or the oldest, and what is beside it, by one question. Raises QueryError."""
    rows = read_events(asked, lake, wanted, 2, upwards=oldest)
    beside = rows[1] if len(rows) > 1 else None
    near = Neighbours(None, beside) if oldest else Neighbours(beside, None)
    return (rows[0] if rows else None), near


def recommended_event(asked: Asked, lake: ReadLake, wanted: EventQuery) -> dict[str, Any] | None:
    """The event of a group to look at first: the newest of RECOMMENDED_DAYS days that has a frame of the program with its source and
    misses no symbols, of the newest few; else the newest. None when there is none. Raises QueryError."""
    rows = read_events(asked, lake, wanted, RECOMMENDED_OF, upwards=False)
    if not rows:
        return None
    first = asked.now - timedelta(days=RECOMMENDED_DAYS)
    usable = [row for row in rows if row["timestamp"] >= first and not row["missing_symbols"]]
    payloads = payloads_of(asked, lake, usable)
    for row in usable:
        payload = payloads.get(_lake_place(row))
        if payload is not None and _shows_source(decode_json(payload)):
            return row
    return rows[0]


def _shows_source(event: Mapping[str, Any]) -> bool:
    exceptions = (event.get("exception") or {}).get("values") or ()
    stacks = [each.get("stacktrace") for each in exceptions] + [event.get("stacktrace")]
    frames = [frame for stack in stacks if stack for frame in stack.get("frames") or ()]
    return any(frame.get("in_app") and frame.get("context_line") for frame in frames)


def find_row(
    asked: Asked, lake: ReadLake, event_id: str, project_id: int | None = None
) -> dict[str, Any] | None:
    """The row of an event by its id (32 hex digits, in any case, with dashes or without), of a project that may be seen."""
    digits = parse_event_id(event_id)
    projects = [project_id] if project_id is not None else asked.project_ids()
    if digits is None or not all(map(asked.may_see, projects)):
        return None
    query = select(event_ids).where(
        event_ids.c.event_id == bytes.fromhex(digits), event_ids.c.project_id.in_(projects)
    )
    with asked.state.read() as connection:
        found = connection.execute(query.order_by(event_ids.c.project_id).limit(1)).first()
    if found is None:
        return None
    row = row_at(
        asked.state, "events", day=found.day, part=found.part, position=found.position, item=found.item
    )
    if row is not None:  # in the tail
        return {name: row.get(name) for name in COLUMNS}
    rows = lake.query(
        f"SELECT {_SELECTED} FROM lake.events WHERE day = ? AND project_id = ? AND part = ? AND position = ? AND item = ?",
        [found.day, found.project_id, found.part, found.position, found.item],
    )
    return rows[0] if rows else None


def payload_of(asked: Asked, lake: ReadLake, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The processed event of a row; None when it is gone."""
    found = payloads_of(asked, lake, [row]).get(_lake_place(row))
    if found is None:
        return None
    decoded: dict[str, Any] = decode_json(found)
    return decoded


def payloads_of(asked: Asked, lake: ReadLake, rows: Sequence[Mapping[str, Any]]) -> dict[Place, bytes]:
    """The JSON of events by their place: from the tail, else from files."""
    places = [_lake_place(row) for row in rows]
    found = payloads_at(asked.state, places)
    return found | lake.payloads_at([place for place in places if place not in found])


def _lake_place(row: Mapping[str, Any]) -> Place:
    return row["day"], row["part"], row["position"], row["item"]


def read_events(
    asked: Asked, lake: ReadLake, wanted: EventQuery, limit: int, *, upwards: bool
) -> list[dict[str, Any]]:
    """Events behind a place in one direction; a stretch of days at a time, until there are enough."""
    narrowed = events_condition(asked, wanted, upwards=upwards)
    order = "ASC" if upwards else "DESC"
    found: list[dict[str, Any]] = []
    for first, last in _stretches(asked, wanted, limit, upwards):
        found += lake.query(
            f"SELECT {_SELECTED} FROM lake.events WHERE day BETWEEN ? AND ? AND {narrowed.text} "
            f"ORDER BY day {order}, timestamp {order}, event_id {order} LIMIT ?",
            [first, last, *narrowed.parameters, limit - len(found)],
        )
        if len(found) >= limit:
            break
    return found


def events_condition(asked: Asked, wanted: EventQuery, *, upwards: bool) -> Sql:
    """What rows of `lake.events` a list is of. Raises QueryError."""
    with asked.state.read() as connection:
        condition = events_where(
            connection,
            asked,
            wanted.tree,
            of_listed_event,
            lambda leaf: group_ids(connection, asked, positive(leaf)),
        )
    return joined((condition, *_scope(asked, wanted), *_beyond(wanted.cursor, upwards)), " AND ")


def _scope(asked: Asked, wanted: EventQuery) -> Iterator[Sql]:
    if wanted.group_id is not None:
        yield Sql("group_id = ?", (wanted.group_id,))
    if asked.projects is not None:
        named = sorted(asked.projects)
        yield Sql(f"project_id IN ({', '.join('?' * len(named))})", tuple(named)) if named else Sql("false")
    if wanted.period is not None:
        yield Sql("(timestamp >= ? AND timestamp < ?)", (wanted.period.since, wanted.period.until))


def _beyond(place: EventPlace | None, upwards: bool) -> Iterator[Sql]:
    if place is not None:
        sign = ">" if upwards else "<"
        at = place.day, place.timestamp, place.event_id
        yield Sql(f"(day, timestamp, event_id) {sign} (?, ?, ?)", at)


def _stretches(asked: Asked, wanted: EventQuery, limit: int, upwards: bool) -> Iterator[tuple[date, date]]:
    """First and last day of stretches of days of receipt, in the order of the list. Each holds as many events as all before it
    together, the first `limit`: so few are read where the first is enough, and few times where none is."""
    if wanted.group_id is None:
        days, n = batches.c.day, func.sum(batches.c.stored)
        query = select(days, n).where(batches.c.status == "done").group_by(days)
    else:
        days = group_days.c.day
        query = select(days, group_days.c.times_seen).where(group_days.c.group_id == wanted.group_id)
    if wanted.period is not None:  # what happened was received at most a minute before
        query = query.where(days >= (wanted.period.since - timedelta(minutes=1)).date())
    if wanted.cursor is not None:
        query = query.where(days >= wanted.cursor.day if upwards else days <= wanted.cursor.day)
    with asked.state.read() as connection:
        counted = connection.execute(query.order_by(days.asc() if upwards else days.desc())).all()
    some: list[date] = []
    held = before = 0
    for day, events in counted:
        some.append(day)
        held += events
        if held >= max(limit, before):
            yield min(some), max(some)
            some, held, before = [], 0, before + held
    if some:
        yield min(some), max(some)
