"""Who is asking, and what there is: token, organisation, projects, their keys, teams, environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from starlette.responses import Response

from tasks_pipeline.config import Project
from tasks_pipeline.home import dsn
from tasks_pipeline.service.links import links
from tasks_pipeline.storage.state.tables import group_values, groups
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.paging import sliced_page
from tasks_pipeline.web_api.people import EPOCH, member_json, team_json, teams_of, teams_of_project, user_json

ORGANISATION_ID = "1"
"""An installation has one organisation; clients want ids that are texts."""
MOST_ENVIRONMENTS = 1000


def info(call: Call) -> Response:
    """What `sentry-cli login` and `info` show. A token of an organisation has no user."""
    user = member_json(call.viewer.member) if call.viewer.member else None
    return answer({"version": "0", "auth": {"scopes": sorted(call.token.scopes)}, "user": user})


def auth(call: Call) -> Response:
    """Who the token is: its member, else itself."""
    member = call.viewer.member
    return answer(
        member_json(member) if member else user_json(call.viewer.actor, call.token.name or call.viewer.actor)
    )


def organizations(call: Call) -> Response:
    """The one organisation, if it is asked for."""
    wanted, organisation = call.query.get("query", "").lower(), call.config.organisation
    found = wanted in organisation.slug or wanted in organisation.name.lower()
    return sliced_page(call, [organisation_json(call)] if found else [])


def organization(call: Call) -> Response:
    """The organisation, with what the caller may do."""
    besides = {"access": sorted(call.token.scopes), "orgRole": call.viewer.role, "role": call.viewer.role}
    return answer(organisation_json(call) | besides)


def organisation_json(call: Call) -> dict[str, Any]:
    """The organisation as clients know it."""
    organisation, where = call.config.organisation, links(call.services.home, call.config).base
    return {
        "id": ORGANISATION_ID,
        "slug": organisation.slug,
        "name": organisation.name,
        "dateCreated": EPOCH,
        "isEarlyAdopter": False,
        "require2FA": False,
        "requireEmailVerification": False,
        "features": [],
        "status": {"id": "active", "name": "active"},
        "avatar": {"avatarType": "letter_avatar", "avatarUuid": None},
        "links": {"organizationUrl": where, "regionUrl": where},
    }


def projects(call: Call) -> Response:
    """The projects that may be seen. `query` narrows them: words of name or slug, `slug:` and `id:`."""
    found = [project for project in call.config.projects if _is_asked_for(call, project)]
    environments = _environments(call, [project.id for project in found])
    return sliced_page(
        call, [project_object(call, p) | {"environments": environments.get(p.id, [])} for p in found]
    )


def _is_asked_for(call: Call, project: Project) -> bool:
    for word in call.query.get("query", "").split():
        key, colon, value = word.partition(":")
        match key if colon else "":
            case "dsn":
                holds = any(key.public_key == value for key in project.keys)
            case "slug":
                holds = value == project.slug
            case "id":
                holds = value == str(project.id)
            case "":
                holds = word.lower() in project.slug or word.lower() in project.name.lower()
            case _:
                raise ApiError(400, f"query: there is no key {key[:40]!r}; allowed are dsn, slug and id")
        if not holds:
            return False
    return True


def project(call: Call) -> Response:
    """One project."""
    found = call.project()
    organisation = {"organization": organisation_json(call)}
    environments = _environments(call, [found.id]).get(found.id, [])
    besides = {"environments": environments, "options": {}, "allEnvironments": environments}
    return answer(project_object(call, found) | organisation | besides)


def keys(call: Call) -> Response:
    """The keys of a project, with the addresses that SDKs send to."""
    found = call.project()
    base = call.config.receiver.public_url or links(call.services.home, call.config).base
    shown = [
        {
            "id": key.public_key,
            "name": key.name,
            "label": key.name,
            "public": key.public_key,
            "projectId": found.id,
            "isActive": key.enabled,
            "rateLimit": None,
            "dateCreated": EPOCH,
            "dsn": {"public": dsn(base, found, key)},
        }
        for key in found.keys
    ]
    return sliced_page(call, shown)


def teams(call: Call) -> Response:
    """Teams of the configuration, one of all where there are none."""
    return sliced_page(
        call,
        [
            team_json(call.config, each) | {"projects": _of_team(call, each.slug)}
            for each in teams_of(call.config)
        ],
    )


def project_teams(call: Call) -> Response:
    """The teams that take care of a project."""
    found = teams_of_project(call.config, call.project().slug)
    return sliced_page(call, [team_json(call.config, each) for each in found])


def team_projects(call: Call) -> Response:
    """The projects of a team."""
    if call.params["team"] not in {each.slug for each in teams_of(call.config)}:
        raise ApiError(404, f"there is no team {call.params['team'][:80]!r} here")
    return sliced_page(call, _of_team(call, call.params["team"]))


def _of_team(call: Call, slug: str) -> list[dict[str, Any]]:
    (team,) = [each for each in teams_of(call.config) if each.slug == slug]
    return [
        project_object(call, p) for p in call.config.projects if not team.projects or p.slug in team.projects
    ]


def members(call: Call) -> Response:
    """The members."""
    shown = [
        member_json(each)
        | {"user": member_json(each), "role": each.role, "orgRole": each.role, "pending": False, "expired": False,
           "dateCreated": EPOCH, "flags": {}, "teams": [t.slug for t in call.config.teams if each.email in t.members]}
        for each in call.config.members
    ]  # fmt: skip
    return sliced_page(call, shown)


def environments(call: Call) -> Response:
    """Environments that groups were seen in."""
    chosen = [call.project().id] if "project" in call.params else [p.id for p in call.config.projects]
    names = sorted({name for found in _environments(call, chosen).values() for name in found})
    return sliced_page(call, [{"id": name, "name": name, "isHidden": False} for name in names])


def _environments(call: Call, project_ids: Sequence[int]) -> Mapping[int, list[str]]:
    v, g = group_values.c, groups.c
    query = (
        select(g.project_id, v.value)
        .join(groups, g.id == v.group_id)
        .where(v.kind == "environment", g.project_id.in_(project_ids))
        .group_by(g.project_id, v.value)
        .order_by(func.count().desc())
        .limit(MOST_ENVIRONMENTS)
    )
    found: dict[int, list[str]] = {}
    with call.services.state.read() as connection:
        for project_id, name in connection.execute(query):
            found.setdefault(project_id, []).append(name)
    return found


def project_json(project: Project) -> dict[str, Any]:
    """A project as clients know it."""
    return {
        "id": str(project.id),
        "slug": project.slug,
        "name": project.name or project.slug,
        "platform": project.platform,
    }


def project_object(call: Call, project: Project) -> dict[str, Any]:
    """A project as clients know it, in its organisation."""
    organisation = call.config.organisation
    found = [
        {"id": team["id"], "slug": team["slug"], "name": team["name"]}
        for team in (team_json(call.config, each) for each in teams_of_project(call.config, project.slug))
    ]
    return project_json(project) | {
        "dateCreated": EPOCH,
        "firstEvent": None,
        "status": "active",
        "isMember": True,
        "hasAccess": True,
        "isBookmarked": False,
        "isInternal": False,
        "isPublic": False,
        "color": "#3fbf7f",
        "features": [],
        "access": sorted(call.token.scopes),
        "avatar": {"avatarType": "letter_avatar", "avatarUuid": None},
        "organization": {"id": ORGANISATION_ID, "slug": organisation.slug, "name": organisation.name},
        "team": found[0] if found else None,
        "teams": found,
    }
