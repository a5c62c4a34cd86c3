"""Workflow: which of a tracker's statuses mean open and closed, and which one to set. For providers whose statuses have names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks_pipeline.config.integrations import Statuses
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import IssueState

COMPLETED, NOT_PLANNED = "completed", "not_planned"


@dataclass(frozen=True, slots=True)
class Status:
    """A status there. `closed`: whether it counts as closed where the settings say nothing else."""

    id: str
    name: str
    closed: bool


def state_of(status: Status, names: Statuses) -> IssueState:
    """What a status means. A name that is set to be put on closed issues counts as closed, and one for open issues as open: else
    what we did ourselves would look as if somebody had undone it."""
    if _is(status, names.closed, *names.counts_as_closed, *names.not_planned):
        return IssueState.CLOSED
    if _is(status, names.open) or names.counts_as_closed:
        return IssueState.OPEN
    return IssueState.CLOSED if status.closed else IssueState.OPEN


def reason_of(status: Status, names: Statuses, not_planned: Sequence[str] = ()) -> str:
    """Why an issue with this status is closed; empty when it is open. `not_planned`: what means that where the settings name nothing."""
    if state_of(status, names) is IssueState.OPEN:
        return ""
    return NOT_PLANNED if _is(status, *(names.not_planned or not_planned)) else COMPLETED


def choices(
    known: Sequence[Status],
    names: Statuses,
    state: IssueState,
    reason: str = "",
    not_planned: Sequence[str] = (),
) -> list[Status]:
    """Statuses that bring an issue into a state, best first. One alone where the settings name it.

    Raises TrackerError (MISCONFIGURED) when there is none, or not the one that is named.
    """
    named = names.open if state is IssueState.OPEN else names.closed
    fitting = [status for status in known if state_of(status, names) is state]
    wanted = NOT_PLANNED if reason in (NOT_PLANNED, "duplicate") else COMPLETED
    if state is IssueState.CLOSED:
        planned = [s for s in fitting if reason_of(s, names, not_planned) == wanted]
        if wanted == NOT_PLANNED and planned:
            return planned
        fitting = planned + [s for s in fitting if s not in planned]
    if named is not None:
        fitting = [status for status in known if _is(status, named)]
    if not fitting:
        what = f'"{named}"' if named is not None else f"that means {state}"
        there = ", ".join(status.name for status in known) or "none"
        said = f"there is no status {what}; there are: {there}. Set statuses of the tracker"
        raise TrackerError(Verdict(Do.MISCONFIGURED, said=said))
    return fitting


def wrong_names(known: Sequence[Status], names: Statuses) -> list[str]:
    """Names of the settings that no status has."""
    said = [names.open, names.closed, *names.counts_as_closed, *names.not_planned]
    return [name for name in said if name is not None and not any(_is(status, name) for status in known)]


def _is(status: Status, *names: str | None) -> bool:
    return any(name is not None and status.name.casefold() == name.casefold() for name in names)
