"""Counters derived from the lake: only of what was touched, in small transactions, and nobody waits for them."""

from __future__ import annotations

import sqlite3
from datetime import date
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from tasks_pipeline.groups import derived
from tasks_pipeline.home import Home
from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_days, group_values, groups, replacements
from tasks_pipeline.stores import open_stores
from tests.integration.test_reprocess import KEY, again, misses, symbolicate
from tests.support.crash import event_step
from tests.support.day import Day
from tests.support.events import event
from tests.support.plans import counted_steps


def heal(day: Day) -> None:
    with again(symbolicate):
        assert reprocess_events(day.stores, day.date, wanted={(day.project, KEY)}).events == 1


def with_one_to_heal(day: Day, *others: dict[str, Any]) -> None:
    with event_step(misses):
        day.send(event("Waits", logger="native", user={"id": "1"}), *others)
        day.drain()


def test_healing_an_event_costs_the_same_however_large_its_day_is(home: Home) -> None:
    """The others of its day are in other groups: of them no counter is even read."""
    with open_stores(home) as stores:
        small, large = Day(stores, date(2020, 1, 1), 1000), Day(stores, date(2020, 2, 1), 1001)
        with_one_to_heal(small, event("Other"))
        with_one_to_heal(large, event("Other"))
        other = next(g["id"] for g in large.groups() if g["title"].startswith("Other"))
        users = [
            {"group_id": other, "kind": "user", "value": f"id:{n}", "day": large.date, "times_seen": 1}
            for n in range(5000)
        ]
        with stores.state.write() as connection:
            connection.execute(insert(group_values), users)
        with counted_steps(stores.state) as steps:
            heal(small)
            before = steps()
            heal(large)
            assert steps() <= 1.2 * before + 10
        assert sum(1 for _ in large.state()["values"]) >= 5000


def test_what_differs_is_put_right_in_pieces(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the counters say: days and users too many, too few or with wrong numbers, and more than fit into a piece."""
    monkeypatch.setattr(derived, "WRITTEN_ROWS", 2)
    monkeypatch.setattr(derived, "EVENTS_LOOKED_AT", 3)
    day.send(*(event(f"P{n % 3}", user={"id": str(n % 4)}, release=f"r@{n % 2}") for n in range(12)))
    day.drain()
    right = day.state()
    (first, second, third) = (g["id"] for g in day.groups())
    with day.stores.state.write() as connection:
        of_first, of_second = group_values.c.group_id == first, group_values.c.group_id == second
        connection.execute(group_values.delete().where(of_first))
        connection.execute(update(group_values).where(of_second).values(times_seen=99))
        too_many = [
            {"group_id": third, "kind": "user", "value": f"x{n}", "day": day.date, "times_seen": 1}
            for n in range(5)
        ]
        connection.execute(insert(group_values), too_many)
        connection.execute(group_days.delete().where(group_days.c.group_id == first))
        connection.execute(
            update(groups).where(groups.c.id == second).values(times_seen=7, users=7, title="wrong")
        )
    day.recompute()
    assert day.state() == right


def test_others_write_while_counters_are_compared(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query of the lake takes long on a large day: none is made while the only write lock is held."""
    with open_stores(home) as stores:
        day = Day(stores, date(2020, 1, 1), 1000)
        with_one_to_heal(day, event("A"), event("A", user={"id": "2"}))
        original = Lake.query
        asked: list[str] = []

        def query(lake: Lake, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
            other = sqlite3.connect(home.root / "state.sqlite", timeout=0)
            other.execute("BEGIN IMMEDIATE")  # raises when somebody holds it
            other.execute("ROLLBACK")
            other.close()
            asked.append(sql)
            return original(lake, sql, parameters)

        monkeypatch.setattr(Lake, "query", query)
        heal(day)
        day.recompute()
        assert any("group_id, kind, value" in sql for sql in asked)


def test_replacements_of_the_former_version_are_finished_for_all_groups(day: Day) -> None:
    """One that was open when the service was upgraded names no groups."""
    day.send(event("A"), event("B"))
    day.drain()
    right = day.state()
    with day.stores.state.write() as connection:
        connection.execute(
            insert(replacements),
            [{"id": f"old-{day.project}", "day": day.date, "arrival": 0, "started_at": day.at()}],
        )
        of_project = select(groups.c.id).where(groups.c.project_id == day.project)
        connection.execute(
            update(group_days).where(group_days.c.group_id.in_(of_project)).values(times_seen=5)
        )
    day.drain()
    assert day.state() == right


def test_the_state_database_is_one_that_can_be_watched(home: Home) -> None:
    """The count of steps sees a scan: without this the test above could not fail."""
    state = StateDatabase(home)
    with counted_steps(state) as steps:
        with state.read() as connection:
            connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT sum(i) FROM n"
            ).all()
        assert steps() > 100
    state.close()
