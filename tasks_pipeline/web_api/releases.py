"""Making and changing releases and deploys, under the organisation (a release of several projects) and under a project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.protocol.release import why_no_release
from tasks_pipeline.releases import known
from tasks_pipeline.web_api.calls import (
    ApiError,
    Call,
    answer,
    find_project,
)
from tasks_pipeline.web_api.release_json import deploy_json
from tasks_pipeline.web_api.release_reading import release_object, unknown

Url = Annotated[str, msgspec.Meta(max_length=4096)]
Named = Annotated[tuple[str | int, ...], msgspec.Meta(max_length=1000)]


class ReleaseRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What releases are made and changed with; what is null stays as it is."""

    version: str | None = None
    projects: Named | None = None
    url: Url | None = None
    date_started: datetime | None = None
    date_released: datetime | None = None
    status: str | None = None
    commits: tuple[Any, ...] | None = None
    refs: tuple[Any, ...] | None = None

    def facts(self) -> dict[str, Any]:
        """What to write. Raises ApiError (400) for what is not kept here, rather than losing it silently."""
        if self.commits or self.refs:
            raise ApiError(400, "commits of releases are not kept here")
        facts = {
            "url": self.url,
            "status": None if self.status is None else checked_status(self.status),
            "started_at": _utc(self.date_started),
            "released_at": _utc(self.date_released),
        }
        return {name: value for name, value in facts.items() if value is not None}


class DeployRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What a deploy is noted with."""

    environment: Annotated[str, msgspec.Meta(min_length=1, max_length=known.MAX_ENVIRONMENT)]
    name: Annotated[str, msgspec.Meta(max_length=known.MAX_DEPLOY_NAME)] | None = None
    url: Url | None = None
    date_started: datetime | None = None
    date_finished: datetime | None = None
    projects: Named | None = None


def create(call: Call) -> Response:
    """Make a release, or change the one that is there: 201 or 208."""
    request = call.parse(ReleaseRequest)
    version = checked_version(request.version or "")
    projects = _chosen(call, request.projects) or _projects_with(call, version)
    if not projects:
        raise ApiError(400, "projects: name at least one")
    new = known.save_release(call.services.state, _ids(projects), version, request.facts())
    return answer(release_object(call, version, projects), 201 if new else 208)


def change(call: Call) -> Response:
    """Change a release in the projects that have it."""
    request = call.parse(ReleaseRequest)
    version = call.params["version"]
    projects = _existing(call, version)
    if facts := request.facts():
        known.save_release(call.services.state, _ids(projects), version, facts)
    return answer(release_object(call, version, projects))


def delete(call: Call) -> Response:
    """Forget a release; what was uploaded for it stays."""
    if not known.delete_release(call.services.state, _ids(_all(call)), call.params["version"]):
        raise unknown(call.params["version"])
    return Response(status_code=204, media_type="application/json")


def deploy(call: Call) -> Response:
    """Note that a release was deployed."""
    request = call.parse(DeployRequest)
    version = call.params["version"]
    existing = _existing(call, version)
    chosen = _chosen(call, request.projects) or existing
    facts = {
        "environment": request.environment,
        "name": request.name,
        "url": request.url,
        "started_at": _utc(request.date_started),
        "finished_at": _utc(request.date_finished) or datetime.now(UTC),
    }
    projects = [project for project in existing if project in chosen]
    if not projects:
        raise ApiError(400, "projects: the release is in none of them")
    known.add_deploy(call.services.state, _ids(projects), version, facts)
    return answer(deploy_json(facts), 201)


def checked_version(version: str) -> str:
    """The version, when it can be one. Raises ApiError (400)."""
    if why := why_no_release(version):
        raise ApiError(400, f"version: {why}")
    return version


def checked_status(status: str) -> str:
    """The status, when a release can have it. Raises ApiError (400)."""
    if status not in known.STATUSES:
        raise ApiError(400, f"status: {status[:80]!r} is none; allowed are {' and '.join(known.STATUSES)}")
    return status


def _all(call: Call) -> list[Project]:
    """The projects that the path is about."""
    return [call.project()] if "project" in call.params else list(call.config.projects)


def _chosen(call: Call, named: Sequence[str | int] | None) -> list[Project]:
    """The project in the path, else those in the body."""
    if "project" in call.params:
        return [call.project()]
    return list({p.id: p for p in (find_project(call.config, name) for name in named or ())}.values())


def _projects_with(call: Call, version: str) -> list[Project]:
    """The projects of the path that have the release."""
    with call.services.state.read() as connection:
        having = {row["project_id"] for row in known.find_releases(connection, _ids(_all(call)), version)}
    return [project for project in _all(call) if project.id in having]


def _existing(call: Call, version: str) -> list[Project]:
    projects = _projects_with(call, version)
    if not projects:
        raise unknown(version)
    return projects


def _ids(projects: Sequence[Project]) -> list[int]:
    return [project.id for project in projects]


def _utc(moment: datetime | None) -> datetime | None:
    """Times without a zone are UTC."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
