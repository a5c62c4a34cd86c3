"""Queries for the state database: from a tree to a condition on `groups`, with parameters only."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
    true,
)

from tasks_pipeline.groups.counting import VALUE_LENGTH
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.keys import CATEGORY, NEW_FOR, By, Key, Kind, key_of, read_number, read_span
from tasks_pipeline.reading.meant import (
    assignees,
    compared_releases,
    group_named,
    is_latest,
    latest_releases,
    projects_named,
    user_keys,
)
from tasks_pipeline.reading.tree import All, Filter, Node, Some, Value, Words, leaves
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import SEEN, VALUES_INDEXED, group_texts, group_values, groups

OPEN = (Status.UNRESOLVED, Status.REGRESSED)
_COMPARED: dict[str, Any] = {
    "": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_LOWER = frozenset({"level", "platform", "type"})
"""Columns of words that are always in small letters."""
_FEW = 500
"""Groups that are named one by one."""


def shown_groups(asked: Asked, tree: Node) -> ColumnElement[bool]:
    """The groups that a query is about before it says anything: those that people see, of the projects that may be seen. Discarded
    and merged ones are among them where the query names such."""
    named = {
        value[0].lower()
        for leaf in leaves(tree)
        if isinstance(leaf, Filter) and leaf.key == "is"
        for value in leaf.values
    }
    seen: ColumnElement[bool] = and_(text(SEEN), _status(asked) != Status.DISCARDED)
    if "discarded" in named:
        seen = or_(seen, _status(asked) == Status.DISCARDED)
    if "merged" in named:
        seen = or_(seen, groups.c.merged_into.is_not(None))
    return seen if asked.projects is None else and_(seen, _of_projects(asked))


def _of_projects(asked: Asked) -> ColumnElement[bool]:
    assert asked.projects is not None
    wanted = sorted(asked.projects)
    # Of one the index of projects is in the order of a list; of several SQLite would rather find and sort all.
    column = groups.c.project_id if len(wanted) == 1 else unindexed(asked, groups.c.project_id)
    return column.in_(wanted)


def unindexed(asked: Asked, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """A column that no index is looked into for: SQLite would rather find and sort all than read them in the order of a list."""
    return literal_column(f"+{column}", column.type) if asked.state.is_sqlite else column


def _status(asked: Asked) -> ColumnElement[Any]:
    return unindexed(asked, groups.c.status)


def groups_where(connection: Connection, asked: Asked, tree: Node) -> ColumnElement[bool]:
    """The condition that a tree puts on groups. No leaf of it may be one that only events answer. Raises QueryError."""
    if isinstance(tree, All):
        return and_(true(), *(groups_where(connection, asked, term) for term in tree.terms))
    if isinstance(tree, Some):
        return or_(*(groups_where(connection, asked, term) for term in tree.terms))
    found = (
        _words(tree.value) if isinstance(tree, Words) else _filter(connection, asked, tree, key_of(tree.key))
    )
    # Where a group has no such thing it is not that, so that its contrary holds.
    return not_(func.coalesce(found, false())) if tree.negated else found


def _words(value: Value) -> ColumnElement[bool]:
    """Contained in what people read of a group."""
    contained = ("", *value, "")
    shown = (matches(groups.c[name], contained) for name in ("title", "culprit"))
    return or_(*shown, _first_event_says(contained, "said", "stack"))


def _first_event_says(value: Value, *columns: str) -> ColumnElement[bool]:
    found = (matches(group_texts.c[name], value) for name in columns)
    return exists().where(group_texts.c.group_id == groups.c.id, or_(*found))


def _filter(connection: Connection, asked: Asked, wanted: Filter, key: Key) -> ColumnElement[bool]:
    if key.kind is Kind.RELEASE:
        return _release(connection, asked, wanted, key)
    return or_(false(), *(_one(connection, asked, wanted, key, value) for value in wanted.values))


def _one(connection: Connection, asked: Asked, wanted: Filter, key: Key, value: Value) -> ColumnElement[bool]:
    """Whether a group has one of the values of a filter."""
    word = value[0]
    if key.by is By.VALUES:
        return _seen_with(connection, asked, key, _of_values(key, value), is_exact=len(value) == 1)
    if key.by is By.TEXTS:
        return _first_event_says(("", *value, ""), "stack")
    if key.by is By.NOTHING:
        return true() if word == CATEGORY else false()
    assert key.by is By.GROUP, key.name
    column = groups.c[key.column]
    match key.kind:
        case Kind.STATUS:
            return _is(asked, word.lower())
        case Kind.NUMBER:
            compared: ColumnElement[bool] = _COMPARED[wanted.comparison](column, read_number(word))
            return compared
        case Kind.TIME:
            first, behind = read_span(word, wanted.comparison, asked.now)
            return and_(column >= first, column < behind)
        case Kind.PERSON:
            names = assignees(asked, word)
            return column.in_(names) if names else column.is_(None)
        case Kind.PROJECT:
            return column.in_(projects_named(asked, word))
        case Kind.GROUP:
            return _group(asked, word)
    return matches(column, tuple(p.lower() for p in value) if key.name in _LOWER else value)


def _is(asked: Asked, word: str) -> ColumnElement[bool]:
    status, new = _status(asked), groups.c.first_seen >= asked.now - NEW_FOR
    match word:
        case "unresolved":
            return status.in_(OPEN)
        case "new":
            return and_(status.in_(OPEN), new)
        case "ongoing":
            return and_(status == Status.UNRESOLVED, not_(func.coalesce(new, false())))
        case "ignored" | "archived" | "muted":
            return status == Status.IGNORED
        case "assigned":
            return groups.c.assignee.is_not(None)
        case "unassigned":
            return groups.c.assignee.is_(None)
        case "merged":
            return groups.c.merged_into.is_not(None)
    return status == Status(word)


def _group(asked: Asked, word: str) -> ColumnElement[bool]:
    number, short = group_named(asked, word)
    if number is not None:
        return groups.c.id == number
    if short is not None:
        return and_(groups.c.project_id.in_(short[0]), groups.c.short_id == short[1])
    return false()


def _of_values(key: Key, value: Value) -> ColumnElement[bool]:
    """What a row of group_values has to hold."""
    column = group_values.c.value
    if len(value) == 1 and key.of_values == "user":
        return column.in_([each[:VALUE_LENGTH] for each in user_keys(value[0])])
    return matches(column, (value[0][:VALUE_LENGTH],) if len(value) == 1 else value)


def _seen_with(
    connection: Connection, asked: Asked, key: Key, condition: ColumnElement[bool], *, is_exact: bool
) -> ColumnElement[bool]:
    """Whether a group was seen with something. What few groups were seen with names them: of all others each would be looked at."""
    v = group_values.c
    of_kind = v.kind == key.of_values
    if is_exact and key.of_values != "user" and isinstance(asked.state, StateDatabase):
        found = select(v.group_id).where(text(VALUES_INDEXED), of_kind, condition).distinct().limit(_FEW + 1)
        few = list(connection.execute(found).scalars())
        if len(few) <= _FEW:
            return groups.c.id.in_(few) if few else false()
    return exists().where(v.group_id == groups.c.id, of_kind, condition)


def _release(connection: Connection, asked: Asked, wanted: Filter, key: Key) -> ColumnElement[bool]:
    column: ColumnElement[str] = group_values.c.value if key.by is By.VALUES else groups.c[key.column]

    def such(condition: ColumnElement[bool], *, is_exact: bool = True) -> ColumnElement[bool]:
        if key.by is By.VALUES:
            return _seen_with(connection, asked, key, condition, is_exact=is_exact)
        return func.coalesce(condition, false())

    if wanted.comparison:
        return such(column.in_(compared_releases(connection, asked, wanted)))
    found = [
        such(matches(column, value), is_exact=len(value) == 1)
        for value in wanted.values
        if not is_latest(value)
    ]
    if any(map(is_latest, wanted.values)):
        pairs = latest_releases(connection, asked)
        of_project = unindexed(asked, groups.c.project_id)
        found += [and_(of_project == project_id, such(column == v)) for project_id, v in pairs]
    return or_(false(), *found)


def matches(column: ColumnElement[str], value: Value) -> ColumnElement[bool]:
    """Whether a text is a value: as it is, or in any case of letters where there are wildcards."""
    if len(value) == 1:
        return func.coalesce(column, "") == value[0] if column.nullable else column == value[0]
    return func.coalesce(column, "").ilike(like(value), escape="\\")


def like(value: Sequence[str]) -> str:
    r"""A pattern for LIKE whose escape is \."""
    escaped = (piece.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for piece in value)
    return "%".join(escaped)
