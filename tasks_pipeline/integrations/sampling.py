"""The live sample: a few issues read as they are now, and compared with what both sides are said to have agreed on.

What is stored cannot prove that: a look that never came leaves everything in order. Few requests, within the limits of the integration and
a deadline; one that may not be asked now is not, and that is said.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, exists, func, select

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.integrations.checking import Opened
from tasks_pipeline.integrations.gate import open_gate
from tasks_pipeline.integrations.proofs import Proof
from tasks_pipeline.links.assignees import accounts_of
from tasks_pipeline.links.intents import UNFINISHED
from tasks_pipeline.links.rows import LINKED, ask_for_looks
from tasks_pipeline.links.views import View, judge, views
from tasks_pipeline.storage.state.tables import integration_states, issue_intents, issue_links
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Gate, Kind
from tasks_pipeline.trackers.issue import Issue
from tasks_pipeline.trackers.provider import open_provider
from tasks_pipeline.words import counted

LINKS = 3
"""Links of an integration: GitHub reads so many one by one, the others list them in one call."""
REQUESTS = 8
SECONDS = 20.0
"""No request is begun later than so many seconds after the first, of all integrations together."""
POLLS = 2
"""A change there that is older than so many polls should be here."""
SLACK = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a look at one integration found: issues that were read, those that differ, and why it was not asked."""

    read: int = 0
    differ: Sequence[str] = ()
    not_asked: str = ""


def sample(stores: Stores, now: datetime, *, opened: Opened = open_provider) -> dict[str, Sampled]:
    """By integration: a few of its issues as they are now. Those that differ are looked at again with the next run."""
    ends = time.monotonic() + SECONDS
    found = {}
    for integration in stores.config.integrations:
        with stores.state.read() as connection:
            tracker, chosen = _chosen(connection, stores, integration)
        if tracker is not None and integration.enabled:
            found[integration.name] = _of(stores, integration, tracker, chosen, now, ends, opened)
    return found


def with_sample(proof: Proof, found: Mapping[str, Sampled]) -> Proof:
    """What is stored proves, and what a live sample says to it."""
    differ = [each for of in found.values() for each in of.differ]
    said = [
        f"of {counted(sum(of.read for of in found.values()), 'issue')} read now {len(differ) or 'none'} differ"
    ]
    said[0] += f": {', '.join(differ[:LINKS])}" if differ else ""
    said += [f"{name} was not asked: {of.not_asked}" for name, of in found.items() if of.not_asked]
    return Proof(
        proof.name, proof.many + len(differ), "; ".join([proof.said, *said] if found else [proof.said])
    )


def _chosen(
    connection: Connection, stores: Stores, integration: AnyIntegration
) -> tuple[Tracker | None, list[int]]:
    """Links of one tracker, by chance, for which both sides should agree: nothing is on its way for them, and nothing says why not."""
    c = issue_links.c
    trackers = [each.name for each in stores.config.trackers if each.integration == integration.name]
    on_its_way = exists().where(issue_intents.c.link_id == c.id, issue_intents.c.status.in_(UNFINISHED))
    fit = (
        c.state == LINKED, c.held == "", c.missing_since.is_(None), c.agreed_state.is_not(None), c.external_id.is_not(None),
        c.look_at.is_(None), ~on_its_way,
    )  # fmt: skip
    random.shuffle(trackers)
    last = connection.execute(select(func.max(c.id))).scalar() or 0
    for name in trackers:
        query = select(c.id).where(c.tracker == name, *fit).order_by(c.id).limit(LINKS)
        start = random.randint(0, last)
        ids = [*connection.execute(query.where(c.id >= start)).scalars()]
        if len(ids) < LINKS:
            ids += connection.execute(query.where(c.id < start).limit(LINKS - len(ids))).scalars()
        if ids:
            return stores.config.tracker(name), ids
    return None, []


def _of(
    stores: Stores,
    integration: AnyIntegration,
    tracker: Tracker,
    chosen: Sequence[int],
    now: datetime,
    ends: float,
    opened: Opened,
) -> Sampled:
    with stores.state.read() as connection:
        seen = views(connection, chosen)
    ids = sorted({view.link.external_id or "" for view in seen.values()})
    try:
        with (
            open_gate(stores.state, integration) as gate,
            opened(integration, _Bounded(gate, ends)) as provider,
        ):
            there = provider.by_ids(tracker, ids)
    except TrackerError as error:
        return Sampled(not_asked=clean(error, 300))
    with stores.state.write() as connection:
        skew = _skew(connection, integration.name)
        differing = [
            view
            for view in seen.values()
            if (issue := there.get(view.link.external_id or "", ...)) is not ...
            and _differs(stores, tracker, view, issue, now, skew)
        ]
        ask_for_looks(connection, [view.link.id for view in differing], now)
    late = [
        view.link.shown_key
        for view in differing
        if _is_late(there[view.link.external_id or ""], tracker, now, skew)
    ]
    return Sampled(sum(1 for each in ids if each in there), late)


def _differs(
    stores: Stores, tracker: Tracker, view: View, issue: Issue | None, now: datetime, skew: timedelta
) -> bool:
    """Whether an issue is not what was agreed on; one that is not there any more is looked at too."""
    if issue is None or issue.external_id != view.link.external_id:
        return True
    accounts = accounts_of(stores.config, tracker.integration)
    judged = judge(view, issue, stores.config, tracker, accounts, now, skew=skew.total_seconds())
    return str(issue.state) != view.link.agreed_state or judged.assignee.do == "pull"


def _is_late(issue: Issue | None, tracker: Tracker, now: datetime, skew: timedelta) -> bool:
    """Whether polls should have brought a change: one that is younger is on its way. What is not there any more a full pass finds."""
    if issue is None or issue.updated_at is None:
        return False
    return issue.updated_at - skew < now - POLLS * timedelta(seconds=tracker.poll_seconds) - SLACK


def _skew(connection: Connection, integration: str) -> timedelta:
    c = integration_states.c
    query = select(c.clock_skew_seconds).where(c.integration == integration, c.tracker == "")
    return timedelta(seconds=connection.execute(query).scalar() or 0.0)


class _Bounded:
    """A gate that lets so many requests through, until a moment of the monotonic clock."""

    def __init__(self, gate: Gate, ends: float) -> None:
        self._gate, self._ends, self._left = gate, ends, REQUESTS

    def enter(self, kind: Kind, *, writes: bool = False) -> None:
        """As the gate, or nothing any more."""
        if not self._left or time.monotonic() > self._ends:
            raise TrackerError(
                Verdict(Do.RATE_LIMITED, said="a sample takes no more requests, and no more time")
            )
        self._left -= 1
        self._gate.enter(kind, writes=writes)

    def note(self, kind: Kind, status: int, headers: Mapping[str, str], verdict: Verdict) -> None:
        """As the gate."""
        self._gate.note(kind, status, headers, verdict)
