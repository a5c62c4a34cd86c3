"""Pages of alerts and reports: what fired lately, by which rules, and which reports there are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from tasks_pipeline.alerts.rules import rules_of
from tasks_pipeline.config.projects import PIPELINE
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.pages.sheets import Sheet, Table, listed, pages_of
from tasks_pipeline.pages.view import View
from tasks_pipeline.storage.state.tables import alerts, reports

_FIRED = {
    "at": "when", "project": "project", "rule": "rule", "kind": "because", "status": "status", "severity": "severity",
    "short_id": "group", "title": "what",
}  # fmt: skip
_RULES = {"project": "project", "rule": "rule", "when": "when", "notify": "tells", "every": "at most every"}
_REPORTS = {
    "label": "period", "kind": "kind", "scope": "of", "zone": "zone", "start": "from", "end": "to", "revision": "revision",
    "checked_at": "computed",
}  # fmt: skip
_DAYS = 30


def _alerts(view: View, limit: int) -> Sheet:
    projects = view.asked.project_ids() + ([PIPELINE] if view.viewer.projects is None else [])
    since = view.now - timedelta(days=_DAYS)
    query = (
        select(alerts)
        .where(alerts.c.project_id.in_(projects), alerts.c.at >= since)
        .order_by(alerts.c.at.desc(), alerts.c.id.desc())
        .limit(limit)
    )
    with view.reading.state.read() as connection:
        rows: list[dict[str, Any]] = [dict(row) for row in connection.execute(query).mappings()]
    names = short_ids(
        view.reading.state, view.asked.slugs, {row["group_id"] for row in rows if row["group_id"]}
    )
    for row in rows:
        row["project"] = view.asked.slugs.get(row["project_id"], "pipeline")
        row["short_id"] = names.get(row["group_id"])
        row["title"] = row["data"].get("title") or row["data"].get("detail")
    sql = (
        'SELECT "at", project_id, rule, kind, status, severity, group_id, data FROM state.alerts '
        f'WHERE project_id IN ({listed(projects)}) AND "at" >= now() - INTERVAL {_DAYS} DAY ORDER BY "at" DESC, id DESC'
    )
    fired = Table(
        "Fired", _FIRED, rows, "Nothing fired.", {"short_id": lambda row: f"/groups/{row['short_id']}/"}
    )
    rules = Table("Rules", _RULES, _rules(view), "No rules: configure members or channels, and alert_rules.")
    note = f"What fired in the last {_DAYS} days. “tasks-pipeline alerts test RULE” tries a rule on what is stored."
    return Sheet("Alerts", [fired, rules], sql, note)


def _rules(view: View) -> list[dict[str, Any]]:
    return [
        {
            "project": project.slug, "rule": rule.name,
            "when": ", ".join(when if isinstance(when, str) else type(when).__name__.lower() for when in rule.when),
            "notify": ", ".join([*rule.notify, *([f"an issue in {rule.create_issue}"] if rule.create_issue else [])]),
            "every": f"{rule.every_minutes:g} min",
        }
        for project in view.config.projects
        if view.viewer.may_see(project.id)
        for rule in rules_of(view.config, project.id)
    ]  # fmt: skip


def _reports(view: View, limit: int) -> Sheet:
    query = select(reports).order_by(reports.c.end.desc(), reports.c.id.desc())
    where = ""
    if view.viewer.projects is not None:
        scopes = [f"project:{number}" for number in view.asked.project_ids()]
        query = query.where(reports.c.scope.in_(scopes))
        where = f"WHERE scope IN ({', '.join(repr(scope) for scope in scopes) or 'NULL'}) "
    with view.reading.state.read() as connection:
        rows = [dict(row) for row in connection.execute(query.limit(limit)).mappings()]
    for row in rows:
        kind, _, number = str(row["scope"]).partition(":")
        if kind == "project" and number.isdecimal():
            row["scope"] = view.asked.slugs.get(int(number), row["scope"])
    sql = f'SELECT label, kind, scope, zone, start, "end", revision, checked_at FROM state.reports {where}ORDER BY "end" DESC, id DESC'
    table = Table("Reports", _REPORTS, rows, "No period was closed yet.")
    return Sheet(
        "Reports",
        [table],
        sql,
        "“tasks-pipeline reports show KIND PERIOD” shows one; members get theirs by mail.",
    )


PAGES = (*pages_of("/alerts/", "alerts", _alerts), *pages_of("/reports/", "reports", _reports))
