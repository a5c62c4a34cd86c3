"""Suspects: which envelope was at work when a process died, and those condemned for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from sqlalchemy import select, update

from tasks_pipeline.storage.ledger.batches import Batch
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import batches, condemned_envelopes


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
            "reason": f"the process died {batch.deaths} times while the batch was at work, last at this envelope",
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
