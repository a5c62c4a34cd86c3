"""Merging, unmerging and discarding groups: events, counters and histories follow, whatever fails or comes between."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import update

from tasks_pipeline.groups import regrouping as regrouping_module
from tasks_pipeline.groups.decisions import (
    DecisionError,
    actions_of,
    assign_groups_to,
    lifecycle_columns,
    merged_groups,
    resolve_groups,
)
from tasks_pipeline.groups.lifecycle import resolve
from tasks_pipeline.groups.lists import find_group, list_groups
from tasks_pipeline.groups.merging import (
    discard_groups,
    keep_groups,
    keys_of_group,
    merge_groups,
    split_group,
    unmerge_group,
)
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.tables import groups as table
from tasks_pipeline.stores import open_stores
from tests.support.crash import DRAIN_MOMENTS, RECOMPUTE_MOMENTS, Moment, at, die, run_in_process
from tests.support.day import Day
from tests.support.events import event, item

REGROUP_MOMENTS = {
    "decided": Moment(regrouping_module, "finish_regroupings", after=False),
    "files written": Moment(Lake, "_write_regrouped"),
    "lake committed": Moment(Lake, "regroup"),
    "counted, not committed": Moment(regrouping_module, "derive_groups"),
    "done": Moment(regrouping_module, "finish_regroupings"),
}


class Crash(Exception):
    """Raised in the middle of something."""


def crash() -> None:
    raise Crash


def finish(day: Day) -> None:
    with day.stores.lake.lock():
        regrouping_module.finish_regroupings(day.stores.state, day.stores.lake)


def merge(day: Day, target: int, *others: int) -> None:
    merge_groups(day.stores.state, target, others, "ann")
    finish(day)


def unmerge(day: Day, group_id: int) -> int:
    target = unmerge_group(day.stores.state, group_id, "ann")
    finish(day)
    return target


def discard(day: Day, *group_ids: int) -> None:
    discard_groups(day.stores.state, group_ids, "ann")
    finish(day)


def ids(day: Day) -> dict[str, int]:
    """Group by type of its exception."""
    return {g["title"].partition(":")[0]: g["id"] for g in day.groups()}


def stored(day: Day) -> dict[str, list[Any]]:
    return {f"{n} {name}": rows for n, d in enumerate((day, day.next())) for name, rows in d.lake().items()}


def counted(day: Day) -> dict[str, list[Any]]:
    return day.state() | {"tomorrow": day.next().state()["batches"]}


def three_groups(day: Day) -> dict[str, int]:
    """Groups A, B and C with shared users and releases on two days, in both orders of time."""
    for n, today in enumerate((day, day.next())):
        today.spool(
            today.receipt(event("A", user={"id": "1"}, release="s@1", environment="prod"), seconds=10 * n),
            today.receipt(event("A", user={"id": "2"}, release="s@2", level="fatal"), seconds=1),
            today.receipt(
                event("B", user={"id": "2"}, transaction="/b"), item("attachment", b"b"), seconds=20
            ),
            today.receipt(event("C", user={"id": "3"}), seconds=5 - n),
        )
        today.drain()
    return ids(day)


def test_a_merged_group_is_one_with_its_target(day: Day) -> None:
    groups = three_groups(day)
    merge(day, groups["A"], groups["B"])

    shown = {g["id"]: g for g in day.groups()}
    assert shown.keys() == {groups["A"], groups["C"]}
    one = shown[groups["A"]]
    assert (one["times_seen"], one["users"]) == (6, 2)
    assert (one["title"], one["culprit"], one["metadata"]["function"]) == ("B: it went wrong", "/b", "do_B")
    assert one["last_seen"] == day.next().at(20)
    assert {row["group_id"] for row in day.rows("events")} == shown.keys()
    assert [row[2] for row in day.state()["days"] if row[0] == groups["A"]] == [3, 3]
    assert merged_groups(day.stores.state, groups["A"]) == [groups["B"]]
    day.assert_balanced()


def test_what_comes_after_a_merge_belongs_to_the_target(day: Day) -> None:
    groups = three_groups(day)
    merge(day, groups["A"], groups["B"])
    day.send(event("B", user={"id": "9"}))
    day.drain()
    one = {g["id"]: g for g in day.groups()}[groups["A"]]
    assert (one["times_seen"], one["users"]) == (7, 3)


def test_merged_and_unmerged_everything_is_as_before(day: Day) -> None:
    groups = three_groups(day)
    lake, state = stored(day), counted(day)
    merge(day, groups["A"], groups["B"], groups["C"])
    assert len(day.groups()) == 1
    assert unmerge(day, groups["B"]) == groups["A"]
    unmerge(day, groups["C"])
    assert (stored(day), counted(day)) == (lake, state)
    day.assert_balanced()


def test_what_came_between_goes_where_its_key_goes(day: Day) -> None:
    groups = three_groups(day)
    merge(day, groups["A"], groups["B"])
    day.send(event("B"), event("A"))
    day.drain()
    unmerge(day, groups["B"])
    assert {g["id"]: g["times_seen"] for g in day.groups()} == {
        groups["A"]: 5,
        groups["B"]: 3,
        groups["C"]: 2,
    }
    assert {g["id"]: g["metadata"]["function"] for g in day.groups()}[groups["A"]] == "do_A"


@pytest.mark.parametrize("first", ["B", "C"])
def test_groups_merged_one_into_the_other_come_apart_in_any_order(day: Day, first: str) -> None:
    groups = three_groups(day)
    lake, state = stored(day), counted(day)
    merge(day, groups["B"], groups["C"])
    merge(day, groups["A"], groups["B"])
    assert merged_groups(day.stores.state, groups["A"]) == [groups["B"], groups["C"]]
    for name in (first, "C" if first == "B" else "B"):
        unmerge(day, groups[name])
    assert (stored(day), counted(day)) == (lake, state)


def test_some_keys_go_to_a_group_of_their_own(day: Day) -> None:
    groups = three_groups(day)
    merge(day, groups["A"], groups["B"])
    keys = keys_of_group(day.stores.state, groups["A"])
    moved = [key["key"] for key in keys if key["origin"] == groups["B"]]
    new = split_group(day.stores.state, groups["A"], moved, "shop", "ann")
    finish(day)
    assert {g["id"]: g["times_seen"] for g in day.groups()} == {groups["A"]: 4, new: 2, groups["C"]: 2}
    assert {g["id"]: g["title"] for g in day.groups()}[new] == "B: it went wrong"
    merge(day, groups["A"], new)  # a person may think better of it
    assert {g["id"]: g["times_seen"] for g in day.groups()} == {groups["A"]: 6, groups["C"]: 2}


def test_a_recomputation_keeps_what_people_decided(day: Day) -> None:
    groups = three_groups(day)
    state = day.stores.state
    merge(day, groups["A"], groups["B"])
    resolve_groups(state, [groups["A"]], "ann")
    assign_groups_to(state, [groups["A"]], "ann", "team:shop")
    discard(day, groups["C"])
    before = stored(day)["0 events"], counted(day)["groups"], counted(day)["days"]
    day.recompute()
    assert (stored(day)["0 events"], counted(day)["groups"], counted(day)["days"]) == before
    day.assert_balanced()
    assert day.outcomes() == {("stored", ""): 4, ("discarded", "group"): 1}


# ── refused


def test_what_cannot_be_merged(day: Day) -> None:
    groups, state = three_groups(day), day.stores.state
    other = Day(day.stores, day.date, day.project + 500_000)
    other.send(event("A"))
    other.drain()
    with pytest.raises(DecisionError, match="one group already"):
        merge_groups(state, groups["A"], [groups["A"]])
    with pytest.raises(DecisionError, match="different projects"):
        merge_groups(state, groups["A"], [other.group()["id"]])
    merge(day, groups["A"], groups["B"])
    with pytest.raises(DecisionError, match="part of another"):
        merge_groups(state, groups["C"], [groups["B"]])
    with pytest.raises(DecisionError, match="not merged"):
        unmerge_group(state, groups["A"])
    discard(day, groups["C"])
    with pytest.raises(DecisionError, match="discarded"):
        merge_groups(state, groups["A"], [groups["C"]])
    with pytest.raises(DecisionError, match="no key"):
        split_group(state, groups["A"], ["x"], "shop")
    keys = [key["key"] for key in keys_of_group(state, groups["A"])]
    with pytest.raises(DecisionError, match="some to stay"):
        split_group(state, groups["A"], keys, "shop")


# ── failures and races


@pytest.mark.parametrize("moment", REGROUP_MOMENTS)
@pytest.mark.parametrize("decide", [merge, unmerge, discard], ids=lambda f: f.__name__)
def test_a_regrouping_that_fails_is_finished_by_the_next_drain(
    day: Day, moment: str, decide: Callable[..., Any]
) -> None:
    groups = three_groups(day)
    arguments = [groups["B"]] if decide in (unmerge, discard) else [groups["A"], groups["B"]]
    if decide is unmerge:
        merge(day, groups["A"], groups["B"])
    if decide is discard and moment == "files written":
        pytest.skip("a discard writes no files")
    with at(REGROUP_MOMENTS[moment], crash), pytest.raises(Crash):
        decide(day, *arguments)
    day.assert_balanced()
    day.drain()
    expected = {
        merge: {groups["A"]: 6, groups["C"]: 2},
        unmerge: {groups["A"]: 4, groups["B"]: 2, groups["C"]: 2},
        discard: {groups["A"]: 4, groups["C"]: 2},
    }
    assert {g["id"]: g["times_seen"] for g in day.groups()} == expected[decide]
    assert {row["group_id"] for row in day.rows("events")} == expected[decide].keys()
    state = counted(day)
    finish(day)
    assert counted(day) == state


def test_a_merge_that_is_committed_after_a_later_race_is_not_missed(day: Day) -> None:
    """On PostgreSQL numbers are given before transactions end: the race may be seen first."""
    state, group_ids = day.stores.state, list(three_groups(day).values())
    with ExitStack() as at_work:
        if not state.is_sqlite:  # the merge has its number, and is not committed yet
            merging = at_work.enter_context(state.write())
            regrouping_module.open_regrouping(merging, day.project, group_ids[:2], "merge")
        with state.write() as connection:
            regrouping_module.open_regrouping(connection, day.project, group_ids, regrouping_module.RACE)
        with state.read() as connection:
            seen = regrouping_module.last_regrouping(connection)
    if state.is_sqlite:
        merge_groups(state, *group_ids[:1], group_ids[1:2])
    with state.write() as connection:
        assert regrouping_module.note_race(connection, seen, group_ids)
    finish(day)


def merge_and_die(home: Home, target: int, other: int, moment: str) -> None:
    """Merge two groups and die at the moment; runs in a process of its own."""
    with open_stores(home) as stores:
        merge_groups(stores.state, target, [other], "ann")
        with at(REGROUP_MOMENTS[moment], die), stores.lake.lock():
            regrouping_module.finish_regroupings(stores.state, stores.lake)


@pytest.mark.slow
@pytest.mark.parametrize("moment", REGROUP_MOMENTS)
def test_a_merge_killed_at_any_step_is_finished_by_the_next_drain(day: Day, moment: str) -> None:
    groups = three_groups(day)
    lake, state = stored(day), counted(day)
    exit_code = run_in_process(merge_and_die, day.stores.home, groups["A"], groups["B"], moment)
    assert exit_code == -signal.SIGKILL
    day.assert_balanced()
    day.drain()
    assert {g["id"]: g["times_seen"] for g in day.groups()} == {groups["A"]: 6, groups["C"]: 2}
    unmerge(day, groups["B"])
    assert (stored(day), counted(day)) == (lake, state)


@pytest.mark.parametrize("moment", ["event ids and groups committed", "all files written", "lake committed"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_batch_that_was_at_work_during_a_merge_follows_it(day: Day, moment: str, finished: bool) -> None:
    """Where the batch holds the lake's lock already, the merge is finished by the next."""
    groups = three_groups(day)
    day.send(event("B", user={"id": "7"}), event("A"))
    holds_lock = moment in ("all files written", "lake committed")
    if holds_lock and day.stores.state.is_sqlite:
        pytest.skip("SQLite has one writer at a time")

    def decide() -> None:
        merge_groups(day.stores.state, groups["A"], [groups["B"]], "ann")
        if finished and not holds_lock:
            finish(day)

    with at(DRAIN_MOMENTS[moment], decide):
        day.drain()
    day.drain()
    shown = {g["id"]: (g["times_seen"], g["users"]) for g in day.groups()}
    assert shown == {groups["A"]: (8, 3), groups["C"]: (2, 1)}
    assert {row["group_id"] for row in day.rows("events")} == shown.keys()
    lake, state = stored(day), counted(day)
    day.recompute()
    assert (stored(day), counted(day)) == (lake, state)


