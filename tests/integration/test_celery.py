"""Runs in the queues of a real broker, carried out by real workers: their ends, however they come."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from tasks_pipeline import celery_launcher
from tasks_pipeline.cli import main
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.lanes import LANE_TAG, LANES, QUEUE_TAG
from tasks_pipeline.nudging.wanted import SENDER, Start, drain_of
from tasks_pipeline.partitions import tags_of_day
from tasks_pipeline.service.celery_worker import command
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import RUN_SILENT_AFTER, beats_of_runs, living_workers
from tasks_pipeline.stores import open_stores
from tests.support.brokers import BrokerMissing, redis
from tests.support.celery_runs import Queues, await_that, queues

NAMED = ("TASKS_PIPELINE_BROKER", "TASKS_PIPELINE_HOME", "DAGSTER_HOME")


@pytest.fixture
def queued(tmp_path: Path) -> Iterator[Queues]:
    """A home whose broker is a real Redis."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in NAMED:
            patch.setenv(name, "")  # put back at the end, whatever it is meanwhile
        try:
            broker = stack.enter_context(redis())
        except BrokerMissing as missing:
            pytest.skip(str(missing))
        yield stack.enter_context(queues(tmp_path / "home", broker.url))


def drain(queued: Queues, **tags: str) -> str:
    """A run that lingers, once a process is at it."""
    day = datetime.now(UTC).date()
    return begun(queued, drain_of(day), {**tags_of_day(day), **tags})


def begun(queued: Queues, start: Start, tags: dict[str, str]) -> str:
    run_id = queued.launch(start.job, {**start.tags, **tags}, start.config)
    queued.process_of(run_id)
    return run_id


def lanes_served(queued: Queues) -> dict[int, tuple[str, ...]]:
    with closing(StateDatabase(queued.home)) as state, state.read() as connection:
        return {worker.pid: worker.lanes for worker in living_workers(connection, datetime.now(UTC))}


def test_runs_end_as_they_should_whatever_happens_to_workers(
    queued: Queues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one test, for a worker takes seconds to start."""
    log, log_of_other = tmp_path / "worker.log", tmp_path / "other.log"
    with (
        queued.worker("events", log=log) as worker,
        queued.worker("recompute", "notifications", log=log_of_other, concurrency=2, grace=5) as other,
    ):
        a_run_that_no_worker_took_is_canceled_at_once(queued)
        await_that(lambda: queued.serves(worker), log)
        await_that(lambda: queued.serves(other), log_of_other)
        assert lanes_served(queued) == {worker.pid: ("events",), other.pid: ("recompute", "notifications")}
        assert CliRunner().invoke(main, ["health", "worker"]).output == "worker: ok\n"
        a_process_that_was_killed_is_known_at_once(queued)
        a_canceled_run_is_canceled(queued)
        put_back = a_worker_that_stops_ends_its_runs_or_puts_them_back(queued, other)
        assert lanes_served(queued) == {worker.pid: ("events",)}
        another_worker_takes_it_up(queued, put_back)
        a_killed_worker_takes_its_processes_along_and_they_fall_silent(queued, worker, put_back, monkeypatch)


def a_run_that_no_worker_took_is_canceled_at_once(queued: Queues) -> None:
    run_id = queued.launch("cleanup", {})
    assert queued.status(run_id) == "STARTING"
    assert queued.instance.run_launcher.terminate(run_id)
    assert queued.status(run_id) == "CANCELED"


def a_process_that_was_killed_is_known_at_once(queued: Queues) -> None:
    run_id = drain(queued)
    assert queued.health(run_id) == "RUNNING"
    os.kill(queued.process_of(run_id), signal.SIGKILL)
    await_that(lambda: queued.health(run_id) == "FAILED", "nobody noticed that the process was killed")
    run = queued.instance.get_run_by_id(run_id)
    assert run is not None
    queued.instance.report_run_failed(run, "as run monitoring does")


def a_canceled_run_is_canceled(queued: Queues) -> None:
    run_id = drain(queued)
    assert queued.instance.run_launcher.terminate(run_id)
    await_that(lambda: queued.status(run_id) not in ("STARTED", "CANCELING"), "the run goes on")
    assert queued.status(run_id) == "CANCELED"
    assert not queued.instance.run_launcher.terminate(run_id)


def a_worker_that_stops_ends_its_runs_or_puts_them_back(
    queued: Queues, other: subprocess.Popen[bytes]
) -> str:
    with open_stores(queued.home) as stores, stores.lake.lock():
        stuck = drain(queued, **{QUEUE_TAG: "recompute"})  # needs the lock, and comes to no end without it
        lingers = begun(queued, SENDER, {})
        processes = [queued.process_of(run_id) for run_id in (stuck, lingers)]
        os.kill(processes[1], signal.SIGTERM)  # whoever ends a whole group reaches the process, too
        other.terminate()
        assert other.wait(30) == 0
        assert [queued.status(run_id) for run_id in (stuck, lingers)] == ["QUEUED", "SUCCESS"]
    assert not any(map(psutil.pid_exists, processes))
    return stuck


def another_worker_takes_it_up(queued: Queues, run_id: str) -> None:
    queued.instance.add_run_tags(run_id, {QUEUE_TAG: "events"})
    queued.launch_again(run_id)
    queued.process_of(run_id)
    assert queued.health(run_id) == "RUNNING"


def a_killed_worker_takes_its_processes_along_and_they_fall_silent(
    queued: Queues, worker: subprocess.Popen[bytes], run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = queued.process_of(run_id)
    worker.kill()
    await_that(lambda: not psutil.pid_exists(process), "the process outlived its worker")
    monkeypatch.setattr(celery_launcher, "RUN_SILENT_AFTER", RUN_SILENT_AFTER / 1000)
    await_that(lambda: queued.health(run_id) == "FAILED", "nobody noticed the silence")
    with closing(StateDatabase(queued.home)) as state, state.read() as connection:
        beat = beats_of_runs(connection, [run_id])[run_id]
    assert (beat.pid, beat.lost) == (process, None)


def test_every_job_waits_in_the_queue_of_its_lane() -> None:
    """And there is no lane without one."""
    jobs = [job for job in build_defs().resolve_all_job_defs() if not job.name.startswith("__")]
    assert {job.name for job in jobs if job.run_tags.get(LANE_TAG) not in LANES} == set()
    for job in jobs:
        assert job.run_tags[QUEUE_TAG] == LANES[job.run_tags[LANE_TAG]].queue
    assert len({lane.queue for lane in LANES.values()}) == len(LANES)


# ── commands


def test_a_worker_has_a_process_for_each_run_that_its_lanes_may_have() -> None:
    assert command(["events", "recompute"])[-1] == "4"
    assert command(["events"], 7)[-2:] == ["--concurrency", "7"]


def test_a_worker_without_a_broker_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--home", str(tmp_path), "worker", "events"])
    assert result.exit_code == 1
    assert "no broker is configured" in result.output


def test_a_broker_that_is_none_is_told_without_its_password(tmp_path: Path) -> None:
    environment = {"TASKS_PIPELINE_BROKER": "kafka://user:s3cret@host"}
    result = CliRunner().invoke(main, ["--home", str(tmp_path), "worker", "events"], env=environment)
    assert result.exit_code == 1
    assert "found 'kafka', allowed are redis://, rediss://, amqp://, amqps://" in result.output
    assert "s3cret" not in result.output
