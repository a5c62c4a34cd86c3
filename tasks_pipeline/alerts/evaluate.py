"""fire_changes: which rules a change of a group concerns, and what they fire."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.alerts.conditions import matches
from tasks_pipeline.alerts.fire import fire
from tasks_pipeline.alerts.firing import Firing
from tasks_pipeline.alerts.records import fired_rules
from tasks_pipeline.alerts.rules import rules_of
from tasks_pipeline.config import Config
from tasks_pipeline.config.alerts import AlertRule
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.releases.known import latest_release
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.passed_over import Failure, is_own_fault, note_passed_over

EVENT_FACTS = ("title", "culprit", "level", "platform", "type", "release", "environment")
_PLACE = ("day", "part", "position", "item", "event_id")
_SEVERITIES = {"fatal": "critical", "error": "warning"}


def fire_changes(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    changes: Sequence[GroupChange],
    now: datetime,
) -> list[int]:
    """Fire the rules that changes of groups concern, in the caller's transaction. Gives the ids of the new alerts.

    Of the events of a change the first that meets a rule's conditions is the one that is told of. A rule that raises for a
    change is passed over for it.
    """
    firings: list[Firing] = []
    failures: list[Failure] = []
    latest = _latest_releases(connection)
    for change in changes:
        rules = rules_of(config, change.project_id)
        if change.kind == "recovered":
            firings += _recoveries(connection, change, rules)
            continue
        for rule in rules:
            try:
                firings += _firings_of(rule, change, now, partial(latest, change.project_id))
            except Exception as error:
                if isinstance(error, SQLAlchemyError) or not is_own_fault(error):
                    raise  # what the transaction still is, only its owner knows
                failures.append((f"rule {rule.name} of project {change.project_id}", error))
    note_passed_over(state, connection, "rules", failures, now)
    return fire(state, connection, config, firings, now) if firings else []


def _firings_of(
    rule: AlertRule, change: GroupChange, now: datetime, latest: Callable[[], str | None]
) -> list[Firing]:
    if not _waits_for(rule, change):
        return []
    for event in change.events or (change.facts,):
        if matches(rule.conditions, event, change.facts, now, latest):
            return [firing_of(rule, change, event)]
    return []


def _waits_for(rule: AlertRule, change: GroupChange) -> bool:
    wanted = {trigger.type for trigger in rule.when}
    return change.kind in wanted or (change.incident_id is not None and "monitor" in wanted)


def firing_of(rule: AlertRule, change: GroupChange, event: Mapping[str, Any]) -> Firing:
    """The firing of a rule by a change; `event` is the row that met its conditions, or the facts of the change."""
    level = str(event.get("level") or change.facts.get("level") or "")
    severity = change.severity if change.incident_id is not None else _SEVERITIES.get(level, "info")
    return Firing(
        key=f"{change.kind}:{change.project_id}:{rule.name}:{change.group_id}:{change.key}",
        project_id=change.project_id,
        rule=rule.name,
        kind=change.kind if change.incident_id is None else "monitor",
        thread=f"group:{change.group_id}",
        targets=rule.notify,
        at=change.at,
        severity=rule.severity or severity,
        group_id=change.group_id,
        incident_id=change.incident_id,
        data=with_event(change.facts, event),
        # An incident opens once, and each is worth telling.
        interval_seconds=0 if change.incident_id is not None else rule.every_minutes * 60,
        storm=rule.storm,
        create_issue=rule.create_issue,
    )


def with_event(facts: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    """Facts of a group with those of one of its events (a row of the lake's `events`), and its place."""
    found = {name: event[name] for name in EVENT_FACTS if event.get(name)}
    place = {name: event[name] for name in _PLACE if event.get(name) is not None}
    if "day" in place:
        found["event"] = place | {"day": str(place["day"])}
    return {**facts, **found}


def _recoveries(connection: Connection, change: GroupChange, rules: Iterable[AlertRule]) -> list[Firing]:
    """What has to be said to those who heard of the trouble."""
    fired = fired_rules(connection, change.group_id, change.incident_id)
    return [
        Firing(
            key=f"recovered:{change.project_id}:{rule.name}:{change.group_id}:{change.key}",
            project_id=change.project_id,
            rule=rule.name,
            kind="monitor" if change.incident_id is not None else change.kind,
            thread=f"group:{change.group_id}",
            targets=rule.notify,
            at=change.at,
            status="recovered",
            severity="info",
            group_id=change.group_id,
            incident_id=change.incident_id,
            data=change.facts,
        )
        for rule in rules
        if rule.name in fired
    ]


def _latest_releases(connection: Connection) -> Callable[[int], str | None]:
    """What `release: latest` means in conditions, by project; each is looked up once."""

    @cache
    def latest(project_id: int) -> str | None:
        found = latest_release(connection, project_id)
        return found.version if found else None

    return latest


def latest_release_of(state: StateDatabase, project_id: int) -> Callable[[], str | None]:
    """The same of one project, looked up when it is first asked for."""

    @cache
    def latest() -> str | None:
        with state.read() as connection:
            return _latest_releases(connection)(project_id)

    return latest
