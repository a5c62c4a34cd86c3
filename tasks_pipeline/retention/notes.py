"""Noting what is about to go, before it goes: so that the books say why rows are missing, and nobody counts again from less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import RetentionDropped
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.removals import note_removals


@dataclass(frozen=True, slots=True)
class Going:
    """Rows of a table, day and project that are about to go."""

    table: str
    day: date
    project_id: int
    rows: int


def note_going(
    state: StateDatabase,
    going: Sequence[Going],
    reason: str,
    note_days: Callable[[Connection, datetime], None],
    *,
    facts_of: Sequence[Going] | None = None,
) -> None:
    """Note rows that are about to go, with a fact of each, or of others that say the same in sum; `note_days` notes in the same transaction
    what that is to figures of their days."""
    now = datetime.now(UTC)
    rows = [
        {"day": each.day, "name": each.table, "project_id": each.project_id, "rows": each.rows, "reason": reason}
        for each in going
    ]  # fmt: skip
    facts = [
        Happened(
            RetentionDropped(what=each.table, day=each.day.isoformat(), rows=each.rows), now, each.project_id
        )
        for each in (going if facts_of is None else facts_of)
    ]
    with state.write() as connection:
        note_removals(state, connection, rows, now)
        note_days(connection, now)
        record_all(state, connection, facts)
