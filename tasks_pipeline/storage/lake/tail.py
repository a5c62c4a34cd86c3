"""Rows of the tail: adding those of a batch, and reading them by number or by place. It is never updated.

A batch is in the tail whole or not at all, and only together with its counters. Rows lie in a segment; the highest one
is open and takes rows, the others wait to be flushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, literal, select, update

from tasks_pipeline.storage.lake.tail_json import decode_rows, encode_rows, unzipped, with_times, zipped
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import UtcDateTime, tail_payloads, tail_rows, tail_segments

LOCK = "tail"
"""What transactions that add rows, or seal a segment, serialise on: numbers of rows grow in the order of commits."""

Place = tuple[date, str, int, int]
"""day, part, position, item"""
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
"""Rows by lake table."""


@dataclass(frozen=True, slots=True)
class Small:
    """What a batch may hold at most to go into the tail: beyond it, files of its own cost less."""

    events: int = 250
    payload_bytes: int = 1024 * 1024
    rows: int = 1_000


@dataclass(frozen=True, slots=True)
class Due:
    """When the open segment is worth files: at so many rows or bytes, or when it is so old.

    Every query reads the tail whole, so it is kept small; a flush costs what writing 300 events costs, so not smaller.
    """

    rows: int = 5_000
    bytes: int = 16 * 1024 * 1024
    age: timedelta = timedelta(hours=1)


SMALL = Small()
DUE = Due()


def fits(rows: Rows, small: Small | None = None) -> bool:
    """Whether rows are few enough for the tail."""
    most = small or SMALL
    payloads = rows.get("event_payloads", ())
    return (
        len(payloads) <= most.events
        and sum(map(len, rows.values())) <= most.rows
        and sum(len(row["payload"]) for row in payloads) <= most.payload_bytes * _COMPRESSED
    )


_COMPRESSED = 10  # payloads shrink about so much; measured on recorded events: 12 to 21


def add_rows(
    state: StateDatabase,
    connection: Connection,
    day: date,
    part: str,
    positions: tuple[int, int],
    rows: Rows,
    now: datetime | None = None,
) -> None:
    """Add the rows of a batch to the open segment, in the transaction that counts it and marks it done.

    The caller has serialised on LOCK. `positions` are the first and last of the batch.
    """
    segment = _open_segment(connection)
    blobs: list[dict[str, Any]] = [
        {
            **{name: row[name] for name in ("position", "item", "project_id", "event_id")},
            "day": day,
            "part": part,
            "segment": segment,
            "payload": zipped(row["payload"]),
        }
        for row in rows.get("event_payloads", ())
    ]
    texts: list[dict[str, Any]] = [
        {
            "segment": segment,
            "day": day,
            "part": part,
            "first_position": positions[0],
            "last_position": positions[1],
            "name": name,
            "quantity": len(found),
            "rows": encode_rows(name, found),
        }
        for name, found in sorted(rows.items())
        if found and name != "event_payloads"
    ]
    if blobs:
        connection.execute(tail_payloads.insert(), blobs)
    if texts:
        connection.execute(tail_rows.insert(), texts)
    size = sum(len(blob["payload"]) for blob in blobs) + sum(len(text["rows"]) for text in texts)
    connection.execute(
        update(tail_segments)
        .where(tail_segments.c.id == segment)
        .values(
            rows=tail_segments.c.rows + sum(text["quantity"] for text in texts),
            bytes=tail_segments.c.bytes + size,
            first_at=func.coalesce(
                tail_segments.c.first_at, literal(now or datetime.now(UTC), UtcDateTime())
            ),
        )
    )


def _open_segment(connection: Connection) -> int:
    found = connection.execute(
        select(tail_segments.c.id).where(tail_segments.c.sealed_at.is_(None))
    ).scalar_one_or_none()
    return open_segment(connection, 1) if found is None else int(found)


def open_segment(connection: Connection, number: int) -> int:
    """Open a segment; its number is above those of all before it."""
    connection.execute(tail_segments.insert().values(id=number))
    return number


def seal(state: StateDatabase, above: int) -> list[int]:
    """Seal the open segment unless it is empty, and open the next. Gives the sealed segments above number `above`, in order.

    Whoever was adding rows has committed when this returns; whoever adds rows later sees what the caller committed before.
    """
    with state.write() as connection:
        state.serialise(connection, LOCK)
        current = connection.execute(select(tail_segments).where(tail_segments.c.sealed_at.is_(None))).first()
        if (
            current is not None and current.id <= above
        ):  # the database is older than the lake: it was restored
            current = _renumbered(connection, current.id, above + 1)
        if current is None:  # a new database, perhaps beside an older lake: no number may come again
            open_segment(connection, above + 1)
        elif current.first_at is not None:
            connection.execute(
                update(tail_segments)
                .where(tail_segments.c.id == current.id)
                .values(sealed_at=datetime.now(UTC))
            )
            open_segment(connection, current.id + 1)
        sealed = connection.execute(
            select(tail_segments.c.id)
            .where(tail_segments.c.sealed_at.is_not(None), tail_segments.c.id > above)
            .order_by(tail_segments.c.id)
        )
        return [int(number) for number in sealed.scalars()]


def _renumbered(connection: Connection, number: int, new: int) -> Row[Any]:
    for table in (tail_rows, tail_payloads):
        connection.execute(update(table).where(table.c.segment == number).values(segment=new))
    connection.execute(update(tail_segments).where(tail_segments.c.id == number).values(id=new))
    return connection.execute(select(tail_segments).where(tail_segments.c.id == new)).one()


def drop_segments(state: StateDatabase, through: int) -> None:
    """Remove the rows of segments that are in the lake, up to this number."""
    with state.write() as connection:
        sealed = tail_segments.c.id <= through, tail_segments.c.sealed_at.is_not(None)
        numbers = list(connection.execute(select(tail_segments.c.id).where(*sealed)).scalars())
        for table in (tail_rows, tail_payloads):
            connection.execute(table.delete().where(table.c.segment.in_(numbers)))
        connection.execute(tail_segments.delete().where(tail_segments.c.id.in_(numbers)))


def is_due(state: StateDatabase, now: datetime, due: Due | None = None) -> bool:
    """Whether something in the tail is worth a flush: a segment that is full or old, or one that was sealed already."""
    limits = due or DUE
    with state.read() as connection:
        found = connection.execute(select(tail_segments).where(tail_segments.c.first_at.is_not(None))).all()
    return any(
        row.sealed_at is not None
        or row.rows >= limits.rows
        or row.bytes >= limits.bytes
        or now - row.first_at >= limits.age
        for row in found
    )


def texts_behind(connection: Connection, seen: int) -> list[tuple[Any, ...]]:
    """(seq, segment, day, part, name, rows) of what was added after number `seen`, in order."""
    found = connection.execute(
        select(
            tail_rows.c.seq,
            tail_rows.c.segment,
            tail_rows.c.day,
            tail_rows.c.part,
            tail_rows.c.name,
            tail_rows.c.rows,
        )
        .where(tail_rows.c.seq > seen)
        .order_by(tail_rows.c.seq)
    )
    return [tuple(row) for row in found]


def texts_of(connection: Connection, segments: Sequence[int]) -> list[Row[Any]]:
    """`day`, `part`, `name`, `rows` of these segments, in the order they were added."""
    query = (
        select(tail_rows.c.day, tail_rows.c.part, tail_rows.c.name, tail_rows.c.rows)
        .where(tail_rows.c.segment.in_(segments))
        .order_by(tail_rows.c.seq)
    )
    return list(connection.execute(query))


def tail_totals(connection: Connection, above: int) -> dict[tuple[str, date], int]:
    """Rows of each table of the lake and day that are in the tail, in segments above a number."""
    t, p = tail_rows.c, tail_payloads.c
    rows = select(t.name, t.day, func.sum(t.quantity)).where(t.segment > above).group_by(t.name, t.day)
    payloads = select(p.day, func.count()).where(p.segment > above).group_by(p.day)
    found = {(name, day): int(n) for name, day, n in connection.execute(rows)}
    return found | {("event_payloads", day): int(n) for day, n in connection.execute(payloads)}


def payloads_of(connection: Connection, segments: Sequence[int], day: date) -> Iterator[Row[Any]]:
    """Rows of payloads of these segments and a day; `payload` is still zipped."""
    query = (
        select(tail_payloads)
        .where(tail_payloads.c.segment.in_(segments), tail_payloads.c.day == day)
        .order_by(tail_payloads.c.part, tail_payloads.c.position, tail_payloads.c.item)
    )
    yield from connection.execute(query).yield_per(256)


def all_payloads(connection: Connection) -> Iterator[Row[Any]]:
    """(segment, day, part, position, item, payload) of everything in the tail; `payload` is still zipped."""
    t = tail_payloads.c
    query = select(t.segment, t.day, t.part, t.position, t.item, t.payload)
    yield from connection.execute(query).yield_per(256)


def payloads_at(state: StateDatabase, places: Iterable[Place]) -> dict[Place, bytes]:
    """The payloads (JSON) of those of the places that are in the tail."""
    t = tail_payloads.c
    found: dict[Place, bytes] = {}
    with state.read() as connection:
        for (
            place
        ) in places:  # a search by the primary key each: a list of places would be a scan on SQLite 3.40
            day, part, position, item = place
            query = select(t.payload).where(
                t.day == day, t.part == part, t.position == position, t.item == item
            )
            blob = connection.execute(query).scalar()
            if blob is not None:
                found[place] = unzipped(blob)
    return found


def row_at(
    state: StateDatabase, table: str, day: date, part: str, position: int, item: int
) -> dict[str, Any] | None:
    """The row of a lake table at a place in the tail, as a query of the lake gives it; None when it is not there."""
    t = tail_rows.c
    query = (
        select(t.rows)
        .where(t.day == day, t.part == part, t.first_position <= position, t.last_position >= position)
        .where(t.name == table)
    )
    with state.read() as connection:
        text = connection.execute(query).scalar()
    if text is None:
        return None
    for row in decode_rows(text, day, part):
        if (row["position"], row["item"]) == (position, item):
            return with_times(table, row)
    return None
