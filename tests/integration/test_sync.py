"""Groups and issues in step: who changed is carried to the other side once, whatever gets lost in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tasks_pipeline.groups.decisions import (
    actions_of,
    assign_groups_to,
    ignore_groups,
    log_action,
    resolve_groups,
    unresolve_groups,
)
from tasks_pipeline.groups.merging import merge_groups, unmerge_group
from tasks_pipeline.integrations import due, looking, sync
from tasks_pipeline.integrations.due import sync_due
from tasks_pipeline.reading.told import told
from tasks_pipeline.storage.state.tables import groups, issue_links
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Do, Verdict
from tasks_pipeline.trackers.issue import IssueState, Person
from tests.support.alerting import alert_rows
from tests.support.fake_tracker import ANN, FakeTracker
from tests.support.linked import ANNA, BEN, Linked, linked

OPEN, CLOSED = IssueState.OPEN, IssueState.CLOSED


@pytest.fixture
def hub(own: Stores) -> Linked:
    return linked(own)


def regress(hub: Linked, group_id: int) -> None:
    """An event came."""

    with hub.stores.state.write() as connection:
        values = {"status": "regressed", "resolution": None, "last_release": "shop@2.0"}
        connection.execute(update(groups).where(groups.c.id == group_id).values(**values))
        log_action(hub.stores.state, connection, 1, group_id, "regress", {}, status="regressed")


def test_a_resolved_group_closes_its_issue_and_its_echo_does_nothing(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    assert hub.there.issues[key].state is CLOSED
    assert (hub.row(link).agreed_state, hub.intents()) == ("closed", [("state", "done")])
    entries = hub.log(group_id)
    hub.poll()  # sees our own close
    assert hub.log(group_id) == entries
    assert hub.there.calls["set_state"] == 1


def test_an_issue_that_is_closed_there_resolves_its_group_and_says_by_whom(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    hub.there.close(key)
    report = hub.poll()
    assert hub.status(group_id) == "resolved"
    url = f"https://hub.example/{key}"
    assert hub.log(group_id)[0] == (ANNA, "resolve", {"issue": url, "issue_key": f"acme/shop#{key}"})
    assert (hub.row(link).agreed_state, hub.there.calls["set_state"]) == ("closed", 0)
    assert report.counts["pulled"] == 1
    hub.there.reopen(key, by=Person("octo-carl"))
    hub.poll()
    assert hub.status(group_id) == "unresolved"
    assert hub.log(group_id)[0][0] == "shop-issues:octo-carl"


def test_the_log_reads_as_people_would_say_it(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    said = {"tracker": "shop-issues", "key": f"acme/shop#{key}", "issue": "https://hub.example/1"}
    with hub.stores.state.write() as connection:
        log_action(hub.stores.state, connection, 1, group_id, "link", {**said, "made": True}, ANNA)
        log_action(hub.stores.state, connection, 1, group_id, "unlink", said, ANNA)
    hub.poll()
    hub.there.close(key)
    hub.poll()
    with hub.stores.state.write() as connection:
        log_action(
            hub.stores.state, connection, 1, group_id, "link", {**said, "rule": "file it"}, "automatic"
        )
    entries = told(hub.stores.state, {1: "shop"}, actions_of(hub.stores.state, group_id))
    assert [entry["text"] for entry in entries] == [
        'linked to acme/shop#1 by the alert rule "file it"',
        "resolved (acme/shop#1)", "not linked to acme/shop#1 any more", "acme/shop#1 was made for it in shop-issues",
    ]  # fmt: skip


def test_what_was_undone_meanwhile_sends_nothing(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    hub.sync()
    hub.there.fail["set_state"] = [Verdict(Do.RETRY, said="bad gateway")]
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    unresolve_groups(hub.stores.state, [group_id], ANNA)
    hub.hurry()
    hub.sync()
    assert hub.there.issues[key].state is OPEN
    assert hub.there.calls["set_state"] == 1
    assert hub.intents() == [("state", "done")]


def test_a_lost_answer_to_a_close_is_no_change_of_theirs(hub: Linked) -> None:
    """The group was reopened before the answer would have come: what our own write did is not pulled as if somebody had."""
    group_id, link, key = hub.pair()
    hub.sync()
    hub.there.fail["set_state"] = ["lost"]
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    assert hub.there.issues[key].state is CLOSED
    unresolve_groups(hub.stores.state, [group_id], ANNA)
    for _ in range(3):
        hub.hurry()
        hub.sync()
    assert (hub.status(group_id), hub.there.issues[key].state) == ("unresolved", OPEN)
    assert hub.row(link).agreed_state == "open"


def test_a_lost_answer_is_found_by_reading(hub: Linked) -> None:
    group_id, link, _ = hub.pair()
    hub.sync()
    hub.there.fail["set_state"] = ["lost"]
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    hub.hurry()
    hub.sync()
    assert (hub.row(link).agreed_state, hub.there.calls["set_state"]) == ("closed", 1)
    assert hub.intents() == [("state", "done")]


def test_an_event_after_the_fix_reopens_the_issue_with_one_comment_a_day(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    for _ in range(2):
        resolve_groups(hub.stores.state, [group_id], ANNA)
        hub.sync()
        assert hub.there.issues[key].state is CLOSED
        regress(hub, group_id)
        hub.sync()
        assert hub.there.issues[key].state is OPEN
    (text,) = hub.there.texts(key)
    assert "SHOP-1 is back in shop@2.0: it was seen 3 times" in text.replace("\u200b", "")
    assert hub.row(link).agreed_state == "open"


@pytest.mark.parametrize(("setting", "state", "comments"), [("comment", CLOSED, 1), ("nothing", CLOSED, 0)])
def test_a_regression_may_be_told_only_or_nothing(
    own: Stores, setting: str, state: IssueState, comments: int
) -> None:
    hub = linked(own, on_regression=setting)
    group_id, _, key = hub.pair()
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    regress(hub, group_id)
    hub.sync()
    hub.poll()
    assert (hub.there.issues[key].state, len(hub.there.texts(key))) == (state, comments)
    assert hub.status(group_id) == "regressed"


def test_two_robots_that_fight_are_held_and_told_once(own: Stores) -> None:
    hub = linked(own, flap_limit=3)
    group_id, link, key = hub.pair()
    hub.sync()
    for _ in range(3):
        hub.there.close(key)
        hub.poll()
        unresolve_groups(hub.stores.state, [group_id], "robot")
        hub.sync()
        hub.hurry()
    row = hub.row(link)
    assert (row.state, row.held) == ("held", "flapping")
    told = [data for _, action, data in hub.log(group_id) if action == "issue"]
    assert [data["what"] for data in told] == ["is not kept in step: flapping"]
    (alert,) = alert_rows(hub.stores, 0)
    assert (alert["kind"], alert["data"]["integration"]) == ("integration", "hub")
    calls = hub.there.calls["set_state"]
    with hub.stores.state.write() as connection:  # the window is not over
        later = datetime.now(UTC) + timedelta(minutes=30)
        connection.execute(update(issue_links).values(look_at=later))
    unresolve_groups(hub.stores.state, [group_id], "robot")
    hub.there.close(key)
    hub.poll()
    assert hub.there.calls["set_state"] == calls
    with hub.stores.state.write() as connection:  # it is
        connection.execute(update(issue_links).values(look_at=later - timedelta(hours=1), turns=[]))
    hub.sync()
    assert (hub.row(link).state, hub.status(group_id)) == ("linked", "resolved")


def test_a_fight_that_goes_on_after_its_hold_is_told_no_second_time_and_a_new_one_is(own: Stores) -> None:
    hub = linked(own, flap_limit=2)
    group_id, link, key = hub.pair()
    hub.poll()

    def fight() -> None:
        for _ in range(2):
            hub.there.close(key)
            hub.poll()
            unresolve_groups(hub.stores.state, [group_id], "robot")
            hub.sync()
            hub.hurry()
        assert hub.row(link).state == "held"

    def after(minutes: int) -> None:
        parts = (each.rpartition(" ") for each in hub.row(link).turns)
        past = timedelta(minutes=minutes)
        turns = [
            f"{what}{blank}{(datetime.fromisoformat(at) - past).isoformat()}" for what, blank, at in parts
        ]
        with hub.stores.state.write() as connection:
            connection.execute(update(issue_links).values(look_at=datetime.now(UTC), turns=turns))
        hub.there.close(key)
        hub.poll()

    fight()
    after(minutes=61)
    assert hub.row(link).state == "linked"
    fight()
    assert len(alert_rows(hub.stores, 0)) == 1
    assert [action for _, action, _ in hub.log(group_id)].count("issue") == 1
    after(minutes=190)
    fight()
    assert len(alert_rows(hub.stores, 0)) == 2


def test_what_the_tracker_does_not_take_is_held_with_its_words_and_tried_when_the_issue_changes(
    hub: Linked,
) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    said = "the workflow does not allow Closed from In Review"
    hub.there.fail["set_state"] = [Verdict(Do.HELD, said=said)]
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    row = hub.row(link)
    assert (row.state, row.held, hub.there.issues[key].state) == ("held", said, OPEN)
    hub.poll()
    assert hub.there.calls["set_state"] == 1
    hub.there.fail["set_state"] = [Verdict(Do.HELD, said=said)]
    hub.hurry()  # after an hour it is tried again, and told no second time
    hub.sync()
    assert (hub.row(link).state, hub.there.calls["set_state"]) == ("held", 2)
    assert [action for _, action, _ in hub.log(group_id)].count("issue") == 1
    hub.there.change(key, status="In Progress")
    hub.poll()
    assert (hub.row(link).state, hub.there.issues[key].state) == ("linked", CLOSED)


def test_a_change_that_is_answered_well_and_not_made_is_held(hub: Linked) -> None:
    group_id, link, _ = hub.pair()
    hub.there.deaf = True
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    assert hub.row(link).held.startswith("it was not closed")
    assert hub.row(link).agreed_state == "open"


def test_an_archived_place_costs_no_attempts(hub: Linked) -> None:
    group_id, _link, key = hub.pair()
    hub.sync()
    archived = Verdict(Do.HELD, tracker="degraded", said="it is archived")
    hub.there.fail["set_state"] = [archived] * 20
    resolve_groups(hub.stores.state, [group_id], ANNA)
    for _ in range(20):
        hub.sync()
        hub.hurry()
    hub.sync()
    assert (hub.intents(), hub.there.issues[key].state) == ([("state", "done")], CLOSED)


def test_assignees_go_both_ways_and_strangers_unassign_nobody(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    assign_groups_to(hub.stores.state, [group_id], "me", ANNA)
    hub.sync()
    assert [p.login for p in hub.there.issues[key].assignees] == ["ann"]
    hub.there.change(key, assignees=(Person("ben-there"),))
    hub.poll()
    assert hub.assignee(group_id) == BEN
    hub.there.change(key, assignees=(Person("octo-carl"),))
    hub.poll()
    assert hub.assignee(group_id) == BEN
    assert hub.row(link).note == "assignee: not mapped (octo-carl)"
    assert [p.login for p in hub.there.issues[key].assignees] == ["octo-carl"]
    assign_groups_to(hub.stores.state, [group_id], "me", None)
    hub.sync()
    assert hub.there.issues[key].assignees == ()


def test_who_assigned_it_there_is_in_the_log(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    hub.poll()
    hub.there.change(key, assignees=(ANN,), assigned_by=Person("octo-carl"))
    hub.poll()
    said = {"issue": f"https://hub.example/{key}", "issue_key": f"acme/shop#{key}", "assignee": ANNA}
    assert hub.log(group_id)[0] == ("shop-issues:octo-carl", "assign", said)
    hub.there.change(key, assignees=(), assigned_by=None)
    hub.poll()
    assert hub.log(group_id)[0][:2] == ("shop-issues", "unassign"), "nobody says who it was"


@pytest.mark.parametrize(
    ("minutes", "has_it", "said"),
    [
        (1, BEN, "theirs came later"),
        (-1, ANNA, "ours stays, which came later"),
        (None, ANNA, "nobody knows which"),
    ],
)
def test_given_to_others_on_both_sides_whoever_came_later_has_it(
    hub: Linked, minutes: int | None, has_it: str, said: str
) -> None:
    group_id, _, key = hub.pair()
    hub.poll()
    assign_groups_to(hub.stores.state, [group_id], "me", ANNA)
    at = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    hub.there.change(key, assignees=(Person("ben-there"),), assigned_by=ANN, assigned_at=at)
    hub.hurry()
    hub.poll()
    hub.poll()
    assert hub.assignee(group_id) == has_it
    assert [p.login for p in hub.there.issues[key].assignees] == [{ANNA: "ann", BEN: "ben-there"}[has_it]]
    (entry,) = [data["what"] for _, action, data in hub.log(group_id) if action == "issue"]
    assert entry.startswith("given to others on both sides: ")
    assert said in entry


def test_two_robots_that_fight_over_an_assignee_are_held_and_told_once(own: Stores) -> None:
    hub = linked(own, flap_limit=3)
    group_id, link, key = hub.pair()
    hub.poll()

    def fight() -> None:
        for _ in range(3):
            hub.there.change(key, assignees=(Person("ben-there"),))
            hub.poll()
            assign_groups_to(hub.stores.state, [group_id], "robot", ANNA)
            hub.sync()
            hub.hurry()

    fight()
    assert (hub.row(link).state, hub.row(link).held) == ("held", "flapping")
    (alert,) = alert_rows(hub.stores, 0)
    assert "it was given to and fro more than 3 times" in alert["data"]["title"]
    assert "sync.assignee" in alert["data"]["changed"]
    calls = hub.there.calls["assign"]
    hub.there.change(key, assignees=(Person("ben-there"),))
    hub.poll()
    assert hub.there.calls["assign"] == calls


def test_an_assignee_that_is_not_taken_is_not_pushed_again_and_again(hub: Linked) -> None:
    group_id, link, _key = hub.pair()
    hub.there.deaf = True
    assign_groups_to(hub.stores.state, [group_id], "me", ANNA)
    for _ in range(3):
        hub.poll()
        hub.hurry()
    assert hub.there.calls["assign"] == 1
    assert hub.row(link).note == "assignee: not taken there (ann)"
    assert hub.assignee(group_id) == ANNA


def test_an_ignored_group_says_nothing_and_hears_nothing(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    ignore_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    assert hub.there.issues[key].state is OPEN
    hub.there.close(key)
    hub.poll()
    assert (hub.status(group_id), hub.row(link).agreed_state) == ("ignored", "closed")
    hub.there.reopen(key)
    hub.poll()
    assert hub.status(group_id) == "ignored"
    assert hub.log(group_id)[0][2]["what"] == "was reopened; the group stays ignored"


def test_a_group_is_resolved_from_there_when_all_of_its_issues_are_closed(hub: Linked) -> None:
    group_id, _, one = hub.pair()
    other = hub.there.made()
    hub.link(group_id, other)
    hub.sync()
    hub.there.close(one)
    hub.poll()
    assert hub.status(group_id) == "unresolved"
    hub.there.close(other.external_id)
    hub.poll()
    assert hub.status(group_id) == "resolved"
    hub.there.reopen(one)
    hub.poll()
    assert hub.status(group_id) == "unresolved"
    # The other one is closed still, and that was agreed: it is reopened with the group.
    assert hub.there.issues[other.external_id].state is OPEN


def test_an_issue_of_two_groups_closes_when_both_are_resolved(hub: Linked) -> None:
    first, _, key = hub.pair()
    second = hub.group()
    hub.link(second, hub.there.issues[key])
    hub.sync()
    resolve_groups(hub.stores.state, [first], ANNA)
    hub.sync()
    assert hub.there.issues[key].state is OPEN
    resolve_groups(hub.stores.state, [second], ANNA)
    hub.sync()
    assert hub.there.issues[key].state is CLOSED
    regress(hub, first)
    hub.sync()
    assert hub.there.issues[key].state is OPEN


def test_a_merged_group_brings_its_issue_along_and_nothing_is_closed(hub: Linked) -> None:
    target, _, kept = hub.pair()
    merged, link, key = hub.pair()
    hub.sync()
    merge_groups(hub.stores.state, target, [merged], ANNA)
    hub.sync()
    assert {hub.there.issues[each].state for each in (kept, key)} == {OPEN}
    (text,) = hub.there.texts(key)
    assert "was merged into SHOP-1" in text.replace("\u200b", "")
    resolve_groups(hub.stores.state, [target], ANNA)
    hub.sync()
    assert {hub.there.issues[each].state for each in (kept, key)} == {CLOSED}
    unmerge_group(hub.stores.state, merged, ANNA)
    hub.sync()
    assert (hub.status(merged), hub.there.issues[key].state) == ("unresolved", OPEN)
    assert hub.there.issues[kept].state is CLOSED
    assert hub.row(link).agreed_group == merged


def closed_as_duplicate(own: Stores) -> tuple[Linked, int, str, int, int, str]:
    """A group that was merged into another, both with an open issue, where the policy is to close one."""
    hub = linked(own, merge_policy="close_as_duplicate")
    target, _, kept = hub.pair()
    merged, link, key = hub.pair()
    hub.sync()
    merge_groups(hub.stores.state, target, [merged], ANNA)
    hub.sync()
    return hub, target, kept, merged, link, key


def test_a_merged_groups_issue_is_closed_as_a_duplicate_and_stays_so_until_the_merge_is_undone(
    own: Stores,
) -> None:
    hub, target, kept, merged, link, key = closed_as_duplicate(own)
    there = hub.there
    assert (there.issues[key].state, there.issues[key].reason) == (CLOSED, "duplicate")
    assert there.issues[kept].state is OPEN
    (text,) = there.texts(key)
    assert "was merged into SHOP-1" in text.replace("\u200b", "")
    hub.poll(full=True)  # its echo is nobody's word about the group
    assert hub.status(target) == "unresolved"
    resolve_groups(hub.stores.state, [target], ANNA)
    hub.sync()
    regress(hub, target)
    hub.sync()
    assert [there.issues[each].state for each in (kept, key)] == [OPEN, CLOSED]
    unmerge_group(hub.stores.state, merged, ANNA)
    hub.sync()
    assert (hub.status(merged), there.issues[key].state) == ("unresolved", OPEN)
    assert (hub.row(link).settled, hub.row(link).agreed_group) == ("", merged)


def test_a_duplicate_that_somebody_reopens_there_stays_open(own: Stores) -> None:
    hub, target, kept, _, link, key = closed_as_duplicate(own)
    hub.there.reopen(key)
    hub.poll()
    hub.poll()
    assert (hub.there.issues[key].state, hub.row(link).settled) == (OPEN, "")
    hub.there.close(kept)
    hub.poll()
    assert hub.status(target) == "unresolved"  # one of its issues is open


def test_the_answer_to_the_close_of_a_duplicate_may_be_lost(own: Stores) -> None:
    there = FakeTracker(fail={"set_state": ["lost"]})
    hub = linked(own, there, merge_policy="close_as_duplicate")
    target, _, _ = hub.pair()
    merged, link, key = hub.pair()
    hub.sync()
    merge_groups(hub.stores.state, target, [merged], ANNA)
    hub.sync()
    hub.hurry()
    hub.sync()
    assert (there.issues[key].state, hub.row(link).settled) == (CLOSED, "duplicate")
    assert there.calls["set_state"] == 1


def test_groups_merged_into_one_without_an_issue_keep_the_first_of_theirs(own: Stores) -> None:
    hub = linked(own, merge_policy="close_as_duplicate")
    (first, _, kept), (second, _, other) = hub.pair(), hub.pair()
    hub.sync()
    merge_groups(hub.stores.state, hub.group(), [first, second], ANNA)
    hub.sync()
    assert [hub.there.issues[each].state for each in (kept, other)] == [OPEN, CLOSED]


def test_an_issue_that_is_gone_resolves_nothing_and_is_not_made_again(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.sync()
    del hub.there.issues[key]
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    assert hub.row(link).state == "linked"  # once is not enough
    unresolve_groups(hub.stores.state, [group_id], ANNA)
    with hub.stores.state.write() as connection:
        connection.execute(update(issue_links).values(missing_since=datetime.now(UTC) - timedelta(hours=2)))
    hub.there.problem = "the repository cannot be read"
    hub.hurry()
    hub.sync()
    assert hub.row(link).state == "linked"  # not while its whole place is out of sight
    hub.there.problem = ""
    for _ in range(2):
        with hub.stores.state.write() as connection:
            connection.execute(
                update(issue_links).values(missing_since=datetime.now(UTC) - timedelta(hours=2))
            )
        hub.hurry()
        hub.sync()
    assert hub.row(link).state == "gone"
    assert hub.status(group_id) == "unresolved"
    assert "is gone" in hub.log(group_id)[0][2]["what"]
    assert hub.there.issues == {}


def test_the_full_pass_heals_what_polls_never_showed(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    hub.poll()
    issue = hub.there.issues[key]
    hub.there.close(key)
    hub.there.put(
        hub.there.issues[key].__class__(
            **{**_fields(hub.there.issues[key]), "updated_at": issue.updated_at - timedelta(days=2)}
        )
    )  # type: ignore[operator]
    hub.poll()
    assert hub.status(group_id) == "unresolved"
    hub.sync(tracker="shop-issues", full=True)
    assert hub.status(group_id) == "resolved"


def _fields(issue: Any) -> dict[str, Any]:
    return {name: getattr(issue, name) for name in issue.__slots__}


@pytest.mark.parametrize("minutes", [-10, 10])
def test_clocks_may_differ(own: Stores, minutes: int) -> None:
    hub = linked(own, FakeTracker(skew=timedelta(minutes=minutes)))
    group_id, link, key = hub.pair()
    hub.poll()
    hub.there.close(key)
    hub.poll()
    assert hub.status(group_id) == "resolved"
    hub.there.reopen(key)
    hub.poll()
    assert hub.status(group_id) == "unresolved"
    assert hub.row(link).agreed_state == "open"


def test_a_link_that_cannot_be_passed_costs_itself_alone(
    hub: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, _, bad = hub.pair()
    group_id, _, key = hub.pair()
    hub.poll()

    settle = looking.settle

    def failing(work: Any, connection: Any, link_id: int, *more: Any, **options: Any) -> Any:
        if hub.row(link_id).group_id == broken:
            raise RuntimeError("a row that nobody expected")
        return settle(work, connection, link_id, *more, **options)

    monkeypatch.setattr(looking, "settle", failing)
    for each in (bad, key):
        hub.there.close(each)
    report = hub.poll()
    assert (hub.status(group_id), hub.status(broken)) == ("resolved", "unresolved")
    assert report.counts["errors"] >= 1
    monkeypatch.undo()
    hub.hurry()
    hub.sync()
    assert hub.status(broken) == "resolved"


def test_a_revoked_token_loses_nothing(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    hub.sync()
    revoked = Verdict(Do.AUTH_FAILED, said="Bad credentials")
    hub.there.fail = {name: [revoked] * 3 for name in ("read", "set_state", "changed", "by_ids")}
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    hub.there.fail = {}
    hub.hurry()
    hub.poll()
    assert hub.there.issues[key].state is CLOSED


def test_nothing_is_due_at_rest_and_a_decision_is(hub: Linked) -> None:
    now = datetime.now(UTC)
    group_id, _, _ = hub.pair()
    other = hub.group()
    hub.sync()
    assert sync_due(hub.stores, now) == {}
    resolve_groups(hub.stores.state, [other], ANNA)  # it has no issue
    assert sync_due(hub.stores, datetime.now(UTC)) == {}
    resolve_groups(hub.stores.state, [group_id], ANNA)
    assert sync_due(hub.stores, datetime.now(UTC))["hub"].looks == ("shop-issues",)
    hub.sync()
    assert sync_due(hub.stores, datetime.now(UTC)) == {}
    assert sync_due(hub.stores, now + timedelta(seconds=301))["hub"].polls == ("shop-issues",)


def test_polls_that_come_soon_after_each_other_keep_no_run_going(
    hub: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    group_id, _, key = hub.pair()
    hub.poll()
    for module in (due, sync):
        monkeypatch.setattr(module, "is_poll_due", lambda *_: True)  # each takes longer than poll_seconds
    hub.there.close(key)
    for linger in (0, 0.6):
        report = hub.sync(linger_seconds=linger, max_run_seconds=30)
        assert report.ended_because == f"nothing was due for {linger:g} s"
        assert report.counts["polls"] >= 1
    assert hub.status(group_id) == "resolved"


def test_moved_and_renamed_issues_are_shown_by_their_new_name(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.poll()
    hub.there.change(key, key="acme/store#1", url="https://hub.example/store/1")
    hub.poll()
    assert (hub.row(link).shown_key, hub.row(link).url) == ("acme/store#1", "https://hub.example/store/1")
    assert hub.log(group_id)[0][2]["what"] == "is acme/store#1 from now on"


def test_push_only_and_pull_only(own: Stores) -> None:
    hub = linked(own, sync={"status": "push", "assignee": "off", "comments": "off"})
    group_id, _, key = hub.pair()
    hub.poll()
    hub.there.close(key, by=ANN)
    hub.poll()
    assert hub.status(group_id) == "unresolved"
    assert hub.there.issues[key].state is CLOSED
    resolve_groups(hub.stores.state, [group_id], ANNA)
    hub.sync()
    regress(hub, group_id)
    hub.sync()
    assert hub.there.issues[key].state is OPEN
