"""What the commits of a release do to groups, whenever they become part of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from tasks_pipeline.groups.fixing import link_fixes, settle_commit_resolutions
from tasks_pipeline.groups.suspects import look_again
from tasks_pipeline.releases.commits import count_commits, set_counts
from tasks_pipeline.stores import Stores


@dataclass
class Shipped:
    """What became of releases: how many commits they have, and how many groups they resolved."""

    commits: int = 0
    groups_resolved: int = 0

    def add(self, other: Shipped) -> None:
        """Count another one."""
        self.commits += other.commits
        self.groups_resolved += other.groups_resolved


def apply_commits(
    stores: Stores, connection: Connection, project_id: int, version: str, *, is_new: bool
) -> Shipped:
    """Count the commits of a release, settle resolutions in one of them, resolve what they fix, and have suspects looked for again.

    In the caller's transaction, who holds the lock `group_hashes`. Doing it again changes nothing.
    """
    count = count_commits(connection, [version]).get(version, 0)
    set_counts(connection, project_id, {version: count})
    look_again(connection, project_id, version)
    if not count:
        return Shipped()
    settled = settle_commit_resolutions(stores.state, connection, project_id, version)
    members = {member.email.lower() for member in stores.config.members}
    also_in = project_id if is_new else None
    fixed = link_fixes(stores.state, connection, stores.slugs, members, version, also_in=also_in)
    return Shipped(count, len(settled) + len(fixed))
