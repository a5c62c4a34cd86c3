"""What members may see, and as whom they ask: one function decides which projects a person may look at."""

from __future__ import annotations

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.config import Config
from tasks_pipeline.config.people import Member


def projects_of(config: Config, member: Member) -> frozenset[int] | None:
    """The numbers of the projects that a member may see, None for all: the one place that decides it."""
    if member.sees == "all":
        return None
    slugs = (
        {slug for team in config.teams if member.email in team.members for slug in team.projects}
        if member.sees == "mine"
        else set(member.sees)
    )
    return frozenset(project.id for project in config.projects if project.slug in slugs)


def viewer_of(config: Config, member: Member) -> Viewer:
    """A member who asks."""
    return Viewer(member.email, member.role, member, projects_of(config, member))
