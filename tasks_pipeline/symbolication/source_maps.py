"""Source maps with mistakes: what of them can be used. A map without any is not looked at here, for symbolic is faster.

ECMA-426 (section "Decoding source maps") says what a mistake costs: a mapping that refers to a source or name that is not
there, or to a negative place, loses its source or name, and the rest of the map counts. symbolic gives up the whole map. Text
that is no base64 VLQ leaves all that follows unknown, so such a map stays broken. Runs in the worker process alone.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_PIECE = re.compile(r"[^,;]+|;")
_MOST = 2**31 - 1
_LONGEST = 100  # characters of a mapping: five numbers of seven digits each, and room; what is remembered stays small
_NO_SOURCE = {"version": 3, "sources": [], "names": [], "mappings": "A"}
_UNUSED = ("ignoreList", "x_google_ignoreList", "debugId", "debug_id")  # what symbolic is particular about


def usable_map(source_map: bytes) -> bytes | None:
    """What symbolic can read of a map; None when nothing can be done for it."""
    try:
        given = msgspec.json.decode(source_map)
        mended = _map(given)
        return msgspec.json.encode(mended) if mended is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        return None


def _map(given: object) -> dict[str, Any] | None:
    if not isinstance(given, dict):
        return None
    if isinstance(given.get("sections"), list):
        return {"version": 3, "sections": [s for s in map(_section, given["sections"]) if s]}
    sources, names = _texts(given.get("sources")), _texts(given.get("names"))
    mappings = given.get("mappings")
    if not isinstance(mappings, str):
        return None
    kept = {name: value for name, value in given.items() if name not in _UNUSED}
    return kept | {
        "version": 3,
        "sources": sources,
        "names": names,
        "sourcesContent": _texts(given.get("sourcesContent"))[: len(sources)],
        "sourceRoot": given["sourceRoot"] if isinstance(given.get("sourceRoot"), str) else None,
        "mappings": usable_mappings(mappings, len(sources), len(names)),
    }


def _section(given: object) -> dict[str, Any] | None:
    """A section; one whose map is not at hand or broken has no sources, so that it is not taken for part of the one before."""
    offset = given.get("offset") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(offset, dict):
        return None
    place = {name: offset.get(name) for name in ("line", "column")}
    if not all(type(at) is int and 0 <= at <= _MOST for at in place.values()):
        return None
    try:
        return {"offset": place, "map": _map(given.get("map")) or _NO_SOURCE}
    except ValueError:
        return {"offset": place, "map": _NO_SOURCE}


def _texts(given: object) -> list[str | None]:
    return [text if isinstance(text, str) else None for text in given] if isinstance(given, list) else []


def usable_mappings(text: str, sources: int, names: int) -> str:
    """The mappings of a map with so many sources and names, without what refers to others or to negative places.

    Raises ValueError for text that is no base64 VLQ.
    """
    out: list[str] = []
    place, written = (
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    )  # source, line, column, name: as it says, and as it was written here
    column = written_column = 0
    row_is_empty = True
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece == ";":
            out.append(piece)
            column = written_column = 0
            row_is_empty = True
            continue
        given = _fields(piece)
        column += given[0]
        for field, change in enumerate(given[1:5] if len(given) >= 4 else ()):
            place[field] += change
        if not 0 <= column <= _MOST:
            continue
        mapping = [column - written_column]
        written_column = column
        if len(given) >= 4 and place[0] < sources and all(0 <= at <= _MOST for at in place[:3]):
            fields = 4 if len(given) >= 5 and 0 <= place[3] < names else 3
            mapping += [at - before for at, before in zip(place[:fields], written[:fields], strict=True)]
            written[:fields] = place[:fields]
        if not row_is_empty:
            out.append(",")
        row_is_empty = False
        out += map(_vlq, mapping)
    return "".join(out)


@lru_cache(65_536)
def _fields(piece: str) -> tuple[int, ...]:
    """The numbers of a mapping. Raises ValueError."""
    numbers, number, shift = [], 0, 0
    if len(piece) > _LONGEST:
        raise ValueError(f"no mapping: {piece[:20]!r}")
    for digit in piece.strip():
        value = _VALUES.get(digit)
        if value is None or shift > 30:
            raise ValueError(f"no base64 VLQ: {piece[:20]!r}")
        number |= (value & 31) << shift
        shift += 5
        if not value & 32:
            numbers.append(-(number >> 1) if number & 1 else number >> 1)
            number = shift = 0
    if shift or not numbers:
        raise ValueError(f"no base64 VLQ: {piece[:20]!r}")
    return tuple(numbers)


@lru_cache(65_536)
def _vlq(number: int) -> str:
    rest = (-number << 1) | 1 if number < 0 else number << 1
    digits = ""
    while True:
        digit, rest = rest & 31, rest >> 5
        digits += _DIGITS[digit | 32 if rest else digit]
        if not rest:
            return digits
