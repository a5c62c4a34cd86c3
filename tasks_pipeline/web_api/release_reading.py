"""Reading releases: lists, one of them, its commits, files and deploys, under the organisation and under a project."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.protocol.release import parse_release, why_no_release
from tasks_pipeline.releases import known, pages
from tasks_pipeline.releases.pages import ReleaseFacts, Wanted
from tasks_pipeline.web_api.calls import ApiError, Call, answer, find_project
from tasks_pipeline.web_api.paging import keyed_page, page_key, page_size
from tasks_pipeline.web_api.people import EPOCH
from tasks_pipeline.web_api.release_health import FIELDS, adoption_stages, health_data, sorted_by_health
from tasks_pipeline.web_api.release_json import commit_json, deploy_json, file_json, number_of, release_json
from tasks_pipeline.web_api.release_search import search

DATE, SEMVER = "date", "semver"
SORTS = (DATE, SEMVER, *FIELDS)
PERIODS = {
    "1h": 1, "24h": 24, "1d": 24, "48h": 48, "2d": 48, "7d": 7 * 24, "14d": 14 * 24, "30d": 30 * 24, "90d": 90 * 24,
}  # fmt: skip
"""Hours of the words that a span may be asked for with."""
RANKED = 1000
"""Releases with sessions, the newest by date, that a list by health looks at."""
ALL = "-1"


def list_all(call: Call) -> Response:
    """Releases of a status, open ones where none is asked for; newest first unless another order is asked for."""
    size, sort = page_size(call), call.query.get("sort") or DATE
    if sort not in SORTS:
        raise ApiError(400, f"sort: {sort[:80]!r} is none; allowed are {', '.join(SORTS)}")
    projects, period = _asked_projects(call), _period(call)
    wanted = _wanted(call, projects)
    if sort in FIELDS:
        return _by_health(call, projects, wanted, sort, size, period)
    listed, kinds = (
        (pages.by_date, (datetime, str)) if sort == DATE else (pages.by_version, (str, datetime, str))
    )
    with call.services.state.read() as connection:
        entries = listed(connection, wanted, page_key(call, *kinds), size + 1)
        facts = pages.facts_of(connection, wanted.project_ids, [version for _, version in entries[:size]])
    shown = _objects(call, [*facts.values()], projects, period)
    return keyed_page(call, shown, entries[:size][-1][0] if entries else None, more=len(entries) > size)


def show(call: Call) -> Response:
    """One release."""
    projects, period = _asked_projects(call), _period(call)
    return answer(_objects(call, [_facts(call, named_version(call), projects)], projects, period)[0])


def list_commits(call: Call) -> Response:
    """Commits of a release, newest first."""
    size, projects = page_size(call), all_projects(call)
    version, key = named_version(call), page_key(call, int) or (-1,)
    with call.services.state.read() as connection:
        _check(connection, projects, version)
        rows = pages.list_commits(connection, version, key[0], size + 1)
        shown = rows[:size]
        holding = pages.releases_with(connection, ids(call.config.projects), [row["sha"] for row in shown])
    commits = [commit_json(row, holding.get(row["sha"], ())) for row in shown]
    return keyed_page(call, commits, (shown[-1]["position"],) if shown else None, more=len(rows) > size)


def list_files(call: Call) -> Response:
    """Files that the commits of a release changed."""
    size, projects = page_size(call), all_projects(call)
    version, key = named_version(call), page_key(call, int, str) or (-1, "")
    with call.services.state.read() as connection:
        _check(connection, projects, version)
        rows = pages.list_files(connection, version, (key[0], key[1]), size + 1)
    shown = rows[:size]
    last = (shown[-1]["position"], shown[-1]["path"]) if shown else None
    return keyed_page(call, [file_json(row) for row in shown], last, more=len(rows) > size)


def list_deploys(call: Call) -> Response:
    """Deploys of a release, newest first by when they were finished."""
    size, projects = page_size(call), all_projects(call)
    version, key = named_version(call), page_key(call, datetime, int)
    with call.services.state.read() as connection:
        _check(connection, projects, version)
        rows = pages.list_deploys_of(
            connection, ids(projects), version, (key[0], key[1]) if key else None, size + 1
        )
    shown = rows[:size]
    last = (shown[-1]["at"], shown[-1]["id"]) if shown else None
    return keyed_page(call, [deploy_json(row) for row in shown], last, more=len(rows) > size)


def release_object(call: Call, version: str, projects: Sequence[Project]) -> dict[str, Any]:
    """A release as all calls answer with it. Raises ApiError (404)."""
    return release_json(_facts(call, version, projects), projects)


def mentioned(call: Call, project_id: int, version: str) -> dict[str, Any]:
    """A release of a project that something else names; one that is forgotten by its name alone."""
    projects = [project for project in call.config.projects if project.id == project_id]
    with call.services.state.read() as connection:
        facts = pages.facts_of(connection, [project_id], [version])
    if version in facts and projects:
        return release_json(facts[version], projects)
    return {
        "id": number_of(version),
        "version": version,
        "shortVersion": parse_release(version).short,
        "dateCreated": EPOCH,
    }


def unknown(version: str) -> ApiError:
    """There is no such release."""
    return ApiError(404, f"there is no release {version[:200]!r} here")


def _wanted(call: Call, projects: Sequence[Project]) -> Wanted:
    status = call.query.get("status") or known.OPEN
    if status not in known.STATUSES:
        raise ApiError(400, f"status: {status[:80]!r} is none; allowed are {' and '.join(known.STATUSES)}")

    def latest() -> list[str]:
        with call.services.state.read() as connection:
            found = (known.latest_release(connection, project.id) for project in projects)
            return [one.version for one in found if one is not None]

    conditions = search(call.query.get("query", ""), call.query.getlist("environment"), latest)
    return Wanted(ids(projects), status, conditions)


def _by_health(
    call: Call, projects: Sequence[Project], wanted: Wanted, sort: str, size: int, period: timedelta
) -> Response:
    """A list by what sessions tell, the greatest first; releases without sessions in the span are in none."""
    until = datetime.now(UTC)
    after = page_key(call, float, datetime, str)
    with_sessions = Wanted(
        wanted.project_ids, wanted.status, [*wanted.conditions, lambda r: r.last_session_at >= until - period]
    )
    with call.services.state.read() as connection:
        newest = pages.by_date(connection, with_sessions, None, RANKED)
        rows = pages.rows_of(connection, wanted.project_ids, [version for _, version in newest])
    ranked = sorted_by_health(sort, rows, health_data(call, rows, until - period, until, details=False))
    keys = [(ranked[version], *key) for key, version in newest if version in ranked]
    entries = heapq.nlargest(size + 1, (key for key in keys if after is None or key < after))
    shown = entries[:size]
    with call.services.state.read() as connection:
        facts = pages.facts_of(connection, wanted.project_ids, [key[-1] for key in shown])
    objects = _objects(call, [*facts.values()], projects, period)
    return keyed_page(call, objects, shown[-1] if shown else None, more=len(entries) > size)


def _objects(
    call: Call, found: Sequence[ReleaseFacts], projects: Sequence[Project], period: timedelta
) -> list[dict[str, Any]]:
    """Releases with what was asked for besides: `health=1`, `adoptionStages=1`."""
    rows = [row for facts in found for row in facts.rows]
    until = datetime.now(UTC)
    health = health_data(call, rows, until - period, until) if _flag(call, "health") else None
    stages = adoption_stages(call, rows) if _flag(call, "adoptionStages") else None
    slugs = {project.id: project.slug for project in projects}
    objects = []
    for facts in found:
        of_release = None
        if stages is not None:
            named = ((row["project_id"], row["version"]) for row in facts.rows)
            of_release = {slugs[name[0]]: stages[name] for name in named if name in stages}
        objects.append(release_json(facts, projects, health=health, stages=of_release))
    return objects


def _flag(call: Call, name: str) -> bool:
    return call.query.get(name, "") in ("1", "true")


def _period(call: Call) -> timedelta:
    """The span that health is asked for. Raises ApiError (400)."""
    hours = PERIODS["14d"]
    for name in ("healthStatsPeriod", "summaryStatsPeriod"):
        asked = call.query.get(name)
        if asked and asked not in PERIODS:
            raise ApiError(400, f"{name}: {asked[:20]!r} is none; allowed are {', '.join(PERIODS)}")
        hours = PERIODS[asked] if asked else hours
    return timedelta(hours=hours)


def _facts(call: Call, version: str, projects: Sequence[Project]) -> ReleaseFacts:
    """Raises ApiError (404) where none of the projects has the release."""
    with call.services.state.read() as connection:
        facts = pages.facts_of(connection, ids(projects), [version])
    if version not in facts:
        raise unknown(version)
    return facts[version]


def named_version(call: Call) -> str:
    """The version in the path. Raises ApiError (404) for what can be none: no database is asked for it."""
    version = call.params["version"]
    if why_no_release(version) is not None:
        raise unknown(version)
    return version


def _check(connection: Any, projects: Sequence[Project], version: str) -> None:
    """Raises ApiError (404) where none of the projects has the release."""
    if not pages.is_release(connection, ids(projects), version):
        raise unknown(version)


def _asked_projects(call: Call) -> list[Project]:
    """The project in the path, else those that `project` names, else all."""
    named = call.query.getlist("project")
    if "project" in call.params or not named or ALL in named:
        return all_projects(call)
    return list({p.id: p for p in (find_project(call.config, name) for name in named)}.values())


def all_projects(call: Call) -> list[Project]:
    """The projects that the path is about."""
    return [call.project()] if "project" in call.params else list(call.config.projects)


def ids(projects: Sequence[Project]) -> list[int]:
    """The numbers of projects."""
    return [project.id for project in projects]
