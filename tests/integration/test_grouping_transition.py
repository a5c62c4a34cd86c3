"""A new grouping algorithm splits no group: events find the groups that their former keys belong to."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from tasks_pipeline.grouping import FORMER_ALGORITHM, Grouping, GroupingRules, former_rules, group_event
from tasks_pipeline.groups.explanations import group_explanation
from tasks_pipeline.processing import event as event_steps
from tasks_pipeline.storage.state.tables import group_hashes, project_algorithms
from tests.support.day import Day
from tests.support.events import event


def shop_event(problem: str, **fields: Any) -> dict[str, Any]:
    """An error that both algorithms see differently: one of its frames has a name that a compiler made."""
    found = event(problem, **fields)
    frames = found["exception"]["values"][0]["stacktrace"]["frames"]
    name, module = "lambda$run$3", "web.Run$$ExternalSyntheticLambda2"
    frames.insert(0, {"platform": "java", "function": name, "module": module, "in_app": True})
    return found


def by_the_former(found: dict[str, Any], rules: GroupingRules) -> Grouping:
    return group_event(found, former_rules())


@pytest.fixture
def old(day: Day, monkeypatch: pytest.MonkeyPatch) -> Day:
    """A day with groups A, B and C of the former algorithm, of before algorithms were noted."""
    with monkeypatch.context() as patch:
        patch.setattr(event_steps, "group_event", by_the_former)
        day.send(*map(shop_event, "ABCA"))
        day.drain()
    with day.stores.state.write() as connection:
        connection.execute(project_algorithms.delete().where(project_algorithms.c.project_id == day.project))
    return day


def keys(day: Day) -> int:
    with day.stores.state.read() as connection:
        query = select(func.count()).where(group_hashes.c.project_id == day.project)
        return int(connection.execute(query).scalar_one())


def groups_of(day: Day) -> list[int]:
    return [row["group_id"] for row in day.rows("events")]


def test_events_after_the_change_join_their_groups(old: Day) -> None:
    a, b, c, _ = groups_of(old)
    later = old.next()
    later.send(*map(shop_event, "BADA"))
    later.drain()
    first, second, new, third = groups_of(later)
    assert (first, second, third) == (b, a, a)
    assert new not in (a, b, c)
    assert {row["algorithm"] for row in later.rows("events")} != {FORMER_ALGORITHM}
    for again in (later, old):  # old events, too, are recomputed by the new algorithm
        before = groups_of(again)
        again.recompute()
        assert groups_of(again) == before


def test_former_keys_are_not_kept_for_new_groups(old: Day) -> None:
    before = keys(old)
    later = old.next()
    later.send(shop_event("D"))
    later.drain()
    assert keys(later) - before == len(set(group_event(shop_event("D")).keys))


def test_after_the_transition_former_keys_are_not_asked(old: Day) -> None:
    a, b, _, _ = groups_of(old)
    later = old.next()
    later.send(shop_event("A"))
    later.drain()
    with later.stores.state.write() as connection:
        earlier = project_algorithms.c.first_used_at.label("at")
        for row in connection.execute(select(project_algorithms.c.algorithm, earlier)).all():
            connection.execute(
                update(project_algorithms)
                .where(
                    project_algorithms.c.project_id == old.project,
                    project_algorithms.c.algorithm == row.algorithm,
                )
                .values(first_used_at=row.at - timedelta(days=31))
            )
    later.send(shop_event("A"), shop_event("B"))
    later.drain()
    _, known, split = groups_of(later)
    assert known == a
    assert split != b


def test_algorithms_are_noted(old: Day) -> None:
    later = old.next()
    later.send(shop_event("A"))
    later.drain()
    with later.stores.state.read() as connection:
        query = select(project_algorithms.c.algorithm).where(project_algorithms.c.project_id == old.project)
        noted = set(connection.execute(query).scalars())
    assert noted == {FORMER_ALGORITHM, group_event(event()).algorithm}


def test_a_project_without_old_groups_is_in_no_transition(day: Day) -> None:
    day.send(shop_event("A"))
    day.drain()
    with day.stores.state.read() as connection:
        query = select(project_algorithms.c.algorithm).where(project_algorithms.c.project_id == day.project)
        assert list(connection.execute(query).scalars()) == [group_event(event()).algorithm]


def test_a_group_keeps_why_its_first_event_is_grouped_so(day: Day) -> None:
    day.send(shop_event("A"), shop_event("A", fingerprint=["{{ default }}", "x"]))
    day.drain()
    first, second = groups_of(day)
    told = group_explanation(day.stores.state, first)
    assert told is not None
    assert list(told["keys"].values()) == list(day.rows("events")[0]["group_keys"])
    assert "lambda in run" in str(told["variants"]["app"])
    other = group_explanation(day.stores.state, second)
    assert other is not None
    assert other["fingerprint"]["elements"] == ["{{ default }}", "x"]
