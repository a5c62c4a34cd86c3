"""Comments of groups and of their issues: each is once on the other side, whatever gets lost in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks_pipeline.links.comments import (
    CommentError,
    add_comment,
    comments_of,
    delete_comment,
    edit_comment,
)
from tasks_pipeline.links.rows import update_link
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Do, Verdict
from tasks_pipeline.trackers.issue import Person
from tests.support.facts import of_type
from tests.support.fake_tracker import BOT, FakeTracker
from tests.support.linked import ANNA, Linked, linked


@pytest.fixture
def hub(own: Stores) -> Linked:
    return linked(own)


def shown(hub: Linked, group_id: int) -> list[tuple[str, str, str]]:
    with hub.stores.state.read() as connection:
        return [(c["author"], c["body"], c["issue_key"]) for c in comments_of(connection, group_id)]


def plain(text: str) -> str:
    return text.replace("\u200b", "").partition("\n\n<!--")[0]


def test_a_comment_is_written_changed_and_removed_there(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    number = add_comment(hub.stores.state, group_id, ANNA, "look at @ben's #12")
    hub.sync()
    (text,) = hub.there.texts(key)
    assert plain(text) == "**Anna** wrote in Tasks Pipeline:\n\nlook at @ben's #12"
    assert f"<!-- tasks-pipeline:c:{number}:1 -->" in text
    assert "@ben" not in text
    assert shown(hub, group_id) == [(ANNA, "look at @ben's #12", "")]
    edit_comment(hub.stores.state, number, ANNA, "it is fixed")
    hub.sync()
    (text,) = hub.there.texts(key)
    assert "it is fixed" in text
    assert f"tasks-pipeline:c:{number}:2" in text
    delete_comment(hub.stores.state, number, ANNA)
    hub.sync()
    assert (hub.there.texts(key), shown(hub, group_id)) == ([], [])
    hub.poll()
    hub.poll()
    assert hub.there.calls["comment"] == 1
    actions = [action for _, action, _ in hub.log(group_id) if "comment" in action]
    assert actions == ["delete_comment", "edit_comment", "comment"]
    (fact,) = of_type(hub.stores, 1, "group.commented")
    assert (fact["data"]["side"], fact["actor_kind"]) == ("ours", "member")


def test_a_comment_there_is_taken_over_with_its_edits_and_dropped_with_its_deletion(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.poll()
    said = hub.there.say(key, "seen on two\u0000 machines")
    hub.poll()
    assert shown(hub, group_id) == [("Ann There", "seen on two  machines", f"acme/shop#{key}")]
    assert hub.log(group_id)[0][:2] == (ANNA, "comment")
    assert [fact["data"]["side"] for fact in of_type(hub.stores, 1, "group.commented")] == ["theirs"]
    hub.there.reword(key, said.external_id, "seen on three")
    hub.poll()
    assert [body for _, body, _ in shown(hub, group_id)] == ["seen on three"]
    hub.there.unsay(key, said.external_id)
    hub.sync(tracker="shop-issues", full=True)  # a deletion leaves no trace elsewhere
    assert shown(hub, group_id) == []
    assert (hub.there.texts(key), hub.row(link).error) == ([], "")


@pytest.mark.parametrize(
    "never",
    [
        {"by": BOT},
        {"by": Person("dependabot", is_bot=True)},
        {"private": True},
        {"text": "**Ann** wrote in Tasks Pipeline:\n\nhello\n\n<!-- tasks-pipeline:c:99:1 -->"},
        {"text": "  \n "},
    ],
)
def test_ours_bots_and_private_ones_are_never_copied(hub: Linked, never: dict[str, Any]) -> None:
    group_id, _, key = hub.pair()
    hub.poll()
    hub.there.say(key, **({"text": "hello"} | never))
    hub.poll()
    assert shown(hub, group_id) == []


@pytest.mark.parametrize("looks", [1, 3])
def test_a_lost_answer_makes_no_second_comment(hub: Linked, looks: int) -> None:
    group_id, _, key = hub.pair()
    hub.there.fail = {"comment": ["lost"], "comments": [Verdict(Do.RETRY, said="bad gateway")] * (looks - 1)}
    number = add_comment(hub.stores.state, group_id, ANNA, "once")
    for _ in range(looks + 1):
        hub.sync()
        hub.hurry()
    hub.sync()
    assert len(hub.there.texts(key)) == 1
    edit_comment(hub.stores.state, number, ANNA, "once only")
    hub.sync()
    assert "once only" in hub.there.texts(key)[0]


def test_a_comment_that_never_came_there_is_sent_again_with_its_marker(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    hub.there.fail["comment"] = [Verdict(Do.UNKNOWN, said="connection cut")]
    number = add_comment(hub.stores.state, group_id, ANNA, "once")
    for _ in range(4):
        hub.sync()
        hub.hurry()
    (text,) = hub.there.texts(key)
    assert f"tasks-pipeline:c:{number}:1" in text


def test_a_stranger_who_guesses_a_marker_is_not_taken_for_us(hub: Linked) -> None:
    """Else a lost answer would make their text ours, and ours would never be written."""
    group_id, _, key = hub.pair()
    hub.there.say(key, "mine\n\n<!-- tasks-pipeline:c:1:1 -->")
    hub.there.fail["comment"] = [Verdict(Do.UNKNOWN, said="connection cut")]
    assert add_comment(hub.stores.state, group_id, ANNA, "ours") == 1
    for _ in range(4):
        hub.sync()
        hub.hurry()
    assert ["ours" in text for text in hub.there.texts(key)] == [False, True]


def test_an_edit_of_a_copy_there_comes_back_and_both_edited_stay_as_they_are(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.poll()
    number = add_comment(hub.stores.state, group_id, ANNA, "it fails")
    hub.sync()
    (copy,) = hub.there.talk[key]
    hub.there.reword(key, copy.external_id, copy.body.replace("it fails", "it fails often"))
    hub.poll()
    assert [body for _, body, _ in shown(hub, group_id)] == ["it fails often"]
    assert hub.there.calls["edit_comment"] == 0
    hub.there.reword(key, copy.external_id, copy.body.replace("it fails", "theirs"))
    edit_comment(hub.stores.state, number, ANNA, "ours")
    hub.poll()
    hub.poll()
    assert [body for _, body, _ in shown(hub, group_id)] == ["ours"]
    assert "theirs" in hub.there.texts(key)[0]
    assert "both sides" in hub.row(link).note


def test_too_many_comments_are_collapsed_into_one(own: Stores) -> None:
    hub = linked(own, comments_per_hour=3)
    group_id, _, key = hub.pair()
    for number in range(10):
        add_comment(hub.stores.state, group_id, ANNA, f"number {number}")
    hub.sync()
    texts = hub.there.texts(key)
    assert len(texts) == 3
    assert [f"number {n}" in texts[-1] for n in range(10)] == [False] * 2 + [True] * 8
    hub.sync()
    assert len(hub.there.texts(key)) == 3


def test_a_comment_reaches_an_issue_that_was_still_being_made(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    with hub.stores.state.write() as connection:
        update_link(connection, link, state="creating", external_id=None)
    add_comment(hub.stores.state, group_id, ANNA, "early")
    hub.sync()
    assert hub.there.texts(key) == []
    with hub.stores.state.write() as connection:
        update_link(connection, link, state="linked", external_id=key)
    hub.hurry()
    hub.sync()
    assert "early" in hub.there.texts(key)[0]


def test_what_is_refused_is_said_on_the_link_and_not_tried_for_ever(hub: Linked) -> None:
    group_id, link, key = hub.pair()
    hub.there.fail["comment"] = [Verdict(Do.HELD, said="the issue is locked")] * 9
    add_comment(hub.stores.state, group_id, ANNA, "hello")
    for _ in range(3):
        hub.sync()
        hub.hurry()
    assert (hub.there.texts(key), hub.there.calls["comment"]) == ([], 1)
    assert "the issue is locked" in hub.row(link).note


def test_ways(own: Stores) -> None:
    hub = linked(own, FakeTracker(lists_comments=False), sync={"comments": "pull"})
    group_id, _, key = hub.pair()
    hub.poll()
    hub.there.say(key, "from there")
    add_comment(hub.stores.state, group_id, ANNA, "from here")
    hub.poll()
    assert [body for _, body, _ in shown(hub, group_id)] == ["from there", "from here"]
    assert len(hub.there.texts(key)) == 1


def test_what_is_no_comment_is_refused(hub: Linked) -> None:
    group_id, _, key = hub.pair()
    hub.poll()
    said = hub.there.say(key, "theirs")
    hub.there.put(replace(hub.there.issues[key]))
    hub.poll()
    with hub.stores.state.read() as connection:
        (comment,) = comments_of(connection, group_id)
    with pytest.raises(CommentError, match="needs some text"):
        add_comment(hub.stores.state, group_id, ANNA, " \n\u200b")
    with pytest.raises(CommentError, match="30,000 characters at most"):
        add_comment(hub.stores.state, group_id, ANNA, "x" * 30_001)
    with pytest.raises(CommentError, match="change it there"):
        edit_comment(hub.stores.state, comment["id"], ANNA, "mine")
    with pytest.raises(CommentError, match="there is no comment 999"):
        delete_comment(hub.stores.state, 999, ANNA)
    assert said.body == "theirs"
