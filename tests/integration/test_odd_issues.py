"""One odd issue costs itself: one that is too long to be read, that leads in a circle, or whose people have impossible names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.links.comments import add_comment
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Do, Verdict
from tasks_pipeline.trackers.issue import IssueState, Person
from tasks_pipeline.trackers.verdicts import LESS
from tests.support.fake_tracker import FakeTracker
from tests.support.linked import ANNA, Linked, linked

TOO_LONG = Verdict(Do.UNREACHABLE, scope="issue", then=LESS, said="an answer of more than 10 MiB")


@pytest.fixture
def hub(own: Stores) -> Linked:
    """A tracker whose comments have to be read issue by issue."""
    return linked(own, FakeTracker(lists_comments=False))


def test_an_issue_whose_comments_are_too_long_is_kept_in_step_without_them_and_they_are_read_rarely(
    hub: Linked,
) -> None:
    group_id, link, key = hub.pair()
    other, _, beside = hub.pair()
    hub.poll()
    for each in (key, beside):
        hub.there.close(each)
    hub.there.fail["comments"] = [TOO_LONG]
    report = hub.poll()
    assert (hub.status(group_id), hub.status(other)) == ("resolved", "resolved")
    assert report.errors == {}
    assert (
        hub.row(link).note
        == "comments: they cannot be read, so none is carried: an answer of more than 10 MiB"
    )
    calls = hub.there.calls["comments"]
    hub.there.reopen(key)
    hub.poll()
    assert (hub.status(group_id), hub.there.calls["comments"]) == ("unresolved", calls)
    hub.hurry()  # hours later they are read again
    hub.sync()
    assert (hub.row(link).note, hub.there.calls["comments"]) == ("", calls + 1)


def test_an_issue_that_is_too_long_itself_is_named_and_pauses_nothing(hub: Linked) -> None:
    (_, long, _), (group_id, _, key) = hub.pair(), hub.pair()
    hub.there.fail["read"] = [TOO_LONG]
    hub.sync(tracker="shop-issues")
    group = hub.row(long).group_id
    resolve_groups(hub.stores.state, [group, group_id], ANNA)
    hub.hurry()
    hub.sync()
    row = hub.row(long)
    assert row.error == "an answer of more than 10 MiB"
    assert row.look_at is not None
    assert row.look_at > datetime.now(UTC) + timedelta(hours=5)
    assert hub.there.issues[key].state is IssueState.CLOSED


def test_a_comment_that_cannot_be_found_again_is_not_written_twice(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.poll()
    add_comment(hub.stores.state, group_id, ANNA, "look at this")
    hub.there.fail["comment"] = ["lost"]
    hub.there.fail["comments"] = [TOO_LONG]
    hub.sync()
    for _ in range(5):
        hub.hurry()
        hub.sync()
    assert len(hub.there.texts(key)) == 1
    assert hub.there.calls["comment"] == 1
    assert ("comment", "dead") in hub.intents()
    assert "a comment is not carried" in hub.row(link).note


def test_issues_that_lead_to_each_other_are_followed_once_and_held(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    there = hub.there.made()
    hub.poll()
    hub.there.change(there.external_id, moved_to=key)
    hub.there.change(key, moved_to=there.external_id)
    hub.poll()
    row = hub.row(link)
    assert row.state == "held"
    assert row.held == f"it is said to go on elsewhere without an end: {key} → {there.external_id} → {key}"
    assert "is not kept in step" in hub.log(group_id)[0][2]["what"]
    reads = hub.there.calls["read"]
    assert reads <= 4
    hub.sync()
    assert hub.there.calls["read"] == reads


def test_an_issue_that_moved_twice_is_followed_to_its_end(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.poll()
    last = hub.there.made()
    between = hub.there.made(moved_to=last.external_id)
    hub.there.change(key, moved_to=between.external_id)
    hub.poll()
    assert hub.row(link).external_id == last.external_id
    hub.there.close(last.external_id)
    hub.poll()
    assert hub.status(group_id) == "resolved"


def test_names_of_people_and_reasons_are_made_safe_before_they_are_stored(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.poll()
    evil = Person("eve\x00\u202e\x1b[31m\ud800")
    hub.there.change(key, assignees=(evil,), status="In\x00 Progress")
    hub.there.close(key, reason="done\x00", by=evil)
    hub.poll()
    theirs = hub.row(link).theirs
    assert (theirs["assignees"], theirs["status"], theirs["reason"]) == (["eve [31m"], "In Progress", "done")
    assert hub.status(group_id) == "resolved"
    assert hub.log(group_id)[0][0] == "shop-issues:eve [31m"
