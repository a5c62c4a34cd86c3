"""The contribution tree: what of an event counts for its group, what does not and why, and the digest of what counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

ALGORITHM = "2027-01"
"""Id of these grouping rules. It goes into every key, so a change of the rules is a new id, never a silent regrouping."""
FORMER_ALGORITHM = "2026-12"
"""Id of the rules before: with fewer rules of our own, names as compilers made them, and fewer kinds of values in messages."""

SHOWN = 500
"""Most characters of a value in an explanation."""
_MAX_NODES = 600


@dataclass(slots=True, eq=False)  # never changed once made; frozen would cost half the time of making one
class Component:
    """One node of the tree. `data` is what it adds to the digest: its own contributing leaves, tagged and
    length-prefixed so that neighbours never run together; empty when it does not contribute. A leaf has a `value`, an
    inner node `parts`. `reason` says why it does not contribute (or what was done to the value)."""

    id: str
    data: bytes
    value: str | None = None
    parts: tuple[Component, ...] = ()
    reason: str | None = None

    @property
    def contributes(self) -> bool:
        return bool(self.data)


def leaf(id: str, value: str, reason: str | None = None) -> Component:
    """A leaf: contributes `value` unless that is empty."""
    return literal(id, value, reason) if value else Component(id, b"", value, (), reason)


def literal(id: str, value: str, reason: str | None = None) -> Component:
    """A leaf that contributes whatever its value, the empty one included."""
    return Component(id, _encode(id, value.encode("utf-8", "surrogatepass")), value, (), reason)


def unused_leaf(id: str, value: str, reason: str) -> Component:
    """A leaf that is shown but does not contribute."""
    return Component(id, b"", value, (), reason)


def node(id: str, parts: Iterable[Component], reason: str | None = None) -> Component:
    """An inner node: contributes when one of its parts does."""
    parts = tuple(parts)
    data = b"".join([part.data for part in parts])
    return Component(id, _encode(id, data) if data else b"", None, parts, reason)


def sealed(component: Component) -> Component:
    """The same component with a digest in place of its data: what contains it copies and hashes less."""
    if not component.data:
        return component
    data = _encode(component.id, blake2b(component.data, digest_size=16).digest())
    return Component(component.id, data, component.value, component.parts, component.reason)


def ignored(component: Component, reason: str) -> Component:
    """The same component switched off."""
    return Component(component.id, b"", component.value, component.parts, reason)


def digest(algorithm: str, namespace: str, data: bytes) -> str:
    """32 hex digits over the id of the algorithm, namespace and the data of a component."""
    state = blake2b(f"{algorithm}\0{namespace}\0".encode(), digest_size=16)
    state.update(data)
    return state.hexdigest()


def describe(components: Mapping[str, Component]) -> dict[str, Any]:
    """Components by name, each with everything below it, as JSON-serialisable data: id, contributes, reason?, value? or
    parts?. Empty leaves are left out. Bounded: long values are cut, and `more` counts the parts that are left out where a tree is too large.
    """
    return {name: _describe(component, [_MAX_NODES]) for name, component in components.items()}


def _describe(component: Component, room: list[int]) -> dict[str, Any]:
    """`room`: how many nodes may still be described, counted down."""
    described: dict[str, Any] = {"id": component.id, "contributes": component.contributes}
    if component.reason is not None:
        described["reason"] = component.reason[:SHOWN]
    if component.value is not None:
        described["value"] = component.value[:SHOWN]
    parts = [part for part in component.parts if part.contributes or part.value or part.parts]
    shown = parts[: max(room[0], 0)]
    room[0] -= len(shown)
    if shown:
        described["parts"] = [_describe(part, room) for part in shown]
    if len(shown) < len(parts):
        described["more"] = len(parts) - len(shown)
    return described


def _encode(id: str, data: bytes) -> bytes:
    return f"{id}:{len(data)}:".encode() + data
