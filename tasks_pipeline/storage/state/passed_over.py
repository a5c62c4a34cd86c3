"""What failed by itself and was passed over, so that it costs itself alone: trying rows apart, and remembering what failed.

A row that raises would take along all that is written with it. `each_alone` tries all at once, since a savepoint for each would
cost more than the rows do, and one by one only when that fails. What raised is counted, told by the probe `passed_over`
and logged, within bounds, by `note_passed_over`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection, case, select
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import probes

log = logging.getLogger(__name__)

PREFIX = "passed_over:"
WINDOW = timedelta(hours=1)
"""Failures are counted for so long, and told for so long after the last one."""
LOGGED = 20  # failures of a kind and window that are logged, the first with its traceback
DETAIL_LENGTH = 300
_TOO_LARGE = "54"  # Postgres's class of errors "program limit exceeded": an operational one, but of the row
T = TypeVar("T")
R = TypeVar("R")
Failure = tuple[str, Exception]
"""What failed, for people, and how."""


def is_own_fault(error: Exception) -> bool:
    """Whether an error is about the row at hand. A database or a disk that is away, a deadlock, a full memory are not: whoever
    meets them has to stop, and be repeated."""
    if isinstance(error, OSError | MemoryError):
        return False
    if isinstance(error, OperationalError):
        return str(getattr(error.orig, "pgcode", None) or "").startswith(_TOO_LARGE)
    if isinstance(error, DBAPIError):
        known = isinstance(error, IntegrityError | DataError | ProgrammingError)
        return known and not error.connection_invalidated
    return isinstance(error, StatementError) or not isinstance(error, SQLAlchemyError)


def each_alone(
    connection: Connection, rows: Sequence[T], apply: Callable[[Sequence[T]], R]
) -> tuple[list[R], list[tuple[T, Exception]]]:
    """Apply rows in the caller's transaction: all at once or, when that fails, one by one. Gives what `apply` gave, and the rows
    that raised, of which nothing is left, with their errors.

    `apply` may see a row twice: what it did the first time is undone in the database, and it must not remember anything
    elsewhere. Raises what is not the fault of a row.
    """
    if not rows:
        return [], []
    try:
        with connection.begin_nested():
            return [apply(rows)], []
    except Exception as error:
        if not is_own_fault(error):
            raise
        if len(rows) == 1:
            return [], [(rows[0], error)]
    results: list[R] = []
    failed: list[tuple[T, Exception]] = []
    for row in rows:
        gave, raised = each_alone(connection, [row], apply)
        results += gave
        failed += raised
    return results, failed


def note_passed_over(
    state: StateDatabase,
    connection: Connection,
    kind: str,
    failures: Sequence[Failure],
    now: datetime,
    *,
    logged: bool = False,
) -> None:
    """Count failures of a kind (a plural, for people) in the caller's transaction, and log them unless they are `logged`."""
    if not failures:
        return
    if not logged:
        _log(connection, kind, failures, now)
    row = {
        "name": PREFIX + kind,
        "status": "warning",
        "value": float(len(failures)),
        "detail": said(*failures[-1]),
        "failures": 0,
        "since": now,
        "measured_at": now,
    }
    insert = state.insert(probes)
    fresh, old = insert.excluded, probes.c
    in_window = old.since > now - WINDOW
    counted = insert.on_conflict_do_update(
        index_elements=[old.name],
        set_={
            "status": fresh.status,
            "detail": fresh.detail,
            "measured_at": fresh.measured_at,
            "value": case((in_window, old.value + fresh.value), else_=fresh.value),
            "since": case((in_window, old.since), else_=fresh.since),
        },
    )
    connection.execute(counted, [row])


def _log(connection: Connection, kind: str, failures: Sequence[Failure], now: datetime) -> None:
    """Log the first failures of a kind in an hour, and none that is as the one before: one that goes on fills no log."""
    known = connection.execute(select(probes).where(probes.c.name == PREFIX + kind)).first()
    goes_on = known is not None and known.since > now - WINDOW
    before = int(known.value or 0) if known is not None and goes_on else 0
    last = known.detail if known is not None and goes_on else ""
    for number, (what, error) in enumerate(failures[: max(0, LOGGED - before)], before):
        detail = said(what, error)
        if detail != last:
            log.error("passed over: %s", detail, exc_info=None if number else error)
        last = detail


def passed_over(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    """What was passed over lately, a row for each kind: kind, count, since, detail (of the last)."""
    query = select(probes).where(
        probes.c.name.startswith(PREFIX, autoescape=True), probes.c.measured_at > now - WINDOW
    )
    return [
        {
            "kind": row.name.removeprefix(PREFIX),
            "count": int(row.value or 0),
            "since": row.since,
            "detail": row.detail,
        }
        for row in connection.execute(query.order_by(probes.c.name))
    ]


def said(what: str, error: Exception) -> str:
    """What failed and how, in one bounded line that any database can hold."""
    text = f"{what[:DETAIL_LENGTH]}: {type(error).__name__}: {str(getattr(error, 'orig', None) or error)[:DETAIL_LENGTH]}"
    return " ".join(text.encode("utf-8", "replace").decode().replace("\0", "\ufffd").split())
