"""Batches: ranges of spool positions that drains claim, and the record that makes each of them processed exactly once.

The protocol is in docs/storage.md. A batch is `open` from its claim until its counters are committed; an open batch
whose drain went silent is claimed again by a later drain, with a higher `attempt`. Each attempt that fails makes the
wait for the next one longer, so that a batch which nobody can process does not keep drains from the others.

Each claim counts as a death of its process until that says how it ended: what was raised, also by a database or an object storage that
is away, is no envelope's doing.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, or_, select, true, update

from tasks_pipeline.storage.ledger.cursors import Cursor, cursors_of, locked, settled, store
from tasks_pipeline.storage.ledger.drains import SILENT_AFTER
from tasks_pipeline.storage.ledger.failures import STUCK_AFTER, reason_of, wait_after
from tasks_pipeline.storage.spool.interface import PartTotals, Spool, SpoolError, Survey
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import batches, drains, spool_cursors

log = logging.getLogger(__name__)

COUNTS = ("stored", "duplicate", "filtered", "discarded", "invalid")
_NEVER = datetime.max.replace(tzinfo=UTC)


class BatchLost(Exception):
    """Another drain holds the batch now, because this one was silent for too long. Nothing is lost: let go of it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A claimed range of positions (both ends included) of one part of a day. `deaths` processes died with it before."""

    id: int
    day: date
    part: str
    first_position: int
    last_position: int
    attempt: int
    drain_id: str
    base: int = 0
    deaths: int = 0

    @property
    def after(self) -> int:
        """The position of the spool that lies before the first envelope."""
        return self.first_position - self.base - 1

    @property
    def through(self) -> int:
        """The position of the last envelope in the spool."""
        return self.last_position - self.base


def claim_batch(
    state: StateDatabase,
    spool: Spool,
    day: date,
    drain_id: str,
    *,
    max_envelopes: int,
    max_bytes: int,
    patient: bool = False,
) -> Batch | None:
    """The next batch of a day for this drain: one that a silent drain left open, else a new range; None when nothing waits.

    New ranges are taken from the part whose oldest envelope has waited longest. A `patient` drain leaves a batch that
    failed alone until its time has come; others take it at once the first times, then after everything else. Raises
    SpoolError when all that is left lies in a part that showed what it holds but cannot be read.
    """
    survey = spool.survey(day)
    with state.read() as connection:
        cursors = cursors_of(connection, day)
        is_open = connection.execute(_abandoned(day, survey.broken).with_only_columns(batches.c.id)).first()
    if is_open is not None and (
        batch := _claim_abandoned(state, day, drain_id, survey.broken, _due(patient))
    ):
        return batch
    unread: SpoolError | None = None
    for part in _oldest_first(spool, day, survey, cursors):
        try:
            batch = _claim_new(state, spool, day, part, survey, drain_id, max_envelopes, max_bytes)
        except SpoolError as error:  # the others are not to wait for it
            log.exception("no batch of %s can be claimed in part %s", day, part)
            unread = unread or error
            continue
        if batch is not None:
            return batch
    if is_open is not None and not patient:
        batch = _claim_abandoned(state, day, drain_id, survey.broken, true())
        if batch is not None:
            return batch
    if unread is not None:
        raise unread
    return None


def _oldest_first(spool: Spool, day: date, survey: Survey, cursors: Mapping[str, Cursor]) -> list[str]:
    """The parts with something behind their cursor, the one that has waited longest first; one alone costs no question."""
    behind = [
        part
        for part, totals in sorted(survey.totals.items())
        if totals.last_position != cursors.get(part, Cursor()).taken
    ]
    if len(behind) < 2:
        return behind
    waiting: dict[str, datetime] = {}
    for part in behind:
        try:
            cursor = settled(spool, day, part, cursors.get(part, Cursor()), survey.totals[part])
            waiting[part] = spool.waiting(day, part, cursor.taken).oldest or _NEVER
        except SpoolError:
            waiting[part] = _NEVER  # whoever claims from it says so
    return sorted(behind, key=lambda part: waiting[part])


def _abandoned(day: date, broken: Collection[str]) -> Select[Any]:
    """Open batches of a day that no drain alive holds, but for those in parts that cannot be read."""
    alive = select(drains.c.id).where(
        drains.c.ended_at.is_(None), drains.c.heartbeat_at >= datetime.now(UTC) - SILENT_AFTER
    )
    return select(batches).where(
        batches.c.day == day,
        batches.c.status == "open",
        batches.c.drain_id.not_in(alive),
        batches.c.part.not_in(broken),
    )


def _due(patient: bool) -> ColumnElement[bool]:
    """Open batches that come before anything new."""
    due = batches.c.not_before.is_(None) | (batches.c.not_before <= datetime.now(UTC))
    return due if patient else due | (batches.c.attempt < STUCK_AFTER)


def _claim_abandoned(
    state: StateDatabase, day: date, drain_id: str, broken: Collection[str], which: ColumnElement[bool]
) -> Batch | None:
    """The open batch that is to be tried next of those that nobody works on."""
    now = datetime.now(UTC)
    query = _abandoned(day, broken).where(which)
    query = query.order_by(batches.c.not_before.asc().nulls_first(), batches.c.id)
    with state.write() as connection:
        row = connection.execute(query.limit(1).with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        attempt = row.attempt + 1
        connection.execute(
            update(batches)
            .where(batches.c.id == row.id)
            .values(
                drain_id=drain_id,
                attempt=attempt,
                deaths=row.deaths + 1,
                not_before=now + wait_after(attempt),
            )
        )
    place = (row.part, row.first_position, row.last_position)
    return Batch(row.id, day, *place, attempt, drain_id, row.base, row.deaths)


def _new_cursor(state: StateDatabase) -> Any:
    return state.insert(spool_cursors).on_conflict_do_nothing()


def _claim_new(
    state: StateDatabase,
    spool: Spool,
    day: date,
    part: str,
    survey: Survey,
    drain_id: str,
    max_envelopes: int,
    max_bytes: int,
) -> Batch | None:
    """A new range of a part. Raises SpoolError."""
    with state.write() as connection:
        row = {"day": day, "part": part, "position": 0}
        state.put(connection, _new_cursor, [row])
        before = locked(connection, day, part)
        totals = survey.totals[part]
        cursor = settled(spool, day, part, before, totals)
        last = spool.last_position(day, part, cursor.taken, max_envelopes=max_envelopes, max_bytes=max_bytes)
        if last <= cursor.taken:
            return None
        if cursor.base != before.base:
            log.error(
                "%s %s: the spool ends at %d, but %d were claimed; %d are lost",
                day, part, totals.last_position, before.taken, cursor.lost - before.lost,
            )  # fmt: skip
        first = cursor.position + 1
        after = replace(
            cursor,
            position=cursor.base + last,
            first_received_at=cursor.first_received_at or spool.waiting(day, part, 0).oldest,
            last_received_at=(
                totals.last_received_at
                if totals.last_position == last
                else spool.waiting(day, part, last - 1).oldest
            ),
        )
        store(connection, day, part, before, after)
        return _open(connection, day, part, first, after, drain_id)


def _open(connection: Connection, day: date, part: str, first: int, cursor: Cursor, drain_id: str) -> Batch:
    now = datetime.now(UTC)
    batch_id = connection.execute(
        batches.insert()
        .values(
            day=day,
            part=part,
            first_position=first,
            last_position=cursor.position,
            status="open",
            attempt=1,
            deaths=1,
            base=cursor.base,
            not_before=now + wait_after(1),  # its process may die without a word
            drain_id=drain_id,
            opened_at=now,
        )
        .returning(batches.c.id)
    ).scalar_one()
    return Batch(batch_id, day, part, first, cursor.position, 1, drain_id, cursor.base)


def fail_batch(state: StateDatabase, batch: Batch, error: Exception) -> None:
    """Note that an attempt failed, and leave the batch alone for a while, unless another drain holds it now."""
    until = datetime.now(UTC) + wait_after(batch.attempt)
    failed = {"not_before": until, "error": reason_of(error), "suspect": None}
    with state.write() as connection:
        connection.execute(update(batches).where(_held(batch)).values(failed))
        _did_not_die(connection, batch)


def let_go(state: StateDatabase, batch: Batch) -> None:
    """Note that the process of a claim is alive, though the batch went to another drain."""
    with state.write() as connection:
        _did_not_die(connection, batch)


def _did_not_die(connection: Connection, batch: Batch) -> None:
    """Whoever holds the batch now: a claim is counted once, and taken back once."""
    connection.execute(
        update(batches)
        .where(batches.c.id == batch.id, batches.c.deaths > 0)
        .values(deaths=batches.c.deaths - 1)
    )


def give_back_batch(state: StateDatabase, batch: Batch) -> None:
    """Take back a claim whose drain was told to stop: that says nothing about the batch, and the next drain takes it at once."""
    with state.write() as connection:
        connection.execute(
            update(batches).where(_held(batch)).values(attempt=batch.attempt - 1, not_before=None)
        )
        _did_not_die(connection, batch)


def _held(batch: Batch) -> ColumnElement[bool]:
    b = batches.c
    mine = (b.attempt == batch.attempt) & (b.drain_id == batch.drain_id)
    return (b.id == batch.id) & mine & (b.status == "open")


def ensure_held(connection: Connection, batch: Batch) -> None:
    """Raise BatchLost unless this drain still holds the batch, and keep it from changing until the transaction ends."""
    row = connection.execute(
        select(batches.c.status, batches.c.attempt, batches.c.drain_id)
        .where(batches.c.id == batch.id)
        .with_for_update()
    ).one()
    if (row.status, row.attempt, row.drain_id) != ("open", batch.attempt, batch.drain_id):
        raise BatchLost(f"batch {batch.id} is {row.status} in attempt {row.attempt} of drain {row.drain_id}")


def finish_batch(
    connection: Connection, batch: Batch, counts: Mapping[str, int], received_at: datetime | None = None
) -> None:
    """Mark a batch done with what became of its items (keys of COUNTS, missing ones are 0), the first of which was received
    then."""
    values: dict[str, Any] = {name: counts.get(name, 0) for name in COUNTS}
    now = datetime.now(UTC)
    done = {"status": "done", "done_at": now, "items": sum(values.values()), "suspect": None, "error": None}
    done["received_at"] = received_at
    connection.execute(update(batches).where(batches.c.id == batch.id).values(**done, **values))
    _did_not_die(connection, batch)
    connection.execute(update(drains).where(drains.c.id == batch.drain_id).values(stored_at=now))


def done_batches(state: StateDatabase, day: date) -> list[Batch]:
    """The batches of a day that form a gapless done prefix of each part, in order.

    The base of those whose raw envelopes are gone leads to no position of the spool.
    """
    with state.read() as connection:
        gone = {part: cursor.gone for part, cursor in cursors_of(connection, day).items()}
        rows = connection.execute(
            select(batches).where(batches.c.day == day).order_by(batches.c.part, batches.c.first_position)
        ).all()
    prefix: list[Batch] = []
    ended: set[str] = set()
    for row in rows:
        if row.status != "done":
            ended.add(row.part)
        if row.part not in ended:
            base = row.base if row.first_position > gone.get(row.part, 0) else row.last_position
            place = (row.part, row.first_position, row.last_position)
            prefix.append(Batch(row.id, day, *place, row.attempt, row.drain_id, base))
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


def accepted_items(state: StateDatabase, spool: Spool, day: date, totals: Mapping[str, PartTotals]) -> int:
    """Items that were accepted on a day: what the spool counts and, of what is not there or cannot be read, what the
    batches counted when they were done. Raises SpoolError."""
    b = batches.c
    with state.read() as connection:
        gone = {part: c for part, c in cursors_of(connection, day).items() if c.gone and part in totals}
        of_gone = [(b.part == part) & (b.first_position <= c.gone) for part, c in gone.items()]
        query = select(func.coalesce(func.sum(b["items"]), 0)).where(b.day == day, b.status == "done")
        processed = connection.execute(query.where(or_(b.part.not_in(totals), *of_gone))).scalar_one()
    counted = [t.items for part, t in totals.items() if part not in gone]
    counted += [spool.waiting(day, part, c.gone - c.base).items for part, c in gone.items()]
    return int(processed) + sum(counted)
