"""update_integration_status: how each integration and each of its trackers is doing; a change of state is told once, with its recovery.

A check costs three calls at most: who we are there, and one or two of the places where issues are made, each once an hour.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.integrations.canary import differing
from tasks_pipeline.integrations.checking import Opened, check, is_due, place_is_due, stamp_of
from tasks_pipeline.integrations.gate import (
    AUTH_FAILED,
    DEGRADED,
    DISABLED,
    OK,
    RATE_LIMITED,
    UNREACHABLE,
    Clock,
    state_row,
    utc_now,
)
from tasks_pipeline.integrations.judging import (
    CANNOT_BE_ASKED,
    SEVERITY,
    WAITS,
    Finding,
    Seen,
    Work,
    judge_integration,
    judge_place,
    settled,
    stage_of,
)
from tasks_pipeline.integrations.telling import tell
from tasks_pipeline.links.intents import UNFINISHED, WAITING, waiting_figures, wake
from tasks_pipeline.links.rows import LIVE
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import (
    groups,
    integration_states,
    issue_intents,
    issue_links,
    tracker_cursors,
)
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.answers import Verdict
from tasks_pipeline.trackers.provider import open_provider
from tasks_pipeline.words import counted, lasting

log = logging.getLogger(__name__)

CALLS = 3
OWNERS_TOLD = 20
_WHAT_TO_DO = {
    AUTH_FAILED: "Nothing is lost: what has to be made there waits, and goes on by itself once a check gets through. Make a new token, "
    "or give it back its rights, and start the service with it.",
    UNREACHABLE: "Nothing is lost: what has to be made there waits. It is tried again by itself.",
    RATE_LIMITED: "What has to be made there waits, and goes on by itself.",
    DEGRADED: "All else goes on.",
    "misconfigured": "What needs it waits, until the configuration is changed.",
    DISABLED: "Nothing is asked and nothing is sent there.",
    OK: "What waited goes on.",
}


@dataclass
class StatusReport:
    """What a look at the integrations found. `states` by name; `changed`: `NAME: BEFORE → STATE`; `checked`: those that were asked."""

    states: dict[str, Finding] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    calls: int = 0
    failed: list[str] = field(default_factory=list)


def update_integration_status(
    stores: Stores,
    now: datetime | None = None,
    *,
    only: Collection[str] = (),
    by_hand: bool = False,
    opened: Opened = open_provider,
) -> StatusReport:
    """Look at all integrations, or some by name: ask those that are due, or with `by_hand` each of them and all of its places, and judge
    the others by what was noted of their calls. One that fails in a way of its own costs itself alone."""
    clock = utc_now if now is None else lambda: now
    report = StatusReport()
    for integration in stores.config.integrations:
        if only and integration.name not in only:
            continue
        try:
            _look_at(stores, integration, clock, report, by_hand, opened)
        except Exception:
            log.exception("integration %s cannot be judged", integration.name)
            report.failed.append(integration.name)
    return report


def _look_at(
    stores: Stores,
    integration: AnyIntegration,
    clock: Clock,
    report: StatusReport,
    by_hand: bool,
    opened: Opened,
) -> None:
    state, name, now = stores.state, integration.name, clock()
    trackers = [each for each in stores.config.trackers if each.integration == name]
    with state.write() as connection:
        row = state_row(state, connection, name, now)
        rows = {each.name: state_row(state, connection, name, now, each.name) for each in trackers}
    seen = Seen()
    if integration.enabled and row.disabled_at is None and (by_hand or is_due(row, integration, now)):
        ordered = sorted(
            trackers, key=lambda each: rows[each.name].checked_at or datetime.min.replace(tzinfo=UTC)
        )
        wanted = [
            each for each in ordered if by_hand or place_is_due(rows[each.name], integration, each, now)
        ]
        seen = check(state, integration, wanted if by_hand else wanted[: CALLS - 1], opened, clock)
        report.checked.append(name)
        report.calls += seen.calls
    stamp = stamp_of(integration, trackers) if seen.checked or not row.config_stamp else row.config_stamp
    with state.write() as connection:
        state.serialise(connection, "alerts")
        row = state_row(state, connection, name, now)
        anew = by_hand or row.config_stamp != stamp
        findings = _set_trackers(state, connection, integration, trackers, seen, now)
        differ, told = differing(connection, stores.config, name, row.noted.get("differ") or {}, now)
        work = _work(connection, name, told, now)
        found = judge_integration(row, seen, findings, work, now, enabled=integration.enabled)
        values = settled(row, found, now, checked=seen.checked, anew=anew)
        values |= {"config_stamp": stamp, "noted": {**row.noted, "differ": differ}} | _of_check(seen, now)
        connection.execute(update(integration_states).where(*_of(name)).values(**values))
        changed = state_row(state, connection, name, now)
        _follow_up(stores, connection, row, changed, work, now)
    report.states[name] = Finding(changed.status or found.status, changed.cause)
    if changed.status != row.status and row.status:
        report.changed.append(f"{name}: {row.status} → {changed.status}")


# ── what is stored


def _set_trackers(
    state: StateDatabase,
    connection: Connection,
    integration: AnyIntegration,
    trackers: Sequence[Tracker],
    seen: Seen,
    now: datetime,
) -> dict[str, Finding]:
    """Store what was seen of places; gives how each tracker is. One that is well again has what waits for it tried at once."""
    findings = {}
    for tracker in trackers:
        row = state_row(state, connection, integration.name, now, tracker.name)
        place = seen.places.get(tracker.name)
        if place is not None:
            found, stamp = judge_place(place), stamp_of(integration, [tracker])
            # At once: that it lasts is asked of the integration as a whole.
            values = settled(row, found, now, checked=True, anew=True)
            values |= {"checked_at": now, "config_stamp": stamp}
            if not isinstance(place, Verdict):
                values["noted"] = {
                    "external_id": place.external_id[:200],
                    "name": place.name[:300],
                    "url": place.url[:2000],
                }
            connection.execute(
                update(integration_states).where(*_of(integration.name, tracker.name)).values(**values)
            )
            before, row = row, state_row(state, connection, integration.name, now, tracker.name)
            if row.status == OK and before.status not in ("", OK):
                wake(connection, integration.name, now, tracker.name)
                _have_read_anew(connection, [tracker.name])
        findings[tracker.name] = Finding(row.status or OK, row.cause)
    return findings


def _of_check(seen: Seen, now: datetime) -> dict[str, Any]:
    values: dict[str, Any] = {"checked_at": now} if seen.checked else {}
    if seen.identity is not None:
        person = seen.identity.person
        values |= {"identity": (person.name or person.login)[:200], "expires_at": seen.identity.expires_at}
    return values


def _work(connection: Connection, integration: str, differ: Sequence[str], now: datetime) -> Work:
    figures = waiting_figures(connection).get(integration, {"waiting": 0, "oldest": None})
    c = issue_intents.c
    tried = (c.status != WAITING) | (c.attempts > 0)
    long_ago = c.created_at < now - WAITS
    query = select(func.count()).where(
        c.integration == integration, c.status.in_(UNFINISHED), long_ago, tried
    )
    stuck = connection.execute(query).scalar_one()
    return Work(figures["waiting"], figures["oldest"], stuck, differ)


# ── what follows from a change


def _follow_up(
    stores: Stores, connection: Connection, before: Row[Any], after: Row[Any], work: Work, now: datetime
) -> None:
    """Tell of a change of state, or of a credential that is about to end; what waited for an integration that works again is due."""
    stage = stage_of(after.expires_at, now)
    warned = stage and stage != before.noted.get("warned")
    if stage != (before.noted.get("warned") or 0):
        noted = {**after.noted, "warned": stage}
        connection.execute(update(integration_states).where(*_of(after.integration)).values(noted=noted))
    changed = after.status != before.status
    if changed and before.status in CANNOT_BE_ASKED and after.status not in CANNOT_BE_ASKED:
        wake(connection, after.integration, now)
        pace = {name: value for name, value in after.pace.items() if name != "calls"}
        connection.execute(update(integration_states).where(*_of(after.integration)).values(pace=pace))
    if changed and after.status == OK and before.status and (now - before.since).total_seconds() >= 3600:
        trackers = [each.name for each in stores.config.trackers if each.integration == after.integration]
        _have_read_anew(connection, trackers)
    is_news = (
        changed and not (after.status == OK and before.status in ("", DISABLED)) and after.status != DISABLED
    )
    if is_news or (warned and after.status == DEGRADED):
        _tell(stores, connection, after, work, now, stage)


def _tell(
    stores: Stores, connection: Connection, row: Row[Any], work: Work, now: datetime, stage: int
) -> None:
    name, well = row.integration, row.status == OK
    waits = f" {counted(work.waiting, 'change')} for it waiting." if work.waiting else ""
    if work.oldest is not None:
        waits = f"{waits[:-1]}, the oldest for {lasting((now - work.oldest).total_seconds())}."
    tell(
        stores.state,
        connection,
        stores.config,
        now,
        integration=name,
        key=f"{row.status}:{row.since.isoformat()}:{stage}",
        title=f"{name} is {'well again' if well else row.status.replace('_', ' ')}",
        detail="" if well else row.cause,
        what_to_do=f"{_WHAT_TO_DO.get(row.status, '')}{waits}",
        status="recovered" if well else "firing",
        severity="critical" if stage == 3 and row.status == DEGRADED else SEVERITY[row.status],
        targets=("operators", *_owners(connection, name)),
        integration_state=row.status,
        since=row.since.isoformat(),
    )


def _owners(connection: Connection, integration: str) -> list[str]:
    """Targets of those whom groups are assigned to that have issues there; of what was merged, those who have the whole."""
    c, made_for, owner = issue_links.c, groups.alias("made_for"), groups.alias("owner")
    query = (
        select(owner.c.assignee)
        .join(made_for, owner.c.id == func.coalesce(made_for.c.merged_into, made_for.c.id))
        .join(issue_links, c.group_id == made_for.c.id)
        .where(c.integration == integration, c.state.in_(LIVE), owner.c.assignee.is_not(None))
        .distinct()
        .order_by(owner.c.assignee)
        .limit(OWNERS_TOLD)
    )
    found = connection.execute(query).scalars()
    return [each if each.startswith("team:") else f"member:{each}" for each in found]


def _have_read_anew(connection: Connection, trackers: Sequence[str]) -> None:
    """All open issues of trackers are looked at with the next poll: nobody knows what was missed."""
    c = tracker_cursors.c
    connection.execute(
        update(tracker_cursors).where(c.tracker.in_(trackers)).values(full_pass_at=None, full_pass_after=None)
    )


def _of(integration: str, tracker: str = "") -> tuple[Any, ...]:
    c = integration_states.c
    return c.integration == integration, c.tracker == tracker


def set_disabled(state: StateDatabase, integration: str, now: datetime | None, moment: datetime) -> bool:
    """Disable an integration, or with None turn it on again; False when it was so already."""
    with state.write() as connection:
        row = state_row(state, connection, integration, moment)
        if (row.disabled_at is None) == (now is None):
            return False
        connection.execute(update(integration_states).where(*_of(integration)).values(disabled_at=now))
        if now is None:
            wake(connection, integration, moment)
    return True
