"""fire: record firings as alerts, once each, and put their messages into the outbox, in the caller's transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.alerts.records import (
    StateKey,
    insert_alerts,
    known_keys,
    recent_alerts,
    rule_state_rows,
    set_rule_states,
)
from tasks_pipeline.config import Config
from tasks_pipeline.config.projects import PIPELINE
from tasks_pipeline.facts.actors import Actor
from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import AlertFired, AlertRecovered, GroupEscalated
from tasks_pipeline.groups.suspects import mails_of
from tasks_pipeline.links.making import request_by_rule
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.routing import Route, routes
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import Failure, is_own_fault, note_passed_over

STORM = ""
"""The thread of a rule's state that is about the rule as a whole."""


def fire(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    firings: Sequence[Firing],
    now: datetime,
) -> list[int]:
    """Record firings that are new and not within the interval of an earlier one; gives the ids of their alerts.

    Each alert is put into the outbox for all its targets, and where its rule makes issues one is asked for. Above its rule's storm limit the messages are put as collapsed, and one
    message per target tells of them at the end of the storm's window. An alert whose targets cannot be made out has no message.
    """
    if not firings:
        return []
    state.serialise(connection, "alerts")
    book = _Book(connection, firings, now)
    wanted = [firing for firing in firings if book.takes(firing)]
    if not wanted:
        return []
    storms = [book.storm_of(firing) for firing in wanted]
    ids = insert_alerts(connection, [_row(firing, now) for firing in wanted])
    record_all(state, connection, [_happened(f, ids[f.key], now) for f in wanted])
    record_all(state, connection, [_escalated(f, now) for f in wanted if f.kind == "escalation"])
    authors = _authors(connection, wanted)
    messages: list[NewNotification] = []
    unasked = _ask_for_issues(state, connection, config, list(zip(wanted, storms, strict=True)), now)
    note_passed_over(state, connection, "issues of rules", unasked, now)
    failures: list[Failure] = []
    for firing, storm in zip(wanted, storms, strict=True):
        try:
            found = _routes(config, firing, authors.get(firing.group_id or 0, ()), now)
        except (
            Exception
        ) as error:  # targets and owners that cannot be made out: the alert is there, and the others are told
            if not is_own_fault(error):
                raise
            failures.append((f"targets of rule {firing.rule} of project {firing.project_id}", error))
            continue
        for route in found:
            message = _message(firing, ids[firing.key], route, collapsed=storm is not None)
            messages.append(message)
            if storm is not None and message.status == "collapsed":
                messages.append(_storm_message(firing, route, storm))
    note_passed_over(state, connection, "targets of rules", failures, now)
    put_notifications(state, connection, messages)
    set_rule_states(state, connection, book.changed)
    return [ids[firing.key] for firing in wanted]


def _ask_for_issues(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    firings: Sequence[tuple[Firing, Mapping[str, Any] | None]],
    now: datetime,
) -> list[Failure]:
    """Have issues made for groups whose rules say so, in this transaction: they are asked for with the alert, or there is neither. What
    cannot be asked for costs itself; gives what failed."""
    failures: list[Failure] = []
    for firing, storm in firings:
        if firing.create_issue is None or firing.group_id is None or firing.status != "firing":
            continue
        try:
            with connection.begin_nested():
                request_by_rule(
                    state, connection, config, firing.group_id, firing.create_issue,
                    rule=firing.rule, storm=storm, now=now,
                )  # fmt: skip
        except Exception as error:
            if not is_own_fault(error):
                raise
            failures.append((f"issue by rule {firing.rule} of project {firing.project_id}", error))
    return failures


