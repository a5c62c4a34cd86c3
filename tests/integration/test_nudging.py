"""What the nudge wants started, from real stores; that it starts it in a real Dagster is in tests/integration/test_service.py."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tasks_pipeline.config import Config
from tasks_pipeline.config.loading import parse_config
from tasks_pipeline.home import Home
from tasks_pipeline.nudging import loop
from tasks_pipeline.nudging.nudge import Nudge
from tasks_pipeline.nudging.wanted import MONITORS, SENDER, Start, drain_of, wanted
from tasks_pipeline.outages import Outage
from tasks_pipeline.service.dagster_client import DagsterError
from tasks_pipeline.storage.ledger.drains import drained_runs, end_drain, start_drain
from tasks_pipeline.stores import Stores
from tasks_pipeline.tools import Tools
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.waiting import wait_for

TODAY = datetime.now(UTC).date()
TEXT = """
projects: [{id: 1000, slug: shop, keys: [{public_key: abcdef}]}]
channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]
alert_rules: [{name: a, when: [new_group], notify: ['channel:hook']}]
"""
ALERTING = parse_config(TEXT, "test")
SILENT = parse_config(TEXT.split("channels")[0], "test")


def asked(stores: Stores, config: Config, *, by_the_clock: bool = True) -> list[str]:
    questions = wanted(stores.state, stores.spool, config, datetime.now(UTC), by_the_clock=by_the_clock)
    return [start.key for question in questions for start in question()]


def test_at_rest_nothing_is_wanted(own: Stores) -> None:
    assert asked(own, ALERTING) == []


def test_an_event_wants_a_drain_and_a_sender_that_stands_by(own_day: Day) -> None:
    own_day.send(event())
    assert asked(own_day.stores, ALERTING) == [drain_of(own_day.date).key, SENDER.key]
    assert asked(own_day.stores, SILENT) == [drain_of(own_day.date).key]


def test_a_drain_that_ended_takes_nothing_more(own_day: Day) -> None:
    """Whatever its run still does: what comes after it wants another."""
    own_day.send(event())
    state = own_day.stores.state
    drain_id = start_drain(state, own_day.date, "run-1")
    assert asked(own_day.stores, SILENT) == []
    assert drained_runs(state, ["run-1", "run-2"]) == set()
    end_drain(state, drain_id)
    assert asked(own_day.stores, SILENT) == [drain_of(own_day.date).key]
    assert drained_runs(state, ["run-1", "run-2"]) == {"run-1"}


def test_a_message_wants_a_sender(own_day: Day) -> None:
    stores = replace(own_day.stores, config=ALERTING, tools=Tools(ALERTING))
    day = replace(own_day, stores=stores)
    day.send(event())
    day.drain()
    assert asked(stores, ALERTING, by_the_clock=False) == [SENDER.key]


def test_monitors_that_are_due_are_wanted_by_the_clock(own: Stores) -> None:
    day = Day(own, TODAY, 1000)
    config = {"schedule": {"type": "interval", "value": 1, "unit": "minute"}, "max_runtime": 1}
    before = (datetime.now(UTC) - day.at()).total_seconds() - 600
    payload = item("check_in", {"monitor_slug": "m", "status": "ok", "monitor_config": config})
    day.spool(day.receipt(payload, seconds=before))
    day.drain()
    assert MONITORS.key in asked(own, SILENT)
    assert asked(own, SILENT, by_the_clock=False) == []


class Recorder:
    """A Dagster that is asked over no network: takes everything, or is away."""

    def __init__(self) -> None:
        self.launched: list[str] = []
        self.away = threading.Event()

    def under_way(self, start: Start) -> bool:
        if self.away.is_set():
            raise DagsterError("away")
        return False

    def launch(self, start: Start) -> str:
        self.launched.append(start.key)
        return "run"

    def failed(self, run_id: str) -> bool:
        return False


def test_what_is_written_is_seen_at_once_and_a_dagster_that_was_away_is_asked_again(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is out of reach here: only what was written can start a drain."""
    monkeypatch.setattr(loop, "CLOCK_SECONDS", 3600.0)
    monkeypatch.setattr(loop, "UNREACHABLE_SECONDS", 0.1)
    dagster, over = Recorder(), threading.Event()
    dagster.away.set()
    thread = threading.Thread(
        target=loop._nudge,
        args=(own.home, own.state, own.spool, Nudge(dagster), over, Outage(loop.log, "no nudge")),
        daemon=True,
    )
    thread.start()
    try:
        day = Day(own, TODAY, 1)
        wait_for("it looked once", lambda: _looked(own.home))
        day.spool(day.receipt(event()))
        dagster.away.clear()
        wait_for("a drain", lambda: dagster.launched)
        assert dagster.launched[0] == drain_of(TODAY).key
    finally:
        over.set()
        thread.join(120)


def _looked(home: Home) -> bool:
    from tasks_pipeline.monitors.clock import NAME
    from tasks_pipeline.storage.state.database import StateDatabase
    from tasks_pipeline.storage.state.facts import probe

    state = StateDatabase(home)
    try:
        with state.read() as connection:
            return probe(connection, NAME) is not None  # written by the clock's first look
    finally:
        state.close()


def test_a_question_without_an_answer_silences_no_other(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[Start]:
        raise OSError("a damaged file")

    def questions(*_arguments: object, **_more: object) -> list[object]:
        return [broken, lambda: [SENDER]]

    monkeypatch.setattr(loop, "wanted", questions)
    assert loop._starts(own.home, own.state, own.spool, True, Outage(loop.log, "no answer")) == [SENDER]


def test_what_runs_are_forked_from_has_no_threads_of_ours() -> None:
    """A thread does not live on in a fork, and what it held stays held. Arrow's allocator starts its own again."""
    program = (
        "import os; import tasks_pipeline.warm_run;"
        "print({open(f'/proc/self/task/{t}/comm').read().strip() for t in os.listdir('/proc/self/task')}"
        " - {'jemalloc_bg_thd'}, len(os.listdir('/proc/self/task')))"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(found[-1]) <= 2, found
