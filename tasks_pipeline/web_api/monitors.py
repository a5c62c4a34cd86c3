"""Cron monitors: what there is, one of them, its check-ins, and how many there were of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, select
from starlette.responses import Response

from tasks_pipeline.storage.state.tables import incidents, monitor_check_ins, monitor_environments, monitors
from tasks_pipeline.web_api.accounts import project_object
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.filters import chosen_projects, moment, span_of
from tasks_pipeline.web_api.paging import keyed_page, page_key, page_size, sliced_page

LISTED = 1000
MOST_POINTS = 2000
_STATUSES = {"waiting": "active", "timed_out": "timeout", "missed": "missed_checkin"}
"""Their word for states of environments, where it is another."""
_CHECK_INS = {"timed_out": "timeout"}
_COUNTED = ("ok", "error", "missed", "timeout", "in_progress", "unknown")


def list_monitors(call: Call) -> Response:
    """Cron monitors of the projects that are asked for."""
    m = monitors.c
    query = select(monitors).where(m.type == "cron", m.project_id.in_(_projects(call))).order_by(m.slug)
    with call.services.state.read() as connection:
        rows = list(connection.execute(query.limit(LISTED)))
    wanted = call.query.get("query", "").lower()
    return sliced_page(
        call, _monitors_json(call, [r for r in rows if wanted in r.slug or wanted in r.name.lower()])
    )


def show(call: Call) -> Response:
    """One monitor."""
    return answer(_monitors_json(call, [_monitor(call)])[0])


def list_check_ins(call: Call) -> Response:
    """Check-ins of a monitor, newest first."""
    row, size, key = _monitor(call), page_size(call), page_key(call, int)
    c, e = monitor_check_ins.c, monitor_environments.c
    query = (
        select(monitor_check_ins, e.environment)
        .join(monitor_environments, e.id == c.environment_id)
        .where(e.monitor_id == row.id)
        .order_by(c.id.desc())
        .limit(size + 1)
    )
    if key is not None:
        query = query.where(c.id < key[0])
    if names := [name for name in call.query.getlist("environment") if name]:
        query = query.where(e.environment.in_(names))
    with call.services.state.read() as connection:
        rows = list(connection.execute(query))
    shown = rows[:size]
    last = (shown[-1].id,) if shown else None
    return keyed_page(call, [_check_in_json(each) for each in shown], last, more=len(rows) > size)


def stats(call: Call) -> Response:
    """`[{ts, ok, error, missed, timeout …}]` of a monitor: check-ins of each kind in each stretch of `resolution`, of `environment` or all."""
    row, now = _monitor(call), call.asked.now
    until = moment("until", call.query["until"]) if call.query.get("until") else now
    since = moment("since", call.query["since"]) if call.query.get("since") else until - timedelta(days=1)
    seconds = int(span_of("resolution", call.query.get("resolution") or "1h").total_seconds())
    first, last = int(since.timestamp()) // seconds * seconds, int(until.timestamp())
    if not first < last or (last - first) // seconds > MOST_POINTS:
        raise ApiError(400, f"resolution: allowed are times of which since to until has 1 to {MOST_POINTS:,}")
    c, e = monitor_check_ins.c, monitor_environments.c
    query = (
        select(c.started_at, c.status)
        .join(monitor_environments, e.id == c.environment_id)
        .where(e.monitor_id == row.id, c.started_at >= since, c.started_at < until)
    )
    if names := [name for name in call.query.getlist("environment") if name]:
        query = query.where(e.environment.in_(names))
    counted = {begin: dict.fromkeys(_COUNTED, 0) for begin in range(first, last + 1, seconds)}
    with call.services.state.read() as connection:
        for started_at, status in connection.execute(query).tuples():
            counts = counted[int(started_at.timestamp()) // seconds * seconds]
            name = _CHECK_INS.get(status, status)
            counts[name] = counts.get(name, 0) + 1
    return answer([{"ts": begin, **counts} for begin, counts in counted.items()])


def _projects(call: Call) -> list[int]:
    return chosen_projects(call) or sorted(call.asked.slugs)


def _monitor(call: Call) -> Row[Any]:
    """The monitor in the path, by slug or number. Raises ApiError (404)."""
    m, name = monitors.c, call.params["slug"]
    named = m.id == int(name) if name.isascii() and name.isdecimal() and len(name) < 19 else m.slug == name
    query = select(monitors).where(
        m.type == "cron", m.project_id.in_(_projects(call)), named | (m.slug == name)
    )
    with call.services.state.read() as connection:
        row = connection.execute(query.order_by(m.id).limit(1)).first()
    if row is None:
        raise ApiError(404, f"there is no monitor {name[:80]!r} here")
    return row


def _monitors_json(call: Call, rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    e, found = monitor_environments.c, dict[int, list[dict[str, Any]]]()
    query = (
        select(monitor_environments, incidents.c.opened_at)
        .join(incidents, incidents.c.id == e.incident_id, isouter=True)
        .where(e.monitor_id.in_([row.id for row in rows]))
        .order_by(e.environment)
    )
    with call.services.state.read() as connection:
        for row in connection.execute(query):
            found.setdefault(row.monitor_id, []).append(_environment_json(row))
    projects = {project.id: project_object(call, project) for project in call.config.projects}
    return [_monitor_json(row, found.get(row.id, []), projects.get(row.project_id)) for row in rows]


def _monitor_json(
    row: Row[Any], environments: Sequence[Mapping[str, Any]], project: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "slug": row.slug,
        "name": row.name or row.slug,
        "type": "cron_job",
        "status": "disabled" if row.status == "disabled" else "active",
        "isMuted": row.status == "muted",
        "isUpserting": row.source == "check_in",
        "config": _config_json(row.config or {}),
        "dateCreated": row.created_at,
        "project": project,
        "environments": environments,
        "owner": None,
    }


def _config_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """The schedule as clients know it: crontab as text, an interval as [number, unit]."""
    schedule = config.get("schedule")
    kind, value = "crontab", schedule
    if isinstance(schedule, Mapping):
        kind = str(schedule.get("type") or "crontab")
        value = [schedule.get("value"), schedule.get("unit")] if kind == "interval" else schedule.get("value")
    return {
        "schedule_type": kind,
        "schedule": value,
        "checkin_margin": config.get("checkin_margin"),
        "max_runtime": config.get("max_runtime"),
        "timezone": config.get("timezone") or "UTC",
        "failure_issue_threshold": config.get("failure_issue_threshold"),
        "recovery_threshold": config.get("recovery_threshold"),
    }


def _environment_json(row: Row[Any]) -> dict[str, Any]:
    incident = {"startingTimestamp": row.opened_at, "resolvingTimestamp": None, "brokenNotice": None}
    return {
        "name": row.environment,
        "status": _STATUSES.get(row.status, row.status),
        "isMuted": bool(row.muted),
        "dateCreated": None,
        "lastCheckIn": row.last_check_in_at,
        "nextCheckIn": row.next_at,
        "nextCheckInLatest": row.late_at,
        "activeIncident": incident if row.incident_id is not None else None,
    }


def _check_in_json(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.check_in_id or str(row.id),
        "environment": row.environment,
        "status": _CHECK_INS.get(row.status, row.status),
        "duration": None if row.duration_s is None else round(row.duration_s * 1000),
        "dateCreated": row.started_at,
        "dateAdded": row.started_at,
        "dateUpdated": row.ended_at or row.started_at,
        "dateInProgress": row.started_at,
        "expectedTime": row.expected_at,
        "groups": [],
    }