def test_a_batch_at_work_during_a_merge_makes_the_target_regress(day: Day) -> None:
    groups = three_groups(day)
    resolved = lifecycle_columns(resolve(day.next().at()))
    with day.stores.state.write() as connection:
        connection.execute(update(table).where(table.c.id == groups["A"]).values(**resolved))
    day.next().send(event("B"), event("B"))
    with at(DRAIN_MOMENTS["event ids and groups committed"], lambda: merge(day, groups["A"], groups["B"])):
        day.next().drain()
    (target,) = [g for g in day.groups() if g["id"] == groups["A"]]
    assert (target["times_seen"], target["status"]) == (8, "regressed")


@pytest.mark.parametrize("decide", ["unmerge", "discard"])
def test_a_batch_at_work_during_another_decision_follows_it(day: Day, decide: str) -> None:
    groups = three_groups(day)
    merge(day, groups["A"], groups["B"])
    day.send(event("B"), event("A"))

    def at_once() -> None:
        unmerge(day, groups["B"]) if decide == "unmerge" else discard(day, groups["A"])

    with at(DRAIN_MOMENTS["event ids and groups committed"], at_once):
        day.drain()
    shown = {g["id"]: g["times_seen"] for g in day.groups()}
    assert shown == (
        {groups["A"]: 5, groups["B"]: 3, groups["C"]: 2} if decide == "unmerge" else {groups["C"]: 2}
    )
    assert {row["group_id"] for row in day.rows("events")} == shown.keys()


