"""Drains: which are at work, and which went silent."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select, update

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


def end_drain(state: StateDatabase, drain_id: str) -> None:
    """Say that a drain ended; what it left open can be claimed at once."""
    with state.write() as connection:
        connection.execute(update(drains).where(drains.c.id == drain_id).values(ended_at=datetime.now(UTC)))


def end_drains_of_run(state: StateDatabase, run_id: str) -> int:
    """Say that the drains of a Dagster run ended, because the run did; gives how many were still open."""
    with state.write() as connection:
        return connection.execute(
            update(drains)
            .where(drains.c.run_id == run_id, drains.c.ended_at.is_(None))
            .values(ended_at=datetime.now(UTC))
        ).rowcount


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


def runs_past_draining(state: StateDatabase, run_ids: Collection[str]) -> set[str]:
    """Those of some runs whose drains have all ended: what comes now waits for another, though the run goes on checking."""
    if not run_ids:
        return set()
    query = (
        select(drains.c.run_id)
        .where(drains.c.run_id.in_(sorted(run_ids)))
        .group_by(drains.c.run_id)
        .having(func.count() == func.count(drains.c.ended_at))
    )
    with state.read() as connection:
        return set(connection.execute(query).scalars())


def last_sign_of_run(state: StateDatabase, run_id: str) -> datetime | None:
    """When a drain of a Dagster run last gave a sign of life; None when the run started none."""
    with state.read() as connection:
        sign: datetime | None = connection.execute(
            select(
                func.max(func.coalesce(drains.c.ended_at, drains.c.heartbeat_at), type_=UtcDateTime())
            ).where(drains.c.run_id == run_id)
        ).scalar()
    return sign
