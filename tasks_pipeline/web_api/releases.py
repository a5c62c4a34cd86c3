"""Making and changing releases, under the organisation (a release of several projects) and under a project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.protocol.release import why_no_release
from tasks_pipeline.releases import commit_lists, known
from tasks_pipeline.web_api.calls import (
    ApiError,
    Call,
    FieldError,
    answer,
    find_project,
)
from tasks_pipeline.web_api.commits import read_sent
from tasks_pipeline.web_api.release_reading import all_projects, ids, named_version, release_object, unknown

Url = Annotated[str, msgspec.Meta(max_length=4096)]
Ref = Annotated[str, msgspec.Meta(max_length=200)]
Named = Annotated[tuple[str | int, ...], msgspec.Meta(max_length=1000)]


class ReleaseRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What releases are made and changed with; what is null stays as it is."""

    version: str | None = None
    projects: Named | None = None
    url: Url | None = None
    date_started: datetime | None = None
    date_released: datetime | None = None
    status: str | None = None
    ref: Ref | None = None
    commits: tuple[Any, ...] | None = None
    refs: tuple[Any, ...] | None = None
    head_commits: tuple[Any, ...] | None = None

    def facts(self) -> dict[str, Any]:
        """What to write of the release itself. Raises ApiError (400)."""
        facts = {
            "url": self.url,
            "ref": self.ref,
            "status": None if self.status is None else checked_status(self.status),
            "started_at": utc(self.date_started),
            "released_at": utc(self.date_released),
        }
        return {name: value for name, value in facts.items() if value is not None}


def create(call: Call) -> Response:
    """Make a release, or change the one that is there: 201 or 208."""
    request = call.parse(ReleaseRequest)
    version = checked_version(request.version or "")
    projects = chosen_projects(call, request.projects) or projects_with(call, version)
    if not projects:
        raise FieldError("projects", "name at least one")
    new = _save(call, projects, version, request)
    return answer(release_object(call, version, projects), 201 if new else 208)


def _save(call: Call, projects: Sequence[Project], version: str, request: ReleaseRequest) -> bool:
    """Write what was sent, all of it or nothing; gives whether the release is new in one of the projects."""
    state, facts = call.services.state, request.facts()
    sent = read_sent(call, projects, request.commits, request.refs, request.head_commits)
    with state.write() as connection:
        sent.begin(state, connection)
        new = known.put_release(state, connection, ids(projects), version, facts)
        sent.write(state, connection, version)
    return new


def change(call: Call) -> Response:
    """Change a release in the projects that have it."""
    request = call.parse(ReleaseRequest)
    version = named_version(call)
    projects = existing_projects(call, version)
    _save(call, projects, version, request)
    return answer(release_object(call, version, projects))


def delete(call: Call) -> Response:
    """Forget a release; what was uploaded for it stays."""
    version = named_version(call)
    if not known.delete_release(call.services.state, ids(all_projects(call)), version):
        raise unknown(version)
    return Response(status_code=204, media_type="application/json")


def previous_with_commits(call: Call) -> Response:
    """The release before this one that has commits, which bounds those that a client sends next; else an empty object."""
    version = named_version(call)
    projects = existing_projects(call, version)
    with call.services.state.read() as connection:
        previous = commit_lists.previous_with_commits(connection, ids(projects), version)
    return answer({} if previous is None else release_object(call, previous, projects))


def checked_version(version: str) -> str:
    """The version, when it can be one. Raises FieldError."""
    if why := why_no_release(version):
        raise FieldError("version", why)
    return version


def checked_status(status: str) -> str:
    """The status, when a release can have it. Raises FieldError."""
    if status not in known.STATUSES:
        raise FieldError("status", f"{status[:80]!r} is none; allowed are {' and '.join(known.STATUSES)}")
    return status


def chosen_projects(call: Call, named: Sequence[str | int] | None) -> list[Project]:
    """The project in the path, else those in the body. Raises FieldError for one that there is not."""
    if "project" in call.params:
        return [call.project()]
    try:
        return list({p.id: p for p in (find_project(call.config, name) for name in named or ())}.values())
    except ApiError as error:
        raise FieldError("projects", str(error)) from error


def projects_with(call: Call, version: str) -> list[Project]:
    """The projects of the path that have the release."""
    with call.services.state.read() as connection:
        having = {
            row["project_id"] for row in known.find_releases(connection, ids(all_projects(call)), version)
        }
    return [project for project in all_projects(call) if project.id in having]


def existing_projects(call: Call, version: str) -> list[Project]:
    """The projects of the path that have the release. Raises ApiError (404) where none has it."""
    projects = projects_with(call, version)
    if not projects:
        raise unknown(version)
    return projects


def utc(moment: datetime | None) -> datetime | None:
    """A moment in UTC; without a zone it is UTC. Raises ApiError (400) for one that is beyond the years that there are in some
    zone: people are shown it in theirs."""
    if moment is not None and not MINYEAR < moment.year < MAXYEAR:
        raise ApiError(400, "a date is beyond the years that there are")
    return moment and (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
