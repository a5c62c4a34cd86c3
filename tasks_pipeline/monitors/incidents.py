"""Incidents of monitors: from the first failure that counts to the recovery. Each monitor and environment is a group of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from tasks_pipeline.alerts.evaluate import fire_changes
from tasks_pipeline.config import Config
from tasks_pipeline.groups.assign import NewGroup, create_group, known_keys
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.groups.decisions import lifecycle_columns, log_action
from tasks_pipeline.groups.lifecycle import Lifecycle, Status, reopen, resolve
from tasks_pipeline.notifications.message import counted
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_hashes, groups, incidents, monitor_environments

ALGORITHM = "monitor"
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
        .returning(
            incidents.c.group_id, incidents.c.environment_id, incidents.c.project_id, incidents.c.opened_at
        )
    ).first()
    if closed is None:
        return
    connection.execute(
        update(monitor_environments)
        .where(monitor_environments.c.incident_id == incident_id)
        .values(incident_id=None)
    )
    if closed.group_id is None:
        return
    group = connection.execute(select(groups).where(groups.c.id == closed.group_id)).one()
    if group.status not in (Status.IGNORED, Status.DISCARDED):
        _set_life(connection, group.id, resolve(now))
        log_action(connection, group.project_id, group.id, "resolve", {"by": "recovery"})
    minutes = round((now - closed.opened_at).total_seconds() / 60)
    facts = {
        "title": group.title, "culprit": group.culprit, "short_id": group.short_id, "category": group.type,
        "changed": f"{detail} The incident took {counted(minutes, 'minute')}.",
    }  # fmt: skip
    change = GroupChange(
        "recovered", closed.project_id, group.id, str(incident_id), now, facts, incident_id=incident_id
    )
    fire_changes(state, connection, config, [change], now)


def group_key(monitor_id: int, environment: str) -> str:
    """The key of the group of a monitor in an environment: 32 hex digits."""
    return hashlib.sha256(f"monitor:{monitor_id}:{environment}".encode()).hexdigest()[:32]


def _group_of(
    state: StateDatabase, connection: Connection, config: Config, trouble: Trouble, now: datetime
) -> tuple[Row[Any], str]:
    """The group of a monitor and environment, counted once more, and what happened to it: new_group or regression."""
    monitor = trouble.monitor
    project_id, key = monitor["project_id"], group_key(monitor["id"], trouble.environment)
    state.serialise(connection, "group_hashes")
    group_id = known_keys(connection, [(project_id, key)]).get((project_id, key))
    kind = "regression" if group_id is not None else "new_group"
    if group_id is None:
        group_id = create_group(state, connection, _new_group(trouble, key), _slug(config, project_id))
        connection.execute(
            group_hashes.insert().values(project_id=project_id, key=key, group_id=group_id, created_at=now)
        )
    group = connection.execute(select(groups).where(groups.c.id == group_id)).one()
    values = {
        "culprit": _WORDS.get(trouble.reason, trouble.reason),
        "times_seen": group.times_seen + 1,
        "first_seen": group.first_seen or now,
        "last_seen": now,
    }
    owner = monitor["config"].get("owner")
    if owner and group.assignee is None and kind == "new_group":
        values["assignee"] = owner
    connection.execute(update(groups).where(groups.c.id == group_id).values(**values))
    if group.status == Status.RESOLVED:
        life: Lifecycle = reopen(now)
        _set_life(connection, group_id, Lifecycle(Status.REGRESSED, life.changed_at))
        log_action(connection, project_id, group_id, "regress")
    return connection.execute(select(groups).where(groups.c.id == group_id)).one(), kind


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


def _set_life(connection: Connection, group_id: int, life: Lifecycle) -> None:
    connection.execute(update(groups).where(groups.c.id == group_id).values(**lifecycle_columns(life)))


def _slug(config: Config, project_id: int) -> str:
    project = config.project(project_id)
    return project.slug if project else "project"