@pytest.mark.parametrize("decide", ["merge", "discard"])
def test_a_batch_that_died_before_it_was_counted_follows_what_was_decided_since(
    day: Day, decide: str
) -> None:
    groups = three_groups(day)
    day.send(event("B"), event("A"))
    with at(DRAIN_MOMENTS["lake committed"], crash), pytest.raises(Crash):
        day.drain()
    merge(day, groups["A"], groups["B"]) if decide == "merge" else discard(day, groups["B"])
    day.drain()
    shown = {g["id"]: g["times_seen"] for g in day.groups()}
    assert shown == {groups["A"]: 8 if decide == "merge" else 5, groups["C"]: 2}
    assert {row["group_id"] for row in day.rows("events")} == shown.keys()
    day.assert_balanced()


@pytest.mark.parametrize("moment", RECOMPUTE_MOMENTS)
def test_a_recomputation_at_work_during_a_merge_follows_it(day: Day, moment: str) -> None:
    groups = three_groups(day)

    def decide() -> None:
        merge_groups(day.stores.state, groups["A"], [groups["B"]], "ann")

    with at(RECOMPUTE_MOMENTS[moment], decide):
        day.recompute()
    day.drain()
    shown = {g["id"]: g["times_seen"] for g in day.groups()}
    assert shown == {groups["A"]: 6, groups["C"]: 2}
    assert {row["group_id"] for row in day.rows("events")} == shown.keys()