@dataclass
class _Book:
    """What is known of rules at the moment of firing, kept up to date while firings are taken."""

    connection: Connection
    firings: Sequence[Firing]
    now: datetime
    changed: dict[StateKey, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = known_keys(self.connection, (f.key for f in self.firings))
        keys: set[StateKey] = {(f.project_id, f.rule, f.thread) for f in self.firings}
        keys |= {(f.project_id, f.rule, STORM) for f in self.firings}
        self._states: dict[StateKey, dict[str, Any]] = rule_state_rows(self.connection, keys)
        self._recent: dict[tuple[int, str], int] = {}
        self._taken: dict[tuple[int, str], int] = defaultdict(int)

    def takes(self, firing: Firing) -> bool:
        """Whether a firing becomes an alert."""
        if firing.key in self._known:
            return False
        state_key = (firing.project_id, firing.rule, firing.thread)
        if firing.status == "firing":
            fired_at = self._states.get(state_key, {}).get("fired_at")
            if fired_at and (self.now - fired_at).total_seconds() < firing.interval_seconds:
                return False
            self._set(state_key, status=firing.severity, fired_at=self.now)
        self._known.add(firing.key)
        return True

    def storm_of(self, firing: Firing) -> Mapping[str, Any] | None:
        """The storm (since, until) that a firing is part of; None while its rule is within its limit."""
        storm = firing.storm
        if storm is None or firing.status != "firing":
            return None
        rule = (firing.project_id, firing.rule)
        window = timedelta(minutes=storm.window_minutes)
        if rule not in self._recent:
            self._recent[rule] = recent_alerts(self.connection, *rule, since=self.now - window)
        self._taken[rule] += 1
        key = (*rule, STORM)
        if self._recent[rule] + self._taken[rule] <= storm.alerts:
            if self._states.get(key, {}).get("status") == "storm":
                self._set(key, status="ok", data={})
            return None
        state = self._states.get(key, {})
        data: Mapping[str, Any] = state.get("data") or {}
        if state.get("status") != "storm" or datetime.fromisoformat(data["until"]) <= self.now:
            data = {"since": self.now.isoformat(), "until": (self.now + window).isoformat()}
            self._set(key, status="storm", data=data)
        return data

    def _set(self, key: StateKey, **values: Any) -> None:
        known = self._states.get(key)
        row = known or {"status": "ok", "fired_at": None, "changed_at": self.now, "data": {}}
        changed = values.get("status", row["status"]) != row["status"]
        kept = {name: row[name] for name in ("status", "fired_at", "changed_at", "data")}
        row = kept | values | ({"changed_at": self.now} if changed else {})
        self._states[key] = self.changed[key] = row


def _row(firing: Firing, now: datetime) -> dict[str, Any]:
    return {
        "key": firing.key[:300],
        "project_id": firing.project_id,
        "rule": firing.rule,
        "kind": firing.kind,
        "status": firing.status,
        "severity": firing.severity,
        "group_id": firing.group_id,
        "incident_id": firing.incident_id,
        "thread": firing.thread,
        "data": {**firing.data, "happened_at": firing.at.isoformat()},
        "at": now,
    }


def _happened(firing: Firing, alert_id: int, now: datetime) -> Happened:
    kind = AlertRecovered if firing.status == "recovered" else AlertFired
    fact = kind(alert=alert_id, rule=firing.rule, kind=firing.kind, severity=firing.severity)
    return Happened(fact, now, firing.project_id, Actor("rule", firing.rule))


def _escalated(firing: Firing, now: datetime) -> Happened:
    """A group escalates once a day, however many rules say so."""
    fact = GroupEscalated(group=firing.group_id or 0, change=now.date().isoformat())
    return Happened(fact, now, firing.project_id)


def _authors(connection: Connection, firings: Sequence[Firing]) -> dict[int, list[str]]:
    """By group: addresses of those whose commits are suspected, where a rule tells them."""
    told = [f.group_id for f in firings if f.group_id is not None and "suspects" in f.targets]
    return mails_of(connection, told) if told else {}


def _routes(config: Config, firing: Firing, authors: Sequence[str], now: datetime) -> list[Route]:
    data = firing.data
    return routes(
        config,
        project_id=firing.project_id,
        targets=firing.targets,
        rule=firing.rule,
        severity=firing.severity,
        assignee=data.get("assignee"),
        paths=data.get("paths") or (),
        tags=data.get("tags") or {},
        url=data.get("url"),
        authors=authors,
        at=now,
    )


def _message(firing: Firing, alert_id: int, route: Route, *, collapsed: bool) -> NewNotification:
    status = {"immediate": "waiting"}.get(route.delivery, route.delivery)
    if collapsed and status == "waiting":
        status = "collapsed"
    return NewNotification(
        key=f"alert:{alert_id}:{route.target}:{route.channel}",
        type="alert",
        alert_id=alert_id,
        project_id=firing.project_id,
        rule=firing.rule,
        target=route.target,
        channel=route.channel,
        address=route.address,
        thread=firing.thread,
        not_before=route.not_before,
        status=status,
        urgent=firing.severity == "critical" or firing.project_id == PIPELINE,
        reason="told of with others of its storm" if status == "collapsed" else route.reason,
    )


def _storm_message(firing: Firing, route: Route, storm: Mapping[str, Any]) -> NewNotification:
    """The one message that tells of all that collapsed; the outbox takes it once."""
    until = datetime.fromisoformat(storm["until"])
    return NewNotification(
        key=f"storm:{firing.project_id}:{firing.rule}:{storm['since']}:{route.target}:{route.channel}",
        type="storm",
        project_id=firing.project_id,
        rule=firing.rule,
        target=route.target,
        channel=route.channel,
        address=route.address,
        thread=f"storm:{firing.project_id}:{firing.rule}",
        not_before=max(until, route.not_before),
        data=dict(storm),
    )
