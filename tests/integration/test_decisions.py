"""Decisions about groups: what becomes of them as events come, what the log says, and how people make them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tasks_pipeline.groups.decisions import (
    AUTOMATIC,
    DecisionError,
    actions_of,
    assign_groups_to,
    ignore_groups,
    resolve_groups,
    unresolve_groups,
)
from tasks_pipeline.groups.lists import find_group
from tasks_pipeline.releases.known import order_dates, save_release
from tasks_pipeline.storage.state.tables import groups as table
from tests.support.crash import DRAIN_MOMENTS, at
from tests.support.day import Day
from tests.support.events import event


class Crash(Exception):
    """Raised in the middle of a batch."""


def crash() -> None:
    raise Crash


def come(day: Day, *events: dict[str, Any]) -> None:
    """Events of today, whatever the day of the test is: decisions are made today."""
    now = datetime.now(UTC) + timedelta(minutes=5)
    day.spool(*(day.receipt(e | {"timestamp": now.timestamp()}, seconds=1) for e in events))
    day.drain()


def shown(day: Day) -> dict[str, Any]:
    found = find_group(day.stores.state, {}, group_id=day.group()["id"])
    assert found is not None
    return found


def log(day: Day) -> list[tuple[str, str, dict[str, Any]]]:
    entries = actions_of(day.stores.state, day.group()["id"])
    return [(entry["actor"], entry["action"], entry["data"]) for entry in entries]


@pytest.fixture
def one(day: Day) -> Day:
    """A day with one group, seen once by one user in shop@1.9.0."""
    day.send(event("A", user={"id": "1"}, release="shop@1.9.0"))
    day.drain()
    return day


def decided_long_ago(day: Day) -> None:
    """Events of the test's day come after what was decided now."""
    with day.stores.state.write() as connection:
        connection.execute(
            update(table).where(table.c.project_id == day.project).values(status_changed_at=day.at(-86_400))
        )


def test_a_resolved_group_regresses_and_the_log_says_so(one: Day) -> None:
    resolve_groups(one.stores.state, [one.group()["id"]], "ann")
    assert shown(one)["status"] == "resolved"
    decided_long_ago(one)
    one.send(event("A"))
    one.drain()
    assert shown(one)["status"] == "regressed"
    (back, decided) = actions_of(one.stores.state, one.group()["id"])
    assert (back["actor"], back["action"]) == (AUTOMATIC, "regress")
    assert back["data"] == {
        "resolution": "now", "resolved_at": one.at(-86_400).isoformat(), "resolved_by": "ann", "ends": decided["id"],
    }  # fmt: skip
    assert (decided["actor"], decided["action"], decided["data"]) == ("ann", "resolve", {})


def test_a_regression_is_logged_once_whatever_fails(one: Day) -> None:
    resolve_groups(one.stores.state, [one.group()["id"]], "ann")
    decided_long_ago(one)
    one.send(event("A"))
    for moment in ("counted, not committed", "done, not committed"):
        with at(DRAIN_MOMENTS[moment], crash), pytest.raises(Crash):
            one.drain()
    one.drain()
    one.recompute()
    assert [action for _, action, _ in log(one)] == ["regress", "resolve"]


def test_ignored_until_more_users_saw_it(one: Day) -> None:
    ignore_groups(one.stores.state, [one.group()["id"]], "ann", more_users=2)
    assert shown(one)["ignored_until_users"] == 3
    one.send(event("A", user={"id": "1"}), event("A", user={"id": "2"}), event("A", user={"id": "2"}))
    one.drain()
    assert shown(one)["status"] == "ignored"
    one.send(event("A", user={"id": "3"}))
    one.drain()
    assert shown(one)["status"] == "unresolved"
    assert log(one) == [(AUTOMATIC, "unignore", {}), ("ann", "ignore", {"more_users": 2})]


def test_another_decision_takes_the_place_of_the_last(one: Day) -> None:
    state, ids = one.stores.state, [one.group()["id"]]
    ignore_groups(state, ids, "ann", more_events=5)
    resolve_groups(state, ids, "ann", in_next_release=True)
    unresolve_groups(state, ids, "bob")
    found = shown(one)
    limits = ("ignored_until", "ignored_until_times_seen", "ignored_until_users", "resolved_in_release")
    assert [found[name] for name in limits] == [None] * 4
    assert [(actor, action) for actor, action, _ in log(one)] == [
        ("bob", "unresolve"), ("ann", "resolve"), ("ann", "ignore"),
    ]  # fmt: skip


# ── the next release


