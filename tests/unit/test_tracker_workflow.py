"""Statuses with names: what they mean, and which one is set."""

from __future__ import annotations

import pytest

from tasks_pipeline.config.integrations import Statuses
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.issue import IssueState
from tasks_pipeline.trackers.workflow import Status, choices, reason_of, state_of, wrong_names

OPEN, CLOSED = IssueState.OPEN, IssueState.CLOSED
KNOWN = [
    Status("1", "New", False), Status("2", "Doing", False), Status("3", "Resolved", False),
    Status("4", "Rejected", True), Status("5", "Closed", True),
]  # fmt: skip


def named(name: str) -> Status:
    return next(status for status in KNOWN if status.name == name)


@pytest.mark.parametrize(
    ("names", "closed"),
    [
        (Statuses(), {"Rejected", "Closed"}),
        (Statuses(counts_as_closed=("resolved",)), {"Resolved"}),
        (Statuses(closed="Resolved"), {"Resolved", "Rejected", "Closed"}),
        (Statuses(counts_as_closed=("Closed",), not_planned=("Doing",)), {"Closed", "Doing"}),
        (Statuses(open="Rejected"), {"Closed"}),
    ],
)
def test_what_we_set_ourselves_means_what_we_set(names: Statuses, closed: set[str]) -> None:
    assert {status.name for status in KNOWN if state_of(status, names) is CLOSED} == closed
    for state in (OPEN, CLOSED):
        assert all(state_of(status, names) is state for status in choices(KNOWN, names, state))


def test_a_close_without_a_fix_prefers_a_status_that_says_so() -> None:
    names = Statuses(not_planned=("Rejected",))
    assert [status.name for status in choices(KNOWN, names, CLOSED, "not_planned")] == ["Rejected"]
    assert [status.name for status in choices(KNOWN, names, CLOSED, "completed")] == ["Closed", "Rejected"]
    assert [status.name for status in choices(KNOWN, Statuses(), CLOSED, "duplicate", ("Rejected",))] == [
        "Rejected"
    ]
    assert reason_of(named("Rejected"), Statuses(), ("Rejected",)) == "not_planned"
    assert (reason_of(named("Closed"), names), reason_of(named("New"), names)) == ("completed", "")


def test_a_status_that_is_not_there_is_told() -> None:
    names = Statuses(closed="Done", counts_as_closed=("Closed", "Gone"))
    assert wrong_names(KNOWN, names) == ["Done", "Gone"]
    with pytest.raises(TrackerError, match='no status "Done"; there are: New, Doing') as caught:
        choices(KNOWN, names, CLOSED)
    assert caught.value.verdict.do is Do.MISCONFIGURED
    with pytest.raises(TrackerError, match="no status that means closed"):
        choices(KNOWN[:3], Statuses(), CLOSED)
