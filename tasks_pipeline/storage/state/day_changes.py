"""Days whose rows changed: noted where they change, so that whoever computes figures of days knows which are due.

Changes are counted, not dated: a batch that takes its time commits after its clock was read, and would be missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Connection, update

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import day_changes

Reason = Literal[
    "batch", "recomputed", "reprocessed", "regrouped", "sessions", "facts", "retention", "privacy", "deleted"
]


def note_day_changes(
    state: StateDatabase, connection: Connection, days: Iterable[date], reason: Reason, now: datetime
) -> None:
    """Note that rows of these UTC days came, went or changed: in the transaction that makes it so, or after."""
    rows = [{"day": day, "reason": reason, "changes": 1, "changed_at": now} for day in sorted(set(days))]
    if rows:
        state.put(connection, _changed, rows)


def _changed(state: StateDatabase) -> Any:
    statement = state.insert(day_changes)
    counted = {"changed_at": statement.excluded.changed_at, "changes": day_changes.c.changes + 1}
    return statement.on_conflict_do_update(index_elements=["day", "reason"], set_=counted)


def note_days_final(
    state: StateDatabase, connection: Connection, days: Iterable[date], reason: Reason, now: datetime
) -> None:
    """Note that rows of these days went, and that their figures stay what they are: nobody computes them for it."""
    days = sorted(set(days))
    note_day_changes(state, connection, days, reason, now)
    for some in chunks(days):
        final = update(day_changes).where(day_changes.c.day.in_(some), day_changes.c.reason == reason)
        connection.execute(final.values(computed=day_changes.c.changes))
