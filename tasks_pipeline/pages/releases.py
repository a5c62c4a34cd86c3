"""Pages of releases: the list with what came with each and how its sessions went, and one release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection

from tasks_pipeline.pages.answers import no_such
from tasks_pipeline.pages.sheets import Sheet, Table, listed, pages_of, quoted
from tasks_pipeline.pages.view import View
from tasks_pipeline.releases.adoption import has_health
from tasks_pipeline.releases.health_figures import (
    RELEASE,
    RELEASE_AND_ENVIRONMENT,
    SHOWN_DAYS,
    Figures,
    last_days,
    releases_health,
)
from tasks_pipeline.releases.pages import Wanted, by_date, facts_of, list_commits, list_deploys_of
from tasks_pipeline.releases.shares import crash_free_text
from tasks_pipeline.releases.stages import current_stages

_COLUMNS = {
    "version": "release", "project": "project", "order_date": "released or made", "last_event_at": "last event", "new_groups": "new groups",
    "commits": "commits", "deploys": "deploys", "deployed": "last deploy", "sessions": "sessions, 14 d", "crash_free": "crash free",
    "stage": "stage",
}  # fmt: skip
_HEALTH = {
    "environment": "environment", "sessions": "sessions", "crash_free": "crash free", "crashed": "crashed", "users": "users",
    "crashed_users": "users with a crash",
}  # fmt: skip
_OPEN = "open"


def _list(view: View, limit: int) -> Sheet:
    projects = _projects(view)
    with view.reading.state.read() as connection:
        entries = by_date(connection, Wanted(projects, _OPEN), _after(view), limit + 1)
        versions = [version for _, version in entries[:limit]]
        rows = _rows(view, connection, projects, versions)
        counted = has_health(connection)
    _add_health(view, rows, counted=counted)
    older = ""
    if len(entries) > limit:
        at, version = entries[limit - 1][0]
        older = view.address(before=at.isoformat(), behind=version)
    sql = (
        "SELECT version, project_id, order_date, last_event_at, events, users, commit_count FROM state.releases "
        f"WHERE status = 'open' AND project_id IN ({listed(projects)}) ORDER BY order_date DESC, version DESC"
    )
    links = {"version": _address, "new_groups": _new_groups}
    table = Table("Releases", _COLUMNS, rows, "No release is known: SDKs and sentry-cli name them.", links)
    note = f"Sessions are those of the last {SHOWN_DAYS} days."
    return Sheet("Releases", [table], sql, note, older=older)


def _show(view: View, limit: int) -> Sheet:
    project_id = _project_named(view, view.param("project"))
    version, slug = view.param("version"), view.asked.slugs[project_id]
    with view.reading.state.read() as connection:
        rows = _rows(view, connection, [project_id], [version])
        if not rows:
            raise no_such("release")
        counted = has_health(connection)
        commits = list_commits(connection, version, -1, limit)
        deploys = list_deploys_of(connection, [project_id], version, None, limit)
    (row,) = rows
    found = _health_of(view, rows, counted=counted)
    health = [{"environment": name or "none named", **_figures(each)} for name, each in sorted(found.items())]
    by = (
        "SELECT environment, sum(sessions) AS sessions FROM lake.release_health "
        f"WHERE project_id = {project_id} AND release = {quoted(version)} GROUP BY environment ORDER BY environment"
    )
    search = view.link("/groups/", query=f'release:"{_in_quotes(version)}"', project=slug, period="all")
    facts = [
        (title, row[name])
        for name, title in _COLUMNS.items()
        if name not in ("version", "sessions", "crash_free")
    ]
    tables = [
        Table(f"Sessions of the last {SHOWN_DAYS} days", _HEALTH, health, "No sessions were counted of it."),
        Table("Deploys", {"environment": "environment", "name": "name", "finished_at": "finished"}, deploys, "None was announced."),
        Table(
            "Commits", {"sha": "commit", "author": "author", "message": "message", "committed_at": "committed"},
            [_commit(each) for each in commits], "None is known: “sentry-cli releases set-commits” names them.",
        ),
    ]  # fmt: skip
    ways = [("groups seen in it", search), ("new groups", _new_groups(row))]
    return Sheet(version, tables, by, facts=facts, ways=ways)


PAGES = (
    *pages_of("/releases/", "releases", _list),
    *pages_of("/releases/{project}/{version}/", "release", _show),
)


def _projects(view: View) -> list[int]:
    """Those that may be seen, or the one that the address names."""
    wanted = view.arg("project")
    return [_project_named(view, wanted)] if wanted else view.asked.project_ids()


def _project_named(view: View, slug: str) -> int:
    found = next((p for p in view.asked.project_ids() if view.asked.slugs[p] == slug), None)
    if found is None:
        raise no_such("project")
    return found


def _after(view: View) -> tuple[Any, ...] | None:
    if not view.arg("before"):
        return None
    try:
        return datetime.fromisoformat(view.arg("before")).astimezone(), view.arg("behind")
    except (ValueError, OverflowError):
        raise no_such("page of this list") from None


def _rows(
    view: View, connection: Connection, projects: Sequence[int], versions: Sequence[str]
) -> list[dict[str, Any]]:
    found = facts_of(connection, projects, versions)
    rows = [
        {
            "project_id": row["project_id"], "version": version, "project": view.asked.slugs[row["project_id"]],
            "order_date": row["order_date"], "last_event_at": row["last_event_at"],
            "new_groups": facts.new_groups.get(row["project_id"], 0), "commits": row["commit_count"],
            "deploys": facts.deploy_count, "deployed": (facts.last_deploy or {}).get("environment"),
            "sessions": None, "crash_free": None, "stage": None,
        }
        for version, facts in found.items()
        for row in facts.rows
    ]  # fmt: skip
    stages = current_stages(connection, {(row["project_id"], row["version"]) for row in rows})
    for row in rows:
        known = stages.get((row["project_id"], row["version"]), {})
        row["stage"] = ", ".join(
            f"{stage.stage.replace('_', ' ')}{f' in {name}' if name else ''}" for name, stage in known.items()
        )
    return rows


def _add_health(view: View, rows: Sequence[dict[str, Any]], *, counted: bool) -> None:
    if not counted or not rows:
        return
    found = releases_health(view.reading.lake, rows, last_days(SHOWN_DAYS, view.now))
    for row in rows:
        figures = found.get((row["project_id"], row["version"]), {}).get(None)
        if figures is not None:
            row.update({name: value for name, value in _figures(figures).items() if name in row})


def _health_of(view: View, rows: Sequence[dict[str, Any]], *, counted: bool) -> Mapping[str, Figures]:
    if not counted:
        return {}
    levels, span = [RELEASE, RELEASE_AND_ENVIRONMENT], last_days(SHOWN_DAYS, view.now)
    found = releases_health(view.reading.lake, rows, span, levels=levels)
    (of_release,) = found.values() or [{}]
    return {name: figures for name, figures in of_release.items() if name is not None}


def _figures(figures: Figures) -> dict[str, Any]:
    share = crash_free_text(figures.crashed, figures.all_sessions)
    return {
        "sessions": figures.all_sessions, "crash_free": share and f"{share} %", "crashed": figures.crashed,
        "users": figures.all_users, "crashed_users": figures.crashed_users,
    }  # fmt: skip


def _commit(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "sha": str(row["sha"])[:12], "author": row.get("name") or row.get("email"),
        "message": str(row.get("message") or "").partition("\n")[0], "committed_at": row.get("committed_at"),
    }  # fmt: skip


def _address(row: Mapping[str, Any]) -> str:
    return f"/releases/{row['project']}/{quote(row['version'], safe='@:+~')}/"


def _new_groups(row: Mapping[str, Any]) -> str:
    query = f'firstRelease:"{_in_quotes(row["version"])}"'
    return f"/groups/?query={quote(query, safe='')}&project={row['project']}"


def _in_quotes(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
