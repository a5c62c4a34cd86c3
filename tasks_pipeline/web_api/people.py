"""Members and teams as clients know them. Neither has a number of its own: theirs is made of what names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks_pipeline.config import Config
from tasks_pipeline.config.people import Member, Team, folded
from tasks_pipeline.groups.decisions import AUTOMATIC
from tasks_pipeline.web_api.release_json import number_of

EPOCH = "1970-01-01T00:00:00Z"
"""When it was made: the configuration does not know, clients insist."""


def user_json(email: str, name: str = "") -> dict[str, Any]:
    """Somebody by their address."""
    return {
        "id": str(number_of(email)),
        "type": "user",
        "name": name or email,
        "email": email,
        "username": email,
    }


def member_json(member: Member) -> dict[str, Any]:
    """A member."""
    return user_json(folded(member.email), member.name)


def actor_json(config: Config, actor: str) -> dict[str, Any] | None:
    """Who did something: a member, a token, somebody at a command line; None for what events and rules did."""
    if actor == AUTOMATIC:
        return None
    member = config.member(actor) if "@" in actor else None
    return member_json(member) if member else user_json(actor)


def teams_of(config: Config) -> Sequence[Team]:
    """The teams that are configured, else one of all."""
    organisation = config.organisation
    everybody = Team(
        slug=organisation.slug, name=organisation.name, projects=tuple(p.slug for p in config.projects)
    )
    return config.teams or (everybody,)


def team_id(config: Config, slug: str) -> str:
    """The number of a team: that of the organisation for the one of all."""
    return str(number_of(f"team:{slug}")) if config.teams else "1"


def team_json(config: Config, team: Team) -> dict[str, Any]:
    """A team."""
    return {
        "id": team_id(config, team.slug),
        "slug": team.slug,
        "name": team.name or team.slug,
        "dateCreated": EPOCH,
        "isMember": True,
        "hasAccess": True,
        "isPending": False,
        "teamRole": None,
        "memberCount": len(team.members),
        "avatar": {"avatarType": "letter_avatar", "avatarUuid": None},
    }


def teams_of_project(config: Config, slug: str) -> list[Team]:
    """The teams that take care of a project; those that name none, of all."""
    return [team for team in teams_of(config) if not team.projects or slug in team.projects]


def assignee_json(config: Config, assignee: str | None) -> dict[str, Any] | None:
    """Who has a group."""
    if assignee is None:
        return None
    if slug := assignee.removeprefix("team:") if assignee.startswith("team:") else "":
        name = next((team.name for team in teams_of(config) if team.slug == slug), "") or slug
        return {"type": "team", "id": team_id(config, slug), "name": name, "slug": slug}
    member = config.member(assignee)
    return member_json(member) if member else user_json(assignee)


def assignees(config: Config) -> Mapping[str, str]:
    """Whom a client may name, in small letters: by address, user:ID, user:ADDRESS, name; team:SLUG, team:ID, #SLUG."""
    known: dict[str, str] = {}
    for member in config.members:
        email = folded(member.email)
        number = number_of(email)
        named = (email, f"user:{email}", f"user:{number}", str(number), member.name.lower())
        known |= {name: email for name in named if name and name not in known}
    for team in teams_of(config):
        value = f"team:{team.slug}"
        known |= dict.fromkeys((value, f"team:{team_id(config, team.slug)}", f"#{team.slug}"), value)
    return known
