"""Queries as trees: terms that are all to hold, or one of which; and as text again, by which the parser can be tested."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

Value = tuple[str, ...]
"""The pieces of a value between its wildcards: of one piece there is none."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A key and the values of which one is to be found there. `comparison` is <, <=, >, >= or empty; `at` the place in the text."""

    key: str
    values: tuple[Value, ...]
    comparison: str = ""
    negated: bool = False
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Words:
    """Free text: to be contained in what people read of a group or event."""

    value: Value
    negated: bool = False
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class All:
    """Terms that are all to hold; none holds always."""

    terms: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Some:
    """Terms of which one is to hold."""

    terms: tuple[Node, ...]


Node = Filter | Words | All | Some
EVERYTHING = All()


def leaves(node: Node) -> Iterator[Filter | Words]:
    """The filters and words of a tree, in their order."""
    if isinstance(node, All | Some):
        for term in node.terms:
            yield from leaves(term)
    else:
        yield node


def positive(leaf: Filter | Words) -> Filter | Words:
    """A leaf without its negation."""
    return replace(leaf, negated=False)


def conjuncts(node: Node) -> tuple[Node, ...]:
    """What has to hold, each for itself."""
    return node.terms if isinstance(node, All) else (node,)


def without(node: Node, unwanted: Callable[[Filter | Words], bool]) -> Node:
    """The tree without some of what has to hold; what stands in alternatives stays."""
    kept = [n for n in conjuncts(node) if isinstance(n, All | Some) or not unwanted(n)]
    return kept[0] if len(kept) == 1 else All(tuple(kept))


def both(*nodes: Node) -> Node:
    """A tree that holds where all of these do."""
    terms = tuple(term for node in nodes for term in conjuncts(node))
    return terms[0] if len(terms) == 1 else All(terms)


def written(node: Node) -> str:
    """A tree as text that is read as the same tree."""
    if isinstance(node, All):
        return " ".join(_inner(term) for term in node.terms)
    if isinstance(node, Some):
        return " OR ".join(_inner(term) if isinstance(term, Some) else written(term) for term in node.terms)
    return _leaf(node)


def _inner(node: Node) -> str:
    return f"({written(node)})" if isinstance(node, All | Some) else _leaf(node)


def _leaf(node: Filter | Words) -> str:
    no = "!" if node.negated else ""
    if isinstance(node, Words):
        return f"{no}{quoted(node.value)}"
    if len(node.values) == 1:
        return f"{no}{node.key}:{node.comparison}{quoted(node.values[0])}"
    return f"{no}{node.key}:[{', '.join(map(quoted, node.values))}]"


def quoted(value: Value) -> str:
    """A value as it can stand anywhere."""
    return '"' + "*".join(re.sub(r'([\\"*])', r"\\\1", piece) for piece in value) + '"'
