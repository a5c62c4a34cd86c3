"""Batches: ranges of spool positions that drains claim, and the record that makes each of them processed exactly once.

The protocol is in docs/storage.md. A batch is `open` from its claim until its counters are committed; an open batch
whose drain went silent is claimed again by the next drain, with a higher `attempt`.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, func, select, update

from tasks_pipeline.storage.spool import Spool, Waiting
from tasks_pipeline.storage.state import StateDatabase
from tasks_pipeline.storage.tables import UtcDateTime, batches, condemned_envelopes, drains, spool_cursors

SILENT_AFTER = timedelta(seconds=15)  # a drain sends a heartbeat every two seconds
COUNTS = ("stored", "duplicate", "filtered", "discarded", "invalid")


class BatchLost(Exception):
    """Another drain holds the batch now, because this one was silent for too long. Nothing is lost: let go of it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A claimed range of positions (both ends included) of one part of a day."""

    id: int
    day: date
    part: str
    first_position: int
    last_position: int
    attempt: int
    drain_id: str


@dataclass(frozen=True, slots=True)
class ActiveDrain:
    """A drain that ended neither well nor silently."""

    id: str
    day: date
    run_id: str | None
    started_at: datetime


@dataclass(frozen=True, slots=True)
class DayBacklog:
    """What of a day is not stored yet: behind the cursor, and in open batches."""

    day: date
    envelopes: int
    items: int
    oldest: datetime | None


def start_drain(state: StateDatabase, day: date, run_id: str | None) -> str:
    """Register a drain; gives its id."""
    now = datetime.now(UTC)
    drain_id = uuid.uuid4().hex
    with state.write() as connection:
        connection.execute(
            drains.insert().values(
                id=drain_id,
                day=day,
                run_id=run_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=now,
                heartbeat_at=now,
            )
        )
    return drain_id


def beat(state: StateDatabase, drain_id: str) -> None:
    """Say that a drain is alive."""
    with state.write() as connection:
        connection.execute(
            update(drains).where(drains.c.id == drain_id).values(heartbeat_at=datetime.now(UTC))
        )


def end_drain(state: StateDatabase, drain_id: str) -> None:
    """Say that a drain ended; what it left open can be claimed at once."""
    with state.write() as connection:
        connection.execute(update(drains).where(drains.c.id == drain_id).values(ended_at=datetime.now(UTC)))


def end_drains_of_run(state: StateDatabase, run_id: str) -> int:
    """Say that the drains of a Dagster run ended, because the run did; gives how many were still open."""
    with state.write() as connection:
        return connection.execute(
            update(drains)
            .where(drains.c.run_id == run_id, drains.c.ended_at.is_(None))
            .values(ended_at=datetime.now(UTC))
        ).rowcount


def active_drains(state: StateDatabase) -> list[ActiveDrain]:
    """Drains that gave a sign of life lately."""
    since = datetime.now(UTC) - SILENT_AFTER
    with state.read() as connection:
        rows = connection.execute(
            select(drains.c.id, drains.c.day, drains.c.run_id, drains.c.started_at).where(
                drains.c.ended_at.is_(None), drains.c.heartbeat_at >= since
            )
        )
        return [ActiveDrain(*row) for row in rows]


def last_sign_of_run(state: StateDatabase, run_id: str) -> datetime | None:
    """When a drain of a Dagster run last gave a sign of life; None when the run started none."""
    with state.read() as connection:
        sign: datetime | None = connection.execute(
            select(
                func.max(func.coalesce(drains.c.ended_at, drains.c.heartbeat_at), type_=UtcDateTime())
            ).where(drains.c.run_id == run_id)
        ).scalar()
    return sign


def claim_batch(
    state: StateDatabase, spool: Spool, day: date, drain_id: str, *, max_envelopes: int, max_bytes: int
) -> Batch | None:
    """The next batch of a day for this drain: one that a silent drain left open, else a new range; None when nothing waits."""
    parts = sorted(spool.totals(day))
    with state.write() as connection:
        abandoned = _claim_abandoned(connection, day, drain_id)
        if abandoned is not None:
            return abandoned
        for part in parts:
            cursor = _locked_cursor(state, connection, day, part)
            last = spool.last_position(day, part, cursor, max_envelopes=max_envelopes, max_bytes=max_bytes)
            if last > cursor:
                return _claim_range(connection, day, part, cursor + 1, last, drain_id)
    return None


def _claim_abandoned(connection: Connection, day: date, drain_id: str) -> Batch | None:
    alive = select(drains.c.id).where(
        drains.c.ended_at.is_(None), drains.c.heartbeat_at >= datetime.now(UTC) - SILENT_AFTER
    )
    row = connection.execute(
        select(batches)
        .where(batches.c.day == day, batches.c.status == "open", batches.c.drain_id.not_in(alive))
        .order_by(batches.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    connection.execute(
        update(batches).where(batches.c.id == row.id).values(drain_id=drain_id, attempt=row.attempt + 1)
    )
    return Batch(row.id, day, row.part, row.first_position, row.last_position, row.attempt + 1, drain_id)


def _locked_cursor(state: StateDatabase, connection: Connection, day: date, part: str) -> int:
    row = {"day": day, "part": part, "position": 0}
    connection.execute(state.insert(spool_cursors).on_conflict_do_nothing(), [row])
    return int(
        connection.execute(
            select(spool_cursors.c.position)
            .where(spool_cursors.c.day == day, spool_cursors.c.part == part)
            .with_for_update()
        ).scalar_one()
    )


def _claim_range(connection: Connection, day: date, part: str, first: int, last: int, drain_id: str) -> Batch:
    connection.execute(
        update(spool_cursors)
        .where(spool_cursors.c.day == day, spool_cursors.c.part == part)
        .values(position=last)
    )
    batch_id = connection.execute(
        batches.insert()
        .values(
            day=day,
            part=part,
            first_position=first,
            last_position=last,
            status="open",
            attempt=1,
            drain_id=drain_id,
            opened_at=datetime.now(UTC),
        )
        .returning(batches.c.id)
    ).scalar_one()
    return Batch(batch_id, day, part, first, last, 1, drain_id)


def ensure_held(connection: Connection, batch: Batch) -> None:
    """Raise BatchLost unless this drain still holds the batch, and keep it from changing until the transaction ends."""
    row = connection.execute(
        select(batches.c.status, batches.c.attempt, batches.c.drain_id)
        .where(batches.c.id == batch.id)
        .with_for_update()
    ).one()
    if (row.status, row.attempt, row.drain_id) != ("open", batch.attempt, batch.drain_id):
        raise BatchLost(f"batch {batch.id} is {row.status} in attempt {row.attempt} of drain {row.drain_id}")


def finish_batch(connection: Connection, batch: Batch, counts: Mapping[str, int]) -> None:
    """Mark a batch done with what became of its items (keys of COUNTS, missing ones are 0)."""
    values = {name: counts.get(name, 0) for name in COUNTS}
    connection.execute(
        update(batches)
        .where(batches.c.id == batch.id)
        .values(status="done", done_at=datetime.now(UTC), items=sum(values.values()), suspect=None, **values)
    )


def done_batches(state: StateDatabase, day: date) -> list[Batch]:
    """The batches of a day that form a gapless done prefix of each part, in order."""
    with state.read() as connection:
        rows = connection.execute(
            select(batches).where(batches.c.day == day).order_by(batches.c.part, batches.c.first_position)
        ).all()
    prefix: list[Batch] = []
    ended: set[str] = set()
    for row in rows:
        if row.status != "done":
            ended.add(row.part)
        if row.part not in ended:
            prefix.append(
                Batch(row.id, day, row.part, row.first_position, row.last_position, row.attempt, row.drain_id)
            )
    return prefix


def open_ranges(connection: Connection, day: date) -> list[tuple[str, int, int]]:
    """(part, first, last) of the batches of a day that are not done."""
    rows = connection.execute(
        select(batches.c.part, batches.c.first_position, batches.c.last_position).where(
            batches.c.day == day, batches.c.status == "open"
        )
    )
    return [(row.part, row.first_position, row.last_position) for row in rows]


def outside_open_ranges(connection: Connection, day: date) -> str:
    """SQL on `part` and `position` of lake rows that leaves out batches that are not done: those still wait."""
    conditions = [
        f"NOT (part = '{part}' AND position BETWEEN {first} AND {last})"
        for part, first, last in open_ranges(connection, day)
    ]
    return " AND ".join(conditions) or "true"


def outside_open_batches(connection: Connection) -> str:
    """The same for rows of all days: SQL on `day`, `part` and `position`."""
    rows = connection.execute(select(batches.c.day).where(batches.c.status == "open").distinct())
    conditions = [
        f"(day <> DATE '{day.isoformat()}' OR ({outside_open_ranges(connection, day)}))"
        for day in sorted(rows.scalars())
    ]
    return " AND ".join(conditions) or "true"


def backlog(state: StateDatabase, spool: Spool, day: date) -> DayBacklog:
    """What of a day is not stored yet."""
    with state.read() as connection:
        rows = connection.execute(
            select(spool_cursors.c.part, spool_cursors.c.position).where(spool_cursors.c.day == day)
        )
        cursors = {row.part: row.position for row in rows}
        open_batches = open_ranges(connection, day)
    found = [spool.waiting(day, part, cursors.get(part, 0)) for part in spool.totals(day)]
    found += [_between(spool, day, *bounds) for bounds in open_batches]
    ages = [w.oldest for w in found if w.oldest is not None]
    return DayBacklog(
        day, sum(w.envelopes for w in found), sum(w.items for w in found), min(ages) if ages else None
    )


def _between(spool: Spool, day: date, part: str, first: int, last: int) -> Waiting:
    behind, rest = spool.waiting(day, part, first - 1), spool.waiting(day, part, last)
    return Waiting(behind.envelopes - rest.envelopes, behind.items - rest.items, behind.oldest)


def backlogs(state: StateDatabase, spool: Spool) -> list[DayBacklog]:
    """Days with something that is not stored yet, oldest first."""
    found = (backlog(state, spool, day) for day in spool.days())
    return [b for b in found if b.envelopes]


def counts_of_day(state: StateDatabase, day: date) -> dict[str, int]:
    """What became of the items of a day's done batches, by outcome."""
    with state.read() as connection:
        row = connection.execute(
            select(*(func.coalesce(func.sum(batches.c[name]), 0).label(name) for name in COUNTS)).where(
                batches.c.day == day, batches.c.status == "done"
            )
        ).one()
    return {name: int(value) for name, value in row._mapping.items()}


