"""Batches: ranges of spool positions that drains claim, and the record that makes each of them processed exactly once.

The protocol is in docs/storage.md. A batch is `open` from its claim until its counters are committed; an open batch
whose drain went silent is claimed again by the next drain, with a higher `attempt`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection, func, select, update

from tasks_pipeline.storage.ledger.drains import SILENT_AFTER
from tasks_pipeline.storage.spool.interface import Spool
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import batches, drains, spool_cursors

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
