"""Pages of monitors, of cron jobs and of addresses: how each is doing where, its runs and its incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from tasks_pipeline.monitors.registry import mistake
from tasks_pipeline.monitors.schedules import described
from tasks_pipeline.pages.answers import no_such
from tasks_pipeline.pages.sheets import Sheet, Table, listed, pages_of, quoted
from tasks_pipeline.pages.view import View
from tasks_pipeline.storage.state.tables import incidents, monitor_check_ins, monitor_environments, monitors

_COLUMNS = {
    "slug": "monitor", "project": "project", "environment": "environment", "state": "state", "schedule": "schedule",
    "last_check_in_at": "last check-in", "next_at": "next", "type": "type",
}  # fmt: skip
_RUNS = {
    "environment": "environment", "status": "result", "started_at": "began", "duration_s": "seconds", "release": "release",
    "detail": "what was said",
}  # fmt: skip
_INCIDENTS = {
    "environment": "environment",
    "reason": "reason",
    "opened_at": "opened",
    "closed_at": "closed",
    "detail": "what was said",
}


def _list(view: View, limit: int) -> Sheet:
    projects = view.asked.project_ids()
    rows = _environments(view, projects, limit)
    sql = (
        "SELECT m.slug, m.project_id, e.environment, e.status, e.last_check_in_at, e.next_at FROM state.monitor_environments e "
        f"JOIN state.monitors m ON m.id = e.monitor_id WHERE m.project_id IN ({listed(projects)}) ORDER BY m.slug, e.environment"
    )
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    note = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    table = Table(
        "Monitors", _COLUMNS, rows, "No monitor is configured, and no job checked in.", {"slug": _address}
    )
    return Sheet("Monitors", [table], sql, note)


def _show(view: View, limit: int) -> Sheet:
    slug, name = view.param("slug"), view.param("project")
    projects = [p for p in view.asked.project_ids() if view.asked.slugs[p] == name]
    rows = [row for row in _environments(view, projects, 10_000) if row["slug"] == slug]
    if not rows:
        raise no_such("monitor")
    named = {row["id"]: row["environment"] for row in rows}
    c, i = monitor_check_ins.c, incidents.c
    runs = (
        select(monitor_check_ins)
        .where(c.environment_id.in_(named))
        .order_by(c.started_at.desc(), c.id.desc())
    )
    opened = select(incidents).where(i.environment_id.in_(named)).order_by(i.id.desc()).limit(limit)
    with view.reading.state.read() as connection:
        ran = [dict(row) for row in connection.execute(runs.limit(limit)).mappings()]
        trouble = [dict(row) for row in connection.execute(opened).mappings()]
    for row in (*ran, *trouble):
        row["environment"] = named[row["environment_id"]]
    sql = (
        "SELECT e.environment, c.status, c.started_at, c.duration_s, c.release, c.detail FROM state.monitor_check_ins c "
        "JOIN state.monitor_environments e ON e.id = c.environment_id JOIN state.monitors m ON m.id = e.monitor_id "
        f"WHERE m.slug = {quoted(slug)} AND m.project_id IN ({listed(projects)}) ORDER BY c.started_at DESC"
    )
    tables = [
        Table("Runs", _RUNS, ran, "It did not check in yet."),
        Table("Incidents", _INCIDENTS, trouble, "None."),
        Table("Environments", {k: v for k, v in _COLUMNS.items() if k not in ("slug", "project")}, rows),
    ]
    return Sheet(
        f"{rows[0]['name'] or slug}",
        tables,
        sql,
        facts=[("monitor", slug), ("project", name), ("schedule", rows[0]["schedule"])],
    )


PAGES = (*pages_of("/monitors/", "monitors", _list), *pages_of("/monitors/{project}/{slug}/", "runs", _show))


def _environments(view: View, projects: Sequence[int], limit: int) -> list[dict[str, Any]]:
    """Each monitor in each environment, those in trouble first."""
    names = ("slug", "project_id", "type", "config", "status", "name")
    columns = [monitors.c[name].label(f"m_{name}") for name in names]
    query = (
        select(monitor_environments, *columns)
        .join(monitors, monitors.c.id == monitor_environments.c.monitor_id)
        .where(monitors.c.project_id.in_(projects))
        .order_by(
            monitor_environments.c.incident_id.is_(None), monitors.c.slug, monitor_environments.c.environment
        )
        .limit(limit)
    )
    with view.reading.state.read() as connection:
        rows = [dict(row) for row in connection.execute(query).mappings()]
    return [_told(view, row, {name: row.pop(f"m_{name}") for name in names}) for row in rows]


def _told(view: View, row: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    state = "not watched" if mistake(own["config"]) else str(row["status"])
    if own["status"] == "disabled":
        state = "disabled"
    elif own["status"] == "muted" or row["muted"]:
        state += ", muted"
    if row["incident_id"]:
        state += ", incident"
    return {
        **row, "slug": own["slug"], "name": own["name"], "type": own["type"], "state": state, "schedule": described(own["config"]),
        "project": view.asked.slugs[own["project_id"]],
    }  # fmt: skip


def _address(row: Mapping[str, Any]) -> str:
    return f"/monitors/{row['project']}/{row['slug']}/"
