"""Cursors: how far each part of a day is claimed, and what becomes of that when the spool counts a part from 1 again.

Positions in the ledger (batches, rows of the lake) are never given twice. Those in the spool begin at 1 again when a day
was dropped and something of it comes after all. `base` is the difference; a batch keeps the one it was claimed with.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

from sqlalchemy import Connection, select, update

from tasks_pipeline.storage.spool.interface import PartTotals, Spool
from tasks_pipeline.storage.state.tables import batches, spool_cursors


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a part is claimed; see the columns of `spool_cursors`."""

    position: int = 0
    base: int = 0
    gone: int = 0
    first_received_at: datetime | None = None
    last_received_at: datetime | None = None
    lost: int = 0

    @property
    def taken(self) -> int:
        """The last position of the spool that is claimed."""
        return self.position - self.base


def cursors_of(connection: Connection, day: date) -> dict[str, Cursor]:
    """The cursors of a day by part."""
    c = spool_cursors.c
    rows = connection.execute(
        select(c.part, c.position, c.base, c.gone, c.first_received_at, c.last_received_at, c.lost).where(
            c.day == day
        )
    )
    return {part: Cursor(*values) for part, *values in rows}


def settled(spool: Spool, day: date, part: str, cursor: Cursor, totals: PartTotals) -> Cursor:
    """The cursor as it has to be for the part as it lies in the spool now. Raises SpoolError.

    Fewer envelopes than were claimed: either the day was dropped and made anew, or the newest were lost (a file without
    its write-ahead log). Whatever comes from now on gets positions that nobody has had.
    """
    if totals.last_position >= cursor.taken:
        return cursor
    now = spool.totals(day).get(part)  # the cursor may be newer than the totals
    last = now.last_position if now else 0
    if last >= cursor.taken or last == 0:  # an empty one has nothing to claim, and may be in the making
        return cursor
    if spool.waiting(day, part, 0).oldest != cursor.first_received_at:
        return replace(cursor, base=cursor.position, gone=cursor.position, first_received_at=None)
    left = _received_before(spool, day, part, last, cursor.last_received_at)
    return replace(
        cursor,
        base=cursor.position - left,
        gone=cursor.position,
        lost=cursor.lost + cursor.taken - left,
    )


def _received_before(spool: Spool, day: date, part: str, last: int, moment: datetime | None) -> int:
    """How many of the first `last` envelopes of a part were received before a moment.

    Of several received at once some may be taken for new ones: they are read again, and are duplicates.
    """
    if moment is None:
        return last

    def is_later(position: int) -> bool:
        received_at = spool.waiting(day, part, position - 1).oldest
        return received_at is None or received_at >= moment

    return bisect_left(range(1, last + 1), True, key=is_later)


def locked(connection: Connection, day: date, part: str) -> Cursor:
    """The cursor of a part, which must have one; it does not change until the transaction ends."""
    c = spool_cursors.c
    row = connection.execute(
        select(c.position, c.base, c.gone, c.first_received_at, c.last_received_at, c.lost)
        .where(c.day == day, c.part == part)
        .with_for_update()
    ).one()
    return Cursor(*row)


def store(connection: Connection, day: date, part: str, before: Cursor, after: Cursor) -> None:
    """Write a cursor. If its base has moved, open batches lose what is not in the spool any more."""
    connection.execute(
        update(spool_cursors)
        .where(spool_cursors.c.day == day, spool_cursors.c.part == part)
        .values(
            position=after.position,
            base=after.base,
            gone=after.gone,
            first_received_at=after.first_received_at,
            last_received_at=after.last_received_at,
            lost=after.lost,
        )
    )
    if after.base != before.base:
        lost = after.lost - before.lost
        left = before.position - lost if lost else before.base
        _cut_open_batches(connection, day, part, left)


def _cut_open_batches(connection: Connection, day: date, part: str, left: int) -> None:
    """Open batches end at the position `left`; those behind it are done, with nothing in them."""
    is_open = (batches.c.day == day) & (batches.c.part == part) & (batches.c.status == "open")
    connection.execute(
        update(batches)
        .where(is_open, batches.c.first_position > left)
        .values(status="done", done_at=datetime.now(UTC), suspect=None, error="no longer in the spool")
    )
    connection.execute(
        update(batches).where(is_open, batches.c.last_position > left).values(last_position=left)
    )


def forget_day(connection: Connection, day: date) -> None:
    """Note that a day was dropped from the spool: what comes of it from now on is new, whatever its position there."""
    connection.execute(
        update(spool_cursors)
        .where(spool_cursors.c.day == day)
        .values(base=spool_cursors.c.position, gone=spool_cursors.c.position, first_received_at=None)
    )
