"""Failures: how long what failed is left alone, and how often the newest drains of a day failed in a row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from tasks_pipeline.storage.ledger.drains import SILENT_AFTER
from tasks_pipeline.storage.state.tables import drains

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=10)
REMEMBERED = timedelta(hours=2)
"""How far back drains are looked at: long enough for the longest wait to stay the longest."""
STUCK_AFTER = 3
"""Failed attempts after which a batch is no longer counted on soon; up to two may be chance."""
MAX_REASON = 300


@dataclass(frozen=True, slots=True)
class FailedDrains:
    """Drains of a day that failed in a row since something of it was stored; `not_before` is when the next is worth starting."""

    count: int = 0
    not_before: datetime | None = None
    error: str = ""


def wait_after(failures: int) -> timedelta:
    """How long what failed so many times in a row is left alone."""
    doubled: int = 2 ** max(0, min(failures, 20) - 1)
    return min(FIRST_WAIT * doubled, LONGEST_WAIT)


def reason_of(error: BaseException) -> str:
    """What an exception says, on one line of bounded length."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}"[:MAX_REASON] if said else type(error).__name__


def failed_drains(connection: Connection) -> dict[date, FailedDrains]:
    """By day: drains that failed in a row. A drain that fell silent failed too: its process died."""
    now = datetime.now(UTC)
    d = drains.c
    rows = connection.execute(
        select(d.day, d.heartbeat_at, d.stored_at, d.ended_at, d.error).where(
            d.heartbeat_at >= now - REMEMBERED
        )
    ).all()
    return {day: _in_a_row([row for row in rows if row.day == day], now) for day in {row.day for row in rows}}


def _in_a_row(rows: Iterable[Row[Any]], now: datetime) -> FailedDrains:
    good = datetime.min.replace(tzinfo=UTC)
    failures: list[tuple[datetime, str]] = []
    for row in rows:
        if row.stored_at is not None:
            good = max(good, row.stored_at)
        if row.ended_at is not None and row.error is None:
            good = max(good, row.ended_at)
        elif row.error is not None:
            failures.append((row.ended_at or row.heartbeat_at, row.error))
        elif row.heartbeat_at < now - SILENT_AFTER:
            failures.append((row.heartbeat_at, "its process died"))
    since = sorted(failure for failure in failures if failure[0] > good)
    if not since:
        return FailedDrains()
    at, error = since[-1]
    return FailedDrains(len(since), at + wait_after(len(since)), error)
