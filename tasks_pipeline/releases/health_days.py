"""Days of release health: which receipt days they are made of, which are due, which are final. Rows of `health_days`.

Changes are counted, not dated: a batch that takes its time commits after its clock was read, and would be missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select, text

from tasks_pipeline.protocol.bounds import MAX_SESSION_AGE
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import health_days

DAYS_BEFORE, DAYS_AFTER = 1, MAX_SESSION_AGE.days
"""Rows of sessions of a day are received from the day before it (clocks that are ahead) until so many days after it."""


@dataclass(frozen=True, slots=True)
class HealthDay:
    """What is known of a day: how often its rows changed, how many of these changes are computed, when, and from how many
    rows; None and zero when it never was."""

    changes: int = 0
    computed: int = 0
    computed_at: datetime | None = None
    rows_read: int = 0

    @property
    def is_due(self) -> bool:
        """Whether rows changed since it was computed."""
        return self.changes > self.computed


def receipt_days(day: date) -> tuple[date, date]:
    """The first and the last day on which rows are received of sessions that began on a day."""
    return day - timedelta(days=DAYS_BEFORE), day + timedelta(days=DAYS_AFTER)


def days_received_on(receipt: date) -> tuple[date, date]:
    """The first and the last day on which sessions began whose rows were received on a day."""
    return receipt - timedelta(days=DAYS_AFTER), receipt + timedelta(days=DAYS_BEFORE)


def note_days_changed(
    state: StateDatabase, connection: Connection, days: Iterable[date], now: datetime
) -> None:
    """Note that rows of sessions that began on these days came or went: in the transaction that makes it so, or after."""
    rows = [{"day": day, "changed_at": now, "changes": 1} for day in sorted(set(days))]
    if rows:
        state.put(connection, _changed, rows)


def _changed(state: StateDatabase) -> Any:
    statement = state.insert(health_days)
    counted = {"changed_at": statement.excluded.changed_at, "changes": health_days.c.changes + 1}
    return statement.on_conflict_do_update(index_elements=["day"], set_=counted)


def note_replaced(
    state: StateDatabase, connection: Connection, receipt: date, now_begun_on: Iterable[date], now: datetime
) -> None:
    """Note that the rows of a day of receipt were replaced by others, of sessions that began on the given days: days that had
    some before are due as well."""
    first, last = days_received_on(receipt)
    had_some = select(health_days.c.day).where(health_days.c.day.between(first, last))
    note_days_changed(state, connection, {*connection.execute(had_some).scalars(), *now_begun_on}, now)


def note_computed(
    state: StateDatabase, connection: Connection, day: date, changes: int, rows_read: int, now: datetime
) -> None:
    """Note that a day was computed, from so many rows, when its rows had changed so often. What changed since leaves it due."""
    row = {
        "day": day, "changed_at": now, "changes": changes, "computed": changes, "computed_at": now, "rows_read": rows_read,
    }  # fmt: skip
    statement = state.insert(health_days)
    computed = {name: statement.excluded[name] for name in ("computed", "computed_at", "rows_read")}
    connection.execute(statement.on_conflict_do_update(index_elements=["day"], set_=computed), [row])


def health_day(connection: Connection, day: date) -> HealthDay:
    """What is known of a day."""
    columns = [health_days.c[name] for name in ("changes", "computed", "computed_at", "rows_read")]
    row = connection.execute(select(*columns).where(health_days.c.day == day)).first()
    return HealthDay() if row is None else HealthDay(*row)


def due_days(connection: Connection, since: date | None = None, *, limit: int = 31) -> list[date]:
    """The newest days whose rows changed since they were computed, the newest first; with `since` none before that day."""
    query = select(health_days.c.day).where(text("changes > computed"))
    if since is not None:
        query = query.where(health_days.c.day >= since)
    return list(connection.execute(query.order_by(health_days.c.day.desc()).limit(limit)).scalars())


def due_tonight(connection: Connection, today: date) -> list[date]:
    """The days that are due, and all that were open until yesterday if any sessions came since they were computed: an update
    may tell another day of begin than the first one of its session, by clocks, and nothing then says that this day changed."""
    first = receipt_days(today)[0] - timedelta(days=DAYS_AFTER)
    c = health_days.c
    newest = select(func.max(c.changed_at)).where(c.day >= first).scalar_subquery()
    query = select(c.day).where(c.day >= first, or_(c.computed_at.is_(None), c.computed_at <= newest))
    return sorted({*due_days(connection), *connection.execute(query).scalars()}, reverse=True)