def test_a_recomputation_that_was_overtaken_by_a_finished_merge(day: Day) -> None:
    groups = three_groups(day)
    with at(RECOMPUTE_MOMENTS["files written"], lambda: merge(day, groups["A"], groups["B"])):
        day.recompute()
    assert {row["group_id"] for row in day.rows("events")} == {groups["A"], groups["C"]}
    assert {g["id"]: g["times_seen"] for g in day.groups()} == {groups["A"]: 6, groups["C"]: 2}


# ── discarding


def test_a_discarded_group_leaves_nothing_and_its_events_are_counted(day: Day) -> None:
    groups = three_groups(day)
    discard(day, groups["B"])
    assert ids(day).keys() == {"A", "C"}
    assert [row["event_id"] for row in day.rows("attachments")] == []
    assert len(day.rows("event_payloads")) == len(day.rows("events")) == 3
    day.spool(day.receipt(event("B"), item("attachment", b"more")), day.receipt(event("A")))
    day.drain()
    assert len(day.rows("events")) == 4
    assert day.rows("attachments") == []
    assert day.outcomes()["discarded", "group"] == 2
    day.assert_balanced()
    (hidden,) = list_groups(day.stores.state, {}, project_id=day.project, status="discarded")
    assert (hidden["id"], hidden["times_seen"], hidden["users"]) == (groups["B"], 0, 0)


