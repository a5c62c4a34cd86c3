"""Events that move to another group when they are processed again: the old name leads there, decisions go along, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from tasks_pipeline.cli import main
from tasks_pipeline.groups.decisions import actions_of, assign_groups_to, ignore_groups, resolve_groups
from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.groups.moves import leads_to
from tasks_pipeline.groups.of_release import resolved_groups
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.home import DATABASE_VARIABLE, Home
from tasks_pipeline.notifications.composing import message_of
from tasks_pipeline.notifications.digests import send_digest
from tasks_pipeline.processing.event import Work, group
from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.recurring import own_frames
from tasks_pipeline.storage.state.tables import group_actions, groups
from tasks_pipeline.stores import open_stores
from tests.integration.test_recompute import Crash, crash
from tests.integration.test_reprocess import MOMENTS, again
from tests.support.alerting import alerting, outbox
from tests.support.crash import LAKE_REPLACED, RECOMPUTE_MOMENTS, at, event_step
from tests.support.day import Day
from tests.support.events import event

Again = Callable[[Day], object]


def healed(work: Work) -> None:
    """The source map is there: minified events of `e` and `n` are of one function, `checkout`; those of `t` of another."""
    name = {"e": "checkout", "n": "checkout", "t": "pay"}.get(work.event["exception"]["values"][0]["type"])
    if name:
        own_frames(work.event)
        work.event["exception"]["values"][0]["type"] = name
        work.event["exception"]["values"][0]["stacktrace"]["frames"][0]["function"] = name
        group(work)


def reprocess(day: Day) -> None:
    with again(healed):
        reprocess_events(day.stores, day.date)


def recompute(day: Day) -> None:
    with event_step(healed):
        day.recompute()


both_ways = pytest.mark.parametrize("process_again", [reprocess, recompute])


def all_groups(day: Day) -> dict[str, Any]:
    """Rows of groups by the name they were made with, also of those without events."""
    with day.stores.state.read() as connection:
        rows = connection.execute(select(groups).where(groups.c.project_id == day.project)).all()
    return {row.metadata["type"]: row for row in rows}


def id_of(day: Day, name: str) -> int:
    return int(all_groups(day)[name].id)


def leads(day: Day, group_id: int) -> int | None:
    with day.stores.state.read() as connection:
        return leads_to(connection, [group_id]).get(group_id)


def inherited(day: Day, group_id: int) -> list[Any]:
    return [entry["data"] for entry in actions_of(day.stores.state, group_id) if entry["action"] == "inherit"]


@both_ways
def test_the_old_name_leads_to_where_all_events_went(day: Day, process_again: Again) -> None:
    day.send(event("e"), event("e"), event("Other"))
    day.drain()
    old = id_of(day, "e")
    assert leads(day, old) is None
    process_again(day)
    new = id_of(day, "checkout")
    assert leads(day, old) == new
    assert leads(day, new) is None
    assert [entry["data"] for entry in actions_of(day.stores.state, old)] == [{"into": new, "events": 2}]
    assert [entry["data"] for entry in actions_of(day.stores.state, new)] == [{"from": old, "events": 2}]
    process_again(day)
    assert len(actions_of(day.stores.state, old)) == 1


@both_ways
def test_decisions_go_along(day: Day, process_again: Again) -> None:
    day.send(event("e"), event("t"))
    day.drain()
    state, first, second = day.stores.state, id_of(day, "e"), id_of(day, "t")
    resolve_groups(state, [first], "ann")
    assign_groups_to(state, [first], "ann", "ann@acme.example")
    ignore_groups(state, [second], "ann", until=datetime(2100, 1, 1, tzinfo=UTC))
    before = all_groups(day)
    process_again(day)
    after = all_groups(day)
    for old, new in (("e", "checkout"), ("t", "pay")):
        for name in ("status", "status_changed_at", "assignee", "ignored_until", "resolved_in_release"):
            assert getattr(after[new], name) == getattr(before[old], name)
            assert getattr(after[old], name) == getattr(before[old], name)  # and comes back with its events
    assert inherited(day, after["checkout"].id) == [{"from": [first], "what": ["status", "assignee"]}]


def test_what_was_decided_about_the_new_group_stays(day: Day) -> None:
    day.send(event("e"), event("checkout"))
    day.drain()
    old, new = id_of(day, "e"), id_of(day, "checkout")
    resolve_groups(day.stores.state, [old], "ann")
    assign_groups_to(day.stores.state, [old], "ann", "ann@acme.example")
    ignore_groups(day.stores.state, [new], "bob")
    assign_groups_to(day.stores.state, [new], "bob", "bob@acme.example")
    # Its key is that of the healed events, since its frame is.
    with again(lambda work: same_as(work, "e", "checkout")):
        reprocess_events(day.stores, day.date)
    assert leads(day, old) == new
    row = all_groups(day)["checkout"]
    assert (row.status, row.assignee, row.times_seen) == ("ignored", "bob@acme.example", 2)


def same_as(work: Work, one: str, other: str) -> None:
    """Events of one problem are of another one."""
    exception = work.event["exception"]["values"][0]
    if exception["type"] == one:
        exception["type"] = other
        exception["stacktrace"]["frames"][0]["function"] = f"do_{other}"
        group(work)


def test_what_was_ignored_for_so_many_events_more_is_so_in_the_new_group(day: Day) -> None:
    day.send(event("e"), event("e"), *(event("checkout") for _ in range(5)))
    day.drain()
    old, new = id_of(day, "e"), id_of(day, "checkout")
    ignore_groups(day.stores.state, [old], "ann", more_events=10)
    with again(lambda work: same_as(work, "e", "checkout")):
        reprocess_events(day.stores, day.date)
    row = all_groups(day)["checkout"]
    assert (row.id, row.status, row.times_seen, row.ignored_until_times_seen) == (new, "ignored", 7, 17)


def test_what_came_after_it_was_resolved_shows(day: Day) -> None:
    """The new group has events that are later than the decision about the old one."""
    day.send(event("e"))
    day.drain()
    resolve_groups(day.stores.state, [id_of(day, "e")], "ann")
    late = (datetime.now(UTC) + timedelta(seconds=30)).timestamp()
    today = Day(day.stores, datetime.now(UTC).date(), day.project)
    today.spool(today.receipt(event("checkout", timestamp=late), seconds=86_400 // 2 - 1))
    today.drain()
    with again(lambda work: same_as(work, "e", "checkout")):
        reprocess_events(day.stores, day.date)
    assert all_groups(day)["checkout"].status == "regressed"


@pytest.mark.parametrize(
    ("own", "status"), [("shop@2.0.0", "regressed"), ("shop@1.0.0", "resolved"), (None, "resolved")]
)
def test_what_goes_on_in_newer_releases_is_not_hidden_by_a_decision(
    day: Day, own: str | None, status: str
) -> None:
    """The new group has events of releases of its own, some of which should have the fix."""
    day.send(event("e", release="shop@1.0.0"), event("checkout", release=own))
    day.drain()
    resolve_groups(day.stores.state, [id_of(day, "e")], "ann", in_release="shop@1.1.0")
    with again(lambda work: same_as(work, "e", "checkout")):
        reprocess_events(day.stores, day.date)
    row = all_groups(day)["checkout"]
    assert (row.times_seen, row.status) == (2, status)


def test_what_a_release_resolved_is_found_where_its_events_went(day: Day) -> None:
    day.send(event("e", release="shop@1.0.0"))
    day.drain()
    resolve_groups(day.stores.state, [id_of(day, "e")], "ann", in_release="shop@1.1.0")
    reprocess(day)
    with day.stores.state.read() as connection:
        (found,) = resolved_groups(connection, day.project, "shop", "shop@1.1.0").groups
    assert (found["title"].partition(":")[0], found["times_seen"]) == ("checkout", 1)


def test_groups_that_are_not_of_one_mind_leave_no_status(day: Day) -> None:
    day.send(event("e"), event("n"))
    day.drain()
    ignore_groups(day.stores.state, [id_of(day, "e")], "ann")
    reprocess(day)
    row = all_groups(day)["checkout"]
    assert row.status == "unresolved"
    assert {leads(day, id_of(day, name)) for name in "en"} == {row.id}


def test_it_leads_nowhere_before_its_last_event_went(day: Day) -> None:
    for each in (day, day.next()):
        each.send(event("e"))
        each.drain()
    old = id_of(day, "e")
    resolve_groups(day.stores.state, [old], "ann")
    reprocess(day)
    assert leads(day, old) is None
    assert all_groups(day)["checkout"].status == "unresolved"
    reprocess(day.next())
    assert leads(day, old) == id_of(day, "checkout")
    assert all_groups(day)["checkout"].status == "resolved"


def test_a_group_whose_events_went_two_ways_leads_nowhere(day: Day) -> None:
    first, second = event("e", logger="a"), event("e", logger="b")
    day.send(first, second)
    day.drain()
    old = id_of(day, "e")
    resolve_groups(day.stores.state, [old], "ann")

    def apart(work: Work) -> None:
        work.event["fingerprint"] = [work.event["logger"]]
        group(work)

    with again(apart):
        reprocess_events(day.stores, day.date)
    assert leads(day, old) is None
    assert all(g["status"] == "unresolved" for g in day.groups())


def test_rules_that_are_taken_back_bring_everything_back(day: Day) -> None:
    day.send(event("e"), event("n"))
    day.drain()
    old = id_of(day, "e")
    resolve_groups(day.stores.state, [old], "ann")
    before = {name: (row.status, row.times_seen) for name, row in all_groups(day).items()}

    def all_in_one(work: Work) -> None:
        work.event["fingerprint"] = ["all"]
        group(work)

    def as_sent(work: Work) -> None:
        del work.event["fingerprint"]
        group(work)

    with again(all_in_one):
        reprocess_events(day.stores, day.date)
    assert len(day.groups()) == 1
    new = day.group()["id"]
    with again(as_sent):
        reprocess_events(day.stores, day.date)
    rows = {row.id: row for row in all_groups(day).values()}
    assert leads(day, old) is None
    assert {rows[old].metadata["type"]: (rows[old].status, rows[old].times_seen)}["e"] == before["e"]
    assert leads(day, new) is None  # its events went two ways


def test_a_new_event_is_one_of_the_old_group_again(day: Day) -> None:
    day.send(event("e"))
    day.drain()
    old = id_of(day, "e")
    resolve_groups(day.stores.state, [old], "ann")
    reprocess(day)
    day.spool(day.receipt(event("e", timestamp=datetime.now(UTC).timestamp()), seconds=100))
    day.drain()
    assert leads(day, old) is None
    assert all_groups(day)["e"].times_seen == 1


def test_what_somebody_took_apart_is_of_no_one_mind(day: Day) -> None:
    day.send(event("e"), event("checkout"))
    day.drain()
    state, old, new = day.stores.state, id_of(day, "e"), id_of(day, "checkout")
    merge_groups(state, new, [old], "ann")
    unmerge_group(state, old, "ann")
    with day.stores.lake.lock():
        finish_regroupings(state, day.stores.lake)
    resolve_groups(state, [old], "ann")
    with again(lambda work: same_as(work, "e", "checkout")):
        reprocess_events(day.stores, day.date)
    assert all_groups(day)["checkout"].status == "unresolved"


@contextmanager
def broken(moment: Any) -> Iterator[None]:
    with at(moment, crash), pytest.raises(Crash):
        yield


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_reprocessing_that_dies_carries_decisions_once(day: Day, moment: str) -> None:
    day.send(event("e"), event("Other"))
    day.drain()
    old = id_of(day, "e")
    ignore_groups(day.stores.state, [old], "ann", more_events=7)
    with broken(MOMENTS[moment]):
        reprocess(day)
    day.drain()
    if moment != "lake swapped":  # nothing moved yet; counters of others are derived before, too
        assert leads(day, old) is None
        reprocess(day)
    new = all_groups(day)["checkout"]
    assert leads(day, old) == new.id
    assert (new.status, new.ignored_until_times_seen) == ("ignored", 8)
    assert len(inherited(day, new.id)) == 1
    day.assert_balanced()


@pytest.mark.parametrize("moment", RECOMPUTE_MOMENTS)
def test_a_recomputation_that_dies_carries_decisions_once(day: Day, moment: str) -> None:
    day.send(event("e"), event("Other"))
    day.drain()
    old = id_of(day, "e")
    resolve_groups(day.stores.state, [old], "ann")
    with broken(RECOMPUTE_MOMENTS[moment]):
        recompute(day)
    day.drain()
    if moment not in LAKE_REPLACED:
        recompute(day)
    new = all_groups(day)["checkout"]
    assert leads(day, old) == new.id
    assert new.status == "resolved"
    assert len(inherited(day, new.id)) == 1


def test_what_moved_live_is_the_same_when_it_is_recomputed(day: Day) -> None:
    day.send(event("e", user={"id": "1"}), event("e"), event("Other"))
    day.drain()
    resolve_groups(day.stores.state, [id_of(day, "e")], "ann")
    reprocess(day)
    lake, state = day.lake(), day.state()
    recompute(day)
    assert day.state() == state
    assert [row["group_id"] for row in day.rows("events")] == [row["group_id"] for row in lake["events"]]
    day.assert_balanced()


def test_a_digest_tells_of_the_group_that_the_events_are_in(own_day: Day) -> None:
    day = alerting(
        own_day,
        "channels: [{name: mail, type: mail, host: localhost, sender: e@acme.example}]\n"
        "members: [{email: anna@acme.example, notifications: {delivery: digest, digest: {min_delay_minutes: 0, max_delay_minutes: 1}}}]\n"
        "alert_rules: [{name: all, when: [new_group], notify: [members]}]\n",
    )
    day.send(event("e"), event("t"))
    day.drain()
    reprocess(day)
    resolve_groups(day.stores.state, [id_of(day, "pay")], "ann")
    report = send_digest(day.stores, datetime.now(UTC) + timedelta(minutes=5))
    assert (report.entries, report.settled) == (1, 1)
    (digest,) = (row for row in outbox(day.stores, day.project) if row["type"] == "digest")
    (line,) = message_of(day.stores, digest).groups
    assert (line.short_id, line.title) == ("SHOP-3", "checkout: it went wrong")


def groups_command(home: Home, *words: str) -> Result:
    runner = CliRunner(env={DATABASE_VARIABLE: home.database_url})
    result = runner.invoke(main, ["--home", str(home.root), "groups", *words])
    assert result.exit_code == 0, result.output
    return result


def test_people_use_the_old_name_as_that_of_the_new_group(any_home: Home) -> None:
    with open_stores(any_home) as stores:
        day = Day(stores, datetime.now(UTC).date() - timedelta(days=1), 1)
        day.send(event("e"), event("Other"))
        day.drain()
        reprocess(day)
    shown = groups_command(any_home, "show", "SHOP-1")
    assert "SHOP-1 has no events any more: they are in SHOP-3" in shown.stderr
    assert "1 event came from SHOP-1" in shown.stdout
    assert groups_command(any_home, "resolve", "shop-1").stdout.startswith("SHOP-3 is resolved")
    assert "1 event moved to SHOP-3" in groups_command(any_home, "log", "SHOP-1").stdout
    with open_stores(any_home) as stores, stores.state.read() as connection:
        kinds = connection.execute(select(group_actions.c.action).order_by(group_actions.c.id)).scalars()
        assert list(kinds) == ["move", "move", "resolve"]
