"""Drains: which are at work, and which went silent."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, func, select, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import UtcDateTime, drains

SILENT_AFTER = timedelta(seconds=15)  # a drain sends a heartbeat every two seconds


@dataclass(frozen=True, slots=True)
class ActiveDrain:
    """A drain that ended neither well nor silently."""

    id: str
    day: date
    run_id: str | None
    started_at: datetime


def start_drain(state: StateDatabase, day: date, run_id: str | None) -> str:
    """Register a drain; gives its id."""
    now = datetime.now(UTC)
    drain_id = uuid.uuid4().hex
    with state.write() as connection:
        connection.execute(
            drains.insert().values(
                id=drain_id,
                day=day,
                run_id=run_id,
                host=socket.gethostname(),
                pid=os.getpid(),
                started_at=now,
                heartbeat_at=now,
            )
        )
    return drain_id


def beat(state: StateDatabase, drain_id: str) -> None:
    """Say that a drain is alive."""
    with state.write() as connection:
        connection.execute(
            update(drains).where(drains.c.id == drain_id).values(heartbeat_at=datetime.now(UTC))
        )


def end_drain(state: StateDatabase, drain_id: str, error: str | None = None) -> None:
    """Say that a drain ended, and why if it failed; nobody need wait for its silence then."""
    ended = {"ended_at": datetime.now(UTC), "error": error}
    with state.write() as connection:
        connection.execute(update(drains).where(drains.c.id == drain_id).values(ended))


def end_drains_of_run(state: StateDatabase, run_id: str) -> int:
    """Say that the drains of a Dagster run ended, because the run failed; gives how many were still open."""
    ended = {"ended_at": datetime.now(UTC), "error": f"run {run_id} failed"}
    with state.write() as connection:
        return connection.execute(
            update(drains).where(drains.c.run_id == run_id, drains.c.ended_at.is_(None)).values(ended)
        ).rowcount


def stored_since(connection: Connection, moment: datetime) -> bool:
    """Whether a drain that was alive since a moment has stored anything since."""
    query = select(drains.c.id).where(drains.c.heartbeat_at >= moment, drains.c.stored_at >= moment).limit(1)
    return connection.execute(query).first() is not None


def active_drains(state: StateDatabase) -> list[ActiveDrain]:
    """Drains that gave a sign of life lately."""
    since = datetime.now(UTC) - SILENT_AFTER
    with state.read() as connection:
        rows = connection.execute(
            select(drains.c.id, drains.c.day, drains.c.run_id, drains.c.started_at).where(
                drains.c.ended_at.is_(None), drains.c.heartbeat_at >= since
            )
        )
        return [ActiveDrain(*row) for row in rows]


def drained_runs(state: StateDatabase, run_ids: Collection[str]) -> set[str]:
    """Those of these Dagster runs whose drains have ended: they check what they stored, and take nothing more.

    However long that takes it is no silence, and others may start meanwhile.
    """
    d = drains.c
    query = (
        select(d.run_id)
        .where(d.run_id.in_(run_ids))
        .group_by(d.run_id)
        .having(func.count() == func.count(d.ended_at))
    )
    with state.read() as connection:
        return set(connection.execute(query).scalars()) if run_ids else set()


def last_sign_of_run(state: StateDatabase, run_id: str) -> datetime | None:
    """When a drain of a Dagster run last gave a sign of life; None when the run started none."""
    with state.read() as connection:
        sign: datetime | None = connection.execute(
            select(
                func.max(func.coalesce(drains.c.ended_at, drains.c.heartbeat_at), type_=UtcDateTime())
            ).where(drains.c.run_id == run_id)
        ).scalar()
    return sign
