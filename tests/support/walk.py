"""What queries mean, in plain Python: groups and events that are all in memory, looked at one by one."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tasks_pipeline.reading.keys import By, Kind, is_tag, key_of, read_span, tag_name
from tasks_pipeline.reading.tree import All, Filter, Node, Some, Value, Words
from tasks_pipeline.releases.versions import compare_versions

_COMPARED = {"": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
Leaf = Callable[[Filter | Words], bool]


@dataclass(frozen=True)
class Around:
    """What values mean besides: when it is, and the newest release and the slug by project."""

    now: datetime
    latest: Mapping[int, str] = field(default_factory=dict)
    slugs: Mapping[int, str] = field(default_factory=dict)


def holds(node: Node, leaf: Leaf) -> bool:
    """Whether a tree holds where `leaf` says what its leaves do, without their negation."""
    if isinstance(node, All):
        return all(holds(term, leaf) for term in node.terms)
    if isinstance(node, Some):
        return any(holds(term, leaf) for term in node.terms)
    return leaf(node) != node.negated


def is_value(text: str | None, value: Value) -> bool:
    """As it is, or in any case of letters where there are wildcards."""
    if len(value) == 1:
        return (text or "") == value[0]
    return re.fullmatch(".*".join(map(re.escape, value)), text or "", re.IGNORECASE | re.DOTALL) is not None


def has_words(value: Value, *texts: str | None) -> bool:
    return any(is_value(text, ("", *value, "")) for text in texts)


def group_holds(group: Mapping[str, Any], around: Around) -> Leaf:
    """Whether leaves hold of a group; `seen` is by kind what it was seen with, `texts` what its first event
    says, and its stack."""

    def leaf(wanted: Filter | Words) -> bool:
        if isinstance(wanted, Words):
            return has_words(wanted.value, group["title"], group["culprit"], *group["texts"])
        key = key_of(wanted.key)
        if key.by is By.TEXTS:
            return any(has_words(value, group["texts"][1]) for value in wanted.values)
        if key.kind is Kind.RELEASE:
            seen = group["seen"]["release"] if key.by is By.VALUES else [group[key.column]]
            return any(_is_release(each, wanted, group["project_id"], around) for each in seen)
        if key.by is By.VALUES:
            seen = group["seen"][key.of_values]
            return any(
                is_user(s, v) if key.of_values == "user" else is_value(s, v)
                for s in seen
                for v in wanted.values
            )
        return any(_group_is(group, wanted, value, around) for value in wanted.values)

    return leaf


def _group_is(group: Mapping[str, Any], wanted: Filter, value: Value, around: Around) -> bool:
    key, word = key_of(wanted.key), value[0]
    found = group[key.column]
    match key.kind:
        case Kind.STATUS:
            found_by: dict[str, bool] = {
                "unresolved": group["status"] in ("unresolved", "regressed"),
                "assigned": group["assignee"] is not None,
                "unassigned": group["assignee"] is None,
            }
            return found_by.get(word, bool(group["status"] == word))
        case Kind.NUMBER:
            return bool(_COMPARED[wanted.comparison](found, int(word)))
        case Kind.TIME:
            return _within(found, wanted, word, around)
        case Kind.PERSON:
            return bool(found is None if word == "nobody" else found == word)
        case Kind.GROUP:
            return word.upper() in (group["short_id"], str(group["id"]))
        case Kind.PROJECT:
            return word in (group["project"], str(group["project_id"]))
    return is_value(found, value)


def _within(found: datetime | None, wanted: Filter, word: str, around: Around) -> bool:
    first, behind = read_span(word, wanted.comparison, around.now)
    return found is not None and first <= found < behind


def is_user(found: str | None, value: Value) -> bool:
    names = [f"{kind}{value[0]}" for kind in ("", "id:", "email:", "username:", "ip:")]
    return found in names if len(value) == 1 else is_value(found, value)


def _is_release(found: str | None, wanted: Filter, project_id: int, around: Around) -> bool:
    if wanted.comparison:
        order = compare_versions(found or "", wanted.values[0][0])
        return order is not None and bool(_COMPARED[wanted.comparison](order, 0))
    return any(
        found is not None and found == around.latest.get(project_id)
        if v == ("latest",)
        else is_value(found, v)
        for v in wanted.values
    )


def event_holds(row: Mapping[str, Any], own: Leaf, of_group: Leaf, around: Around) -> Leaf:
    """Whether leaves hold of an event; those that are not its `own` are asked of its group."""

    def leaf(wanted: Filter | Words) -> bool:
        if not own(wanted):
            return of_group(wanted)
        if isinstance(wanted, Words):
            return has_words(
                wanted.value, row["title"], row["culprit"], row["exception_type"], row["exception_value"]
            )
        key = key_of(wanted.key)
        if key.kind is Kind.RELEASE:
            return _is_release(row["release"], wanted, row["project_id"], around)
        return any(_event_is(row, wanted, value, around) for value in wanted.values)

    return leaf


def _event_is(row: Mapping[str, Any], wanted: Filter, value: Value, around: Around) -> bool:
    key, word = key_of(wanted.key), value[0]
    if key.kind is Kind.HAS:
        named = key_of(word)
        return bool(row["tags"].get(tag_name(named)) if is_tag(named) else row[named.lake] not in (None, ""))
    if is_tag(key):
        return is_value(row["tags"].get(tag_name(key)), value)
    found = row[key.lake]
    match key.kind:
        case Kind.TIME:
            return _within(found, wanted, word, around)
        case Kind.TRUTH:
            return bool(found is not None and found == (word == "true"))
        case Kind.CONTAINED:
            return has_words(value, found, row["exception_value"])
        case Kind.PROJECT:
            return word in (str(found), around.slugs.get(found))
    return is_user(found, value) if key.lake == "user_key" else is_value(found, value)
