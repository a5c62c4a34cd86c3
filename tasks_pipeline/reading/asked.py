"""What answers depend on besides the question: when it is asked, by whom, and of which projects."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

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

    def may_see(self, project_id: int) -> bool:
        """Whether what is of a project may be shown."""
        return self.projects is None or project_id in self.projects

    def project_ids(self) -> list[int]:
        """The projects that may be seen and are configured."""
        return sorted(p for p in self.slugs if self.may_see(p))
