"""Values of events as texts: cleaned, cut, with what is known of those that were cut or removed before they were stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.texts import clean

ROOM = 350_000
"""Characters of an event on a page: escaped, and with what is around them, they stay below the size of a page."""
_AROUND_EACH = 20
"""Characters for which what is around each text counts: thousands of one letter are a large page, too."""
_WORDS = {"x": "removed", "s": "replaced", "m": "masked", "p": "hashed", "e": "encrypted"}


@dataclass(frozen=True, slots=True)
class Named:
    """A value and its name, and what was done to it before it was stored."""

    name: str
    text: str
    remark: str = ""


@dataclass(slots=True)
class Room:
    """How many characters may still be shown."""

    left: int = ROOM
    full: bool = False

    def text(self, value: object, limit: int, *, lines: bool = False, flat: bool = False) -> str:
        """A stranger's text, cleaned and cut; `flat`: what is no text on one line."""
        if self.is_used_up():
            return "…"
        found = clean(
            value if isinstance(value, str) else shown(value, flat=flat), min(limit, self.left), lines=lines
        )
        self.left -= len(found) + _AROUND_EACH
        return found

    def is_used_up(self) -> bool:
        """Whether nothing more may be shown, when there is more."""
        self.full = self.full or self.left <= 0
        return self.left <= 0


def shown(value: object, *, flat: bool = False) -> str:
    """Any value as a text: a long one on several lines, unless it is to be flat."""
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    try:
        text = json.dumps(value, ensure_ascii=False)
        long = not flat and 100 < len(text) <= 20_000
        return json.dumps(value, ensure_ascii=False, indent=2) if long else text
    except (TypeError, ValueError, RecursionError):
        return str(type(value).__name__)


def named(
    room: Room,
    values: Iterable[tuple[Any, Any]],
    meta: Mapping[str, Any],
    most: int,
    limit: int,
    *,
    flat: bool = False,
) -> list[Named]:
    """The first values by their names, with remarks."""
    found = []
    for number, (name, value) in enumerate(values):
        if number == most or room.is_used_up():
            break
        text = room.text(value, limit, lines=True, flat=flat)
        found.append(Named(room.text(str(name), 200), text, remark(meta.get(str(name)))))
    return found


def remark(meta: object) -> str:
    """What was done to a value, or to something within: `cut from 10,000`, `replaced: password`."""
    own = mapping(mapping(meta).get(""))
    said = []
    for each in lists(own.get("rem"))[:3]:
        if isinstance(each, list) and len(each) > 1:
            rule = clean(str(each[0]).lstrip("@!").partition(":")[0], 40)
            said.append(f"{_WORDS.get(str(each[1]), 'changed')}: {rule}")
    if isinstance(own.get("len"), int) and not said:
        said.append(f"cut from {own['len']:,}")
    if wrong := lists(own.get("err")):
        said.append(
            f"unusable: {clean(wrong[0][0] if isinstance(wrong[0], list) and wrong[0] else wrong[0], 60)}"
        )
    if not said and any(_within(child) for name, child in mapping(meta).items() if name):
        said.append("partly removed or cut")
    return ", ".join(said)


def _within(meta: object, depth: int = 0) -> bool:
    node = mapping(meta)
    return bool(node.get("")) or (depth < 8 and any(_within(child, depth + 1) for child in node.values()))


def web_link(url: str) -> str:
    """The address where it may be followed: http and https alone; else nothing."""
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>\\")
    return url if plain and len(url) <= 2_000 and url.lower().startswith(("http://", "https://")) else ""


def values_of(event: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Exceptions, threads, breadcrumbs."""
    return [each for each in lists(mapping(event.get(name)).get("values")) if isinstance(each, dict)]


def pairs(value: object) -> list[tuple[Any, Any]]:
    """A mapping, or a list of pairs, as pairs."""
    if isinstance(value, dict):
        return list(value.items())
    return [(pair[0], pair[1]) for pair in lists(value) if isinstance(pair, list) and len(pair) == 2]


def mapping(value: object) -> Mapping[str, Any]:
    """An object as it is; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def lists(value: object) -> Sequence[Any]:
    """A list as it is; an empty one in the place of anything else."""
    return value if isinstance(value, list) else []
