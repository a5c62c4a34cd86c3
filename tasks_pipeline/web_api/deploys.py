"""Noting that a release was deployed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from starlette.responses import Response

from tasks_pipeline.releases.deploys import (
    MAX_DEPLOY_NAME,
    add_deploy,
    why_no_environment,
)
from tasks_pipeline.web_api.calls import Call, FieldError, answer
from tasks_pipeline.web_api.release_json import deploy_json
from tasks_pipeline.web_api.release_reading import ids, named_version
from tasks_pipeline.web_api.releases import Named, Url, chosen_projects, existing_projects, utc


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
    version = named_version(call)
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
    new, number = add_deploy(call.services.state, ids(chosen), version, facts)
    return answer(deploy_json(facts | {"id": number}), 201 if new else 208)
