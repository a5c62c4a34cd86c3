"""Time as all that counts sessions sees it: UTC days, full hours, slots of 15 minutes; and what is asked for them, the lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol

from tasks_pipeline.protocol.bounds import MAX_SESSION_AGE

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MOST_DAYS = 400
"""Of so many days health is shown at once, and stages are told of days that change."""
SLOT = timedelta(minutes=15)
"""Sessions are counted by the slot in which they began."""
SLOT_SQL = f"INTERVAL {SLOT.seconds} SECOND"
PLACES = 8
"""A state of `session_users` is the number of its slot in the day times this, plus its rank."""


class Queried(Protocol):
    """What answers queries: the lake, in whatever way it is open."""

    def query(self, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""


def full_hour(moment: datetime) -> datetime:
    """The begin of the hour in which a moment lies."""
    return moment.replace(minute=0, second=0, microsecond=0)


def begin_of(day: date) -> datetime:
    """When a UTC day begins."""
    return datetime.combine(day, time(), UTC)


def is_final(day: date, today: date) -> bool:
    """Whether nothing of sessions that began on a UTC day can be received any more."""
    return today - day > MAX_SESSION_AGE


def hours_between(first: datetime, until: datetime) -> Iterator[datetime]:
    """The full hours from the first on, the last one before `until`."""
    while first < until:
        yield first
        first += HOUR


def days_between(first: datetime, until: datetime) -> str:
    """A condition on `day` that chooses the files of a span: as constants, since parameters choose none."""
    last = (until - timedelta(microseconds=1)).date()
    return f"day BETWEEN DATE '{first.date().isoformat()}' AND DATE '{last.isoformat()}'"
