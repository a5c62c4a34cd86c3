"""Recomputing a day: the same rows as the stream made, today's code for the past, and never half of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import and_, delete, select, update

from tasks_pipeline.processing.event import Work
from tasks_pipeline.processing.event import group as group_again
from tasks_pipeline.processing.process_batch import RawGone
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import open_stores
from tests.support.crash import (
    BAD,
    DRAIN_MOMENTS,
    LAKE_REPLACED,
    RECOMPUTE_MOMENTS,
    at,
    event_step,
    refuse_if_bad,
)
from tests.support.day import Day
from tests.support.events import event, item


class Crash(Exception):
    """Raised in the middle of a recomputation."""


def crash() -> None:
    raise Crash


def mixed(day: Day) -> None:
    """Events of several groups and users, late ones, duplicates, attachments, sessions, dead letters, counts."""
    again = event("A", user={"id": "\U0001f469\u200d\U0001f467" * 90}, timestamp=day.at(-60).timestamp())
    session = {"sid": "1" * 32, "started": day.at().isoformat(), "attrs": {"release": "r@1"}}
    discarded = {"discarded_events": [{"reason": "sample_rate", "category": "error", "quantity": 2}]}
    day.spool(
        day.receipt(event("A", release="r@1", environment="prod"), seconds=3),
        day.receipt(again, item("attachment", b"bytes", filename="a"), seconds=2),
        day.receipt(event("B", tags={"b": "2", "a": "1"}, fingerprint=["x"], level="fatal"), seconds=1),
        day.receipt(item("session", session), item("client_report", discarded), item("span", b"{}")),
        day.receipt(item("event", b"{"), event_id="1" * 32),
        day.receipt(again, item("attachment", b"bytes", filename="a")),
        day.receipt(body=b"junk"),
        day.receipt(event("A", user={"email": "a@example.org"}), seconds=9),
    )


def test_a_day_that_is_stored_again_notes_its_releases(day: Day) -> None:
    """Their environments, and when the first and the last of their events and sessions were, as the stream does."""
    session = {
        "sid": "1" * 32,
        "started": day.at(60).isoformat(),
        "attrs": {"release": "r@1", "environment": "prod"},
    }
    day.spool(
        day.receipt(event("A", release="r@1", environment="qa"), seconds=3),
        day.receipt(item("session", session), seconds=90),
        day.receipt(event("B", release="r@2"), seconds=4),
    )
    day.drain()
    noted = releases_noted(day)
    assert [row["version"] for row in noted] == ["r@1", "r@1", "r@2"]
    with day.stores.state.write() as connection:  # as before there were such columns
        of_day = t.releases.c.project_id == day.project
        nothing = dict.fromkeys(("first_event_at", "last_event_at", "first_session_at", "last_session_at"))
        connection.execute(update(t.releases).where(of_day, t.releases.c.version == "r@1").values(**nothing))
        connection.execute(delete(t.releases).where(of_day, t.releases.c.version == "r@2"))
        connection.execute(
            delete(t.release_environments).where(t.release_environments.c.project_id == day.project)
        )
    day.recompute()
    assert releases_noted(day) == noted


def releases_noted(day: Day) -> list[dict[str, object]]:
    """What is noted of each release and environment by what was received of it."""
    r, e = t.releases.c, t.release_environments.c
    query = (
        select(
            r.version, r.created_at, r.order_date, r.first_event_at, r.last_event_at,
            r.first_session_at, r.last_session_at, e.environment, e.first_at,
        )
        .join_from(t.releases, t.release_environments, and_(e.project_id == r.project_id, e.version == r.version), isouter=True)
        .where(r.project_id == day.project)
        .order_by(r.version, e.environment)
    )  # fmt: skip
    with day.stores.state.read() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def test_a_recomputed_day_is_the_same_row_for_row(day: Day) -> None:
    day = day.configured(batch_envelopes=3)
    mixed(day)
    day.drain()
    lake, state = day.lake(), day.state()
    report = day.recompute()
    assert (report.batches, report.envelopes, report.bounds) == (3, 8, {"r0": 8})
    assert report.counts == {"stored": 7, "duplicate": 2, "invalid": 2, "filtered": 0, "discarded": 0}
    assert day.lake() == lake
    assert day.state() == state
    day.assert_balanced()


def test_the_size_of_batches_leaves_no_trace_in_rows(day: Day) -> None:
    """The same envelopes on two days, in batches of one and of eight, are the same but for the outcomes' batch."""
    one_by_one, tomorrow = day.configured(batch_envelopes=1), day.next()
    events = [event(f"P{n % 3}", user={"id": str(n)}) for n in range(7)]
    one_by_one.send(*events)
    one_by_one.drain()
    tomorrow.send(*(event(f"P{n % 3}", user={"id": str(n)}) for n in range(7)))
    tomorrow.drain()
    columns = ("position", "item", "group_id", "title", "culprit", "user_key", "variant")
    first, second = ([[row[c] for c in columns] for row in d.rows("events")] for d in (one_by_one, tomorrow))
    assert first == second
    assert [g["times_seen"] for g in day.groups()] == [6, 4, 4]