def test_resolved_in_the_next_release_only_a_later_one_brings_it_back(one: Day) -> None:
    one.send(event("Other", release="shop@1.10.0"), event("Other", release="web@7"))
    one.drain()
    (data,) = resolve_groups(
        one.stores.state, [g["id"] for g in one.groups() if "A" in g["title"]], "ann", in_next_release=True
    )
    assert data == {"in_release_after": "shop@1.10.0"}

    def status() -> str:
        return next(str(g["status"]) for g in one.groups() if "A:" in g["title"])

    for release in ("shop@1.9.0", "shop@1.10.0", "shop@1.9.9", "shop@1.10.0-rc.1", None):
        come(one, event("A", release=release))
        assert status() == "resolved", release
    come(one, event("A", release="shop@1.10.1"))
    assert status() == "regressed"


def test_releases_that_are_no_versions_have_the_order_they_were_seen_in(one: Day) -> None:
    one.next().send(event("A", release="c0ffee"))
    one.next().drain()
    ids = [one.group()["id"]]
    assert resolve_groups(one.stores.state, ids, "ann", in_next_release=True) == [
        {"in_release_after": "shop@1.9.0"}  # of the package that the group was seen in
    ]
    day = Day(one.stores, one.date, one.project + 400_000)
    for n, release in enumerate(["beef", "f00d"]):
        day.spool(day.receipt(event("A", release=release), seconds=n))
        day.drain()
    resolve_groups(day.stores.state, [day.group()["id"]], "ann", in_next_release=True)
    assert shown(day)["resolved_in_release"] == "f00d"
    day.spool(day.receipt(event("A", release="beef"), seconds=3))
    day.drain()
    assert shown(day)["status"] == "resolved"
    day.spool(day.receipt(event("A", release="abba"), seconds=4))
    day.drain()
    assert shown(day)["status"] == "regressed"


def test_without_a_release_there_is_no_next_one(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    with pytest.raises(DecisionError, match="no release"):
        resolve_groups(day.stores.state, [day.group()["id"]], "ann", in_next_release=True)
    assert shown(day)["status"] == "unresolved"


def test_releases_are_known_by_their_events(one: Day) -> None:
    """Dated by their receipt: clocks of clients say nothing of what came out when."""
    late = event("A", release="shop@2.0.0") | {"timestamp": one.at(-7200).isoformat()}
    one.spool(
        one.receipt(late, seconds=20),
        one.receipt(event("A", release="latest"), seconds=30),
    )
    one.drain()
    with one.stores.state.read() as connection:
        assert order_dates(connection, one.project, ["shop@1.9.0", "shop@2.0.0", "latest"]) == {
            "shop@1.9.0": one.at(),
            "shop@2.0.0": one.at(20),
        }


def test_an_archived_release_is_not_what_the_next_one_comes_after(one: Day) -> None:
    """A modified app that says 999.9.9 would otherwise keep every group resolved for good."""
    one.send(event("A", release="shop@999.9.9"))
    one.drain()
    ids = [one.group()["id"]]
    assert resolve_groups(one.stores.state, ids, "ann", in_next_release=True) == [
        {"in_release_after": "shop@999.9.9"}
    ]
    save_release(one.stores.state, [one.project], "shop@999.9.9", {"status": "archived"})
    assert resolve_groups(one.stores.state, ids, "ann", in_next_release=True) == [
        {"in_release_after": "shop@1.9.0"}
    ]


def test_what_can_be_no_release_brings_nothing_back(one: Day) -> None:
    resolve_groups(one.stores.state, [one.group()["id"]], "ann", in_next_release=True)
    come(one, event("A", release="latest"))
    assert shown(one)["status"] == "resolved"


# ── who takes care


def test_assigning(one: Day) -> None:
    state, ids = one.stores.state, [one.group()["id"]]
    assign_groups_to(state, ids, "ann", "team:payments")
    assert shown(one)["assignee"] == "team:payments"
    assign_groups_to(state, ids, "ann", "bob@example.com")
    assign_groups_to(state, ids, "bob", None)
    assert shown(one)["assignee"] is None
    assert log(one) == [
        ("bob", "unassign", {}),
        ("ann", "assign", {"assignee": "bob@example.com"}),
        ("ann", "assign", {"assignee": "team:payments"}),
    ]


@pytest.mark.parametrize(
    "nobody", ["", "bob", "team:", "team:Pay ments", "a@b@c", "x" * 300 + "@example.com"]
)
def test_nobody_to_assign_to(one: Day, nobody: str) -> None:
    with pytest.raises(DecisionError, match="nobody"):
        assign_groups_to(one.stores.state, [one.group()["id"]], "ann", nobody)
    assert log(one) == []


def test_a_recomputation_keeps_decisions(one: Day) -> None:
    state, ids = one.stores.state, [one.group()["id"]]
    ignore_groups(state, ids, "ann", more_events=5)
    assign_groups_to(state, ids, "ann", "team:payments")
    before = shown(one)
    one.recompute()
    assert shown(one) == before
