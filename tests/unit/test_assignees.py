"""Assignees of groups and issues: who is the same on both sides, and what a pass does when they differ."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_pipeline.links.assignees import Accounts, Assigned, decide_assignee
from tasks_pipeline.trackers.issue import Person

ANNA, BEN, TEAM = "anna@acme.example", "ben@acme.example", "team:web"
CARL = "carl@acme.example"
ACCOUNTS = Accounts(
    {ANNA: "Anna-GH", BEN: "ben", TEAM: "web-bot"},
    {"anna-gh": ANNA, "ben": BEN, "web-bot": TEAM},
    frozenset({ANNA, BEN, CARL}),
)


def people(*logins: str) -> list[Person]:
    return [Person(login) for login in logins]


def decided(ours: str | None, theirs: list[Person], agreed: str | None, **more: Any) -> Assigned:
    return decide_assignee(ours, theirs, agreed, ACCOUNTS, **({"way": "both"} | more))


@pytest.mark.parametrize(
    ("ours", "theirs", "agreed", "wanted"),
    [
        (ANNA, people("anna-gh"), ANNA, Assigned("nothing", agreed=ANNA)),
        (None, [], "", Assigned("nothing", agreed="")),
        (ANNA, people("anna-gh"), "", Assigned("nothing", agreed=ANNA)),  # both changed to the same
        (BEN, people("anna-gh"), ANNA, Assigned("push", "ben", agreed=BEN)),
        (TEAM, [], "", Assigned("push", "web-bot", agreed=TEAM)),
        (None, people("anna-gh"), ANNA, Assigned("push", "", agreed="")),  # unassigned here
        (ANNA, people("BEN"), ANNA, Assigned("pull", BEN, agreed=BEN)),
        (ANNA, [], ANNA, Assigned("pull", "", agreed="")),  # unassigned there
        (ANNA, people("stranger", "anna-gh"), ANNA, Assigned("nothing", agreed=ANNA)),  # one of several
        (ANNA, people("stranger", "ben", "web-bot"), ANNA, Assigned("pull", BEN, agreed=BEN)),
        # whoever is not known changes nothing and unassigns nobody
        (ANNA, people("stranger"), ANNA, Assigned("nothing", note="assignee: not mapped (stranger)")),
        (None, people("stranger"), "", Assigned("nothing", note="assignee: not mapped (stranger)")),
        (CARL, people("anna-gh"), ANNA, Assigned("nothing", note=f"assignee: not mapped ({CARL})")),
        (CARL, people("ben"), ANNA, Assigned("pull", BEN, agreed=BEN)),
        (BEN, people("stranger"), ANNA, Assigned("push", "ben", agreed=BEN)),
        # the first agreement
        (ANNA, [], None, Assigned("push", "Anna-GH", agreed=ANNA)),
        (None, people("ben"), None, Assigned("pull", BEN, agreed=BEN)),
        (ANNA, people("ben"), None, Assigned("push", "Anna-GH", agreed=ANNA)),
        (None, people("stranger"), None, Assigned("nothing", note="assignee: not mapped (stranger)")),
    ],
)  # fmt: skip
def test_who_differs_from_agreed_has_changed(
    ours: str | None, theirs: list[Person], agreed: str | None, wanted: Assigned
) -> None:
    assert decided(ours, theirs, agreed) == wanted


def test_when_both_changed_ours_stays_unless_theirs_came_later() -> None:
    found = decided(ANNA, people("ben"), "")
    assert (found.do, found.to) == ("push", "Anna-GH")
    assert found.otherwise is not None
    assert (found.otherwise.do, found.otherwise.to, found.otherwise.agreed) == ("pull", BEN, BEN)
    assert decided(ANNA, people("ben"), "", way="push").otherwise is None


def test_theirs_is_taken_at_the_first_agreement_where_somebody_said_so() -> None:
    assert decided(ANNA, people("ben"), None, take="theirs") == Assigned("pull", BEN, agreed=BEN)


def test_an_address_that_is_seen_there_tells_who_it_is() -> None:
    found = decided(None, [Person("c-a-r-l", email="Carl@ACME.example")], "")
    assert found == Assigned("pull", CARL, agreed=CARL)


@pytest.mark.parametrize("way", ["push", "pull", "off"])
def test_each_way_carries_nothing_the_other_way(way: str) -> None:
    here = decided(BEN, people("anna-gh"), ANNA, way=way)
    there = decided(ANNA, people("ben"), ANNA, way=way)
    assert here.do == ("push" if way == "push" else "nothing")
    assert there.do == ("pull" if way == "pull" else "nothing")


def test_what_was_not_taken_there_is_not_pushed_again_until_something_changes() -> None:
    assert decided(BEN, people("anna-gh"), ANNA, refused=BEN).do == "nothing"
    assert decided(TEAM, people("anna-gh"), ANNA, refused=BEN).do == "push"
    assert decided(BEN, [], ANNA, refused=BEN).do == "push"


def test_passes_in_any_order_come_to_rest() -> None:
    """Whatever changes on either side: after two passes nothing is left to do, and nobody was unassigned for a stranger."""
    names: list[str | None] = [None, ANNA, BEN, CARL, TEAM]
    logins = [[], ["anna-gh"], ["ben"], ["stranger"], ["stranger", "ben"]]
    for ours in names:
        for there in logins:
            for agreed in [None, "", ANNA, BEN]:
                mine, theirs, last = ours, list(there), agreed
                for _ in range(2):
                    found = decided(mine, people(*theirs), last)
                    if found.do == "push":
                        theirs = [found.to] if found.to else []
                    if found.do == "pull":
                        mine = found.to or None
                    last = last if found.agreed is None else found.agreed
                assert decided(mine, people(*theirs), last).do == "nothing", (ours, there, agreed)
                if there == ["stranger"] and ours in (None, CARL) and not agreed:
                    assert theirs == ["stranger"]
                    assert mine == ours
