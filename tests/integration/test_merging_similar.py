"""merge_events: similar groups are found, proposed, and merged where the project says so; what was taken apart stays so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tasks_pipeline.config import Key, Project
from tasks_pipeline.config.merging import Merging
from tasks_pipeline.groups.decisions import actions_of
from tasks_pipeline.groups.merging import discard_groups, merge_groups, unmerge_group
from tasks_pipeline.groups.propose import MergeReport, merge_events
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.groups.similar import proposed_pairs
from tests.support.day import Day
from tests.support.events import event


def deep(last: str, kind: str = "CartError", **fields: Any) -> dict[str, Any]:
    """An event of twelve frames in app, the last of which is named."""
    made = event(kind, **fields)
    frames = [
        {"function": f"{kind}_{n}", "module": "shop.cart", "filename": "shop/cart.py", "in_app": True}
        for n in range(11)
    ]
    last_frame = {"function": last, "module": "shop.cart", "filename": "shop/cart.py", "in_app": True}
    made["exception"]["values"][0]["stacktrace"]["frames"] = [*frames, last_frame]
    return made


def configured(day: Day, **merging: float) -> Day:
    """The same day in a project with settings of its own."""
    project = Project(id=day.project, slug="shop", keys=(Key(public_key="abcd"),), merging=Merging(**merging))
    config = day.stores.config.model_copy(update={"projects": (project,)})
    return replace(day, stores=replace(day.stores, config=config))


def look_alikes(day: Day) -> list[int]:
    """Three groups, the first two alike."""
    day.send(deep("total"), deep("grand_total"), deep("pay", "PaymentError"))
    day.drain()
    return [g["id"] for g in day.groups()]


def proposals(day: Day) -> list[tuple[int, int]]:
    return [pair[:2] for pair in proposed_pairs(day.stores.state, project_id=day.project)]


def merged(report: MergeReport) -> list[tuple[int, int]]:
    return [pair[:2] for pair in report.merged]


def test_similar_groups_are_proposed_once(day: Day) -> None:
    first, second, _ = look_alikes(day)
    report = merge_events(day.stores)
    assert report.merged == []
    assert proposals(day) == [(first, second)]
    again = merge_events(day.stores)
    assert (again.signed, again.proposed, again.merged) == (0, 0, [])
    assert len(day.groups()) == 3


def test_what_is_alike_enough_for_its_project_is_merged(day: Day) -> None:
    day = configured(day, merge_above=0.7)
    first, second, third = look_alikes(day)
    assert merged(merge_events(day.stores, dry_run=True)) == [(first, second)]
    assert len(day.groups()) == 3
    assert merged(merge_events(day.stores)) == [(first, second)]
    assert {g["id"]: g["times_seen"] for g in day.groups()} == {first: 2, third: 1}
    assert proposals(day) == []
    (entry,) = actions_of(day.stores.state, second)
    assert (entry["actor"], entry["action"]) == ("tasks-pipeline", "merge")
    assert 0.7 <= entry["data"]["similarity"] <= 1


def test_a_new_group_is_compared_with_the_old_ones(day: Day) -> None:
    first, _, _ = look_alikes(day)
    merge_events(day.stores)
    day.send(deep("sum_total"))
    day.drain()
    report = merge_events(day.stores)
    assert (report.signed, report.proposed) == (1, 2)
    assert (first, day.groups()[-1]["id"]) in proposals(day)


def test_what_was_taken_apart_is_never_joined_again_not_even_by_way_of_a_third(day: Day) -> None:
    day = configured(day, merge_above=0.7)
    first, second, _ = look_alikes(day)
    merge_events(day.stores)
    unmerge_group(day.stores.state, second, "ann")
    assert merge_events(day.stores).merged == []
    assert proposals(day) == []
    day.send(deep("sum_total"))
    day.drain()
    new = day.groups()[-1]["id"]
    (pair,) = merged(merge_events(day.stores))
    assert pair in {(first, new), (second, new)}
    assert {first, second} <= {g["id"] for g in day.groups()}


def test_groups_of_other_platforms_or_chosen_fingerprints_are_not_alike(day: Day) -> None:
    day = configured(day, propose_above=0.5, merge_above=0.5)
    day.send(
        deep("total"),
        deep("total", platform="ruby"),
        deep("total", fingerprint=["a"]),
        deep("total", fingerprint=["b"]),
    )
    day.drain()
    assert len(day.groups()) >= 3
    assert merge_events(day.stores).merged == []
    assert proposals(day) == []


def test_many_look_alikes_become_one_group(day: Day) -> None:
    day = configured(day, propose_above=0.6, merge_above=0.6)
    ids = day.send(*(deep(f"total_{letter}") for letter in "abcdefghij"))
    day.drain()
    oldest = day.groups()[0]["id"]
    merge_events(day.stores)
    assert [(g["id"], g["times_seen"]) for g in day.groups()] == [(oldest, 10)]
    day.assert_stored_once(ids)


def test_proposals_of_groups_that_are_gone_are_not_shown(day: Day) -> None:
    first, second, third = look_alikes(day)
    merge_events(day.stores)
    merge_groups(day.stores.state, third, [first])
    assert proposals(day) == []
    unmerge_group(day.stores.state, first)
    with day.stores.lake.lock():
        finish_regroupings(day.stores.state, day.stores.lake)
    assert proposals(day) == [(first, second)]
    discard_groups(day.stores.state, [second])
    assert proposals(day) == []
