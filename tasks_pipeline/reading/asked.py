"""What answers depend on besides the question: when it is asked, by whom, and of which projects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.config import Config
from tasks_pipeline.config.people import folded
from tasks_pipeline.storage.state.database import StateDatabase


@dataclass(frozen=True, slots=True)
class Asked:
    """A question's circumstances. `projects`: numbers of those that may be seen, None for all; `me`: what the assignee of a group
    is that is the asker's (an address, teams as team:SLUG)."""

    state: StateDatabase
    now: datetime
    slugs: Mapping[int, str]
    projects: Collection[int] | None = None
    me: tuple[str, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was found for this question already, by those who would ask for it again."""

    def may_see(self, project_id: int) -> bool:
        """Whether what is of a project may be shown."""
        return self.projects is None or project_id in self.projects

    def project_ids(self) -> list[int]:
        """The projects that may be seen and are configured."""
        return sorted(p for p in self.slugs if self.may_see(p))


def asked_by(state: StateDatabase, config: Config, viewer: Viewer, now: datetime) -> Asked:
    """The circumstances of what a viewer asks at a time. Theirs are groups of their address and of their teams."""
    me: tuple[str, ...] = ()
    if viewer.member is not None:
        email = folded(viewer.member.email)
        teams = (team.slug for team in config.teams if email in map(folded, team.members))
        me = (email, *(f"team:{slug}" for slug in teams))
    return Asked(state, now, {p.id: p.slug for p in config.projects}, viewer.projects, me)
