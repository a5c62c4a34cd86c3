"""Locks among processes on Postgres: whoever waits says for whom, and a holder that is frozen loses them, with what it commits late."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import text

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.files import LakeFile
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state import locks
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import all_probes, set_probe
from tasks_pipeline.storage.state.locks import process_lock
from tests.support.waiting import wait_for

DAY = date(2020, 1, 1)
NOW = datetime(2020, 1, 1, tzinfo=UTC)
FROZEN = 1.5
"""Seconds until the server takes the lock of who is frozen, in place of 25."""


def a_file(lake: Lake, reason: str, position: int) -> list[LakeFile]:
    row = {
        "day": DAY,
        "part": "r0",
        "position": position,
        "item": 0,
        "project_id": 1,
        "item_type": "event",
        "reason": reason,
    }
    with lake.writing(DAY, reason) as files:
        files.add(to_arrow({"dead_letters": [row]}))
        finished = files.finish()[:]
        files.finished.clear()
    return finished


def add(state: StateDatabase, lake: Lake, who: str) -> None:
    lake.register(a_file(lake, who, 1))


def replace(state: StateDatabase, lake: Lake, who: str) -> None:
    lake.replace(DAY, {"r0": 100}, a_file(lake, who, 2))


def merge(state: StateDatabase, lake: Lake, who: str) -> None:
    old = [file for file in lake.live_files() if file.table == "dead_letters"]
    assert lake.exchange(old, a_file(lake, who, 3))


def count(state: StateDatabase, lake: Lake, who: str) -> None:
    with state.write() as connection:
        set_probe(state, connection, "counted", NOW, status=who)


WORK: dict[str, Callable[[StateDatabase, Lake, str], None]] = {
    "add": add,
    "replace": replace,
    "merge": merge,
    "count": count,
}

CHILD = """
import sys
from pathlib import Path
root, url, frozen = sys.argv[1:]
from tasks_pipeline.storage.state import database, locks
locks.FROZEN_SECONDS, locks.BEAT_SECONDS = float(frozen), float(frozen) / 5
database._GIVE_UP = f"SET LOCAL idle_in_transaction_session_timeout = {float(frozen) * 500:.0f}"
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake import lake as module
from tests.integration.test_locks import WORK
state = database.StateDatabase(Home(Path(root), database_url=url))
lake = module.Lake(state.home, state)
ensure = locks.ensure_locks
def here():
    print("here", flush=True)
    sys.stdin.readline()
for line in sys.stdin:
    name, step = line.split()
    def stopping():
        if step == "before":
            here()
        ensure()
        if step == "behind":
            here()
    try:
        with lake.lock():
            module.ensure_locks = database.ensure_locks = stopping
            WORK[name](state, lake, "late")
        print("stored", flush=True)
    except Exception as error:
        print(type(error).__name__, flush=True)
    module.ensure_locks = database.ensure_locks = ensure
"""

TERMINATE = """
SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Other:
    """Another process, which stops in the middle of what it does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def say(self, words: str) -> str:
        """Tell it something; gives what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def seen(lake: Lake) -> list[str]:
    return [
        row["reason"] for row in lake.query("SELECT reason FROM lake.dead_letters ORDER BY position, reason")
    ]


def test_a_frozen_holder_delays_others_for_a_while_and_what_it_commits_late_is_refused(
    postgres_home: Home,
) -> None:
    """In the middle of each kind of commit, before it asks whether the lock is still its own, or just after the answer."""
    with (
        closing(StateDatabase(postgres_home)) as state,
        closing(Lake(postgres_home, state)) as lake,
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(postgres_home.root), postgres_home.database_url, str(FROZEN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        other = Other(process)
        for name, step in [
            ("add", "before"),
            ("add", "behind"),
            ("merge", "behind"),
            ("replace", "behind"),
            ("count", "behind"),
        ]:
            assert other.say(f"{name} {step}") == "here"
            os.kill(process.pid, signal.SIGSTOP)
            try:
                with lake.lock():  # which the server takes from it
                    WORK[name](state, lake, "mine")
            finally:
                os.kill(process.pid, signal.SIGCONT)
            answer = other.say("")
            assert answer != "stored", f"{name} {step}"
            assert "late" not in seen(lake), f"{name} {step}: {answer}"
        with state.read() as connection:
            assert all_probes(connection)["counted"]["status"] == "mine"
        assert other.say("add nowhere") == "stored", "it goes on when it is awake"
        assert process.stdin is not None
        process.stdin.close()


def test_whoever_waits_says_for_whom_and_a_holder_that_lives_keeps_its_lock(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "FROZEN_SECONDS", 0.6)
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(locks, "TOLD_AFTER_SECONDS", 0.3)
    got = threading.Event()

    def take() -> None:
        with process_lock(postgres_home, "test"):
            got.set()

    taker = threading.Thread(target=take)
    with caplog.at_level(logging.WARNING), process_lock(postgres_home, "test"):
        taker.start()
        wait_for("it is told", lambda: "waiting for the lock 'test'" in caplog.text)
        assert not got.wait(1.5), "a holder at work says so all the time"
        locks.ensure_locks()
    assert got.wait(60)
    taker.join()
    assert f"held by {locks.application_name()} at 127.0.0.1" in caplog.text
    assert caplog.text.count("waiting for the lock") == 1


def test_a_lock_that_an_operator_ended_is_lost(postgres_home: Home) -> None:
    with closing(StateDatabase(postgres_home)) as state, closing(Lake(postgres_home, state)) as lake:
        with process_lock(postgres_home, "test"):
            with state.engine.begin() as connection:
                assert connection.scalar(text(TERMINATE)) == 1
            with pytest.raises(locks.LockLost, match="'test' was lost"):
                count(state, lake, "late")
        count(state, lake, "later")
