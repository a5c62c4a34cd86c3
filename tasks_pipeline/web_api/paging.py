"""Pages of lists by key: a cursor says behind which entry the next page begins, so entries that come meanwhile hide none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import Response

from tasks_pipeline.web_api.calls import PER_PAGE, ApiError, Call, answer

Key = tuple[Any, ...]
_MOST_TEXT = 2000
_MOST_SKIPPED = 10**9
_AS_SENT = "/%@:!$&'()*+,;=~"
"""What of a path stays as it is: versions in it are encoded already."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def page_size(call: Call) -> int:
    """How many entries a page has: `per_page`, PER_PAGE where nothing is asked for. Raises ApiError (400)."""
    return size_asked(call, "per_page") or PER_PAGE


def size_asked(call: Call, name: str, most: int = PER_PAGE) -> int | None:
    """A number of entries that a parameter asks for, `most` where it is more; None where it asks for nothing. Raises ApiError (400)."""
    asked = call.query.get(name, "")
    if not asked:
        return None
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= 9 and int(asked) > 0):
        raise ApiError(400, f"{name}: {asked[:20]!r} is none; allowed are 1 to {most}")
    return min(int(asked), most)


def page_key(call: Call, *kinds: type) -> Key | None:
    """The key that the page begins behind, values of these kinds (int, float, str, datetime); None for the first page, which
    what is no cursor of ours means too."""
    text = call.query.get("cursor", "")[:_MOST_TEXT]
    try:
        values = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=list[Any])
        return tuple(_read(kind, value) for kind, value in zip(kinds, values, strict=True))
    except (ValueError, OverflowError, binascii.Error, msgspec.MsgspecError):
        return None


def _read(kind: type, value: object) -> object:
    """Raises ValueError and OverflowError."""
    if kind is datetime:
        if type(value) is not int:
            raise ValueError("no time")
        return _EPOCH + timedelta(microseconds=value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (isinstance(value, int) and abs(value) >= 2**63):
        raise ValueError("another kind")
    if isinstance(value, str) and ("\0" in value or value.encode() is None):
        raise ValueError("no text of a database")
    return value


def _written(key: Sequence[Any]) -> str:
    values = [(v - _EPOCH) // _MICROSECOND if isinstance(v, datetime) else v for v in key]
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).decode().rstrip("=")


def keyed_page(call: Call, entries: Sequence[Any], last: Key | None, *, more: bool) -> Response:
    """A page of a list, whose last entry has this key (None for an empty page); whether others follow. The Link header says how
    to go on: the same call, its other parameters included. Such lists go forwards alone."""
    here = call.query.get("cursor", "")[:_MOST_TEXT]
    following = _written(last) if last is not None else here
    return page_answer(call, entries, Place(here, there=False), Place(following, more))


def page_offset(call: Call) -> int:
    """How many entries of a list are skipped: the middle of `cursor` (0:100:0), 0 when it is empty or none."""
    parts = call.query.get("cursor", "").split(":")
    if len(parts) == 3 and parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) <= 9:
        return min(int(parts[1]), _MOST_SKIPPED)
    return 0


def counted_page(call: Call, entries: Sequence[Any], offset: int) -> Response:
    """A page of a list that is told by counting. `entries` holds one more than PER_PAGE when others follow."""
    before = Place(f"0:{max(0, offset - PER_PAGE)}:1", offset > 0)
    return page_answer(
        call, entries[:PER_PAGE], before, Place(f"0:{offset + PER_PAGE}:0", len(entries) > PER_PAGE)
    )


def sliced_page(call: Call, entries: Sequence[Any]) -> Response:
    """A page of a list that is there as a whole, of the size that is asked for."""
    size, offset = page_size(call), page_offset(call)
    before = Place(f"0:{max(0, offset - size)}:1", offset > 0)
    behind = Place(f"0:{offset + size}:0", len(entries) > offset + size)
    return page_answer(call, entries[offset : offset + size], before, behind)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins, and whether there is anything."""

    cursor: str
    there: bool


def page_answer(
    call: Call, entries: object, before: Place, behind: Place, headers: Mapping[str, str] | None = None
) -> Response:
    """A page of a list. The Link header says how to go on and back: the same call, its other parameters included."""
    links = ", ".join(_link(call, *each) for each in (("next", behind), ("previous", before)))
    return answer(entries, headers={"link": links, **(headers or {})})


def _link(call: Call, rel: str, place: Place) -> str:
    asked = [(name, value) for name, value in call.query.multi_items() if name != "cursor"]
    query = urlencode([*asked, ("cursor", place.cursor)], safe=":", errors="replace")
    path = quote(call.request.scope["path"].encode("latin-1"), safe=_AS_SENT)
    shown = quote(place.cursor, safe=":")
    return f'<{path}?{query}>; rel="{rel}"; results="{str(place.there).lower()}"; cursor="{shown}"'
