"""The circuit breaker of a channel: after failures in a row it is left alone for a while, then tried with one message."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.config.notifications import Notifications
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import channel_states

LONGEST_SECONDS = 3600.0


def open_until(connection: Connection, channel: str, now: datetime) -> datetime | None:
    """Until when a channel is left alone; None when it may be tried."""
    query = select(channel_states.c.open_until).where(channel_states.c.channel == channel)
    until: datetime | None = connection.execute(query).scalar_one_or_none()
    return until if until is not None and until > now else None


def open_seconds(failures: int, settings: Notifications) -> float:
    """How long a channel is left alone after so many failures in a row; 0 while there are few."""
    over = failures - settings.breaker_failures
    if over < 0:
        return 0.0
    return min(LONGEST_SECONDS, settings.breaker_seconds * 2.0 ** min(over, 20))


def note_success(state: StateDatabase, connection: Connection, channel: str, now: datetime) -> None:
    """The channel works."""
    _set(state, connection, channel, now, failures=0, open_until=None, last_error="", last_sent_at=now)


def note_failure(
    state: StateDatabase,
    connection: Connection,
    channel: str,
    now: datetime,
    *,
    settings: Notifications,
    detail: str,
    retry_after: float | None,
) -> None:
    """The channel failed; when the far side said for how long to leave it alone, that is obeyed."""
    query = select(channel_states.c.failures).where(channel_states.c.channel == channel)
    failures = (connection.execute(query).scalar_one_or_none() or 0) + 1
    seconds = max(open_seconds(failures, settings), retry_after or 0.0)
    until = now + timedelta(seconds=seconds) if seconds else None
    _set(state, connection, channel, now, failures=failures, open_until=until, last_error=detail[:1000])


def _set(state: StateDatabase, connection: Connection, channel: str, now: datetime, **values: Any) -> None:
    insert = state.insert(channel_states).values(
        channel=channel, changed_at=now, **({"failures": 0, "last_error": ""} | values)
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=[channel_states.c.channel], set_={**values, "changed_at": now}
        )
    )
