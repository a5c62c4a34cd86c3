"""The backlog: what of each day waits to be stored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select

from tasks_pipeline.storage.ledger.batches import open_ranges
from tasks_pipeline.storage.spool.interface import Spool, Waiting
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import spool_cursors


@dataclass(frozen=True, slots=True)
class DayBacklog:
    """What of a day is not stored yet: behind the cursor, and in open batches."""

    day: date
    envelopes: int
    items: int
    oldest: datetime | None


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
