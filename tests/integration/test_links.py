"""Links of groups to issues: asked for by people and rules, shared in storms, taken over, ended, merged and taken apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.groups.merging import discard_groups, merge_groups, unmerge_group
from tasks_pipeline.integrations.creating import link_issue
from tasks_pipeline.links.agree import CLOSED
from tasks_pipeline.links.making import (
    LinkError,
    link_existing,
    promote_orphans,
    request_by_rule,
    unlink,
)
from tasks_pipeline.links.rows import Link, group_of_links, links_of_groups, read_link, update_link
from tasks_pipeline.trackers.issue import Issue, IssueState
from tests.support.alerting import alert_rows
from tests.support.day import Day
from tests.support.events import event
from tests.support.facts import facts, of_type
from tests.support.far_side import LOST, Answers, FarSide
from tests.support.making import ANNA, TRACKER, Maker, request, tracked

FILE_IT = "alert_rules: [{name: file it, when: [new_group], create_issue: shop-issues, every_minutes: 0%s}]\n"


@pytest.fixture
def far(tmp_path: Path) -> FarSide:
    return FarSide(tmp_path / "issues.json")


@pytest.fixture
def shop(own_day: Day) -> Day:
    """A day with two groups, and a tracker."""
    day = tracked(own_day)
    day.send(event("Boom"), event("Crash"))
    day.drain()
    return day


def by_rule(day: Day, group_id: int, storm: dict[str, Any] | None = None) -> Link | None:
    with day.stores.state.write() as connection:
        return request_by_rule(
            day.stores.state, connection, day.stores.config, group_id, TRACKER,
            rule="file it", storm=storm, now=datetime.now(UTC),
        )  # fmt: skip


def ids_of(day: Day) -> list[int]:
    return sorted(group["id"] for group in day.groups())


def an_issue(number: int, **more: Any) -> Issue:
    return Issue(f"1#{number}", f"acme/shop#{number}", f"https://github.example/{number}", "Boom", **({"state": IssueState.OPEN} | more))  # fmt: skip


# ── asked for


def test_one_issue_at_a_time_is_made_for_a_group_and_then_a_person_may_have_more(
    shop: Day, far: FarSide
) -> None:
    maker, (boom, _) = Maker(shop.stores, far), ids_of(shop)
    request(shop.stores, boom)
    with pytest.raises(LinkError, match="being made in shop-issues already"):
        request(shop.stores, boom)
    maker.make_all()
    request(shop.stores, boom)
    maker.make_all()
    assert [link["shown_key"] for link in maker.links()] == ["acme/shop#1", "acme/shop#2"]


def test_who_asks_at_the_same_moment_gets_one_issue(shop: Day) -> None:
    """The index sees to it, not a look before."""
    (boom, _) = ids_of(shop)
    with shop.stores.state.write() as connection:
        state, config, now = shop.stores.state, shop.stores.config, datetime.now(UTC)
        first = request_by_rule(state, connection, config, boom, TRACKER, rule="a", now=now)
        second = request_by_rule(state, connection, config, boom, TRACKER, rule="b", now=now)
    assert first is not None
    assert second is None


@pytest.mark.parametrize(
    ("tracker", "said"),
    [("nowhere", "is no tracker; there are: shop-issues"), (TRACKER, "not for project shop")],
)
def test_what_cannot_be_asked_for_says_why(shop: Day, tracker: str, said: str) -> None:
    (boom, _) = ids_of(shop)
    only = shop.stores.config.trackers[0].model_copy(update={"projects": ("other",)})
    config = shop.stores.config.model_copy(update={"trackers": (only,)})
    with shop.stores.state.write() as connection, pytest.raises(LinkError, match=said):
        link_existing(shop.stores.state, connection, config, boom, tracker, an_issue(1), actor=ANNA)


def test_the_events_of_a_discarded_group_are_no_issue(shop: Day) -> None:
    (boom, _) = ids_of(shop)
    discard_groups(shop.stores.state, [boom], ANNA)
    with pytest.raises(LinkError, match="groups keep"):
        request(shop.stores, boom)
    assert by_rule(shop, boom) is None


@pytest.mark.parametrize(
    ("state", "theirs", "on_regression", "made"),
    [
        ("creating", {}, "new_issue", False),
        ("linked", {"state": "open"}, "new_issue", False),
        ("held", {"state": "open"}, "new_issue", False),
        ("linked", {"state": "closed"}, "new_issue", True),
        ("linked", {"state": "closed"}, "reopen", False),
        ("linked", {"state": "closed"}, "nothing", False),
        ("gone", {"state": "open"}, "reopen", False),
        ("gone", {"state": "open"}, "new_issue", True),
        ("unlinked", {"state": "open"}, "reopen", True),
    ],
)
def test_a_rule_makes_none_where_one_is_there(
    shop: Day, state: str, theirs: dict[str, Any], on_regression: str, made: bool
) -> None:
    (boom, _) = ids_of(shop)
    there = by_rule(shop, boom)
    assert there is not None
    with shop.stores.state.write() as connection:
        update_link(connection, there.id, state=state, theirs=theirs)
    tracker = shop.stores.config.trackers[0].model_copy(update={"on_regression": on_regression})
    config = shop.stores.config.model_copy(update={"trackers": (tracker,)})
    assert (by_rule(replace(shop, stores=replace(shop.stores, config=config)), boom) is not None) is made


# ── by rules, in the transaction of the alert


def test_a_rule_files_new_groups_once_also_where_nobody_is_told(own_day: Day, far: FarSide) -> None:
    shop = tracked(own_day, text=FILE_IT % "")
    maker = Maker(shop.stores, far)
    shop.send(event("Boom"), event("Boom"))
    shop.drain()
    maker.make_all()
    shop.send(event("Boom"))
    shop.drain()
    maker.make_all()
    (alert,) = alert_rows(shop.stores, shop.project)
    assert (alert["rule"], len(far.issues())) == ("file it", 1)
    (link,) = maker.links()
    assert (link["rule"], link["actor"], link["state"]) == ("file it", "tasks-pipeline", "linked")
    (entry,) = maker.log(shop.group()["id"])
    assert entry["data"]["rule"] == "file it"


def test_a_storm_makes_one_issue_of_all_that_is_above_its_limit(own_day: Day, far: FarSide) -> None:
    shop = tracked(own_day, text=FILE_IT % ", storm: {alerts: 2, window_minutes: 5}")
    maker = Maker(shop.stores, far)
    shop.send(*(event(f"Error{number}") for number in range(6)))
    shop.drain()
    while maker.make_next(at=datetime.now(UTC)):
        pass
    assert len(far.issues()) == 2, "the others wait for the end of the storm"
    maker.make_all()
    issue = far.issues()[-1]
    assert len(far.issues()) == 3
    assert issue["title"] == "4 groups at once: file it"
    assert [f"Error{number}" in issue["body"] for number in range(6)].count(True) == 4
    assert [link["shown_key"] for link in maker.links()] == [
        "acme/shop#1",
        "acme/shop#2",
        *["acme/shop#3"] * 4,
    ]
    shop.send(event("Error9"))
    shop.drain()
    while maker.make_next(at=datetime.now(UTC)):
        pass
    assert len(far.issues()) == 3, "it came within the same storm"
    assert maker.links()[-1]["shown_key"] == "acme/shop#3"


def test_groups_of_a_storm_whose_first_was_unlinked_get_issues_of_their_own(shop: Day, far: FarSide) -> None:
    maker, (boom, crash) = Maker(shop.stores, far), ids_of(shop)
    now = datetime.now(UTC)
    storm = {"since": now.isoformat(), "until": (now + timedelta(minutes=5)).isoformat()}
    first, second = by_rule(shop, boom, storm), by_rule(shop, crash, storm)
    assert first is not None
    assert second is not None
    assert second.with_link == first.id
    with shop.stores.state.write() as connection:
        unlink(shop.stores.state, connection, shop.stores.config, first, actor=ANNA)
        assert promote_orphans(shop.stores.state, connection, now) == 0
    maker.make_all()
    assert [issue["title"] for issue in far.issues()] == ["Crash: it went wrong"]


def test_a_lost_answer_in_a_storm_links_all_its_groups(shop: Day, far: FarSide) -> None:
    maker = Maker(shop.stores, far)
    now = datetime.now(UTC)
    storm = {"since": now.isoformat(), "until": now.isoformat()}
    for group_id in ids_of(shop):
        by_rule(shop, group_id, storm)
    far.after = Answers("create", LOST)
    maker.make_all()
    assert [link["shown_key"] for link in maker.links()] == ["acme/shop#1"] * 2
    assert len(far.issues()) == 1
    recorded = [row["data"] for row in of_type(shop.stores, shop.project, "group.linked")]
    assert [(data["by"], data["made"]) for data in recorded] == [("rule", True)] * 2


# ── issues that are there


def test_an_issue_that_is_there_is_linked_and_told_so(shop: Day, far: FarSide) -> None:
    maker, (boom, crash) = Maker(shop.stores, far), ids_of(shop)
    request(shop.stores, boom)
    maker.make_all()
    link = link_issue(shop.stores, far, crash, TRACKER, "1", actor=ANNA, take="theirs")
    assert (link.state, link.origin, link.agreed_state, link.take) == ("linked", "linked", None, "theirs")
    assert link.look_at is not None
    notice = maker.intents()[-1]
    assert (notice["kind"], notice["data"], notice["status"]) == (
        "comment",
        {"notice": "linked"},
        "waiting",
    )
    with pytest.raises(LinkError, match="linked to acme/shop#1 already"):
        link_issue(shop.stores, far, crash, TRACKER, "1", actor=ANNA)
    with pytest.raises(ValueError, match="names no issue; allowed is a number"):
        link_issue(shop.stores, far, crash, TRACKER, "first", actor=ANNA)


def test_a_pull_request_is_no_issue(shop: Day, far: FarSide) -> None:
    maker, (boom, crash) = Maker(shop.stores, far), ids_of(shop)
    request(shop.stores, boom)
    maker.make_all()
    far.change(1, is_pull_request=True)
    with pytest.raises(LinkError, match="is a pull request"):
        link_issue(shop.stores, far, crash, TRACKER, "1", actor=ANNA)


def test_what_was_unlinked_can_be_linked_again_and_agrees_anew(shop: Day, far: FarSide) -> None:
    maker, (boom, _) = Maker(shop.stores, far), ids_of(shop)
    link = request(shop.stores, boom)
    maker.make_all()
    with shop.stores.state.write() as connection:
        unlink(shop.stores.state, connection, shop.stores.config, maker.link(link), actor=ANNA)
    gone = maker.link(link)
    assert (gone.state, gone.marker, gone.look_at) == ("unlinked", link.marker, None)
    again = link_issue(shop.stores, far, boom, TRACKER, "1", actor=ANNA)
    assert (again.id, again.state, again.agreed_state) == (link.id, "linked", None)
    assert [entry["action"] for entry in maker.log(boom)] == ["link", "unlink", "link"]
    said = {"group": boom, "by": "person", "tracker": TRACKER}
    recorded = [
        (row["type"], {name: value for name, value in row["data"].items() if name != "action"})
        for row in facts(shop.stores, shop.project)
        if row["type"] in ("group.linked", "group.unlinked")
    ]
    assert recorded == [
        ("group.linked", said | {"made": True}),
        ("group.unlinked", said),
        ("group.linked", said | {"made": False}),
    ]
    with shop.stores.state.write() as connection, pytest.raises(LinkError, match="unlinked already"):
        unlink(shop.stores.state, connection, shop.stores.config, gone, actor=ANNA)


def test_unlinking_is_said_there_where_that_is_wanted(own_day: Day, far: FarSide) -> None:
    shop = tracked(own_day, "comment_on_unlink: true")
    shop.send(event("Boom"))
    shop.drain()
    maker = Maker(shop.stores, far)
    link = request(shop.stores, shop.group()["id"])
    maker.make_all()
    with shop.stores.state.write() as connection:
        unlink(shop.stores.state, connection, shop.stores.config, maker.link(link), actor=ANNA)
    assert maker.intents()[-1]["data"] == {"notice": "unlinked"}


# ── merged groups


def test_links_follow_their_groups_into_a_merge_and_out_again(shop: Day, far: FarSide) -> None:
    maker, (boom, crash) = Maker(shop.stores, far), ids_of(shop)
    links = [request(shop.stores, boom), request(shop.stores, crash)]
    maker.make_all()
    merge_groups(shop.stores.state, boom, [crash], ANNA)
    with shop.stores.state.read() as connection:
        assert [link.id for link in links_of_groups(connection, [boom])[boom]] == [link.id for link in links]
        assert crash not in links_of_groups(connection, [crash]) or boom != crash
        assert group_of_links(connection, links) == {links[0].id: boom, links[1].id: boom}
        moved = read_link(connection, links[1].id)
    assert moved is not None
    assert moved.moved(boom) == "merged"
    assert by_rule(shop, crash) is None, "the group that it is part of has an open one"
    third = request(shop.stores, crash)
    assert third.group_id == boom, "what is asked for a part is asked for the whole"
    unmerge_group(shop.stores.state, crash, ANNA)
    with shop.stores.state.read() as connection:
        assert [link.id for link in links_of_groups(connection, [crash])[crash]] == [links[1].id]


def test_a_resolve_while_it_is_being_made_is_carried_over_afterwards(shop: Day, far: FarSide) -> None:
    """What a person asked for is made open, agreed to be open, and then looked at."""
    maker, (boom, _) = Maker(shop.stores, far), ids_of(shop)
    link = request(shop.stores, boom)
    resolve_groups(shop.stores.state, [boom], ANNA)
    maker.make_all()
    made = maker.link(link)
    assert made.agreed_state != CLOSED
    assert made.look_at is not None
