"""Actions on many groups: in whose name, on which, and undone."""

from __future__ import annotations

import pytest

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.acting.together import Act, NotAllowed, act
from tasks_pipeline.acting.undo import undo
from tasks_pipeline.groups.decisions import DecisionError, actions_of
from tasks_pipeline.groups.merging import discard_groups
from tests.support.day import Day
from tests.support.events import event

ANNA = Viewer("anna@acme.example", "member")


@pytest.fixture
def ids(day: Day) -> list[int]:
    """Three groups."""
    day.send(event("One"), event("Two"), event("Three"))
    day.drain()
    return sorted(group["id"] for group in day.groups())


def decided(day: Day) -> list[tuple[str, str | None, int | None]]:
    return [
        (g["status"], g["assignee"], g["ignored_until_times_seen"])
        for g in sorted(day.groups(), key=lambda g: g["id"])
    ]


def test_groups_become_what_they_were(day: Day, ids: list[int]) -> None:
    state = day.stores.state
    act(state, ANNA, ids[:1], Act("ignore", more_events=9))
    act(state, ANNA, ids[:2], Act("assign", assignee="team:payments"))
    before = decided(day)
    assert before[0] == ("ignored", "team:payments", 10)
    done = act(state, ANNA, ids, Act("resolve"))
    assert (done.groups, done.refused) == (3, {})
    assert {status for status, _, _ in decided(day)} == {"resolved"}
    assert undo(state, ANNA, done.undo).groups == 3
    assert decided(day) == before
    newest = actions_of(state, ids[0])[0]
    assert (newest["action"], newest["actor"]) == ("undo", "anna@acme.example")


def test_an_assignment_is_undone_alone(day: Day, ids: list[int]) -> None:
    state = day.stores.state
    done = act(state, ANNA, ids[:1], Act("assign", assignee="ben@acme.example"))
    act(state, ANNA, ids[:1], Act("resolve"))
    assert undo(state, ANNA, done.undo).groups == 1
    assert decided(day)[0] == ("resolved", None, None)


def test_what_was_decided_since_stays(day: Day, ids: list[int]) -> None:
    state = day.stores.state
    done = act(state, ANNA, ids, Act("ignore"))
    act(state, ANNA, ids[1:2], Act("resolve"))
    undone = undo(state, ANNA, done.undo)
    assert (undone.groups, undone.changed_since) == (2, 1)
    assert [status for status, _, _ in decided(day)] == ["unresolved", "resolved", "unresolved"]
    assert undo(state, ANNA, done.undo).groups == 0, "twice is once"


def test_one_that_cannot_be_changed_costs_itself(day: Day, ids: list[int]) -> None:
    state = day.stores.state
    discard_groups(state, ids[:1], "anna@acme.example")
    done = act(state, ANNA, ids, Act("resolve"))
    assert done.groups == 2
    assert list(done.refused) == ids[:1]


@pytest.mark.parametrize(
    ("viewer", "kind"),
    [
        (Viewer("ben@acme.example", "viewer"), "resolve"),
        (Viewer("ben@acme.example", "member"), "discard"),
        (Viewer("ben@acme.example", "admin", projects=frozenset({7})), "resolve"),
    ],
)
def test_who_may_not_changes_nothing(day: Day, ids: list[int], viewer: Viewer, kind: str) -> None:
    state = day.stores.state
    with pytest.raises(NotAllowed):
        act(state, viewer, ids, Act(kind))  # type: ignore[arg-type]
    done = act(state, ANNA, ids, Act("resolve"))
    if kind == "resolve":
        with pytest.raises(DecisionError):
            undo(state, viewer, done.undo)
    assert {status for status, _, _ in decided(day)} == {"resolved"}


@pytest.mark.parametrize("token", ["", "1-2-x", "0-99999999-0123456789abcdef", "' OR 1=1"])
def test_nothing_is_undone_by_what_nobody_was_given(day: Day, ids: list[int], token: str) -> None:
    with pytest.raises(DecisionError):
        undo(day.stores.state, ANNA, token)


def test_a_token_of_many_entries_is_refused_before_they_are_read(day: Day) -> None:
    with pytest.raises(DecisionError, match="too many to undo"):
        undo(day.stores.state, ANNA, "0-100001-0123456789abcdef")
