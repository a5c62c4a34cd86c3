"""Who asks: what the one behind a request of pages or the Web API may see and do, and by what name that is logged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from tasks_pipeline.config.people import Member

Role = Literal["viewer", "member", "admin"]
"""Reads; acts on groups, too; may also discard, recompute, and make tokens."""
_RANK: dict[Role, int] = {"viewer": 0, "member": 1, "admin": 2}


@dataclass(frozen=True, slots=True)
class Viewer:
    """The one who asks. `actor` stands in the log of what was done (a member's address, `token:NAME`, `local`); `projects` are the
    numbers of those that may be seen, None for all. Every question takes them: there is no other way to what is stored."""

    actor: str
    role: Role = "viewer"
    member: Member | None = None
    projects: Collection[int] | None = None

    def may(self, role: Role) -> bool:
        """Whether this is allowed whoever has this role."""
        return _RANK[self.role] >= _RANK[role]

    def may_see(self, project_id: int) -> bool:
        """Whether what is of a project may be shown, and acted on."""
        return self.projects is None or project_id in self.projects


LOCAL = Viewer("local", "admin")
"""Whoever reaches an embedded service on the loopback address, where no login is configured."""
ANONYMOUS = Viewer("", "viewer", None, ())
"""Whoever did not log in: sees nothing."""
