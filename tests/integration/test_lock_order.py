"""Locks of the state database are taken in one order: nobody waits for anybody in a circle, however long each takes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection

from tasks_pipeline.groups.decisions import resolve_groups, unresolve_groups
from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.home import Home
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.monitors.uptime import check_uptime
from tasks_pipeline.storage.state.database import LOCK_ORDER, StateDatabase
from tasks_pipeline.stores import open_stores
from tests.support.alerting import alerting
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.locks import LockRecorder

TOLD = "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
HOURLY = {"schedule": {"type": "crontab", "value": "0 * * * *"}}
ROUNDS = 6


def test_several_locks_are_taken_in_their_order(postgres_home: Home) -> None:
    with open_stores(postgres_home) as stores, stores.state.write() as connection:
        taken: list[int] = []
        execute = connection.execute

        def noting(statement: Any, parameters: Any = None, **options: Any) -> Any:
            taken.append(parameters["key"])
            return execute(statement, parameters, **options)

        connection.execute = noting  # type: ignore[method-assign]
        stores.state.serialise(connection, *reversed(LOCK_ORDER))
        in_order = list(taken)
        taken.clear()
        for name in LOCK_ORDER:
            stores.state.serialise(connection, name)
        assert in_order == taken


def test_the_order_is_watched() -> None:
    class Transaction:
        pass

    class Connection:
        transaction = Transaction()

        def get_transaction(self) -> Transaction:
            return self.transaction

    recorder, connection = LockRecorder(), Connection()
    for name in ("monitors", "alerts", "monitors", "group_hashes"):
        recorder.note(connection, name)  # type: ignore[arg-type]
    assert recorder.against_order == [("monitors", "alerts", "group_hashes")]


def test_batches_checks_and_decisions_side_by_side(
    postgres_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a pause after each lock, whoever takes them in another order meets somebody who waits for the first."""
    serialise = StateDatabase.serialise

    def slowly(state: StateDatabase, connection: Connection, *names: str) -> None:
        for name in sorted(names, key=LOCK_ORDER.index):
            serialise(state, connection, name)
            time.sleep(0.01)

    with open_stores(postgres_home) as stores:
        day = alerting(
            Day(stores, datetime.now(UTC).date(), 1000),
            TOLD,
            "uptime: [{slug: front, url: 'http://127.0.0.1:9/', allow_private: true, interval_seconds: 10, failure_threshold: 1, "
            "timeout_seconds: 1}]",
        )
        sync_monitors(day.stores.state, day.stores.config, day.at())
        day.send(event("A"), event("B"))
        slugs = [f"job-{n}" for n in range(4)]
        for slug in slugs:
            day.spool(day.receipt(check_in(slug, "error", monitor_config=HOURLY), seconds=5))
        day.drain()
        groups = [group["id"] for group in day.groups()]
        errors = [group["id"] for group in day.groups() if group["type"] == "error"][:2]
        assert len(errors) == 2
        monkeypatch.setattr(StateDatabase, "serialise", slowly)
        numbers = itertools.count(10)

        def batch() -> None:
            number = next(numbers)
            status = "ok" if number % 2 else "error"
            day.spool(
                day.receipt(event(f"New{chr(65 + number % 26)}{number}"), event("A"), seconds=number),
                *(day.receipt(check_in(slug, status), seconds=number) for slug in reversed(slugs)),
            )
            day.drain()

        def check() -> None:
            check_monitors(day.stores, day.at(3600 * next(numbers)))

        def uptime() -> None:
            check_uptime(day.stores, day.at(3600 * next(numbers)))

        def merge() -> None:
            merge_groups(day.stores.state, errors[0], [errors[1]])
            unmerge_group(day.stores.state, errors[1])

        def decide() -> None:
            resolve_groups(day.stores.state, groups, "anna")
            unresolve_groups(day.stores.state, groups, "anna")

        def again(work: Callable[[], None]) -> None:
            for _ in range(ROUNDS):
                work()

        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(again, work) for work in (batch, check, uptime, merge, decide)]:
                done.result()


def check_in(slug: str, status: str, **fields: Any) -> Any:
    return item("check_in", {"monitor_slug": slug, "status": status, **fields})
