"""Groups that a release fixes: by what the messages of its commits say, and because it holds the commit they were resolved in.

When that is looked at is decided in `shipping/`. All but the reading of messages is done in the caller's transaction, who
holds the lock `group_hashes` and then those of the groups, taken once and in order; doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, select, update

from tasks_pipeline.groups.decisions import (
    AUTOMATIC,
    locked_groups,
    log_actions,
    merged_targets,
    resolve_in_release,
)
from tasks_pipeline.groups.fixes import fixed_groups
from tasks_pipeline.groups.lifecycle import Resolution, Status
from tasks_pipeline.groups.short_id import ShortIdError, parse_short_id
from tasks_pipeline.releases.commit_lists import messages_of
from tasks_pipeline.releases.known import order_dates
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_commits, groups, releases
from tasks_pipeline.storage.state.wanted import wanted
from tasks_pipeline.words import short_commit

MOST_OF_A_COMMIT, MOST_CLAIMS = 100, 10_000
"""So many groups a commit may fix, and the commits of a release together; further ones are passed over."""
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SaidFixes:
    """What the messages of a release's commits say they fix, before anything is asked of groups: `shas` are its commits,
    `named` has (commit, project, number of the group), oldest commits first."""

    shas: Sequence[str]
    named: Sequence[tuple[Mapping[str, Any], int, int]]


@dataclass(frozen=True, slots=True)
class _Claim:
    """A commit says that it fixes a group."""

    group_id: int
    project_id: int
    sha: str
    author: str
    email: str | None

    def reason(self, members: Collection[str]) -> tuple[str, dict[str, Any]]:
        """Actor and data of the entry in the log of a group that the commit resolves."""
        actor = f"commit {short_commit(self.sha)}" + (f" ({self.author})" if self.author else "")
        data = {"kind": "commit", "commit": self.sha}
        return actor, data | ({"member": self.email} if self.email in members else {})


@dataclass(frozen=True, slots=True)
class Fixes:
    """What is to be linked to groups, and by group the commit that is to resolve it."""

    claims: Sequence[_Claim] = ()
    resolving: Mapping[int, _Claim] = field(default_factory=dict)


def said_fixes(connection: Connection, slugs: Mapping[int, str], version: str) -> SaidFixes:
    """Read what the commits of a release say, which takes seconds of a long list: to be called before any lock is held."""
    numbers = {slug: project_id for project_id, slug in slugs.items()}
    commits = messages_of(connection, version)
    named: list[tuple[Mapping[str, Any], int, int]] = []
    for commit in commits:
        shown = {name: commit[name] for name in ("sha", "name", "email")}
        for slug, number in _named_in(commit["message"], numbers):
            if number <= _LARGEST and len(named) < MOST_CLAIMS:
                named.append((shown, numbers[slug], number))
    return SaidFixes([commit["sha"] for commit in reversed(commits)], named)


def _named_in(message: str | None, slugs: Collection[str]) -> Iterator[tuple[str, int]]:
    """Slug and number of the groups that a message names. One that cannot be read costs itself alone."""
    for short_id in fixed_groups(message, slugs)[:MOST_OF_A_COMMIT]:
        with suppress(ShortIdError):
            yield parse_short_id(short_id)


def fixes_of(connection: Connection, said: SaidFixes, version: str, *, also_in: int | None = None) -> Fixes:
    """What is to be linked of what commits say: what is not linked yet. Groups are resolved that are not, and whose
    project has the release. So each commit of a release resolves a group once.

    `also_in`: a project that has the release only now, in which links of before may resolve.
    """
    claims = _claims(connection, said)
    if not claims:
        return Fixes()
    linked = _linked(connection, version)
    unresolved = _unresolved(connection, {claim.group_id for claim in claims})
    c = releases.c
    having = set(connection.execute(select(c.project_id).where(c.version == version)).scalars())
    new: list[_Claim] = []
    resolving: dict[int, _Claim] = {}
    for claim in claims:
        before = linked.get((claim.group_id, claim.sha))
        if before or (before is not None and claim.project_id != also_in):
            continue
        new.append(claim)
        if claim.project_id in having and claim.group_id in unresolved:
            resolving.setdefault(claim.group_id, claim)
    return Fixes(new, resolving)


def link_fixes(
    state: StateDatabase, connection: Connection, fixes: Fixes, members: Collection[str], version: str
) -> list[int]:
    """Link groups to the commits of a release that say they fix them, and resolve those that are to be. Gives the groups that
    were resolved. `members` are mail addresses, of whom the log says that they wrote the commit."""
    if not fixes.claims:
        return []
    reasons = {group_id: claim.reason(members) for group_id, claim in fixes.resolving.items()}
    resolved = resolve_in_release(state, connection, reasons, version) if reasons else []
    by = {group_id: fixes.resolving[group_id].sha for group_id in resolved}
    now = datetime.now(UTC)
    rows = [
        {
            "group_id": claim.group_id,
            "sha": claim.sha,
            "version": version,
            "at": now,
            "resolved": by.get(claim.group_id) == claim.sha,
        }
        for claim in fixes.claims
    ]
    state.put(connection, _put_links, rows)
    return resolved


def _put_links(state: StateDatabase) -> Any:
    insert = state.insert(group_commits)
    said = {name: insert.excluded[name] for name in ("at", "resolved")}
    return insert.on_conflict_do_update(index_elements=list(group_commits.primary_key.columns), set_=said)


def _claims(connection: Connection, said: SaidFixes) -> list[_Claim]:
    """What commits say they fix, of the groups that there are; of merged groups the one they went into."""
    if not said.named:
        return []
    known = _groups(connection, {(project_id, number) for _, project_id, number in said.named})
    targets = merged_targets(connection, known.values())
    found: dict[tuple[int, str], _Claim] = {}
    for each, project_id, number in said.named:
        group_id = known.get((project_id, number))
        if group_id is not None:
            target, email = targets.get(group_id, group_id), each["email"]
            author = each["name"] or email or ""
            claim = _Claim(target, project_id, each["sha"], author, email and email.lower())
            found.setdefault((target, each["sha"]), claim)
    return [*found.values()]


def _groups(connection: Connection, named: Collection[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The group of each (project, number) that there is."""
    found: dict[tuple[int, int], int] = {}
    for chunk in chunks(sorted(named)):
        w = wanted(connection, chunk, project_id=BigInteger(), short_id=BigInteger())
        same = and_(groups.c.project_id == w.c.project_id, groups.c.short_id == w.c.short_id)
        rows = connection.execute(
            select(groups.c.id, groups.c.project_id, groups.c.short_id).join_from(w, groups, same)
        )
        found.update({(row.project_id, row.short_id): row.id for row in rows})
    return found


