"""preview_rules says what processing stored events again would do, and does nothing itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

import tasks_pipeline.processing.preview as previewing
import tasks_pipeline.processing.reprocess as reprocessing
from tasks_pipeline.config import Key, Project
from tasks_pipeline.config.grouping import GroupingSettings
from tasks_pipeline.processing import event as event_steps
from tasks_pipeline.processing.event import AGAIN, Work
from tasks_pipeline.processing.preview import preview_rules
from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.tools import Tools
from tests.support.day import Day
from tests.support.events import event


def by_logger(work: Work) -> None:
    """A rule: events with a logger are grouped by it."""
    if work.event.get("logger"):
        work.event["fingerprint"] = [work.event["logger"]]
    event_steps.group(work)


@pytest.fixture
def other_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previewing, "group", by_logger)
    monkeypatch.setattr(reprocessing, "AGAIN", (*AGAIN, by_logger))


def test_nothing_moves_under_the_same_rules(day: Day) -> None:
    day.send(event("A"), event("B"))
    day.drain()
    preview = preview_rules(day.stores, day.stores.tools, [day.date])
    assert (preview.events, preview.moved, preview.moves) == (2, 0, ())


@pytest.mark.usefixtures("other_rules")
def test_it_says_what_processing_again_does(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprocessing, "CHUNK_EVENTS", 2)
    day.send(
        event("A", logger="x"),
        event("A"),
        event("B", logger="x"),
        event("B", logger="y"),
        event("C", fingerprint=["y"]),
    )
    day.drain()
    lake, state = day.lake(), day.state()
    preview = preview_rules(day.stores, day.stores.tools, [day.date], day.project)
    assert (day.lake(), day.state()) == (lake, state)

    before = {row["event_id"]: row["group_id"] for row in day.rows("events")}
    report = reprocess_events(day.stores, day.date)
    assert (preview.events, preview.moved) == (5, 3) == (report.events, report.moved)
    after = {row["event_id"]: row["group_id"] for row in day.rows("events")}
    moved = {(before[e], after[e]) for e in before if before[e] != after[e]}
    assert {move.source for move in preview.moves} == {source for source, _ in moved}
    assert len({move.target or -move.new for move in preview.moves if move.target or move.new}) == len(
        {target for _, target in moved}
    )
    to_known = {(m.source, m.target) for m in preview.moves if m.target is not None}
    assert to_known == {pair for pair in moved if pair[1] in before.values()}


def test_another_project_is_not_looked_at(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    assert preview_rules(day.stores, day.stores.tools, [day.date], day.project + 1).events == 0


def test_rules_of_a_configuration_are_tried_and_then_applied(day: Day) -> None:
    day.send(event("A", logger="x"), event("B", logger="x"), event("C"))
    day.drain()
    project = Project(
        id=day.project,
        slug="tried",
        keys=(Key(public_key="k" * 32),),
        grouping=GroupingSettings(fingerprint_rules="logger:x -> by-logger"),
    )
    config = day.stores.config.model_copy(update={"projects": (project,)})
    tools = Tools(config)
    preview = preview_rules(day.stores, tools, [day.date])
    assert (preview.events, preview.moved) == (3, 2)
    assert {(m.target, m.new, m.events) for m in preview.moves} == {(None, 1, 1)}
    changed = replace(day, stores=replace(day.stores, config=config, tools=tools))
    assert reprocess_events(changed.stores, day.date).moved == 2
    assert sorted(g["times_seen"] for g in changed.groups()) == [1, 2]
    assert preview_rules(day.stores, tools, [day.date]).moved == 0
    back = preview_rules(day.stores, day.stores.tools, [day.date])
    assert sorted(m.title for m in back.moves) == ["A: it went wrong", "B: it went wrong"]
