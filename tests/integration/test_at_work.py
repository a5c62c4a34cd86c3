"""Signs of life of runs and workers, and who is told to stop."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

from tasks_pipeline import stopping
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.executor import living_executor
from tasks_pipeline.home import Home
from tasks_pipeline.integrations.sync import sync_integrations
from tasks_pipeline.monitors.loop import watch_monitors
from tasks_pipeline.notifications.sending import send_alert_notification
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.retention.finished import drop_finished
from tasks_pipeline.shipping.loop import ship_releases
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import (
    RUN_SILENT_AFTER,
    beat_run,
    beat_worker,
    beats_of_runs,
    forget_worker,
    living_workers,
    note_lost_run,
)
from tests.support.day import Day

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def test_every_run_is_carried_out_by_a_process_that_tells_of_itself() -> None:
    """A job of its own executor would be carried out by a process of which nobody knows when it is dead."""
    definitions = build_defs()
    assert {job.executor_def for job in definitions.resolve_all_job_defs()} == {living_executor}


def test_silence_is_death_after_a_while(day: Day) -> None:
    state = day.stores.state
    beat_run(state, "run-1", "events", NOW, NOW)
    with state.read() as connection:
        beat = beats_of_runs(connection, ["run-1", "run-2"])["run-1"]
    assert beat.death(NOW + RUN_SILENT_AFTER - timedelta(seconds=1)) == ""
    assert "gave no sign of life for 45 s" in beat.death(NOW + RUN_SILENT_AFTER)


def test_a_death_that_the_worker_saw_counts_at_once_and_not_for_the_next_process(day: Day) -> None:
    state = day.stores.state
    beat_run(state, "run-1", "events", NOW, NOW)
    assert note_lost_run(state, "run-1", "killed by signal 9")
    assert not note_lost_run(state, "run-2", "killed by signal 9")
    with state.read() as connection:
        assert beats_of_runs(connection, ["run-1"])["run-1"].death(NOW) == "killed by signal 9"
    beat_run(state, "run-1", "events", NOW, NOW)  # started again
    with state.read() as connection:
        assert beats_of_runs(connection, ["run-1"])["run-1"].death(NOW) == ""


def test_who_serves_which_lanes(day: Day) -> None:
    state = day.stores.state
    beat_worker(state, ("events", "recompute"), 4, NOW, NOW)
    with state.read() as connection:
        (worker,) = living_workers(connection, NOW + timedelta(seconds=14))
        assert living_workers(connection, NOW + timedelta(seconds=15)) == []
    assert (worker.pid, worker.lanes, worker.concurrency) == (os.getpid(), ("events", "recompute"), 4)
    beat_worker(state, ("events",), 1, NOW, NOW)
    with state.read() as connection:
        assert [found.lanes for found in living_workers(connection, NOW)] == [("events",)]
    forget_worker(state)
    with state.read() as connection:
        assert living_workers(connection, NOW) == []


def test_who_was_at_work_is_forgotten_a_day_later(day: Day) -> None:
    state = day.stores.state
    beat_run(state, "run-1", "events", NOW, NOW)
    beat_worker(state, ("events",), 1, NOW, NOW)
    assert drop_finished(state, NOW + timedelta(hours=23))["run_processes"] == 0
    dropped = drop_finished(state, NOW + timedelta(hours=25))
    assert (dropped["run_processes"], dropped["workers"]) == (1, 1)


def test_whoever_lingers_ends_when_told_to_stop(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_told", True)
    stores = day.stores
    reasons = [
        drain(stores, day.date, linger_seconds=600).ended_because,
        send_alert_notification(stores, linger_seconds=600).ended_because,
        watch_monitors(stores, linger_seconds=600).ended_because,
        ship_releases(stores, linger_seconds=600).ended_because,
        sync_integrations(stores, linger_seconds=600).ended_because,
    ]
    assert reasons == ["its worker was told to stop"] * 5


def test_a_process_that_is_killed_falls_silent(home: Home) -> None:
    """What beats dies with its process, and leaves the row that tells which one it was."""
    code = (
        "import sys, time; from tasks_pipeline.home import Home; from tasks_pipeline.storage.state.beating import run_at_work\n"
        "with run_at_work(Home.resolve(sys.argv[1]), 'run-1', 'events'):\n    print('on', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(home.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    state = StateDatabase(home)
    try:
        until = threading.Event()
        while True:
            with state.read() as connection:
                if beat := beats_of_runs(connection, ["run-1"]).get("run-1"):
                    break
            until.wait(0.05)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        state.close()
    assert beat.pid == process.pid