def processed_items(state: StateDatabase, day: date) -> int:
    """Items of a day's done batches."""
    with state.read() as connection:
        query = select(func.coalesce(func.sum(batches.c["items"]), 0))
        return int(
            connection.execute(query.where(batches.c.day == day, batches.c.status == "done")).scalar_one()
        )


@contextmanager
def suspected(state: StateDatabase, batch: Batch, position: int, *, of_many: bool = False) -> Iterator[None]:
    """Note which envelope is at work while the block runs, so that one that kills the process is known by it.

    `of_many`: it is the first of several at work together. The note goes with the block, however it ends: what goes
    wrong later, or is raised, is not the envelope's doing.
    """
    _note_suspect(state, batch, -position if of_many else position)
    try:
        yield
    finally:
        _note_suspect(state, batch, None)


def _note_suspect(state: StateDatabase, batch: Batch, position: int | None) -> None:
    with state.write() as connection:
        # Not in the name of another drain, to which the batch went meanwhile.
        mine = (batches.c.id == batch.id, batches.c.attempt == batch.attempt)
        connection.execute(update(batches).where(*mine).values(suspect=position))


def condemn_suspect(state: StateDatabase, batch: Batch) -> int | None:
    """Condemn the envelope that was at work when the last attempt died, if one is noted.

    Where several were at work together nobody is condemned: gives the first of them.
    """
    with state.write() as connection:
        position = connection.execute(select(batches.c.suspect).where(batches.c.id == batch.id)).scalar()
        if position is None:
            return None
        if position < 0:
            return -int(position)
        row = {
            "day": batch.day,
            "part": batch.part,
            "position": position,
            "reason": f"the process died {batch.attempt - 1} times while the batch was at work, last at this envelope",
        }
        connection.execute(state.insert(condemned_envelopes).on_conflict_do_nothing(), [row])
        connection.execute(update(batches).where(batches.c.id == batch.id).values(suspect=None))
    return None


def condemned(state: StateDatabase, day: date, part: str) -> dict[int, str]:
    """Position and reason of the condemned envelopes of a part."""
    table = condemned_envelopes
    with state.read() as connection:
        rows = connection.execute(
            select(table.c.position, table.c.reason).where(table.c.day == day, table.c.part == part)
        )
        return {row.position: row.reason for row in rows}
