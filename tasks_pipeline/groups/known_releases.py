"""What the state database knows of the releases that decide whether resolved groups are back, and of what a regression ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.groups.lifecycle import Lifecycle, Resolution
from tasks_pipeline.groups.regressions import KnownReleases
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import group_actions, release_commits, releases

_ENTRIES_READ = 20  # of a log: of what is passed over there are few in a row


def known_releases(
    connection: Connection, lives: Iterable[tuple[int, Lifecycle]], found: Mapping[int, Collection[str]]
) -> dict[int, KnownReleases]:
    """By project what `regression` needs of these groups, given with their project, and of the releases that were `found`."""
    named: dict[int, set[str]] = defaultdict(set)
    commits: set[str] = set()
    for project_id, life in lives:
        if life.resolved_in_release is not None:
            named[project_id] |= {life.resolved_in_release, *found.get(project_id, ())}
        elif life.resolved_in_commit is not None:
            named[project_id] |= set(found.get(project_id, ()))
            commits.add(life.resolved_in_commit)
    holding = first_holding(connection, named, commits)
    for (project_id, _), version in holding.items():
        named[project_id].add(version)
    return {
        project_id: _known(connection, project_id, versions, holding)
        for project_id, versions in sorted(named.items())
    }


def _known(
    connection: Connection,
    project_id: int,
    versions: Collection[str],
    holding: Mapping[tuple[int, str], str],
) -> KnownReleases:
    dates: dict[str, datetime] = {}
    finalised: set[str] = set()
    c = releases.c
    for chunk in chunks(sorted(versions)):
        query = select(c.version, c.order_date, c.released_at).where(
            c.project_id == project_id, c.version.in_(chunk)
        )
        for row in connection.execute(query):
            dates[row.version] = row.order_date
            if row.released_at is not None:
                finalised.add(row.version)
    of_project = {sha: version for (project, sha), version in holding.items() if project == project_id}
    return KnownReleases(dates, finalised, of_project)


def first_holding(
    connection: Connection, project_ids: Collection[int], commits: Collection[str]
) -> dict[tuple[int, str], str]:
    """By project and commit the first release of the project, by order date, that holds the commit."""
    holding: dict[str, list[str]] = defaultdict(list)
    r, c = releases.c, release_commits.c
    for chunk in chunks(sorted(commits)):
        for row in connection.execute(select(c.sha, c.version).where(c.sha.in_(chunk))):
            holding[row.version].append(row.sha)
    found: dict[tuple[int, str], tuple[datetime, str]] = {}
    # Asked apart: joined, a planner may read all releases of a project.
    for chunk in chunks(sorted(holding)):
        query = select(r.project_id, r.version, r.order_date).where(
            r.project_id.in_(sorted(project_ids)), r.version.in_(chunk)
        )
        for project_id, version, date in connection.execute(query):
            for sha in holding[version]:
                key = project_id, sha
                found[key] = min(found.get(key, (date, version)), (date, version))
    return {key: version for key, (_, version) in found.items()}


def ended_resolution(connection: Connection, group_id: int) -> dict[str, Any]:
    """The entry of the log that a regression ends: `ends` is its number, `resolved_by` who decided; empty when there is none.

    It is that of the decision: neither of an assignee that came from another group, nor of the release that held its commit.
    """
    a = group_actions.c
    newest = (
        select(a.id, a.actor, a.action, a.data)
        .where(a.group_id == group_id, a.action.in_(("resolve", "inherit")))
        .order_by(a.id.desc())
        .limit(_ENTRIES_READ)
    )
    for row in connection.execute(newest):
        if row.action == "inherit" and "status" not in row.data.get("what", ()):
            continue
        if row.action == "resolve" and row.data.get("kind") == Resolution.IN_COMMIT:
            continue
        return {"ends": row.id, "resolved_by": row.actor}
    return {}
