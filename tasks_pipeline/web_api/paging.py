"""Pages of lists by key: a cursor says behind which entry the next page begins, so entries that come meanwhile hide none."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import Response

from tasks_pipeline.web_api.calls import PER_PAGE, ApiError, Call, answer

Key = tuple[Any, ...]
_MOST_TEXT = 2000
_AS_SENT = "/%@:!$&'()*+,;=~"
"""What of a path stays as it is: versions in it are encoded already."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def page_size(call: Call) -> int:
    """How many entries a page has: `per_page`, PER_PAGE where nothing is asked for. Raises ApiError (400)."""
    asked = call.query.get("per_page", "")
    if not asked:
        return PER_PAGE
    if not (asked.isascii() and asked.isdecimal() and 1 <= int(asked[:4]) <= PER_PAGE and len(asked) <= 3):
        raise ApiError(400, f"per_page: {asked[:20]!r} is none; allowed are 1 to {PER_PAGE}")
    return int(asked)


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
    to go on: the same call, its other parameters included."""
    cursor = _written(last) if last is not None else call.query.get("cursor", "")[:_MOST_TEXT]
    asked = [(name, value) for name, value in call.query.multi_items() if name != "cursor"]
    query = urlencode([*asked, ("cursor", cursor)])
    path = quote(call.request.scope["path"].encode("latin-1"), safe=_AS_SENT)
    shown = quote(cursor, safe=":")
    link = f'<{path}?{query}>; rel="next"; results="{str(more).lower()}"; cursor="{shown}"'
    return answer(entries, headers={"link": link})
