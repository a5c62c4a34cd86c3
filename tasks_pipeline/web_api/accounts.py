"""Who is asking, and what there is: token, organisation, projects."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.web_api.calls import Call, answer

ORGANISATION_ID = "1"
"""An installation has one organisation; clients want ids that are texts."""
_EPOCH = "1970-01-01T00:00:00Z"
"""When the organisation was made: the configuration does not know, clients insist."""


def info(call: Call) -> Response:
    """What `sentry-cli login` and `info` show. A token of an organisation has no user."""
    return answer({"version": "0", "auth": {"scopes": sorted(call.token.scopes)}, "user": None})


def organizations(call: Call) -> Response:
    """The one organisation."""
    organisation = call.config.organisation
    entry = {
        "id": ORGANISATION_ID,
        "slug": organisation.slug,
        "name": organisation.name,
        "dateCreated": _EPOCH,
        "isEarlyAdopter": False,
        "require2FA": False,
        "requireEmailVerification": False,
        "features": [],
        "status": {"id": "active", "name": "active"},
    }
    return answer([entry])


def projects(call: Call) -> Response:
    """Every project; the organisation is the team of all."""
    organisation = call.config.organisation
    team = {"id": ORGANISATION_ID, "slug": organisation.slug, "name": organisation.name}
    return answer([project_json(p) | {"team": team, "teams": [team]} for p in call.config.projects])


def project_json(project: Project) -> dict[str, Any]:
    """A project as clients know it."""
    return {
        "id": str(project.id),
        "slug": project.slug,
        "name": project.name or project.slug,
        "platform": project.platform,
    }
