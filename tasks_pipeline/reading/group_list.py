"""Lists of groups: what a query finds, in an order, a page at a time; how many by status; and all of it, for whoever acts on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from tasks_pipeline.groups.lists import SHOWN, as_shown
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.cursors import Cursor, microseconds, moment_of
from tasks_pipeline.reading.events_where import needs_events, of_event
from tasks_pipeline.reading.filtered import OfFilter, Period, group_ids, groups_of_events, parts_of
from tasks_pipeline.reading.groups_where import groups_where, shown_groups
from tasks_pipeline.reading.lake import ReadLake
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.reading.tree import EVERYTHING, Filter, Node, Words, leaves, without
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups

SORTS: Mapping[str, str] = {
    "last_seen": "last_seen",
    "first_seen": "first_seen",
    "events": "times_seen",
    "users": "users",
}
"""The column of each order, largest or newest first; groups that are equal there with the highest id first."""
_OF_FILTER = {"last_seen": "last_at", "first_seen": "first_at", "events": "times_seen", "users": "users"}
MOST = 1_000
"""Groups of a page."""


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Some groups as people see them. In `of_filter`, where events were asked: what of each the query is about, which is what the
    list is sorted by then; its totals stand in the group. `newer` and `older`: where the pages before and behind begin."""

    groups: Sequence[dict[str, Any]]
    of_filter: Mapping[int, OfFilter]
    newer: Cursor | None = None
    older: Cursor | None = None


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """What a list is asked: a query, an order, a page. With a `period` filters on releases, environments and users are asked of its
    events, and so are all others that only events answer; those need one."""

    tree: Node = EVERYTHING
    sort: str = "last_seen"
    cursor: Cursor | None = None
    limit: int = 100
    period: Period | None = None


def list_groups(asked: Asked, lake: ReadLake | None, wanted: GroupQuery) -> GroupPage:
    """A page of the groups that a query finds. Without a lake, or where no events need be asked, the state database answers alone.

    No group that stays as it is stands on two pages, or on none, whatever comes meanwhile. Raises QueryError.
    """
    if not asks_events(wanted.tree, wanted.period):
        return _by_groups(asked, wanted)
    if lake is None or wanted.period is None:
        raise QueryError("this asks events: a period has to be given", 0)
    return _by_events(asked, lake, wanted, wanted.period)


def asks_events(tree: Node, period: Period | None) -> bool:
    """Whether a list has to ask events: where only they can tell, or a period says which are to be counted."""
    return needs_events(tree) or (period is not None and any(map(of_event, leaves(tree))))


def matching_groups(
    asked: Asked, lake: ReadLake | None, tree: Node, period: Period | None = None
) -> list[int]:
    """The ids of all groups that a query finds now. Raises QueryError."""
    if asks_events(tree, period):
        if lake is None or period is None:
            raise QueryError("this asks events: a period has to be given", 0)
        return sorted(_found_by_events(asked, lake, tree, period))
    with asked.state.read() as connection:
        return sorted(group_ids(connection, asked, tree))


def status_counts(
    asked: Asked, lake: ReadLake | None, tree: Node, period: Period | None = None
) -> dict[str, int]:
    """How many groups a query finds, by status, whatever it says of the status itself. Raises QueryError."""
    tree = without(tree, lambda leaf: isinstance(leaf, Filter) and leaf.key == "is")
    g = groups.c
    # Plain, unlike in lists: its index holds all that is counted, in this order.
    counting = select(g.status, func.count().label("n")).group_by(g.project_id, g.status)
    found: dict[str, int] = {}
    with asked.state.read() as connection:
        if not asks_events(tree, period):
            conditions = _conditions(connection, asked, tree)
            for row in connection.execute(counting.where(*conditions)):
                found[row.status] = found.get(row.status, 0) + row.n
            return found
    for some in chunks(matching_groups(asked, lake, tree, period)):
        with asked.state.read() as connection:
            for row in connection.execute(counting.where(g.id.in_(some))):
                found[row.status] = found.get(row.status, 0) + row.n
    return found


