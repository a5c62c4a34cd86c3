"""What is only needed while something is at work, or was not told yet: it goes some time after it is finished."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, select

from tasks_pipeline.storage.state.database import CHUNK, StateDatabase
from tasks_pipeline.storage.state.tables import drains, notifications, regroupings, replacements

FINISHED_FOR = timedelta(days=1)
"""Longer than any run takes that may still ask for it."""
DIGESTS_FOR = timedelta(days=30)
"""Entries of digests are in the log of notifications for so long."""


def drop_finished(state: StateDatabase, now: datetime) -> dict[str, int]:
    """Remove drains that are silent, replacements and regroupings that are done, all for FINISHED_FOR, and entries of
    digests that were sent DIGESTS_FOR ago. Gives how many of each went."""
    before = now - FINISHED_FOR
    # The newest stays: its number is what a batch remembers, and SQLite would give it to the next one.
    newest = select(func.max(regroupings.c.id)).scalar_subquery()
    return {
        "drains": _drop(state, drains, drains.c.heartbeat_at < before),
        "replacements": _drop(state, replacements, replacements.c.done_at < before),
        "regroupings": _drop(state, regroupings, regroupings.c.done_at < before, regroupings.c.id < newest),
        "digest_entries": _drop(state, notifications, *_told(now - DIGESTS_FOR)),
    }


def _told(before: datetime) -> tuple[ColumnElement[bool], ...]:
    entry, digest = notifications.c, notifications.alias("digests")
    sent = select(digest.c.id).where(digest.c.id == entry.digest_id, digest.c.sent_at < before)
    return entry.status == "digest", entry.digest_id.is_not(None), sent.exists()


def _drop(state: StateDatabase, table: Table, *conditions: ColumnElement[bool]) -> int:
    """A few rows in each transaction, so that nobody waits for all of them."""
    (key,) = table.primary_key.columns
    dropped = 0
    while True:
        with state.write() as connection:
            ids: list[Any] = list(connection.execute(select(key).where(*conditions).limit(CHUNK)).scalars())
            connection.execute(delete(table).where(key.in_(ids)))
        dropped += len(ids)
        if len(ids) < CHUNK:
            return dropped
