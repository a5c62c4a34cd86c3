"""Groups as people see them: lists, short ids, and the figures of one group."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, literal_column, not_, or_, select, text

from tasks_pipeline.groups.counting import VALUE_KINDS
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import SEEN, group_days, group_values, groups

SHOWN = tuple(groups.c[name] for name in (
    "id", "project_id", "short_id", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen",
    "platform", "type", "metadata", "status_changed_at", "ignored_until", "ignored_until_times_seen",
    "ignored_until_users", "resolution", "resolved_in_release", "resolved_release_date", "resolved_in_commit", "first_release",
    "last_release", "suspects_at", "assignee", "merged_into",
))  # fmt: skip
"""Columns of groups that lists are made of."""

OPEN = (Status.UNRESOLVED, Status.REGRESSED)
"""The groups that need somebody."""
NOBODY = "nobody"
SORTS = {"last_seen": "last_seen", "first_seen": "first_seen", "events": "times_seen", "users": "users"}
"""The column of each order that a list can be in, largest or newest first."""


def list_groups(
    state: StateDatabase,
    slugs: Mapping[int, str],
    *,
    project_id: int | None = None,
    status: str | Collection[str] = (),
    search: str = "",
    environment: str | None = None,
    release: str | None = None,
    assignee: str | None = None,
    since: datetime | None = None,
    sort: str = "last_seen",
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Groups as people see them, without those that no event belongs to: empty or merged ones. What is left out narrows nothing.

    Of discarded groups no events are kept; those are listed when they are asked for by their status. `search` is part of title
    or culprit, in any case; `environment` and `release` saw one of the events; `assignee` may be NOBODY; `since` is when they were
    seen last. `sort` is a key of SORTS. By `last_seen` a page is read in the order of an index until it is full. In other orders,
    and where little is found, all that was seen since then is read: that wants `since`.
    """
    wanted = {status} if isinstance(status, str) else set(status)
    queries = []
    if wanted != {Status.DISCARDED}:
        seen = select(*SHOWN).where(text(SEEN))
        if project_id is not None:
            seen = seen.where(groups.c.project_id == project_id)
        kept = wanted - {Status.DISCARDED}
        queries.append(
            seen.where(_filter_only(state, groups.c.status).in_(kept) if kept else not_(_DISCARDED))
        )
    if Status.DISCARDED in wanted:
        query = select(*SHOWN).where(_DISCARDED)
        if project_id is not None:
            query = query.where(_filter_only(state, groups.c.project_id) == project_id)
        queries.append(query)
    column = groups.c[SORTS[sort]]
    found: list[dict[str, Any]] = []
    for query in queries:
        narrowed = _narrowed(query, search, {"environment": environment, "release": release}, assignee, since)
        found += _shown(state, narrowed.order_by(column.desc(), groups.c.id.desc()).limit(limit), slugs)
    if len(queries) > 1:
        found.sort(key=lambda group: (group[column.name] or _NEVER, group["id"]), reverse=True)
    return found[:limit]


_DISCARDED = groups.c.status == literal_column("'discarded'")
_NEVER = datetime.min.replace(tzinfo=UTC)


def _narrowed(
    query: Select[Any],
    search: str,
    values: Mapping[str, str | None],
    assignee: str | None,
    since: datetime | None,
) -> Select[Any]:
    if since is not None:
        query = query.where(groups.c.last_seen >= since)
    if search:
        found = (groups.c[name].icontains(search, autoescape=True) for name in ("title", "culprit"))
        query = query.where(or_(*found))
    if assignee == NOBODY:
        query = query.where(groups.c.assignee.is_(None))
    elif assignee is not None:
        query = query.where(groups.c.assignee == assignee)
    for kind, value in values.items():
        if value is not None:
            v = group_values.c
            seen_in = select(v.group_id).where(v.group_id == groups.c.id, v.kind == kind, v.value == value)
            query = query.where(seen_in.exists())
    return query


def _filter_only(state: StateDatabase, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column that no index is looked into for: SQLite would rather find and sort all than read them in the order of a list."""
    return literal_column(f"+{column}") if state.is_sqlite else column


def find_group(
    state: StateDatabase,
    slugs: Mapping[int, str],
    *,
    group_id: int | None = None,
    short_id: tuple[str, int] | None = None,
) -> dict[str, Any] | None:
    """One group by id, or by (project slug, number); None when there is none."""
    query = select(*SHOWN)
    if group_id is not None:
        query = query.where(groups.c.id == group_id)
    elif short_id is not None:
        slug, number = short_id
        ids = [project_id for project_id, name in slugs.items() if name == slug]
        if not ids and slug.isdecimal():  # how a project is shown that is not configured any more
            ids = [int(slug)]
        query = query.where(groups.c.project_id.in_(ids), groups.c.short_id == number)
    found = _shown(state, query, slugs)
    return found[0] if found else None


def short_ids(state: StateDatabase, slugs: Mapping[int, str], group_ids: Iterable[int]) -> dict[int, str]:
    """The short id of each of these groups."""
    found: dict[int, str] = {}
    with state.read() as connection:
        for chunk in chunks(sorted(set(group_ids))):
            rows = connection.execute(
                select(groups.c.id, groups.c.project_id, groups.c.short_id).where(groups.c.id.in_(chunk))
            )
            found.update(
                {r.id: format_short_id(slugs.get(r.project_id, str(r.project_id)), r.short_id) for r in rows}
            )
    return found


def group_value_counts(
    state: StateDatabase, group_id: int, limit: int = 10
) -> dict[str, list[tuple[str, int]]]:
    """The most frequent users, releases and environments of a group, with their numbers of events."""
    total = func.sum(group_values.c.times_seen)
    result: dict[str, list[tuple[str, int]]] = {}
    with state.read() as connection:
        for kind in VALUE_KINDS:
            rows = connection.execute(
                select(group_values.c.value, total)
                .where(group_values.c.group_id == group_id, group_values.c.kind == kind)
                .group_by(group_values.c.value)
                .order_by(total.desc(), group_values.c.value)
                .limit(limit)
            )
            result[kind] = [(row[0], int(row[1])) for row in rows]
    return result


def group_day_counts(state: StateDatabase, group_id: int) -> list[tuple[date, int]]:
    """Events per day of receipt, oldest first."""
    with state.read() as connection:
        rows = connection.execute(
            select(group_days.c.day, group_days.c.times_seen)
            .where(group_days.c.group_id == group_id)
            .order_by(group_days.c.day)
        )
        return [(row.day, row.times_seen) for row in rows]


def _shown(state: StateDatabase, query: Select[Any], slugs: Mapping[int, str]) -> list[dict[str, Any]]:
    with state.read() as connection:
        rows = connection.execute(query).all()
    return [as_shown(row, slugs) for row in rows]


def as_shown(row: Row[Any], slugs: Mapping[int, str]) -> dict[str, Any]:
    """A row of SHOWN as people see it: with its short id and the slug of its project."""
    slug = slugs.get(row.project_id, str(row.project_id))
    return {**row._mapping, "short_id": format_short_id(slug, row.short_id), "project": slug}
