"""Exceptions: what one contributes, chains of causes, and which members of an exception group speak for the event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.components import Component, leaf, node, unused_leaf
from tasks_pipeline.grouping.frames import StackVariants
from tasks_pipeline.grouping.messages import message_component
from tasks_pipeline.grouping.values import integer, mapping, text

_KEPT_OF_A_STACK = 16
"""Types of exceptions whose contribution is kept with a stack trace; real ones are raised with one or two."""


@dataclass(frozen=True, slots=True)
class ExceptionVariants:
    """One exception, with its frames in app and with all its frames."""

    app: Component
    system: Component
    stack: StackVariants


def exception_variants(
    exception: Mapping[str, Any], stack: StackVariants, *, former: bool = False, explained: bool = True
) -> ExceptionVariants:
    """Type and frames; without usable frames and NSError the type and the parameterized value. Unless it is to be `explained`, what
    does not contribute may be missing."""
    mechanism = mapping(exception, "mechanism")
    type_name, synthetic = text(exception, "type"), mechanism.get("synthetic") is True
    ns_error = _ns_error(mapping(mapping(mechanism, "meta"), "ns_error"))
    if explained or ns_error.contributes or not stack.system.contributes:
        value = _value(text(exception, "value"), stack.system, ns_error, former)
        return _variants((_type(type_name, synthetic), value, ns_error), stack)
    known: ExceptionVariants | None = stack.raised.get((type_name, synthetic))
    if known is None:
        known = _variants((_type(type_name, synthetic),), stack)
        if len(stack.raised) < _KEPT_OF_A_STACK:
            stack.raised[type_name, synthetic] = known
    return known


def _type(name: str, synthetic: bool) -> Component:
    return (
        unused_leaf("type", name, "synthetic: the SDK made the type up") if synthetic else leaf("type", name)
    )


def _variants(named: tuple[Component, ...], stack: StackVariants) -> ExceptionVariants:
    if not stack.system.contributes:
        alone = node("exception", (*named, stack.system))
        return ExceptionVariants(alone, alone, stack)
    return ExceptionVariants(
        node("exception", (*named, stack.app)), node("exception", (*named, stack.system)), stack
    )


def _value(value: str, stack: Component, ns_error: Component, former: bool) -> Component:
    if stack.contributes:
        return unused_leaf("value", value, "the stack trace takes precedence")
    if ns_error.contributes:
        return unused_leaf("value", value, "the NSError takes precedence")
    return message_component("value", value, former=former)


_NO_NS_ERROR = node("ns_error", ())


def _ns_error(error: Mapping[str, Any]) -> Component:
    if not error:
        return _NO_NS_ERROR
    domain, code = text(error, "domain"), integer(error, "code")
    return node("ns_error", (leaf("domain", domain), leaf("code", "" if code is None else str(code))))


def speaking_exceptions(
    values: Sequence[Mapping[str, Any]], variants: Sequence[ExceptionVariants]
) -> tuple[list[int], int | None]:
    """Which exceptions decide (positions in `values`, in the order they contribute) and which one names the event.

    All of them in payload order, and None, unless the event holds an exception group that can be followed.
    """
    everything = list(range(len(values)))
    tree = _tree(values)
    if tree is None:
        return everything, None
    top_level = _top_level(values, tree)
    distinct = {
        variants[position].app.data + variants[position].system.data: position
        for position in reversed(top_level)
    }
    if not distinct:
        return everything, None
    if len(distinct) == 1:
        (main,) = distinct.values()
        return sorted(_first_path(main, tree)), main
    # sorted by content, so that the order of the members does not matter
    ordered = sorted(
        distinct.items(), key=lambda item: (text(values[item[1]], "type"), item[0]), reverse=True
    )
    return [position for _, position in ordered] + [tree.root], None


@dataclass(frozen=True, slots=True)
class _Tree:
    root: int
    children: Mapping[int, list[int]]


def _tree(values: Sequence[Mapping[str, Any]]) -> _Tree | None:
    """Parent to children (positions, by exception id) if every exception has an id, one is the root and one is a group."""
    mechanisms = [mapping(value, "mechanism") for value in values]
    if not any(mechanism.get("is_exception_group") is True for mechanism in mechanisms):
        return None
    positions: dict[int, int] = {}
    for position, mechanism in enumerate(mechanisms):
        id = integer(mechanism, "exception_id")
        if id is None:
            return None
        positions.setdefault(id, position)  # of two with the same id the first counts
    if 0 not in positions:
        return None
    children: dict[int, list[int]] = {}
    for id, position in sorted(positions.items()):
        parent = integer(mechanisms[position], "parent_id")
        if parent is not None and parent != id and parent in positions:
            children.setdefault(positions[parent], []).append(position)
    return _Tree(positions[0], children)


def _top_level(values: Sequence[Mapping[str, Any]], tree: _Tree) -> list[int]:
    """From the root down through the groups: the first exceptions that are no groups themselves, by id."""
    found: list[int] = []
    waiting, seen = [tree.root], {tree.root}
    while waiting:
        position = waiting.pop()
        if mapping(values[position], "mechanism").get("is_exception_group") is not True:
            found.append(position)
            continue
        new = [child for child in tree.children.get(position, []) if child not in seen]
        seen.update(new)
        waiting.extend(reversed(new))
    return found


def _first_path(position: int, tree: _Tree) -> set[int]:
    """The exception and, following the first child each time, those below it."""
    path = {position}
    while (children := tree.children.get(position)) and children[0] not in path:
        position = children[0]
        path.add(position)
    return path
