"""Deploys of a release: noted, and listed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from tasks_pipeline.releases.deploys import (
    MAX_DEPLOY_NAME,
    add_deploy,
    list_deploys,
    why_no_environment,
)
from tasks_pipeline.web_api.calls import PER_PAGE, Call, FieldError, answer, page_answer, page_offset
from tasks_pipeline.web_api.releases import Named, Url, chosen_projects, existing_projects, ids, utc


class DeployRequest(msgspec.Struct, frozen=True, rename="camel"):
    """What a deploy is noted with."""

    environment: str | None = None
    name: Annotated[str, msgspec.Meta(max_length=MAX_DEPLOY_NAME)] | None = None
    url: Url | None = None
    date_started: datetime | None = None
    date_finished: datetime | None = None
    projects: Named | None = None


def deploy(call: Call) -> Response:
    """Note that a release was deployed: 201, or 208 when exactly that is known."""
    version = call.params["version"]
    existing = existing_projects(call, version)
    request = call.parse(DeployRequest)
    if why := why_no_environment(request.environment or ""):
        raise FieldError("environment", why)
    chosen = chosen_projects(call, request.projects) or existing
    if lacking := [project.slug for project in chosen if project not in existing]:
        raise FieldError("projects", f"the release is not in {', '.join(lacking)}")
    facts = {
        "environment": request.environment,
        "name": request.name,
        "url": request.url,
        "started_at": utc(request.date_started),
        "finished_at": utc(request.date_finished) or datetime.now(UTC),
    }
    new = add_deploy(call.services.state, ids(chosen), version, facts)
    return answer(_deploy_json(facts), 201 if new else 208)


def list_deployed(call: Call) -> Response:
    """Deploys of a release, the last finished first."""
    version, offset = call.params["version"], page_offset(call)
    projects = existing_projects(call, version)
    with call.services.state.read() as connection:
        rows = list_deploys(connection, ids(projects), version, PER_PAGE + 1, offset)
    return page_answer(call, [_deploy_json(row) for row in rows], offset)


def _deploy_json(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **({"id": str(row["id"])} if "id" in row else {}),
        "environment": row["environment"],
        "name": row["name"],
        "url": row["url"],
        "dateStarted": row["started_at"],
        "dateFinished": row["finished_at"],
    }
