"""Runs whose process is gone are ended, wherever it was; those that live, or whose host cannot be heard for a moment, go on."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._daemon.monitoring.run_monitoring import monitor_started_run

from tasks_pipeline import run_launcher
from tasks_pipeline.home import HOME_VARIABLE, Home
from tasks_pipeline.run_launcher import WatchingRunLauncher
from tasks_pipeline.service.dagster_home import write_dagster_home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import run_beats

HERE = socket.gethostname()


class Clock:
    """In the place of a clock that goes on by itself."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(run_launcher, "time", made)
    return made


@pytest.fixture
def watched(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv(HOME_VARIABLE, str(home.root))
    return home


@pytest.fixture
def instance(watched: Home) -> Iterator[dg.DagsterInstance]:
    """The instance of the home, as its dagster.yaml says."""
    write_dagster_home(watched)
    with dg.DagsterInstance.from_config(str(watched.dagster_home)) as opened:
        yield opened


@dg.job
def work() -> None:
    """Nothing to do."""


@pytest.fixture
def run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.create_run_for_job(work, status=dg.DagsterRunStatus.STARTED)


def beat(home: Home, run: dg.DagsterRun, *, host: str = HERE, pid: int, at: datetime | None = None) -> None:
    """A sign of life of a run, in the place of the one before."""
    now = at or datetime.now(UTC)
    row = {
        "run_id": run.run_id,
        "host": host,
        "pid": pid,
        "lane": "events",
        "started_at": now,
        "beat_at": now,
    }
    with closing(StateDatabase(home)) as state, state.write() as connection:
        connection.execute(run_beats.delete())
        connection.execute(run_beats.insert().values(**row))


def process_that_ended() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def monitored(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """What becomes of a run when Dagster looks at it once."""
    record = instance.get_run_record_by_id(run.run_id)
    assert record is not None
    nothing: Any = None  # a workspace is for runs that are resumed
    monitor_started_run(instance, nothing, record, logging.getLogger(__name__))
    after = instance.get_run_by_id(run.run_id)
    assert after is not None
    return after.status


def test_a_run_is_ended_when_its_process_on_this_host_is_gone(
    watched: Home, instance: dg.DagsterInstance, run: dg.DagsterRun
) -> None:
    assert isinstance(instance.run_launcher, WatchingRunLauncher)
    assert monitored(instance, run) == dg.DagsterRunStatus.STARTED, "it gave no sign of life yet"
    beat(watched, run, pid=os.getpid())
    assert monitored(instance, run) == dg.DagsterRunStatus.STARTED
    pid = process_that_ended()
    beat(watched, run, pid=pid)
    assert monitored(instance, run) == dg.DagsterRunStatus.FAILURE
    said = " ".join(event.message for event in instance.all_logs(run.run_id))
    assert f"process {pid} is gone" in said


def test_a_process_that_has_the_number_of_another_is_not_it(
    watched: Home, instance: dg.DagsterInstance, run: dg.DagsterRun, clock: Clock
) -> None:
    beat(watched, run, pid=os.getpid(), at=datetime.now(UTC) - timedelta(days=7))
    for clock.now in (0, 30):
        assert monitored(instance, run) == dg.DagsterRunStatus.STARTED
    clock.now = 60
    assert monitored(instance, run) == dg.DagsterRunStatus.FAILURE


def test_a_clock_that_is_put_forward_ends_no_run(
    watched: Home, instance: dg.DagsterInstance, run: dg.DagsterRun, clock: Clock
) -> None:
    """By the clock of now its process began after it; but it goes on giving signs of life."""
    for clock.now in range(0, 300, 30):
        at = datetime.now(UTC) - timedelta(days=7) + timedelta(seconds=clock.now)
        beat(watched, run, pid=os.getpid(), at=at)
        assert monitored(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_of_another_host_is_ended_after_its_silence(
    watched: Home, instance: dg.DagsterInstance, run: dg.DagsterRun, clock: Clock
) -> None:
    """By our own clock, whatever the other's says; a sign that comes, and an absence of our own, begin it anew."""
    beat(watched, run, host="host-a", pid=1, at=datetime(2020, 1, 1, tzinfo=UTC))
    launcher = instance.run_launcher

    def look(at: float) -> WorkerStatus:
        clock.now = at
        return launcher.check_run_worker_health(run).status

    assert [look(0), look(30)] == [WorkerStatus.RUNNING] * 2
    beat(watched, run, host="host-a", pid=1, at=datetime(2020, 1, 2, tzinfo=UTC))
    assert [look(60), look(90)] == [WorkerStatus.RUNNING] * 2
    assert look(300) == WorkerStatus.RUNNING, "nobody looked for long: who could tell"
    assert [look(330), look(345)] == [WorkerStatus.RUNNING, WorkerStatus.FAILED]
    assert monitored(instance, run) == dg.DagsterRunStatus.FAILURE
