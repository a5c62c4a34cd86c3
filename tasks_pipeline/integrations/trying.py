"""Trying a tracker: what `integrations test` finds out, step by step, up to an issue that is made for real and closed."""

from __future__ import annotations

from dataclasses import dataclass

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.checking import Opened
from tasks_pipeline.integrations.gate import open_gate
from tasks_pipeline.integrations.judging import judge_place
from tasks_pipeline.links.making import new_marker
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.issue import Draft, Issue, IssueState
from tasks_pipeline.trackers.provider import Provider, open_provider

TITLE = "Test of Tasks Pipeline"
BODY = "Somebody tried with `tasks-pipeline integrations test` whether issues can be made here. It is closed by itself, nothing has to be done."


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried: whether it went well, and what is to be known of it."""

    name: str
    good: bool
    said: str


def try_tracker(
    stores: Stores, tracker: Tracker, *, create: bool, opened: Opened = open_provider
) -> list[Step]:
    """Sign in, look at the place, and with `create` make an issue and close it. The first step that fails is the last."""
    integration = stores.config.integration(tracker.integration)
    assert integration is not None  # the configuration was checked
    steps: list[Step] = []
    try:
        with open_gate(stores.state, integration) as gate, opened(integration, gate) as provider:
            who = provider.who()
            until = f", until {who.expires_at:%Y-%m-%d %H:%M} UTC" if who.expires_at else ""
            name = who.person.name or who.person.login
            steps.append(Step("sign in", True, f"as {name}{until}" + (f"; {who.note}" if who.note else "")))
            place = provider.place(tracker)
            found = judge_place(place)
            steps.append(
                Step("look at the place", not found.cause, found.cause or f"{place.name} {place.url}".strip())
            )
            if create and not found.cause:
                _make(provider, tracker, steps)
    except TrackerError as error:
        steps.append(Step(_next(steps), False, _said(error)))
    return steps


def _make(provider: Provider, tracker: Tracker, steps: list[Step]) -> None:
    draft = Draft(
        TITLE,
        BODY,
        new_marker(),
        labels=[each for each in tracker.labels if "{" not in each],
        fields=tracker.fields,
    )
    issue = provider.create(tracker, draft)
    steps.append(Step("make an issue", True, f"{issue.key} {issue.url}{_missing(draft, issue)}"))
    closed = provider.set_state(tracker, issue, IssueState.CLOSED, "not_planned")
    good = closed.state is IssueState.CLOSED
    steps.append(
        Step(
            "close it", good, closed.status or "closed" if good else f"it is still {closed.status or 'open'}"
        )
    )


def _missing(draft: Draft, issue: Issue) -> str:
    """What trackers leave out without a word."""
    lost = sorted({label.casefold() for label in draft.labels} - {label.casefold() for label in issue.labels})
    return (
        f"; without labels {', '.join(lost)}: no right to set them"
        if lost and issue.labels is not None
        else ""
    )


def _next(steps: list[Step]) -> str:
    return ("sign in", "look at the place", "make an issue", "close it")[len(steps)]


def _said(error: TrackerError) -> str:
    verdict = error.verdict
    fields = f": {', '.join(verdict.fields)}" if verdict.fields else ""
    unknown = "; it may have been made all the same" if verdict.do is Do.UNKNOWN else ""
    return f"{error}{fields}{unknown}"
