"""Hours of groups: of when events happened, right after whatever becomes of their day, gone after thirty days."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tasks_pipeline.groups.hours import HOURS_FOR
from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.processing import catch_up
from tasks_pipeline.processing.catch_up import catch_up_hours
from tasks_pipeline.retention.finished import drop_finished
from tasks_pipeline.storage.state.tables import group_hours, groups
from tests.support.day import Day
from tests.support.events import event


def sent(day: Day, title: str, *seconds: float) -> list[dict[str, Any]]:
    """Events that happened so many seconds after noon."""
    return [event(title, timestamp=day.at(each).timestamp()) for each in seconds]


def hours_of(day: Day) -> dict[str, dict[int, int]]:
    """Events by title and hour, counted from noon of the day."""
    h, g = group_hours.c, groups.c
    query = select(g.title, h.hour, h.times_seen).join_from(group_hours, groups, h.group_id == g.id)
    found: dict[str, dict[int, int]] = {}
    with day.stores.state.read() as connection:
        for title, hour, n in connection.execute(query.where(g.project_id == day.project)):
            of_group = found.setdefault(title.partition(":")[0], {})
            since_noon = int((hour - day.at()) / timedelta(hours=1))
            of_group[since_noon] = of_group.get(since_noon, 0) + n
    return found


def end_of_hour(day: Day) -> datetime:
    return datetime.combine(day.date, time(23, 59), UTC)


def test_events_are_counted_in_the_hour_in_which_they_happened(day: Day) -> None:
    day.send(*sent(day, "A", 0, 1, -1, -7200), *sent(day, "B", 0))
    day.drain()
    day.send(*sent(day, "A", -3600))
    day.drain()
    assert hours_of(day) == {"A": {0: 2, -1: 2, -2: 1}, "B": {0: 1}}


def test_a_day_that_is_stored_again_has_the_same_hours(day: Day) -> None:
    """Late events lie in hours of the day before, and in rows of the day on which they came."""
    late = day.next()
    day.send(*sent(day, "A", -3, 7))
    late.send(*sent(day, "A", -3), *sent(late, "A", 7))
    day.drain()
    late.drain()
    before = day.state()
    assert hours_of(day) == {"A": {-1: 2, 0: 1, 24: 1}}
    with day.stores.state.write() as connection:
        connection.execute(update(group_hours).where(group_hours.c.day == late.date).values(times_seen=9))
    late.recompute()
    day.recompute()
    assert day.state() == before


def test_hours_follow_events_that_are_merged_and_taken_apart(day: Day) -> None:
    day.send(*sent(day, "A", 0, -1), *sent(day, "B", 0))
    day.drain()
    before = day.state()
    ids = {g["title"][0]: g["id"] for g in day.groups()}
    merge_groups(day.stores.state, ids["A"], [ids["B"]])
    with day.stores.lake.lock():
        finish_regroupings(day.stores.state, day.stores.lake)
    assert list(hours_of(day).values()) == [{0: 2, -1: 1}]
    unmerge_group(day.stores.state, ids["B"])
    with day.stores.lake.lock():
        finish_regroupings(day.stores.state, day.stores.lake)
    assert day.state() == before


def test_days_of_before_hours_were_counted_learn_them(own_day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """And those of which an older version counted some, during an upgrade. Once they are right there is nothing to do."""
    day = own_day
    for each in (day, day.next()):
        each.send(*(e for n in range(4) for e in sent(each, f"K{n}", 0, -1)))
        each.drain()
    right = day.state()
    with day.stores.state.write() as connection:
        connection.execute(delete(group_hours).where(group_hours.c.day == day.date))
        connection.execute(delete(group_hours).where(group_hours.c.hour < day.at()))
    monkeypatch.setattr(catch_up, "PIECE", 3)
    assert catch_up_hours(day.stores, end_of_hour(day.next()), pieces=1) == 3
    assert catch_up_hours(day.stores, end_of_hour(day.next())) == 1
    assert day.state() == right
    assert catch_up_hours(day.stores, end_of_hour(day.next())) == 0


def test_hours_go_after_thirty_days(own_day: Day) -> None:
    day = own_day
    day.send(*sent(day, "A", 0, -1))
    day.next().send(*sent(day.next(), "A", 0))
    day.drain()
    day.next().drain()
    last = end_of_hour(day) + HOURS_FOR
    assert drop_finished(day.stores.state, last)["group_hours"] == 0
    assert drop_finished(day.stores.state, last + timedelta(days=1))["group_hours"] == 2
    assert hours_of(day) == {"A": {24: 1}}
    assert day.group()["times_seen"] == 3
