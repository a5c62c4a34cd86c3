"""What R8 adds to the names in a mapping: code that nobody wrote, or that it moved. symbolic reads the names themselves.

The rules are those of R8's document "R8, Retrace and map file versioning" (doc/retrace.md), versions 1.0 to 2.2 of the format:
`synthesized`, `rewriteFrame`, `outline`, `outlineCallsite`. `residualsignature` tells overloads apart by parameters, which no
stack trace has. Runs in the worker process alone: see `worker`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tasks_pipeline.symbolication.recent import Recent
from tasks_pipeline.symbolication.requests import JavaNotes, Rewrite

_PREFIX = "com.android.tools.r8."
_KNOWN = (b"r8.synthesized", b"r8.outline", b"r8.rewriteFrame")
_CLASS = re.compile(rb"^[^\s#][^\n]*:[^\S\n]*$", re.MULTILINE)
_RANGE = re.compile(r"(\d{1,10}):(\d{1,10}):")
_ACTION = re.compile(r"removeInnerFrames\((\d{1,4})\)")
_ARROW = " -> "
_LONGEST_NOTE = 1024 * 1024  # characters of JSON
_READ_BYTES = 16 * 1024 * 1024  # of a mapping: classes whose notes are kept
# What is told of a frame travels and is kept: more than any method has is not told.
_MOST_NOTES = 100  # of the same lines
_MOST_POSITIONS = 1_000
_MOST_REWRITES = 20
_MOST_CONDITIONS = 10
_LONGEST_NAME = 2_000  # characters
_BARE_KEY = re.compile(r"([{,]\s*)([A-Za-z_]\w*)\s*:")
NOTHING = JavaNotes()


@dataclass(slots=True)
class _Lines:
    """Lines of a shortened method, from `first` to `last`, and what is said of them. `signature` is of the outermost of the
    methods that they stand for."""

    first: int
    last: int
    signature: str
    notes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Named:
    """The lines of all methods that are shortened to one name, and the ids of what is said of each of them, by signature."""

    lines: list[_Lines] = field(default_factory=list)
    said: dict[str, set[str]] = field(default_factory=dict)


class Annotations:
    """The annotations of one mapping. A class is read when it is first asked for: a mapping may have a million lines."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._places: dict[str, tuple[int, int]] = {}
        self._methods: Recent[str, dict[str, _Named]] = Recent(_READ_BYTES)
        if any(known in data for known in _KNOWN):
            self._places = dict(_places(data))

    def of(self, class_name: str, method: str, line: int) -> JavaNotes:
        """What is said of a line of a shortened method."""
        named = self._of_class(class_name).get(method, _Named())
        lines = next((lines for lines in named.lines if lines.first <= line <= lines.last), None)
        if lines is None:
            return NOTHING
        # A method is an outline or synthesized as a whole, wherever that is said.
        ids = named.said[lines.signature]
        calls = next((n for n in lines.notes if n["id"] == f"{_PREFIX}outlineCallsite"), {})
        return JavaNotes(
            synthesized=f"{_PREFIX}synthesized" in ids,
            outline=f"{_PREFIX}outline" in ids,
            calls=_name(calls.get("outline")),
            positions=_positions(calls.get("positions")),
            rewrites=[
                rewrite for note in lines.notes if note["id"] == f"{_PREFIX}rewriteFrame"
                for rewrite in _rewrite(note)
            ][:_MOST_REWRITES],
        )  # fmt: skip

    def _of_class(self, class_name: str) -> dict[str, _Named]:
        """What the mapping says of a class. Of those that it does not have, which strangers name, nothing is kept."""
        place = self._places.get(class_name)
        if place is None:
            return {}
        found = self._methods.get(class_name)
        if found is None:
            start, end = place
            read = _methods(self._data[start:end].decode("utf-8", "replace"))
            found = self._methods.put(class_name, read, 1 + end - start)
        return found


def _places(data: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """Where the lines of each class are, by its shortened name."""
    heads = [(match.start(), match.end(), match[0]) for match in _CLASS.finditer(data)]
    ends = [start for start, _, _ in heads[1:]] + [len(data)]
    for (_, start, head), end in zip(heads, ends, strict=True):
        _, arrow, name = head.decode("utf-8", "replace").rpartition(_ARROW)
        if arrow:
            yield name.strip().removesuffix(":"), (start, end)


def _methods(text: str) -> dict[str, _Named]:
    """Lines of methods by the shortened name, of a class. Those that several methods were inlined into are together."""
    methods: dict[str, _Named] = {}
    current: _Lines | None = None
    for line in text.split("\n"):
        line = line.strip()
        if line.startswith("#"):
            note = _note(line)
            if note is not None and current is not None and len(current.notes) < _MOST_NOTES:
                current.notes.append(note)
            continue
        member, arrow, name = line.rpartition(_ARROW)
        if not arrow or ")" not in member:  # a field, or nothing
            current = None
            continue
        of_name = methods.setdefault(name, _Named()).lines
        match = _RANGE.match(member)
        first, last = (int(match[1]), int(match[2])) if match else (0, 2**31)
        signature = member[match.end() if match else 0 : member.rfind(")") + 1]
        if match and current is not None and of_name and of_name[-1] is current and current.first == first:
            current.last, current.signature = last, signature
            continue
        current = _Lines(first, last, signature)
        of_name.append(current)
    for named in methods.values():
        for lines in named.lines:
            named.said.setdefault(lines.signature, set()).update(note["id"] for note in lines.notes)
    return methods


def _note(line: str) -> dict[str, Any] | None:
    """An annotation; None for any other comment. R8 writes JSON, its document has the looser form that R8 reads."""
    text = line.lstrip("# ")
    if _PREFIX not in text or len(text) > _LONGEST_NOTE:
        return None
    for spelled in (text, _BARE_KEY.sub(r'\1"\2":', text.replace("'", '"'))):
        try:
            note = msgspec.json.decode(spelled)
        except (msgspec.DecodeError, RecursionError):
            continue
        return note if isinstance(note, dict) and isinstance(note.get("id"), str) else None
    return None


def _name(given: object) -> str:
    """A text of a note; empty for anything else, and for what is too long for a name."""
    return given if isinstance(given, str) and len(given) <= _LONGEST_NAME else ""


def _positions(given: object) -> dict[int, int]:
    """Lines of the caller by lines of the outline."""
    if not isinstance(given, dict) or len(given) > _MOST_POSITIONS:
        return {}
    return {
        int(line): position
        for line, position in given.items()
        if line.isascii() and line.isdecimal() and len(line) < 10
        if type(position) is int and 0 <= position < 2**31
    }


def _rewrite(note: dict[str, Any]) -> Iterator[Rewrite]:
    """How a frame is rewritten. A condition or an action of another kind is not understood: then nothing is."""
    conditions, actions = note.get("conditions"), note.get("actions")
    if not isinstance(conditions, list) or not isinstance(actions, list):
        return
    if len(conditions) > _MOST_CONDITIONS:
        return
    said = [_name(condition) for condition in conditions]
    thrown = [c[len("throws(") : -1] for c in said if c.startswith("throws(") and c.endswith(")")]
    removed = [int(match[1]) for action in actions if (match := _ACTION.fullmatch(_name(action)))]
    if len(thrown) == len(conditions) and len(removed) == len(actions):
        yield Rewrite(thrown, sum(removed))
