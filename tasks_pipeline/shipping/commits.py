"""What the commits of a release do to groups, whenever they become part of it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from tasks_pipeline.groups.decisions import lock_groups
from tasks_pipeline.groups.fixing import (
    SaidFixes,
    fixes_of,
    link_fixes,
    resolved_in_commits,
    said_fixes,
    settle_commit_resolutions,
)
from tasks_pipeline.groups.suspects import look_again, to_look_at_again
from tasks_pipeline.releases.commits import set_count, shas_of
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


def read_commits(stores: Stores, version: str) -> SaidFixes:
    """What the commits of a release say, for `apply_commits`: read before its transaction, which others wait for."""
    with stores.state.read() as connection:
        return said_fixes(connection, stores.slugs, version)


def apply_commits(
    stores: Stores, connection: Connection, project_id: int, version: str, said: SaidFixes, *, is_new: bool
) -> Shipped:
    """Count the commits of a release, settle resolutions in one of them, resolve what they fix, and have suspects looked for again.

    In the caller's transaction, who holds the lock `group_hashes`. Doing it again changes nothing.
    """
    shas = shas_of(connection, version)
    if shas != said.shas:  # others arrived meanwhile
        said = said_fixes(connection, stores.slugs, version)
    set_count(connection, project_id, version)
    again = to_look_at_again(connection, project_id, version)
    waiting = resolved_in_commits(connection, project_id, shas)
    fixes = fixes_of(connection, said, version, also_in=project_id if is_new else None)
    # All groups at once: batches lock theirs in order too, and one by one the two could wait for each other in a circle.
    lock_groups(connection, {*again, *waiting, *fixes.resolving})
    look_again(connection, again)
    settled = settle_commit_resolutions(stores.state, connection, project_id, version, waiting)
    members = {member.email for member in stores.config.members}
    fixed = link_fixes(stores.state, connection, fixes, members, version)
    return Shipped(len(shas), len(settled) + len(fixed))