def with_library_frame(in_app: bool) -> dict[str, Any]:
    """An event of group A with a further frame: its own key when that is in app, a second key otherwise."""
    made = event("A")
    frame = {"function": "call", "module": "lib", "filename": "lib.py", "in_app": in_app}
    made["exception"]["values"][0]["stacktrace"]["frames"].insert(0, frame)
    return made


def test_a_new_key_of_a_discarded_group_is_discarded_too(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    discard(day, day.group()["id"])
    day.send(with_library_frame(in_app=False))
    day.drain()
    day.send(with_library_frame(in_app=True))
    day.drain()
    assert day.rows("events") == []
    assert day.outcomes() == {("stored", ""): 1, ("discarded", "group"): 2}
    day.recompute()
    assert day.rows("events") == []
    assert day.outcomes() == {("discarded", "group"): 3}
    day.assert_balanced()


def test_keeping_a_discarded_group_again(day: Day) -> None:
    groups = three_groups(day)
    lake = stored(day)
    discard(day, groups["B"])
    keep_groups(day.stores.state, [groups["B"]], "ann")
    day.send(event("B"))
    day.drain()
    found = find_group(day.stores.state, {}, group_id=groups["B"])
    assert found is not None
    assert (found["times_seen"], found["status"]) == (1, "unresolved")
    day.recompute()
    day.next().recompute()
    assert len(day.rows("events")) == len(lake["0 events"]) + 1
    assert [a["action"] for a in actions_of(day.stores.state, groups["B"])] == ["keep", "discard"]
    with pytest.raises(DecisionError, match="not discarded"):
        keep_groups(day.stores.state, [groups["B"]])


def test_the_log_says_who_merged_what(day: Day) -> None:
    groups = three_groups(day)
    merge(day, groups["A"], groups["B"])
    unmerge(day, groups["B"])
    of_target = actions_of(day.stores.state, groups["A"])
    assert [(a["actor"], a["action"]) for a in of_target] == [("ann", "unmerge"), ("ann", "merge")]
    assert of_target[1]["data"] == {"from": [groups["B"]]}
    of_other = actions_of(day.stores.state, groups["B"])
    assert of_other[0]["data"]["from"] == groups["A"]
    assert of_other[0]["data"]["keys"] == of_other[1]["data"]["keys"]
