"""Groups that a release fixes: by what the messages of its commits say, and because it holds the commit they were resolved in.

When that is looked at is decided in `shipping/`. Everything here is done in the caller's transaction, who holds the lock
`group_hashes`, and doing it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, select, update

from tasks_pipeline.groups.decisions import AUTOMATIC, log_action, merged_targets, resolve_in_release
from tasks_pipeline.groups.fixes import fixed_groups
from tasks_pipeline.groups.lifecycle import Resolution, Status
from tasks_pipeline.groups.short_id import parse_short_id
from tasks_pipeline.releases.commit_lists import messages_of
from tasks_pipeline.releases.commits import shas_of
from tasks_pipeline.releases.known import order_dates
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_commits, groups, releases
from tasks_pipeline.storage.state.wanted import wanted
from tasks_pipeline.words import short_commit

MOST_OF_A_COMMIT, MOST_CLAIMS = 100, 10_000
"""So many groups a commit may fix, and the commits of a release together; further ones are passed over."""
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Claim:
    """A commit says that it fixes a group."""

    group_id: int
    project_id: int
    sha: str
    author: str
    email: str | None


def link_fixes(
    state: StateDatabase,
    connection: Connection,
    slugs: Mapping[int, str],
    members: Collection[str],
    version: str,
    *,
    also_in: int | None = None,
) -> list[int]:
    """Link groups to the commits of a release that say they fix them, and resolve in it those that were not linked yet
    and whose project has it. Gives the groups that were resolved.

    So each commit of a release resolves a group once. `also_in`: a project that has the release only now, in which links
    of before may resolve; `members` are mail addresses, of whom the log says that they wrote the commit.
    """
    claims = _claims(connection, slugs, version)
    if not claims:
        return []
    linked = _linked(connection, version)
    unresolved = _unresolved(connection, {claim.group_id for claim in claims})
    c = releases.c
    having = set(connection.execute(select(c.project_id).where(c.version == version)).scalars())
    resolved: list[int] = []
    now, rows = datetime.now(UTC), []
    for claim in claims:
        before = linked.get((claim.group_id, claim.sha))
        if before or (before is not None and claim.project_id != also_in):
            continue
        # Most commits name what another one resolved already: to ask of each would take seconds, under the lock.
        fixed = (
            claim.project_id in having
            and claim.group_id in unresolved
            and _resolve(state, connection, claim, version, members)
        )
        unresolved -= {claim.group_id} if fixed else set()
        linked[claim.group_id, claim.sha] = fixed
        rows.append(
            {
                "group_id": claim.group_id,
                "sha": claim.sha,
                "version": version,
                "at": now,
                "resolved": fixed,
            }
        )
        resolved += [claim.group_id] if fixed else []
    if rows:
        insert = state.insert(group_commits)
        keys = list(group_commits.primary_key.columns)
        said = insert.on_conflict_do_update(
            index_elements=keys, set_={name: insert.excluded[name] for name in ("at", "resolved")}
        )
        connection.execute(said, rows)
    return resolved


def _resolve(
    state: StateDatabase, connection: Connection, claim: _Claim, version: str, members: Collection[str]
) -> bool:
    actor = f"commit {short_commit(claim.sha)}" + (f" ({claim.author})" if claim.author else "")
    data: dict[str, Any] = {"kind": "commit", "commit": claim.sha}
    if claim.email in members:
        data["member"] = claim.email
    return bool(resolve_in_release(state, connection, [claim.group_id], actor, version, data=data))


def _claims(connection: Connection, slugs: Mapping[int, str], version: str) -> list[_Claim]:
    """What the commits of a release say they fix, oldest commits first; of merged groups the one they went into."""
    numbers = {slug: project_id for project_id, slug in slugs.items()}
    said: list[tuple[Mapping[str, Any], int, int]] = []
    for commit in messages_of(connection, version):
        if len(said) > MOST_CLAIMS:
            break
        for short_id in fixed_groups(commit["message"], numbers)[:MOST_OF_A_COMMIT]:
            slug, number = parse_short_id(short_id)
            if number <= _LARGEST:
                said.append((commit, numbers[slug], number))
    if not said:
        return []
    known = _groups(connection, {(project_id, number) for _, project_id, number in said})
    targets = merged_targets(connection, known.values())
    found: dict[tuple[int, str], _Claim] = {}
    for each, project_id, number in said:
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


def settle_commit_resolutions(connection: Connection, project_id: int, version: str) -> list[int]:
    """Groups that were resolved in a commit which this release holds are resolved in the release from now on. Gives them.

    A release that comes later and holds it too changes nothing: the first one counts.
    """
    found: list[Row[Any]] = []
    g = groups.c
    for chunk in chunks(shas_of(connection, version)):
        query = select(g.id, g.resolved_in_commit).where(
            g.resolved_in_commit.is_not(None),
            g.resolved_in_commit.in_(chunk),
            g.project_id == project_id,
            g.resolution == Resolution.IN_COMMIT,
            g.status == Status.RESOLVED,
        )
        found += connection.execute(query.with_for_update(key_share=True))
    if not found:
        return []
    date = order_dates(connection, project_id, [version]).get(version)
    values = {
        "resolution": Resolution.IN_RELEASE,
        "resolved_in_release": version,
        "resolved_release_date": date,
    }
    for row in sorted(found, key=lambda row: int(row.id)):
        connection.execute(update(groups).where(g.id == row.id).values(**values))
        said = {"release": version, "kind": str(Resolution.IN_COMMIT), "commit": row.resolved_in_commit}
        log_action(connection, project_id, row.id, "resolve", said, AUTOMATIC)  # it is resolved already
    return sorted(int(row.id) for row in found)
