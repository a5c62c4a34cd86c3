"""Which monitors there are: those of the configuration, and those that clients describe in their check-ins."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from tasks_pipeline.config import Config
from tasks_pipeline.config.monitors import CronMonitor, as_row
from tasks_pipeline.config.uptime import UptimeMonitor
from tasks_pipeline.monitors.incidents import LOCKS, drop_incident
from tasks_pipeline.monitors.schedules import following, margin, next_time
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.facts import probe, set_probe
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments, monitors

MAX_MONITORS = 1_000  # of a project, that clients describe
MAX_ENVIRONMENTS = 100  # of a monitor
MAX_IN_PROJECT = 5_000  # environments of all monitors of a project
FILE, CLIENT, REMOVED = "file", "check_in", "removed"
"""Sources of a monitor. A removed one was described by the file, or its project was; a client may describe it again."""
TOO_MANY = (
    f"clients may describe {MAX_MONITORS:,} monitors of a project",
    f"a monitor may have {MAX_ENVIRONMENTS} environments",
    f"the monitors of a project may have {MAX_IN_PROJECT:,} environments",
)
_KNOWN = "monitors_configured"
_Monitor = CronMonitor | UptimeMonitor


def mistake(config: Mapping[str, Any] | None) -> str:
    """Why what a client says of a monitor cannot be used; empty when it can. Such a monitor is shown, and not watched."""
    return str((config or {}).get("mistake") or "")


class TooMany(Exception):
    """A client asks for one more than there may be; the message is one of TOO_MANY."""


def sync_monitors(state: StateDatabase, config: Config, now: datetime) -> None:
    """Bring the state database to what the configuration says of monitors; cheap when nothing has changed.

    What is not configured any more (a monitor, its environment, its project) is not watched any more, and keeps its history.
    """
    wanted: dict[tuple[int, str], _Monitor] = {}
    for project in config.projects:
        wanted |= {(project.id, cron.slug): cron for cron in project.monitors}
        wanted |= {(project.id, uptime.slug): uptime for uptime in project.uptime}
    projects = sorted(project.id for project in config.projects)
    described = [[project_id, m.model_dump(mode="json")] for (project_id, _), m in sorted(wanted.items())]
    digest = json.dumps([projects, described], sort_keys=True)
    with state.read() as connection:
        known = probe(connection, _KNOWN)
    if (known or {}).get("detail") == digest:
        return
    with state.write() as connection:
        state.serialise(connection, *LOCKS)
        for (project_id, slug), monitor in sorted(wanted.items()):
            _configure(state, connection, project_id, slug, monitor, now)
        _remove(connection, wanted, projects, now)
        off = _environments(connection, monitors.c.status == "disabled")
        _forget(state, connection, off, "the monitor is disabled or was removed", now)
        set_probe(state, connection, _KNOWN, now, status="ok", detail=digest)


def _configure(
    state: StateDatabase, connection: Connection, project_id: int, slug: str, monitor: _Monitor, now: datetime
) -> None:
    """Make the row of a monitor what the file says, and expect it where the file says so."""
    named: tuple[str, ...]
    if isinstance(monitor, UptimeMonitor):
        kind, named = "uptime", (monitor.environment,)
        described: dict[str, Any] = {"owner": (monitor.owner or "").removeprefix("member:")}
    else:
        kind, named = "cron", monitor.environments
        described = as_row(monitor)
    row: dict[str, Any] = {
        "type": kind,
        "name": monitor.name or slug,
        "config": described,
        "source": FILE,
        "status": "disabled" if not monitor.enabled else "muted" if monitor.muted else "active",
    }
    before = connection.execute(_named(project_id, slug)).first()
    monitor_id = _put(state, connection, project_id, slug, row, now)
    for environment in named:
        put_environment(state, connection, monitor_id, row["config"], environment, now, expected=True)
    existing = _environments(connection, monitors.c.id == monitor_id)
    other_kind = before is not None and before.type != row["type"]
    if before is not None and before.config != row["config"]:
        _plan_again(connection, row, existing, before, now)
    if before is not None and before.status == "disabled" and row["status"] != "disabled":
        _expect(connection, row, [e for e in existing if e.next_at is not None], now)
    gone = [e for e in existing if other_kind or (e.environment not in named and _only_by_file(kind, e))]
    _stop(connection, [e.id for e in gone])
    _forget(state, connection, gone, f"the file does not name this environment of {slug} any more", now)
    silent = [e for e in existing if e.environment in named and (other_kind or e.next_at is None)]
    _expect(connection, row, silent, now)


def _only_by_file(kind: str, environment: Row[Any]) -> bool:
    """Whether nothing but the file speaks for an environment: an address, or a job that never said anything."""
    return kind == "uptime" or environment.last_check_in_at is None


def _remove(
    connection: Connection,
    wanted: Mapping[tuple[int, str], _Monitor],
    projects: Collection[int],
    now: datetime,
) -> None:
    """Disable what the file described and does not any more, and what clients described of projects that are gone."""
    rows = connection.execute(
        select(monitors.c.id, monitors.c.project_id, monitors.c.slug, monitors.c.source).where(
            monitors.c.source != REMOVED
        )
    ).all()
    gone = [
        row.id
        for row in rows
        if row.project_id not in projects or (row.source == FILE and (row.project_id, row.slug) not in wanted)
    ]
    for chunk in chunks(gone):
        disabled = {"status": "disabled", "source": REMOVED, "updated_at": now}
        connection.execute(update(monitors).where(monitors.c.id.in_(chunk)).values(**disabled))


def _environments(connection: Connection, where: Any) -> Sequence[Row[Any]]:
    query = select(monitor_environments).join(monitors, monitors.c.id == monitor_environments.c.monitor_id)
    return connection.execute(query.where(where).order_by(monitor_environments.c.id)).all()


def _named(project_id: int, slug: str) -> Any:
    return select(monitors).where(monitors.c.project_id == project_id, monitors.c.slug == slug)


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


def _plan_again(
    connection: Connection,
    row: Mapping[str, Any],
    existing: Iterable[Row[Any]],
    before: Row[Any],
    now: datetime,
) -> None:
    """A changed schedule counts from the last check-in, so that changing it again and again puts nothing off for ever. What is
    due already stays due: nothing that is said of a monitor replaces its check-in."""
    if row["type"] != "cron" or before.type != "cron":
        return
    for environment in existing:
        expected, last = environment.next_at, environment.last_check_in_at
        if expected is None or expected <= now:
            continue
        due = following(row["config"], last) if last is not None else next_time(row["config"], now)
        if due <= now:  # it would have been due by what nobody had said then
            due = min(expected, next_time(row["config"], now))
        _plan(connection, environment.id, row["config"], due)


def _expect(
    connection: Connection, row: Mapping[str, Any], environments: Iterable[Row[Any]], now: datetime
) -> None:
    """Watch environments from now on: a cron job is due by its schedule, an address is asked at once."""
    for environment in environments:
        due = next_time(row["config"], now) if row["type"] == "cron" else now
        _plan(connection, environment.id, row["config"], due)


def _plan(connection: Connection, environment_id: int, config: Mapping[str, Any], due: datetime) -> None:
    late = due + margin(config) if "schedule" in config else None
    connection.execute(
        update(monitor_environments)
        .where(monitor_environments.c.id == environment_id)
        .values(next_at=due, late_at=late)
    )


def _stop(connection: Connection, environment_ids: Sequence[int]) -> None:
    """Expect nothing of environments any more."""
    for chunk in chunks(environment_ids):
        connection.execute(
            update(monitor_environments)
            .where(monitor_environments.c.id.in_(chunk))
            .values(next_at=None, late_at=None)
        )


def _forget(
    state: StateDatabase,
    connection: Connection,
    environments: Sequence[Row[Any]],
    reason: str,
    now: datetime,
) -> None:
    """End what is under way in environments that are not watched any more: incidents, and runs that could time out."""
    c = monitor_check_ins.c
    for chunk in chunks([e.id for e in environments]):
        connection.execute(
            update(monitor_check_ins)
            .where(c.environment_id.in_(chunk), c.timeout_at.is_not(None))
            .values(status="unknown", timeout_at=None, detail=reason)
        )
    for environment in environments:
        if environment.incident_id is not None:
            drop_incident(state, connection, environment.incident_id, reason, now)
            connection.execute(
                update(monitor_environments)
                .where(monitor_environments.c.id == environment.id)
                .values(incident_id=None, status="waiting", failures=0, successes=0)
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
) -> dict[str, Any]:
    """The row of a monitor in an environment, made when there is none. Raises TooMany when a client asks for one too many.

    One that is `expected` (the file names it) is due from now on, before its first check-in; a cron monitor's, that is.
    """
    e = monitor_environments.c
    query = select(monitor_environments).where(e.monitor_id == monitor_id, e.environment == environment)
    row = connection.execute(query).first()
    if row is None:
        if not expected:
            _allow_environment(connection, monitor_id)
        due = next_time(config, now) if expected and "schedule" in config else None
        values = {"next_at": due, "late_at": due + margin(config) if due else None}
        if "schedule" not in config and not mistake(config):
            values["next_at"] = now  # an address is asked at once
        connection.execute(
            monitor_environments.insert().values(
                monitor_id=monitor_id, environment=environment, status="waiting", data={}, **values
            )
        )
        row = connection.execute(query).one()
    return dict(row._mapping)


def _allow_environment(connection: Connection, monitor_id: int) -> None:
    """Raise TooMany when a monitor, or all of its project, have as many environments as clients may make."""
    counted = select(func.count()).select_from(monitor_environments)
    of_monitor = counted.where(monitor_environments.c.monitor_id == monitor_id)
    if connection.execute(of_monitor).scalar_one() >= MAX_ENVIRONMENTS:
        raise TooMany(TOO_MANY[1])
    project = select(monitors.c.project_id).where(monitors.c.id == monitor_id).scalar_subquery()
    of_project = select(monitors.c.id).where(monitors.c.project_id == project)
    if (
        connection.execute(counted.where(monitor_environments.c.monitor_id.in_(of_project))).scalar_one()
        >= MAX_IN_PROJECT
    ):
        raise TooMany(TOO_MANY[2])


def find_monitor(
    state: StateDatabase,
    connection: Connection,
    project_id: int,
    slug: str,
    described: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any] | None:
    """A cron monitor; made, changed, or brought back when the file does not describe it any more, by a client's `monitor_config`.

    None when nobody describes it. One that is described by a mistake alone is made as well: people see there that a job is not
    watched, and why. Raises TooMany when clients describe too many.
    """
    query = _named(project_id, slug)
    row = connection.execute(query).first()
    if row is not None and row.type != "cron" and row.source != REMOVED:
        return None
    if described is not None and _changes(row, described):
        if row is None or row.source == REMOVED:
            _allow_monitor(connection, project_id)
        values = {
            "type": "cron", "name": row.name if row else slug, "config": dict(described), "source": CLIENT,
            "status": row.status if row and row.source == CLIENT else "active",
        }  # fmt: skip
        monitor_id = _put(state, connection, project_id, slug, values, now)
        existing = _environments(connection, monitors.c.id == monitor_id) if row else ()
        if row is not None and row.source == CLIENT:
            _plan_again(connection, values, existing, row, now)
        else:  # they are expected again when something comes of them
            _stop(connection, [e.id for e in existing])
        row = connection.execute(query).one()
    return None if row is None or row.type != "cron" else dict(row._mapping)


def _changes(row: Row[Any] | None, described: Mapping[str, Any]) -> bool:
    """Whether a client's description is news of a monitor that is not the file's. A mistake changes nothing that works."""
    if mistake(described) and row is not None:
        return row.source == CLIENT and bool(mistake(row.config)) and row.config != described
    return row is None or row.source == REMOVED or (row.source == CLIENT and row.config != described)


def _allow_monitor(connection: Connection, project_id: int) -> None:
    count = select(func.count()).where(monitors.c.project_id == project_id, monitors.c.source == CLIENT)
    if connection.execute(count).scalar_one() >= MAX_MONITORS:
        raise TooMany(TOO_MANY[0])
