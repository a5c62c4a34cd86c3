"""Queries for the lake: from a tree to a condition on `lake.events`, with parameters only; names of columns come from `keys` alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.groups_where import like
from tasks_pipeline.reading.keys import By, Key, Kind, is_tag, key_of, read_span, tag_name
from tasks_pipeline.reading.meant import (
    compared_releases,
    is_latest,
    latest_releases,
    projects_named,
    user_keys,
)
from tasks_pipeline.reading.tree import All, Filter, Node, Some, Value, Words, leaves

_TRUE = frozenset({"true", "yes", "1"})
_READ = ("title", "culprit", "exception_type", "exception_value")
"""Texts of an event in which words are looked for."""


@dataclass(frozen=True, slots=True)
class Sql:
    """A condition and its parameters, in their order."""

    text: str
    parameters: tuple[Any, ...] = ()


Resolve = Callable[[Filter | Words], Collection[int]]
"""The groups that a leaf holds for, which no event can tell."""


def needs_events(tree: Node) -> bool:
    """Whether a tree asks what only events can tell."""
    return any(isinstance(leaf, Filter) and key_of(leaf.key).by is By.EVENT for leaf in leaves(tree))


def of_event(leaf: Filter | Words) -> bool:
    """Whether an event tells by itself whether a leaf holds, in lists of groups: where level and title are those of the group."""
    return isinstance(leaf, Filter) and key_of(leaf.key).by in (By.EVENT, By.VALUES)


def of_listed_event(leaf: Filter | Words) -> bool:
    """The same in lists of events: level, title and the like are those of each."""
    if isinstance(leaf, Words):
        return True
    key = key_of(leaf.key)
    return bool(key.lake) or key.by in (By.EVENT, By.NOTHING)


def events_where(
    connection: Connection, asked: Asked, tree: Node, own: Callable[[Filter | Words], bool], resolve: Resolve
) -> Sql:
    """The condition that a tree puts on events; it is never NULL. Leaves that are not their `own` are resolved to groups.
    Raises QueryError."""
    if isinstance(tree, All | Some):
        terms = [events_where(connection, asked, term, own, resolve) for term in tree.terms]
        return joined(terms, " AND " if isinstance(tree, All) else " OR ")
    if not own(tree):
        found = Sql("group_id IN (SELECT unnest(?::BIGINT[]))", (sorted(resolve(tree)),))
    elif isinstance(tree, Words):
        found = joined((_matches(_column(name), ("", *tree.value, "")) for name in _READ), " OR ")
    else:
        found = _filter(connection, asked, tree, key_of(tree.key))
    return Sql(f"NOT {found.text}", found.parameters) if tree.negated else found


def joined(terms: Iterable[Sql], word: str) -> Sql:
    """Conditions that are all to hold, or one of which; of none what changes nothing."""
    found = list(terms)
    if not found:
        return Sql("true" if word == " AND " else "false")
    return Sql(f"({word.join(s.text for s in found)})", tuple(p for s in found for p in s.parameters))


def _filter(connection: Connection, asked: Asked, wanted: Filter, key: Key) -> Sql:
    if key.kind is Kind.RELEASE:
        return _release(connection, asked, wanted)
    return joined((_one(asked, wanted, key, value) for value in wanted.values), " OR ")


def _one(asked: Asked, wanted: Filter, key: Key, value: Value) -> Sql:
    word = value[0]
    match key.kind:
        case Kind.TIME:
            first, behind = read_span(word, wanted.comparison, asked.now)
            return Sql(f"({_column(key.lake)} >= ? AND {_column(key.lake)} < ?)", (first, behind))
        case Kind.TRUTH:
            return Sql(f"coalesce({_column(key.lake)} = ?, false)", (word.lower() in _TRUE,))
        case Kind.HAS:
            return _has(key_of(word))
        case Kind.PROJECT:
            return _among(key.lake, projects_named(asked, word))
        case Kind.CONTAINED:
            texts = (key.lake, "exception_value")
            return joined((_matches(_column(name), ("", *value, "")) for name in texts), " OR ")
    if key.by is By.NOTHING:
        return Sql("true" if word == "error" else "false")
    if is_tag(key):
        found = _matches("map_extract_value(tags, ?)", value)
        return Sql(found.text, (tag_name(key), *found.parameters))
    if key.lake == "user_key" and len(value) == 1:
        return _among(key.lake, user_keys(word))
    if key.lake == "event_id":
        value = tuple(piece.replace("-", "").lower() for piece in value)
    elif key.lake in ("level", "platform", "type"):
        value = tuple(piece.lower() for piece in value)
    return _matches(_column(key.lake), value)


def _has(key: Key) -> Sql:
    if is_tag(key) or not key.lake:
        return Sql(
            "coalesce(map_extract_value(tags, ?), '') <> ''", (tag_name(key) if is_tag(key) else key.name,)
        )
    return Sql(f"coalesce({_column(key.lake)}::VARCHAR, '') <> ''")


def _release(connection: Connection, asked: Asked, wanted: Filter) -> Sql:
    if wanted.comparison:
        return _among("release", compared_releases(connection, asked, wanted))
    found = [_matches('"release"', value) for value in wanted.values if not is_latest(value)]
    if any(map(is_latest, wanted.values)):
        pairs = latest_releases(connection, asked)
        found += [Sql("coalesce(project_id = ? AND release = ?, false)", pair) for pair in pairs]
    return joined(found, " OR ")


def _among(column: str, values: Collection[Any]) -> Sql:
    if not values:
        return Sql("false")
    return Sql(f"coalesce({_column(column)} IN ({', '.join('?' * len(values))}), false)", tuple(values))


def _matches(text: str, value: Value) -> Sql:
    """Whether a text is a value: as it is, or in any case of letters where there are wildcards."""
    if len(value) == 1:
        return Sql(f"coalesce({text}, '') = ?", value)
    return Sql(f"coalesce({text}, '') ILIKE ? ESCAPE '\\'", (like(value),))


def _column(name: str) -> str:
    return f'"{name}"'
