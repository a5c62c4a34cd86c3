"""Which monitors there are: those of the configuration, and those that clients describe in their check-ins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.config.monitors import CronMonitor, as_row
from tasks_pipeline.config.uptime import UptimeMonitor
from tasks_pipeline.monitors.schedules import margin, next_time
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe, set_probe
from tasks_pipeline.storage.state.tables import monitor_environments, monitors

MAX_MONITORS = 10_000  # of a project
MAX_ENVIRONMENTS = 100  # of a monitor
_KNOWN = "monitors_configured"


def sync_monitors(state: StateDatabase, config: Config, now: datetime) -> None:
    """Bring the state database to what the configuration says of monitors; cheap when nothing has changed.

    A monitor that is not configured any more is disabled, and keeps its history.
    """
    wanted: dict[tuple[int, str], CronMonitor | UptimeMonitor] = {}
    for project in config.projects:
        wanted |= {(project.id, cron.slug): cron for cron in project.monitors}
        wanted |= {(project.id, uptime.slug): uptime for uptime in project.uptime}
    digest = json.dumps(
        [[project_id, m.model_dump(mode="json")] for (project_id, _), m in sorted(wanted.items())],
        sort_keys=True,
    )
    with state.read() as connection:
        known = probe(connection, _KNOWN)
    if (known or {}).get("detail", "[]") == digest:
        return
    with state.write() as connection:
        state.serialise(connection, "monitors")
        for (project_id, slug), monitor in sorted(wanted.items()):
            described = (
                {"owner": (monitor.owner or "").removeprefix("member:")}
                if isinstance(monitor, UptimeMonitor)
                else as_row(monitor)
            )
            row: dict[str, Any] = {
                "type": "uptime" if isinstance(monitor, UptimeMonitor) else "cron",
                "name": monitor.name or slug,
                "config": described,
                "source": "file",
                "status": "disabled" if not monitor.enabled else "muted" if monitor.muted else "active",
            }
            monitor_id = _put(state, connection, project_id, slug, row, now)
            environments = (
                (monitor.environment,) if isinstance(monitor, UptimeMonitor) else monitor.environments
            )
            for environment in environments:
                put_environment(state, connection, monitor_id, row["config"], environment, now, expected=True)
            _plan_again(connection, monitor_id, row, now)
        rows = connection.execute(
            select(monitors.c.id, monitors.c.project_id, monitors.c.slug).where(monitors.c.source == "file")
        )
        gone = [row.id for row in rows if (row.project_id, row.slug) not in wanted]
        connection.execute(
            update(monitors).where(monitors.c.id.in_(gone)).values(status="disabled", updated_at=now)
        )
        set_probe(state, connection, _KNOWN, now, status="ok", detail=digest)


def _put(
    state: StateDatabase,
    connection: Connection,
    project_id: int,
    slug: str,
    row: Mapping[str, Any],
    now: datetime,
) -> int:
    insert = state.insert(monitors).values(
        project_id=project_id, slug=slug, created_at=now, updated_at=now, **row
    )
    statement = insert.on_conflict_do_update(
        index_elements=[monitors.c.project_id, monitors.c.slug], set_={**row, "updated_at": now}
    )
    return int(connection.execute(statement.returning(monitors.c.id)).scalar_one())


def _plan_again(connection: Connection, monitor_id: int, row: Mapping[str, Any], now: datetime) -> None:
    """A changed schedule counts from now on."""
    if row["type"] != "cron":
        return
    due = next_time(row["config"], now)
    connection.execute(
        update(monitor_environments)
        .where(monitor_environments.c.monitor_id == monitor_id)
        .values(next_at=due, late_at=due + margin(row["config"]))
    )


def put_environment(
    state: StateDatabase,
    connection: Connection,
    monitor_id: int,
    config: Mapping[str, Any],
    environment: str,
    now: datetime,
    *,
    expected: bool = False,
) -> dict[str, Any] | None:
    """The row of a monitor in an environment, made when there is none; None when it has too many already.

    One that is `expected` is due from now on, before its first check-in; a cron monitor's, that is.
    """
    e = monitor_environments.c
    query = select(monitor_environments).where(e.monitor_id == monitor_id, e.environment == environment)
    row = connection.execute(query).first()
    if row is None:
        count = connection.execute(select(func.count()).where(e.monitor_id == monitor_id)).scalar_one()
        if count >= MAX_ENVIRONMENTS:
            return None
        due = next_time(config, now) if expected and "schedule" in config else None
        values = {"next_at": due, "late_at": due + margin(config) if due else None}
        if "schedule" not in config:
            values["next_at"] = now  # an address is asked at once
        connection.execute(
            monitor_environments.insert().values(
                monitor_id=monitor_id, environment=environment, status="waiting", data={}, **values
            )
        )
        row = connection.execute(query).one()
    return dict(row._mapping)


def find_monitor(
    state: StateDatabase,
    connection: Connection,
    project_id: int,
    slug: str,
    described: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any] | None:
    """A cron monitor; made, or changed, by a client's `monitor_config` unless the file describes it. None when nobody does."""
    query = select(monitors).where(monitors.c.project_id == project_id, monitors.c.slug == slug)
    row = connection.execute(query).first()
    if row is not None and row.type != "cron":
        return None
    if described is not None and (row is None or (row.source == "check_in" and row.config != described)):
        if row is None:
            count = connection.execute(
                select(func.count()).select_from(monitors).where(monitors.c.project_id == project_id)
            ).scalar_one()
            if count >= MAX_MONITORS:
                return None
        values = {
            "type": "cron", "name": row.name if row else slug, "config": dict(described), "source": "check_in",
            "status": row.status if row else "active",
        }  # fmt: skip
        monitor_id = _put(state, connection, project_id, slug, values, now)
        if row is not None:
            _plan_again(connection, monitor_id, values, now)
        row = connection.execute(query).one()
    return None if row is None else dict(row._mapping)
