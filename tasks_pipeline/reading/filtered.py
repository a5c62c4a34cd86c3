"""Groups by their events: which have some that a query is about, and how many, by how many users, since when, until when."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select

from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.cursors import moment_of
from tasks_pipeline.reading.events_where import Sql, events_where, joined, of_event
from tasks_pipeline.reading.groups_where import groups_where, shown_groups
from tasks_pipeline.reading.lake import ReadLake
from tasks_pipeline.reading.tree import EVERYTHING, All, Node, both, conjuncts, leaves, positive
from tasks_pipeline.storage.state.tables import groups

_AHEAD = timedelta(minutes=1)
"""So much later than they were received events may have happened (protocol/bounds.py)."""


@dataclass(frozen=True, slots=True)
class Period:
    """From when on, and until before when, events happened."""

    since: datetime
    until: datetime


class OfFilter(NamedTuple):
    """What events of a group a query is about: how many, of about how many users (2 % more or less), when the first and the last
    happened in microseconds since 1970."""

    times_seen: int
    users: int
    first_at: int
    last_at: int

    @property
    def first_seen(self) -> datetime:
        """When the first happened."""
        return moment_of(self.first_at)

    @property
    def last_seen(self) -> datetime:
        """When the last happened."""
        return moment_of(self.last_at)


@dataclass(frozen=True, slots=True)
class Parts:
    """A query in two: what groups answer by themselves, and what their events do."""

    of_groups: Node
    of_events: Node


def parts_of(tree: Node) -> Parts:
    """What has to hold, apart by who answers it; alternatives of both are asked of the events."""
    by_events = [term for term in conjuncts(tree) if any(map(of_event, leaves(term)))]
    by_groups = [term for term in conjuncts(tree) if not any(map(of_event, leaves(term)))]
    return Parts(All(tuple(by_groups)), both(*by_events) if by_events else EVERYTHING)


def groups_of_events(
    lake: ReadLake, asked: Asked, tree: Node, period: Period, among: Collection[int] | None = None
) -> dict[int, OfFilter]:
    """By group, what events of a period the tree is about; of `among`, where that is given. Raises QueryError."""
    with asked.state.read() as connection:
        condition = events_where(
            connection, asked, tree, of_event, lambda leaf: group_ids(connection, asked, positive(leaf))
        )
    where = joined((period_where(asked, period), condition, _among(among)), " AND ")
    key = where.text, repr(where.parameters)
    found: dict[int, OfFilter] | None = asked.memo.get(
        key
    )  # whoever lists them asked before whoever counts them
    if found is None:
        found = asked.memo[key] = _counted(lake, where)
    return found


def _counted(lake: ReadLake, where: Sql) -> dict[int, OfFilter]:
    # Lists of numbers in one row: what becomes a datetime, or a dict, takes several times as long as to find it.
    (row,) = lake.query(
        "SELECT list(group_id) AS ids, list(times_seen) AS times_seen, list(users) AS users, list(first_at) AS first_at, "
        "list(last_at) AS last_at FROM (SELECT group_id, count(*) AS times_seen, approx_count_distinct(user_key) AS users, "
        "epoch_us(min(timestamp)) AS first_at, epoch_us(max(timestamp)) AS last_at "
        f"FROM lake.events WHERE {where.text} GROUP BY group_id)",
        where.parameters,
    )
    if row["ids"] is None:  # none at all
        return {}
    counted = zip(row["times_seen"], row["users"], row["first_at"], row["last_at"], strict=True)
    return dict(zip(row["ids"], map(OfFilter._make, counted), strict=True))


def _among(group_ids: Collection[int] | None) -> Sql:
    if group_ids is None:
        return Sql("true")
    return Sql("group_id IN (SELECT unnest(?::BIGINT[]))", (sorted(group_ids),))


def period_where(asked: Asked, period: Period) -> Sql:
    """The events of a period, of the projects that may be seen; by days of receipt, which name the files."""
    first = (period.since - _AHEAD).date()
    found = Sql("day >= ? AND timestamp >= ? AND timestamp < ?", (first, period.since, period.until))
    if asked.projects is None:
        return found
    wanted = sorted(asked.projects)
    named = Sql(f"project_id IN ({', '.join('?' * len(wanted))})", tuple(wanted)) if wanted else Sql("false")
    return joined((found, named), " AND ")


def group_ids(connection: Connection, asked: Asked, tree: Node) -> set[int]:
    """The groups that a tree holds for, of those that its query is about: as many as there are. Raises QueryError."""
    conditions = shown_groups(asked, tree), groups_where(connection, asked, tree)
    return set(connection.execute(select(groups.c.id).where(*conditions)).scalars())
