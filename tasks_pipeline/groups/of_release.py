"""Groups of a release: those that are new in it, were resolved in it, or came back by its events.

Each kind is chosen in one way, for commands and for messages. Of releases in pages of the Web API, which lies below, new groups
are counted by `releases/pages.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, String, func, select, text

from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.groups.moves import leads_to
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import SEEN, group_actions, group_commits, groups
from tasks_pipeline.storage.state.wanted import wanted

MOST = 100
_HAS_FIRST = text("groups.first_release IS NOT NULL")  # in the words of its index
_HAS_RELEASE = text("group_actions.release IS NOT NULL")
_COLUMNS = tuple(
    groups.c[name]
    for name in (
        "id", "short_id", "title", "level", "status", "times_seen", "users", "first_seen", "last_seen",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """Some groups, the newest MOST of `count`. Each has short_id, title, level, status, times_seen, users, first_seen,
    last_seen, and `at`: when it was first seen, resolved, or came back."""

    count: int
    groups: list[dict[str, Any]]


def new_group_counts(
    connection: Connection, releases: Collection[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """How many groups are new in each of these releases, given with their project; those without are left out."""
    found: dict[tuple[int, str], int] = {}
    for chunk in chunks(sorted(releases)):
        w = wanted(connection, chunk, project_id=BigInteger(), version=String())
        of_release = groups.c.project_id == w.c.project_id, groups.c.first_release == w.c.version
        # Counted one by one: joined, a planner may read the index of all releases.
        n = select(func.count()).select_from(groups).where(*of_release, *_shown()).correlate(w)
        rows = connection.execute(select(w.c.project_id, w.c.version, n.scalar_subquery().label("n")))
        found |= {(row.project_id, row.version): row.n for row in rows if row.n}
    return found


def new_groups(connection: Connection, project_id: int, slug: str, version: str) -> Listed:
    """Groups whose earliest event is of the release, without merged and discarded ones; the newest first."""
    of_release = groups.c.project_id == project_id, groups.c.first_release == version, *_shown()
    count = connection.execute(select(func.count()).select_from(groups).where(*of_release)).scalar_one()
    # No plain column: SQLite would rather read all groups of the project in its order.
    seen = func.coalesce(groups.c.first_seen, groups.c.created_at)
    newest = select(*_COLUMNS).where(*of_release).order_by(seen.desc(), groups.c.id.desc())
    rows = connection.execute(newest.limit(MOST)).mappings()
    return Listed(count, [_row(dict(row), slug, row["first_seen"]) for row in rows])


def new_in(
    connection: Connection, version: str, project_ids: Sequence[int], limit: int
) -> tuple[list[Row[Any]], int]:
    """The new groups of several projects, for a message: project_id, short_id and title of the first, and how many."""
    g, rows, count = groups.c, list[Row[Any]](), 0
    for project_id in project_ids:
        where = g.first_release == version, g.project_id == project_id, *_shown()
        found = connection.execute(select(func.count()).select_from(groups).where(*where)).scalar_one()
        count += found
        if found and len(rows) < limit:
            query = select(g.project_id, g.short_id, g.title).where(*where).order_by(g.id)
            rows += connection.execute(query.limit(limit - len(rows)))
    return rows, count


def resolved_by(
    connection: Connection, version: str, project_ids: Sequence[int], limit: int
) -> tuple[list[Row[Any]], int]:
    """Groups of several projects that commits of the release resolved, for a message: project_id, short_id and title of the
    first, and how many."""
    c, g, rows = group_commits.c, groups.c, list[Row[Any]]()
    linked = set(connection.execute(select(c.group_id).where(c.version == version, c.resolved)).scalars())
    now = leads_to(connection, linked)
    # In two steps: joined, PostgreSQL may read all groups of the projects.
    for chunk in chunks(sorted({now.get(group_id, group_id) for group_id in linked})):
        query = select(g.id, g.project_id, g.short_id, g.title).where(g.id.in_(chunk))
        rows += (row for row in connection.execute(query) if row.project_id in project_ids)
    rows.sort(key=lambda row: (row.project_id, row.short_id))
    return rows[:limit], len(rows)


def resolved_groups(connection: Connection, project_id: int, slug: str, version: str) -> Listed:
    """Groups that were resolved in the release, whatever became of them since; the newest decision first."""
    return _by_log(connection, project_id, slug, version, "resolve")


def regressed_groups(connection: Connection, project_id: int, slug: str, version: str) -> Listed:
    """Groups that events of the release brought back, whatever became of them since; the newest first."""
    return _by_log(connection, project_id, slug, version, "regress")


def _by_log(connection: Connection, project_id: int, slug: str, version: str, action: str) -> Listed:
    """Groups with an entry in the log; those that live on in another are that one, discarded ones are left out."""
    a = group_actions.c
    entries = (
        select(a.group_id, func.max(a.at).label("at"))
        .where(a.project_id == project_id, a.release == version, a.action == action, _HAS_RELEASE)
        .group_by(a.group_id)
    )
    logged: dict[int, datetime] = {row.group_id: row.at for row in connection.execute(entries)}
    targets = leads_to(connection, logged)
    at: dict[int, datetime] = {}
    for group_id, when in logged.items():
        target = targets.get(group_id, group_id)
        at[target] = max(at.get(target, when), when)
    found: dict[int, Mapping[str, Any]] = {}
    for chunk in chunks(sorted(at)):
        query = select(*_COLUMNS).where(groups.c.id.in_(chunk), groups.c.status != Status.DISCARDED)
        found |= {row["id"]: row for row in connection.execute(query).mappings()}
    newest = sorted(found, key=lambda group_id: (at[group_id], group_id), reverse=True)
    return Listed(len(newest), [_row(found[group_id], slug, at[group_id]) for group_id in newest[:MOST]])


def _shown() -> tuple[ColumnElement[bool], ...]:
    """What people see of groups that have a first release."""
    return text(SEEN), _HAS_FIRST, groups.c.status != Status.DISCARDED  # type: ignore[return-value]


def _row(row: Mapping[str, Any], slug: str, at: datetime) -> dict[str, Any]:
    shown = {name: value for name, value in row.items() if name not in ("id", "short_id")}
    return {"short_id": format_short_id(slug, row["short_id"]), **shown, "at": at}
