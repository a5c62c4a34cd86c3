"""Noting what is about to go, before it goes: so that the books say why rows are missing, and nobody counts again from less.

Whoever notes may die before the rows go, and the next one notes them again: what the former noted is taken back then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import RetentionDropped
from tasks_pipeline.retention.witnesses import that_stayed
from tasks_pipeline.storage.state.removals import LastNoted, last_noted, note_removals, take_back
from tasks_pipeline.stores import Stores


@dataclass(frozen=True, slots=True)
class Going:
    """Rows of a table, day and project that are about to go, and one of them (`witnesses.py`)."""

    table: str
    day: date
    project_id: int
    rows: int
    witness: str


def note_going(
    stores: Stores,
    going: Sequence[Going],
    reason: str,
    note_days: Callable[[Connection, datetime], None],
    *,
    facts_of: Sequence[Going] | None = None,
) -> None:
    """Note rows that are about to go, with a fact of each, or of others that say the same in sum; `note_days` notes in the same transaction
    what that is to figures of their days. Noting the same again, since they did not go, changes nothing."""
    state, now = stores.state, datetime.now(UTC)
    rows = [
        {
            "day": each.day, "name": each.table, "project_id": each.project_id, "rows": each.rows, "reason": reason,
            "witness": each.witness,
        }
        for each in going
    ]  # fmt: skip
    facts = [  # each is recorded once, however often it is noted
        Happened(
            RetentionDropped(what=each.table, day=each.day.isoformat(), rows=each.rows), now, each.project_id
        )
        for each in (going if facts_of is None else facts_of)
    ]
    stayed = _stayed(stores, going, reason)
    with state.write() as connection:
        for each in stayed:
            take_back(connection, each)
        note_removals(state, connection, rows, now)
        note_days(connection, now)
        record_all(state, connection, facts)


def _stayed(stores: Stores, going: Sequence[Going], reason: str) -> list[LastNoted]:
    """What was noted of the same tables, days and projects, and is there still."""
    keys = {(each.table, each.day, each.project_id) for each in going}
    with stores.state.read() as connection:
        noted = [
            each
            for day in sorted({each.day for each in going})
            for each in last_noted(connection, day, {e.table for e in going if e.day == day}, reason)
            if (each.name, each.day, each.project_id) in keys
        ]
    return that_stayed(stores.lake, noted)
