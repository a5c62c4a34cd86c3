"""Incidents of monitors: from the first failure that counts to the recovery. Each monitor and environment is a group of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, update

from tasks_pipeline.alerts.evaluate import fire_changes
from tasks_pipeline.config import Config
from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import MonitorIncidentClosed, MonitorIncidentOpened
from tasks_pipeline.groups.assign import NewGroup
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.groups.incidents import count_incident, end_incident
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import incidents, monitor_environments
from tasks_pipeline.words import counted

ALGORITHM = "monitor"
LOCKS = ("monitors", "group_hashes", "alerts")
"""What a transaction that may open or close an incident takes at its beginning."""
_CLOSED = tuple(incidents.c[name] for name in ("id", "group_id", "project_id", "kind", "reason", "opened_at"))
"""What is asked of an incident that is closed."""
_WORDS = {
    "missed": "no check-in came in time",
    "timed_out": "it ran for too long",
    "error": "it reported an error",
    "down": "it does not answer as expected",
    "expiring": "its certificate is about to expire",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong with a monitor in an environment. `reason`: missed, timed_out, error, down or expiring.

    `monitor` has id, project_id, slug, name, type (cron or uptime), config and status; `environment_id` is the row in
    monitor_environments. `times` may hold expected_at and next_at. Of a muted monitor nobody is told.
    """

    monitor: Mapping[str, Any]
    environment_id: int
    environment: str
    reason: str
    detail: str
    severity: str = "critical"
    muted: bool = False
    expected_at: datetime | None = None
    next_at: datetime | None = None


def trigger_monitor_alert(
    state: StateDatabase, connection: Connection, config: Config, trouble: Trouble, now: datetime
) -> int:
    """Open an incident, make it (or find) the group of its monitor and environment, and let alert rules hear of it.

    In the caller's transaction; gives the number of the incident.
    """
    monitor = trouble.monitor
    group, kind = _group_of(state, connection, config, trouble, now)
    incident_id = int(
        connection.execute(
            incidents.insert()
            .values(
                project_id=monitor["project_id"],
                kind=monitor["type"],
                environment_id=trouble.environment_id,
                group_id=group.id,
                reason=trouble.reason,
                detail=trouble.detail,
                opened_at=now,
            )
            .returning(incidents.c.id)
        ).scalar_one()
    )
    connection.execute(
        update(monitor_environments)
        .where(monitor_environments.c.id == trouble.environment_id)
        .values(incident_id=incident_id)
    )
    opened = MonitorIncidentOpened(incident=incident_id, kind=monitor["type"], reason=trouble.reason)
    record(state, connection, opened, at=now, project_id=monitor["project_id"])
    if not trouble.muted:
        change = GroupChange(
            kind=kind,
            project_id=monitor["project_id"],
            group_id=group.id,
            key=str(incident_id),
            at=now,
            facts=_facts(trouble, group),
            incident_id=incident_id,
            severity=trouble.severity,
        )
        fire_changes(state, connection, config, [change], now)
    return incident_id


def close_incident(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    incident_id: int,
    now: datetime,
    detail: str = "It works again.",
) -> None:
    """Close an incident and resolve its group; those who heard of it hear that it is over. One that is closed stays so."""
    closed = connection.execute(
        update(incidents)
        .where(incidents.c.id == incident_id, incidents.c.closed_at.is_(None))
        .values(closed_at=now)
        .returning(*_CLOSED)
    ).first()
    if closed is None:
        return
    _record_closed(state, connection, closed, now)
    connection.execute(
        update(monitor_environments)
        .where(monitor_environments.c.incident_id == incident_id)
        .values(incident_id=None)
    )
    if closed.group_id is None:
        return
    group = end_incident(state, connection, closed.group_id, "recovery", now)
    minutes = round((now - closed.opened_at).total_seconds() / 60)
    facts = {
        "title": group.title, "culprit": group.culprit, "short_id": group.short_id, "category": group.type,
        "changed": f"{detail} The incident took {counted(minutes, 'minute')}.",
    }  # fmt: skip
    change = GroupChange(
        "recovered", closed.project_id, group.id, str(incident_id), now, facts, incident_id=incident_id
    )
    fire_changes(state, connection, config, [change], now)


def drop_incident(
    state: StateDatabase, connection: Connection, incident_id: int, reason: str, now: datetime
) -> None:
    """Close an incident of what is not watched any more, and resolve its group: nobody is told, since nothing recovered."""
    closed = connection.execute(
        update(incidents)
        .where(incidents.c.id == incident_id, incidents.c.closed_at.is_(None))
        .values(closed_at=now, detail=incidents.c.detail + f" Closed: {reason}.")
        .returning(*_CLOSED)
    ).first()
    if closed is None:
        return
    _record_closed(state, connection, closed, now)
    if closed.group_id is not None:
        end_incident(state, connection, closed.group_id, reason, now)


def _record_closed(state: StateDatabase, connection: Connection, closed: Row[Any], now: datetime) -> None:
    fact = MonitorIncidentClosed(
        incident=closed.id,
        kind=closed.kind,
        reason=closed.reason,
        open_seconds=max(0.0, (now - closed.opened_at).total_seconds()),
    )
    record(state, connection, fact, at=now, project_id=closed.project_id)


def group_key(monitor_id: int, environment: str) -> str:
    """The key of the group of a monitor in an environment: 32 hex digits."""
    return hashlib.sha256(f"monitor:{monitor_id}:{environment}".encode()).hexdigest()[:32]


def _group_of(
    state: StateDatabase, connection: Connection, config: Config, trouble: Trouble, now: datetime
) -> tuple[Row[Any], str]:
    """The group of a monitor and environment, counted once more, and what happened to it: new_group or regression."""
    monitor = trouble.monitor
    project = config.project(monitor["project_id"])
    new = _new_group(trouble, group_key(monitor["id"], trouble.environment))
    owner = monitor["config"].get("owner")
    return count_incident(state, connection, new, project.slug if project else "project", owner, now)


def _new_group(trouble: Trouble, key: str) -> NewGroup:
    monitor = trouble.monitor
    what = "Cron job" if monitor["type"] == "cron" else "Uptime"
    name = monitor["name"] or monitor["slug"]
    return NewGroup(
        project_id=monitor["project_id"],
        keys=(key,),
        title=f"{what} {name} fails" + (f" in {trouble.environment}" if trouble.environment else ""),
        culprit=_WORDS.get(trouble.reason, trouble.reason),
        level="error",
        platform="other",
        type=monitor["type"],
        metadata={"type": what, "value": name},
        algorithm=ALGORITHM,
    )


def _facts(trouble: Trouble, group: Row[Any]) -> dict[str, Any]:
    times = {"expected_at": trouble.expected_at, "next_at": trouble.next_at}
    return {
        "title": group.title,
        "culprit": group.culprit,
        "level": group.level,
        "type": group.type,
        "category": group.type,
        "short_id": group.short_id,
        "environment": trouble.environment,
        "times_seen": group.times_seen,
        "first_seen": group.first_seen.isoformat(),
        "last_seen": group.last_seen.isoformat(),
        "assignee": group.assignee,
        "changed": trouble.detail,
        "monitor": {
            "slug": trouble.monitor["slug"],
            "environment": trouble.environment,
            "status": trouble.reason,
            **{name: at.isoformat() for name, at in times.items() if at is not None},
        },
    }
