"""Cutting values down to their limits, and the notes of what was cut (`_meta`) or removed (`errors`).

Which field has which limit does not belong here, but in `shapes`, `stacks` and `event`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tasks_pipeline.protocol.bounds import MAX_ERRORS, MAX_KEY, MAX_META_BYTES, MAX_SHOWN
from tasks_pipeline.protocol.decode import encode_json

Path = tuple[str | int, ...]
"""Where in the event a value lies."""


class Notes:
    """What one pass over an event finds out: `errors` for people, `meta` in the structure of the event.

    `drift` is what the pass adds to the client's times.
    """

    __slots__ = ("_meta_room", "drift", "errors", "meta")

    def __init__(self, drift: timedelta, errors: object = None, meta: object = None) -> None:
        self.drift = drift
        self.errors: list[dict[str, Any]] = []
        self.meta: dict[str, Any] = {}
        if isinstance(errors, list):
            self.errors = [kept for e in errors[:MAX_ERRORS] if (kept := _known_error(e))]
        self._meta_room = MAX_META_BYTES
        if isinstance(meta, dict) and (size := len(encode_json(meta))) <= MAX_META_BYTES:
            self.meta = meta
            self._meta_room -= size
        elif meta is not None:
            self.invalid(("_meta",))

    def invalid(self, path: Path, value: object = None, kind: str = "invalid_data") -> None:
        """Note that what lay at the path was removed; texts and numbers are shown, cut short."""
        if len(self.errors) < MAX_ERRORS:
            error: dict[str, Any] = {"type": kind, "name": ".".join(map(str, path))[:MAX_SHOWN]}
            if isinstance(value, str | int | float):
                error["value"] = value[:MAX_SHOWN] if isinstance(value, str) else value
            self.errors.append(error)

    def cut(self, path: Path, length: int, start: int | None = None, end: int | None = None) -> None:
        """Note that the value at the path had `length` elements; for a text, where the mark of the cut stands."""
        self._meta_room -= 100 + sum(len(encode_json(str(part))) + 5 for part in path)
        if self._meta_room < 0:
            return
        node = self.meta
        for part in (*map(str, path), ""):
            child = node.get(part)
            if not isinstance(child, dict):
                child = node[part] = {}
            node = child
        node["len"] = length
        if start is not None:
            node["rem"] = [["!limit", "x", start, end]]

    def moved(self, path: Path, kept: Sequence[int]) -> None:
        """Note that of the list at the path only the elements `kept` remain, so that `meta` keeps pointing at them."""
        node: Any = self.meta
        for part in path:
            node = node.get(str(part)) if isinstance(node, dict) else None
        if isinstance(node, dict):
            old = {k: node.pop(k) for k in [*node] if k}
            node.update({str(new): old[str(i)] for new, i in enumerate(kept) if str(i) in old})


def _known_error(error: object) -> dict[str, Any] | None:
    if not isinstance(error, dict):
        return None
    kept = {
        key: value[:MAX_SHOWN] if isinstance(value, str) else value
        for key in ("type", "name", "value")
        if isinstance(value := error.get(key), str | int | float)
    }
    return kept if isinstance(kept.get("type"), str) else None


def cut_text(value: str, limit: int, notes: Notes, path: Path) -> str:
    """At most `limit` characters; a cut text ends in three dots, and `meta` says how long it was."""
    if len(value) <= limit:
        return value
    notes.cut(path, len(value), limit - 3, limit)
    return value[: limit - 3] + "..."


def cut_data(value: Any, limit: int, notes: Notes, path: Path) -> Any:
    """Free data cut to at most `limit` bytes of JSON: first its long texts, then what comes last.

    What fits is returned as it is. None when not even its beginning fits.
    """
    if len(encode_json(value)) <= limit:
        return value
    return _cut(value, limit, max(limit // 4, 16), notes, path)


def _cut(value: Any, room: int, longest: int, notes: Notes, path: Path) -> Any:
    """The value in at most `room` bytes of JSON, its texts in at most `longest` characters; None when it cannot be."""
    if isinstance(value, str):
        short = value if len(value) <= longest else value[: longest - 3] + "..."
        while len(encode_json(short)) > room:
            if len(short) < 16:
                return None
            short = short[: len(short) // 2] + "..."
        if len(short) < len(value):
            notes.cut(path, len(value), len(short) - 3, len(short))
        return short
    if isinstance(value, dict):
        return _cut_dict(value, room, longest, notes, path)
    if isinstance(value, list):
        return _cut_list(value, room, longest, notes, path)
    return value if len(encode_json(value)) <= room else None


def _cut_dict(
    value: dict[str, Any], room: int, longest: int, notes: Notes, path: Path
) -> dict[str, Any] | None:
    kept: dict[str, Any] = {}
    left = room - 2
    for key, item in value.items():
        if left < 5:
            break
        if len(key) > MAX_KEY:
            continue
        inside = left - len(encode_json(key)) - 2  # its colon and comma
        short = _cut(item, inside, longest, notes, (*path, key))
        if short is not None:
            kept[key] = short
            left = inside - len(encode_json(short))
    if len(kept) < len(value):
        notes.cut(path, len(value))
    return kept if left >= 0 else None


def _cut_list(value: list[Any], room: int, longest: int, notes: Notes, path: Path) -> list[Any] | None:
    kept: list[Any] = []
    left = room - 2
    for index, item in enumerate(value):
        if left < 5:
            break
        short = _cut(item, left - 1, longest, notes, (*path, index))
        if short is None and item is not None:
            break
        kept.append(short)
        left -= len(encode_json(short)) + 1
    if len(kept) < len(value):
        notes.cut(path, len(value))
    return kept if left >= 0 else None
