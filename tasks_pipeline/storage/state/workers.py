"""Who is at work, by the last sign of life: workers of lanes, and the processes of runs. Nothing here ends anybody."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import run_beats, workers

BEAT_SECONDS = 5.0
WORKER_SILENT_AFTER = timedelta(seconds=15)
RUN_SILENT_AFTER = timedelta(seconds=45)
"""A process of a run that said nothing for so long is gone: nine beats, more than a restart of the database takes."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that takes runs from queues; `lanes` are the names of those it serves."""

    host: str
    pid: int
    lanes: tuple[str, ...]
    concurrency: int
    started_at: datetime
    beat_at: datetime


@dataclass(frozen=True, slots=True)
class RunBeat:
    """The process that a Dagster run is carried out by. `lost` says how it ended, when its worker saw it die."""

    run_id: str
    host: str
    pid: int
    lane: str
    started_at: datetime
    beat_at: datetime
    lost: str | None

    def death(self, now: datetime) -> str:
        """How the process is known to be dead, in a sentence; empty while it may live."""
        if self.lost:
            return self.lost
        silence = now - self.beat_at
        if silence < RUN_SILENT_AFTER:
            return ""
        return f"process {self.pid} on {self.host} gave no sign of life for {silence.total_seconds():.0f} s"


def beat_worker(
    state: StateDatabase, lanes: Sequence[str], concurrency: int, started_at: datetime, now: datetime
) -> None:
    """Say that this process serves lanes; the same of a number of a process that is used again replaces the former."""
    host, pid = socket.gethostname(), os.getpid()
    values = {
        "lanes": ",".join(lanes),
        "concurrency": concurrency,
        "started_at": started_at,
        "beat_at": now,
    }
    insert = state.insert(workers).values(host=host, pid=pid, **values)
    with state.write() as connection:
        connection.execute(insert.on_conflict_do_update(index_elements=["host", "pid"], set_=values))


def forget_worker(state: StateDatabase) -> None:
    """Say that this process serves no lane any more."""
    mine = (workers.c.host == socket.gethostname(), workers.c.pid == os.getpid())
    with state.write() as connection:
        connection.execute(delete(workers).where(*mine))


def living_workers(connection: Connection, now: datetime) -> list[Worker]:
    """Workers that gave a sign of life lately."""
    found = connection.execute(select(workers).where(workers.c.beat_at > now - WORKER_SILENT_AFTER))
    return [
        Worker(row.host, row.pid, tuple(row.lanes.split(",")), row.concurrency, row.started_at, row.beat_at)
        for row in found
    ]


def beat_run(state: StateDatabase, run_id: str, lane: str, started_at: datetime, now: datetime) -> None:
    """Say that this process carries out a run. A run that is started anew has its new process from then on."""
    values = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "lane": lane,
        "started_at": started_at,
        "beat_at": now,
        "lost": None,
    }
    insert = state.insert(run_beats).values(run_id=run_id, **values)
    with state.write() as connection:
        connection.execute(insert.on_conflict_do_update(index_elements=["run_id"], set_=values))


def note_lost_run(state: StateDatabase, run_id: str, why: str) -> bool:
    """Say that the process of a run died, as its worker saw it; false when the run never told of itself."""
    statement = update(run_beats).where(run_beats.c.run_id == run_id).values(lost=why)
    with state.write() as connection:
        return bool(connection.execute(statement).rowcount)


def forget_run(state: StateDatabase, run_id: str) -> None:
    """Say that no process carries a run out: it waits for another."""
    with state.write() as connection:
        connection.execute(delete(run_beats).where(run_beats.c.run_id == run_id))


def beats_of_runs(connection: Connection, run_ids: Sequence[str]) -> dict[str, RunBeat]:
    """The processes of runs, as far as they told of themselves."""
    found = connection.execute(select(run_beats).where(run_beats.c.run_id.in_(run_ids)))
    return {row.run_id: RunBeat(*row) for row in found}