def _unresolved(connection: Connection, group_ids: Collection[int]) -> set[int]:
    """Those of the groups that can be resolved."""
    found: set[int] = set()
    for chunk in chunks(sorted(group_ids)):
        query = select(groups.c.id).where(
            groups.c.id.in_(chunk), groups.c.status.not_in((Status.RESOLVED, Status.DISCARDED))
        )
        found.update(connection.execute(query).scalars())
    return found


def _linked(connection: Connection, version: str) -> dict[tuple[int, str], bool]:
    c = group_commits.c
    rows = connection.execute(select(c.group_id, c.sha, c.resolved).where(c.version == version))
    return {(row.group_id, row.sha): row.resolved for row in rows}


def resolved_in_commits(connection: Connection, project_id: int, shas: Sequence[str]) -> list[int]:
    """Groups of a project that are resolved in one of these commits, in order. One that was not known yet may have been named
    in small letters."""
    found: set[int] = set()
    g = groups.c
    for chunk in chunks(sorted({*shas, *(sha.lower() for sha in shas)})):
        query = select(g.id).where(
            g.resolved_in_commit.is_not(None),
            g.resolved_in_commit.in_(chunk),
            g.project_id == project_id,
            g.resolution == Resolution.IN_COMMIT,
            g.status == Status.RESOLVED,
        )
        found.update(connection.execute(query).scalars())
    return sorted(found)


def settle_commit_resolutions(
    connection: Connection, project_id: int, version: str, group_ids: Collection[int]
) -> list[int]:
    """Groups that were resolved in a commit which this release holds are resolved in the release from now on. Gives them.

    A release that comes later and holds it too changes nothing: the first one counts.
    """
    if not group_ids:
        return []
    rows = [row for row in locked_groups(connection, group_ids) if _waits_for_a_commit(row)]
    settled = [int(row.id) for row in rows]
    values = {
        "resolution": Resolution.IN_RELEASE,
        "resolved_in_release": version,
        "resolved_release_date": order_dates(connection, project_id, [version]).get(version),
    }
    for chunk in chunks(settled):
        connection.execute(update(groups).where(groups.c.id.in_(chunk)).values(**values))
    said = {"release": version, "kind": str(Resolution.IN_COMMIT)}
    entries = [(project_id, int(r.id), said | {"commit": r.resolved_in_commit}, AUTOMATIC) for r in rows]
    log_actions(connection, "resolve", entries)
    return settled


def _waits_for_a_commit(row: Row[Any]) -> bool:
    """Whether a group is resolved in a commit that no release held until now: an event may have ended that."""
    return bool(row.status == Status.RESOLVED and row.resolution == Resolution.IN_COMMIT)