def test_what_comes_while_a_day_is_recomputed_stays(day: Day) -> None:
    early, late = day.send(event("A"), event("B")), []
    day.drain()

    def more_comes() -> None:
        late.extend(day.send(event("A"), event("C")))
        day.drain()

    with at(RECOMPUTE_MOMENTS["files written"], more_comes):
        report = day.recompute()
    assert report.bounds == {"r0": 2}
    day.assert_stored_once([*early, *late])
    assert [g["times_seen"] for g in day.groups()] == [2, 1, 1]


def test_a_batch_at_work_is_left_alone(day: Day) -> None:
    """Its rows may be in the lake already: they stay, and its events are counted when it is done."""
    day = day.configured(batch_envelopes=2)
    ids = day.send(event("A"), event("A"), event("A"), event("B"))
    with at(DRAIN_MOMENTS["done"], crash), pytest.raises(Crash):
        day.drain()
    with at(DRAIN_MOMENTS["lake committed"], crash), pytest.raises(Crash):
        day.drain()
    report = day.recompute()
    assert report.bounds == {"r0": 2}
    assert [g["times_seen"] for g in day.groups()] == [2]
    day.assert_balanced()
    day.drain()
    day.assert_stored_once(ids)
    assert [g["times_seen"] for g in day.groups()] == [3, 1]


def test_todays_code_makes_the_past(day: Day) -> None:
    """Events that were invalid are stored, titles change, and all counters follow."""
    good, bad = event("A", user={"id": "1"}), event("A", logger=BAD, user={"id": "2"}, release="r@2")
    day = day.configured(batch_envelopes=1)
    day.send(good, bad)
    with event_step(refuse_if_bad):
        day.drain()
    assert day.ids() == [good["event_id"]]
    assert day.outcomes() == {("stored", ""): 1, ("invalid", "bad"): 1}

    def rename(work: Work) -> None:
        work.event["exception"]["values"][0]["value"] = "renamed"
        work.event["transaction"] = "checkout"
        work.event["level"] = "fatal"
        group_again(work)

    with event_step(rename):
        day.recompute()

    day.assert_stored_once([good["event_id"], bad["event_id"]])
    assert day.rows("dead_letters") == []
    group = day.group()
    assert (group["times_seen"], group["users"], group["last_seen"]) == (2, 2, day.at(1))
    assert (group["title"], group["culprit"], group["level"]) == ("A: renamed", "checkout", "fatal")
    assert group["metadata"]["value"] == "renamed"
    assert [row[4:6] for row in day.state()["batches"]] == [(1, 1), (1, 1)]

    with event_step(refuse_if_bad):
        day.recompute()
    day.assert_stored_once([good["event_id"]])
    assert (day.group()["times_seen"], day.group()["users"]) == (1, 1)


def test_a_group_that_lost_all_its_events_is_shown_no_more(day: Day) -> None:
    day.send(event("A", logger=BAD), event("B"))
    day.drain()
    with event_step(refuse_if_bad):
        day.recompute()
    assert [g["title"] for g in day.groups()] == ["B: it went wrong"]


@pytest.mark.parametrize("moment", RECOMPUTE_MOMENTS)
def test_a_recomputation_that_fails_is_healed_by_the_next_drain(day: Day, moment: str) -> None:
    good, bad = event("A"), event("A", logger=BAD)
    day.send(good, bad)
    day.drain()
    with event_step(refuse_if_bad), at(RECOMPUTE_MOMENTS[moment], crash), pytest.raises(Crash):
        day.recompute()
    day.drain()
    replaced = moment in LAKE_REPLACED
    day.assert_stored_once([good["event_id"]] if replaced else [good["event_id"], bad["event_id"]])


def test_two_recomputations_at_once_do_no_harm(day: Day) -> None:
    day = day.configured(batch_envelopes=3)
    mixed(day)
    day.drain()
    lake, state = day.lake(), day.state()

    def again() -> None:
        with open_stores(day.stores.home) as stores:
            Day(stores, day.date, day.project).recompute()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(again), pool.submit(again)]:
            future.result(timeout=120)
    assert (day.lake(), day.state()) == (lake, state)


def test_a_day_without_raw_envelopes_stays_as_it_is(day: Day) -> None:
    mixed(day)
    day.drain()
    lake, state = day.lake(), day.state()
    assert day.stores.spool.drop_day(day.date) == 8
    with pytest.raises(RawGone, match=r"retention\.raw_days is 7"):
        day.recompute()
    assert (day.lake(), day.state()) == (lake, state)


def test_a_day_on_which_nothing_came_is_nothing_to_do(day: Day) -> None:
    report = day.recompute()
    assert (report.batches, report.bounds) == (0, {})
