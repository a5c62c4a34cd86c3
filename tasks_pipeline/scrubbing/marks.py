"""Marks in `_meta` of what was taken out, in the form SDKs use: `{"": {"rem": [["@password:filter", "s", 0, 10]], "len": 7}}`.

Each entry of `rem` has the rule, the kind of change (`s`: something else stands there, `x`: nothing does) and where in the
text as it is now that stands; `len` is the length of the text as it was sent. `_meta` mirrors the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks_pipeline.scrubbing.looks import FILTERED, Found

Path = tuple[str | int, ...]
"""Where in the event a value lies."""

MAX_MARKS = 1000
"""Marks in one event; what comes after is taken out without."""

_MAX_PATH = 1000  # characters


class Marks:
    """The marks of one event, written into its `_meta` (an object of plain data) in place."""

    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta
        self.count = 0

    def substituted(self, path: Path, rule: str, length: int | None = None) -> None:
        """A whole value became "[Filtered]"; `length` of a text that it was."""
        entry = self._entry(path)
        if entry is not None:
            entry["rem"] = [[f"@{rule}:filter", "s", 0, len(FILTERED)]]
            if length is not None:
                entry.setdefault("len", length)

    def removed(self, path: Path, rule: str) -> None:
        """A value is not there any more."""
        entry = self._entry(path)
        if entry is not None:
            entry["rem"] = [[f"@{rule}:filter", "x"]]

    def replaced(self, path: Path, found: Sequence[Found], length: int) -> None:
        """Parts of a text of `length` characters became something else; `found` are those parts, in order."""
        entry = self._entry(path)
        if entry is None:
            return
        marks: list[list[Any]] = []
        shift = 0
        for start, end, rule, kept in found:
            marks.append([f"@{rule}:filter", "s", start + shift, start + shift + len(kept)])
            shift += len(kept) - (end - start)
        earlier = entry.get("rem")
        entry["rem"] = [_shifted(old, found) for old in earlier] if isinstance(earlier, list) else []
        entry["rem"] += marks
        entry.setdefault("len", length)

    def _entry(self, path: Path) -> dict[str, Any] | None:
        """The entry for a path, made when it is missing; None when there are too many."""
        self.count += 1
        if self.count > MAX_MARKS or sum(len(str(part)) for part in path) > _MAX_PATH:
            return None
        node = self.meta
        for part in (*map(str, path), ""):
            child = node.get(part)
            if not isinstance(child, dict):
                child = node[part] = {}
            node = child
        return node


def _shifted(mark: Any, found: Sequence[Found]) -> Any:
    """An earlier mark, moved by what changed before it."""
    if not (isinstance(mark, list) and len(mark) == 4 and all(isinstance(n, int) for n in mark[2:])):
        return mark

    def moved(place: int) -> int:
        return place + sum(len(kept) - (end - start) for start, end, _, kept in found if end <= place)

    return [*mark[:2], moved(mark[2]), moved(mark[3])]
