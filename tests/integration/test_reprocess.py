"""Stored events processed again, from what is stored: the same rows when nothing changed, moved when rules did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest

import tasks_pipeline.processing.reprocess as reprocessing
from tasks_pipeline.processing.event import AGAIN, Work, group
from tasks_pipeline.processing.reprocess import DayChanging, reprocess_events
from tasks_pipeline.recurring import own_frames
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.uploads.arrivals import announce, arrivals, last_arrival
from tests.integration.test_recompute import Crash, crash, mixed
from tests.support.crash import DRAIN_MOMENTS, Moment, at, event_step
from tests.support.day import Day
from tests.support.events import event

KEY = "debug_id:1"
MOMENTS = {
    "groups given": Moment(reprocessing, "give_groups"),
    "files written": Moment(reprocessing, "_process"),
    "replacement noted": Moment(reprocessing, "open_replacement"),
    "lake swapped": Moment(Lake, "swap_events"),
    "counters derived": Moment(reprocessing, "finish_replacements"),
}


@contextmanager
def again(*steps: Callable[[Work], None]) -> Iterator[None]:
    """Process stored events with these steps more."""
    with patch.object(reprocessing, "AGAIN", (*AGAIN, *steps)):
        yield


def all_in_one(work: Work) -> None:
    """A rule that puts every event into one group."""
    work.event["fingerprint"] = ["all"]
    group(work)


def misses(work: Work) -> None:
    """Symbols of events with the logger `native` are not there."""
    if work.event.get("logger") == "native":
        work.missing_symbols = (KEY,)


def symbolicate(work: Work) -> None:
    """The symbols are there."""
    work.event["exception"]["values"][0]["type"] = "Symbolicated"
    own_frames(work.event)
    work.event["exception"]["values"][0]["stacktrace"]["frames"][0]["function"] = "checkout"
    group(work)


def arrive(day: Day, key: str = KEY) -> None:
    with day.stores.state.write() as connection:
        announce(day.stores.state, connection, [(day.project, key)])


def arrived(day: Day, after: int) -> set[tuple[int, str]]:
    with day.stores.state.read() as connection:
        return {pair for pair in arrivals(connection, after) if pair[0] == day.project}


def newest(day: Day) -> int:
    with day.stores.state.read() as connection:
        return last_arrival(connection)


def test_with_the_same_rules_it_is_the_same_row_for_row(day: Day) -> None:
    mixed(day)
    day.drain()
    lake, state = day.lake(), day.state()
    report = reprocess_events(day.stores, day.date)
    assert (report.events, report.moved, report.missing) == (4, 0, 0)
    assert day.lake() == lake
    assert day.state() == state


def test_it_needs_no_raw_envelopes(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    lake = day.lake()
    day.stores.spool.drop_day(day.date)
    assert reprocess_events(day.stores, day.date).events == 1
    assert day.lake() == lake


def test_changed_rules_move_events_and_counters_follow(day: Day) -> None:
    ids = day.send(
        event("A", user={"id": "1"}),
        event("A", user={"id": "2"}),
        event("B", user={"id": "2"}, release="r@1"),
    )
    day.drain()
    assert [g["times_seen"] for g in day.groups()] == [2, 1]
    with again(all_in_one):
        report = reprocess_events(day.stores, day.date)
    assert (report.events, report.moved) == (3, 3)
    day.assert_stored_once(ids)
    assert (day.group()["times_seen"], day.group()["users"]) == (3, 2)
    assert {row["group_id"] for row in day.rows("events")} == {day.group()["id"]}


def test_pieces_leave_no_trace(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reprocessing, "CHUNK_EVENTS", 2)
    ids = day.send(*(event(f"P{n % 3}", logger="native" if n % 4 == 0 else "x") for n in range(9)))
    with event_step(misses):
        day.drain()
    lake = day.lake()
    seen: list[tuple[int, int]] = []
    with again(misses):
        reprocess_events(day.stores, day.date, on_progress=lambda done, of: seen.append((done, of)))
    assert day.lake() == lake
    day.assert_stored_once(ids)
    assert seen == [(2, 9), (4, 9), (6, 9), (8, 9), (9, 9)]


def test_only_events_that_missed_what_arrived_are_processed(day: Day) -> None:
    first, second = event("A", logger="native"), event("A")
    ids = day.send(first, second)
    with event_step(misses):
        day.drain()
    before = {row["event_id"]: row for row in day.rows("event_payloads")}
    assert reprocess_events(day.stores, day.date, wanted={(day.project, "debug_id:2")}).events == 0
    assert reprocess_events(day.stores, day.date, wanted={(day.project + 1, KEY)}).events == 0
    assert reprocess_events(day.stores, day.date, wanted=set()).events == 0
    with again(symbolicate):
        report = reprocess_events(day.stores, day.date, wanted={(day.project, KEY), (7, "release:x:")})
    assert (report.events, report.moved, report.missing) == (1, 1, 0)
    day.assert_stored_once(ids)
    rows = {row["event_id"]: row for row in day.rows("events")}
    assert rows[first["event_id"]]["title"] == "Symbolicated: it went wrong"
    assert rows[first["event_id"]]["missing_symbols"] is None
    after = {row["event_id"]: row for row in day.rows("event_payloads")}
    assert after[second["event_id"]] == before[second["event_id"]]
    assert "Symbolicated" in after[first["event_id"]]["payload"]
    assert sorted(g["title"] for g in day.groups()) == ["A: it went wrong", "Symbolicated: it went wrong"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_that_fails_is_healed_by_the_next_drain(day: Day, moment: str) -> None:
    ids = day.send(event("A"), event("B"))
    day.drain()
    with again(all_in_one), at(MOMENTS[moment], crash), pytest.raises(Crash):
        reprocess_events(day.stores, day.date)
    day.drain()
    day.assert_stored_once(ids)
    assert len(day.groups()) == (1 if moment == "lake swapped" else 2)
    with again(all_in_one):
        reprocess_events(day.stores, day.date)
    assert len(day.groups()) == 1
    day.assert_stored_once(ids)


def test_what_others_replaced_meanwhile_is_read_again(day: Day) -> None:
    ids = day.send(event("A"), event("B"))
    day.drain()

    def others() -> None:
        day.recompute()

    with again(all_in_one), at(Moment(reprocessing, "_process"), others):
        assert reprocess_events(day.stores, day.date).moved == 2
    day.assert_stored_once(ids)
    assert len(day.groups()) == 1


def test_a_day_that_never_rests_is_said(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    day.send(event("A"))
    day.drain()
    lake = day.lake()
    original = reprocessing._process

    def disturbed(*arguments: Any) -> Any:
        result = original(*arguments)
        day.recompute()
        return result

    monkeypatch.setattr(reprocessing, "_process", disturbed)
    with pytest.raises(DayChanging, match=str(day.date)):
        reprocess_events(day.stores, day.date)
    assert day.lake() == lake


def test_what_comes_while_a_day_is_processed_again_stays(day: Day) -> None:
    ids = day.send(event("A"))
    day.drain()

    def more_comes() -> None:
        ids.extend(day.send(event("A"), event("C")))
        day.drain()

    with again(all_in_one), at(MOMENTS["files written"], more_comes):
        reprocess_events(day.stores, day.date)
    day.assert_stored_once(ids)
    assert sorted(g["times_seen"] for g in day.groups()) == [1, 1, 1]


def test_symbols_that_arrive_while_a_batch_misses_them_are_announced_again(day: Day) -> None:
    """Whoever looks for events that waited does not see the batch yet."""
    day.send(event("A", logger="native"))
    seen: list[int] = []

    def come() -> None:
        arrive(day)
        arrive(day, "debug_id:other")
        seen.append(newest(day))

    with event_step(misses), at(DRAIN_MOMENTS["event ids and groups committed"], come):
        day.drain()
    assert arrived(day, seen[0]) == {(day.project, KEY)}


def test_symbols_that_arrive_while_a_day_is_computed_again_are_announced_again(day: Day) -> None:
    day.send(event("A", logger="native"))
    with event_step(misses):
        day.drain()
        for moment, compute in (
            (Moment(Lake, "replace", after=False), day.recompute),
            (Moment(Lake, "swap_events", after=False), lambda: reprocess_events(day.stores, day.date)),
        ):
            seen: list[int] = []
            with at(moment, lambda seen=seen: (arrive(day), seen.append(newest(day)))), again(misses):  # type: ignore[misc]
                compute()
            assert arrived(day, seen[0]) == {(day.project, KEY)}
        quiet = newest(day)
        day.recompute()
    assert arrived(day, quiet) == set()
