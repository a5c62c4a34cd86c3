"""Noting what is about to go, before it goes: so that the books say why rows are missing, and nobody counts again from less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from tasks_pipeline.erasure.selection import Reason
from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import RetentionDropped
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.removals import note_removals


@dataclass(frozen=True, slots=True)
class Going:
    """Rows of a table, day and project that are about to go."""

    table: str
    day: date
    project_id: int
    rows: int


def note_going(state: StateDatabase, going: Sequence[Going], reason: Reason) -> None:
    """Note rows of what was received, which are in the books, and that their days changed. Figures of days that are over stay what they
    are; those of days that are not are computed from what is left."""
    received = [each for each in going if each.table in RECEIVED_TABLES]
    now = datetime.now(UTC)
    rows = [
        {"day": each.day, "name": each.table, "project_id": each.project_id, "rows": each.rows, "reason": reason}
        for each in received
    ]  # fmt: skip
    facts = [
        Happened(
            RetentionDropped(what=each.table, day=each.day.isoformat(), rows=each.rows), now, each.project_id
        )
        for each in received
    ]
    with state.write() as connection:
        note_removals(state, connection, rows, now)
        note_day_changes(state, connection, [each.day for each in received], reason, now)
        record_all(state, connection, facts)