def groups_by_id(asked: Asked, ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """Groups as people see them, of the projects that may be seen, whatever became of them."""
    found: dict[int, dict[str, Any]] = {}
    with asked.state.read() as connection:
        for some in chunks(sorted(ids)):
            rows = connection.execute(select(*SHOWN).where(groups.c.id.in_(some)))
            found |= {row.id: as_shown(row, asked.slugs) for row in rows if asked.may_see(row.project_id)}
    return found


def _conditions(connection: Connection, asked: Asked, tree: Node) -> list[ColumnElement[bool]]:
    return [shown_groups(asked, tree), groups_where(connection, asked, tree)]


def _by_groups(asked: Asked, wanted: GroupQuery) -> GroupPage:
    limit, cursor = min(wanted.limit, MOST), wanted.cursor
    back = cursor is not None and cursor.back
    order = _order(wanted)
    columns = [order, groups.c.id]
    with asked.state.read() as connection:
        query = select(*SHOWN).where(*_conditions(connection, asked, wanted.tree))
        if cursor is not None:
            query = query.where(_behind(order, wanted.sort, cursor))
        query = query.order_by(*(c.asc() if back else c.desc() for c in columns)).limit(limit + 1)
        rows = connection.execute(query).all()
    return _page(rows[:limit], len(rows) > limit, wanted, asked)


def _order(wanted: GroupQuery) -> ColumnElement[Any]:
    column: ColumnElement[Any] = groups.c[SORTS[wanted.sort]]
    hidden = any(
        isinstance(leaf, Filter) and leaf.key == "is" and {("discarded",), ("merged",)} & set(leaf.values)
        for leaf in leaves(wanted.tree)
    )
    if hidden and wanted.sort.endswith("_seen"):  # those may never have been seen
        return func.coalesce(column, moment_of(0), type_=column.type)
    return column


def _behind(order: ColumnElement[Any], sort: str, cursor: Cursor) -> ColumnElement[bool]:
    """What comes behind a place, or before it when the page before is meant. That it is as great at most is said apart, for
    indexes."""
    value: datetime | int = moment_of(cursor.value) if sort.endswith("_seen") else cursor.value
    if cursor.back:
        return and_(order >= value, or_(order > value, groups.c.id > cursor.id))
    return and_(order <= value, or_(order < value, groups.c.id < cursor.id))


def _page(rows: Sequence[Row[Any]], more: bool, wanted: GroupQuery, asked: Asked) -> GroupPage:
    shown = [as_shown(row, asked.slugs) for row in rows]
    keys = [_key_of(group, wanted.sort) for group in shown]
    return GroupPage(*_ordered(shown, keys, more, wanted.cursor))


def _ordered(
    shown: list[dict[str, Any]], keys: list[tuple[int, int]], more: bool, cursor: Cursor | None
) -> tuple[list[dict[str, Any]], Mapping[int, OfFilter], Cursor | None, Cursor | None]:
    """A page in its order with the places before and behind it; `shown` was read in the direction of the cursor."""
    back = cursor is not None and cursor.back
    if back:
        shown, keys = shown[::-1], keys[::-1]
    before = more if back else cursor is not None
    behind = cursor is not None if back else more
    newer = Cursor(*keys[0], back=True) if before and keys else None
    older = Cursor(*keys[-1]) if behind and keys else None
    return shown, {}, newer, older


def _key_of(group: Mapping[str, Any], sort: str) -> tuple[int, int]:
    value = group[SORTS[sort]]
    return (microseconds(value) if sort.endswith("_seen") else value), group["id"]


def place_behind(page: GroupPage, sort: str) -> Cursor | None:
    """The place behind the last group of a page, whether others follow or not; None for an empty page."""
    if not page.groups:
        return None
    group = page.groups[-1]
    counted = page.of_filter.get(group["id"])
    value = group[SORTS[sort]] if counted is None else getattr(counted, SORTS[sort])
    return Cursor(value if isinstance(value, int) else microseconds(value), group["id"])


def _by_events(asked: Asked, lake: ReadLake, wanted: GroupQuery, period: Period) -> GroupPage:
    found = _found_by_events(asked, lake, wanted.tree, period)
    limit, cursor = min(wanted.limit, MOST), wanted.cursor
    place = OfFilter._fields.index(_OF_FILTER[wanted.sort])
    keys = sorted(((counted[place], group_id) for group_id, counted in found.items()), reverse=True)
    if cursor is not None and cursor.back:
        keys = [key for key in keys if key > (cursor.value, cursor.id)][::-1]
    elif cursor is not None:
        keys = [key for key in keys if key < (cursor.value, cursor.id)]
    chosen = keys[:limit]
    rows = groups_by_id(asked, [group_id for _, group_id in chosen])
    chosen = [key for key in chosen if key[1] in rows]
    shown, _, newer, older = _ordered([rows[i] for _, i in chosen], chosen, len(keys) > limit, cursor)
    return GroupPage(shown, {i: found[i] for _, i in chosen}, newer, older)


def _found_by_events(asked: Asked, lake: ReadLake, tree: Node, period: Period) -> dict[int, OfFilter]:
    """The groups that a query finds by events of a period, and what those come to."""
    parts = parts_of(tree)
    with asked.state.read() as connection:
        allowed = group_ids(connection, asked, parts.of_groups)
    among = allowed if len(allowed) <= MOST else None  # so few are looked for; of many all are counted
    found = groups_of_events(lake, asked, parts.of_events, period, among)
    return {group_id: counted for group_id, counted in found.items() if group_id in allowed}


def words_of(tree: Node) -> list[str]:
    """The free texts of a query, for those who mark what was found."""
    return [piece for leaf in leaves(tree) if isinstance(leaf, Words) for piece in leaf.value if piece]
