"""What a member wants to hear of in a project: their general preferences with those of the project laid over."""

from __future__ import annotations

from tasks_pipeline.config import Config
from tasks_pipeline.config.channels import AnyChannel
from tasks_pipeline.config.people import Member, Preferences


def preferences_of(config: Config, member: Member, project_id: int) -> Preferences:
    """The preferences that apply; a project's replace field by field what was set in them."""
    project = config.project(project_id)
    own = member.projects.get(project.slug) if project else None
    if own is None:
        return member.notifications
    return member.notifications.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def channel_of(config: Config, wanted: Preferences) -> AnyChannel | None:
    """The channel that messages to a member take: the one they chose, else the first mail channel."""
    if wanted.channel is not None:
        return config.channel(wanted.channel)
    return next((channel for channel in config.channels if channel.type == "mail"), None)


def teams_of(config: Config, email: str) -> set[str]:
    """What assignments call the teams that a member is in."""
    return {f"team:{team.slug}" for team in config.teams if email in team.members}
