"""Events that need no repair, which is nearly all: decoded and checked in one pass in C, their free data left as JSON.

Everything else takes the way over `decode_json`; the result is the same event. What is right and how the wrong is
mended belongs to `stacks` and `shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, Meta

from tasks_pipeline.protocol.bounds import (
    MAX_BREADCRUMBS,
    MAX_DEPTH,
    MAX_EXCEPTIONS,
    MAX_VARS,
)
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import decode_json, has_long_number, is_shallow
from tasks_pipeline.protocol.frames import NOTHING, exact_frames
from tasks_pipeline.protocol.search import matcher
from tasks_pipeline.protocol.times import are_canonical_times, clock_drift, format_time, parse_time

_find_escape = re.compile(rb"\\u").search  # a third of the time of `in`
_find_escape_in_ascii = matcher(r"\\u")  # a third of that
_SHALLOW = 2 * MAX_DEPTH  # bytes: what is shorter has no room for more brackets and their ends
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{[\n")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_Text64 = Annotated[str, Meta(max_length=64)]


class _Exception(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    type: Any = UNSET
    value: Any = UNSET
    module: Any = UNSET
    thread_id: Any = UNSET
    mechanism: Any = UNSET
    stacktrace: msgspec.Raw = msgspec.Raw()


class _Exceptions(msgspec.Struct, forbid_unknown_fields=True):
    values: Annotated[list[_Exception], Meta(min_length=1, max_length=MAX_EXCEPTIONS)]


class _Breadcrumb(TypedDict, total=False):
    timestamp: Annotated[str, Meta(max_length=64)] | float
    type: _Text64
    category: Annotated[str, Meta(max_length=256)]
    level: Literal["fatal", "error", "warning", "info", "debug"]
    message: Annotated[str, Meta(max_length=4096)]
    data: msgspec.Raw
    event_id: Literal[""]
    origin: Annotated[str, Meta(max_length=128)]


_ListOfBreadcrumbs = Annotated[list[_Breadcrumb], Meta(max_length=MAX_BREADCRUMBS)]
"""What JavaScript's SDKs send, with times as numbers."""


class _Breadcrumbs(msgspec.Struct, forbid_unknown_fields=True):
    values: _ListOfBreadcrumbs


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    exception: _Exceptions | msgspec.UnsetType = UNSET
    breadcrumbs: _Breadcrumbs | _ListOfBreadcrumbs | msgspec.UnsetType = UNSET
    event_id: msgspec.Raw = msgspec.Raw()
    timestamp: msgspec.Raw = msgspec.Raw()
    type: msgspec.Raw = msgspec.Raw()
    platform: msgspec.Raw = msgspec.Raw()
    level: msgspec.Raw = msgspec.Raw()
    logger: msgspec.Raw = msgspec.Raw()
    transaction: msgspec.Raw = msgspec.Raw()
    transaction_info: msgspec.Raw = msgspec.Raw()
    server_name: msgspec.Raw = msgspec.Raw()
    release: msgspec.Raw = msgspec.Raw()
    dist: msgspec.Raw = msgspec.Raw()
    environment: msgspec.Raw = msgspec.Raw()
    tags: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    logentry: msgspec.Raw = msgspec.Raw()
    threads: msgspec.Raw = msgspec.Raw()
    stacktrace: msgspec.Raw = msgspec.Raw()
    request: msgspec.Raw = msgspec.Raw()
    user: msgspec.Raw = msgspec.Raw()
    contexts: msgspec.Raw = msgspec.Raw()
    extra: msgspec.Raw = msgspec.Raw()
    fingerprint: msgspec.Raw = msgspec.Raw()
    sdk: msgspec.Raw = msgspec.Raw()
    modules: msgspec.Raw = msgspec.Raw()
    debug_meta: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.field(name="_meta", default=msgspec.Raw())


_decode = msgspec.json.Decoder(_Event).decode
_decode_part = msgspec.json.Decoder().decode
_OF_EXCEPTIONS = ("type", "value", "module", "thread_id", "mechanism")
_REST = tuple(
    (f.name, f.encode_name)
    for f in msgspec.structs.fields(_Event)
    if f.name not in ("exception", "breadcrumbs")
)


@dataclass(frozen=True, slots=True)
class DecodedEvent:
    """A decoded payload; `exact` are parts of it that are in their final form already, their free data raw JSON. `variables` is
    that of all frames of exceptions there, None where nothing is known of them."""

    payload: Any
    exact: dict[str, Any] = field(default_factory=dict)
    variables: Sequence[bytes] | None = None


def decode_event(raw: bytes, context: ItemContext) -> DecodedEvent:
    """The payload of an event, to be handed to `normalise_event`. Raises PayloadError."""
    return _decode_exactly(raw, context) or DecodedEvent(decode_json(raw))


def _decode_exactly(raw: bytes, context: ItemContext) -> DecodedEvent | None:
    if clock_drift(context):
        return None
    has_escapes = _find_escape_in_ascii(raw) if raw.isascii() else _find_escape(raw) is not None
    if has_escapes and b"\\u0000" in raw:
        return None
    try:
        event = _decode(raw)
        variables: list[bytes] = []
        given = [] if event.exception is UNSET else event.exception.values
        exceptions = [_as_dict(exception, variables) for exception in given]
        parts = {name: part for key, name in _REST if (part := bytes(getattr(event, key)))}
        payload = {name: _decode_part(part) for name, part in parts.items()}
    except (ValueError, RecursionError):
        return None
    breadcrumbs = _breadcrumbs(event)
    data = [bytes(breadcrumb["data"]) for breadcrumb in breadcrumbs if "data" in breadcrumb]
    rest = b"\n".join(parts.values())
    free = b"\n".join((*variables, *data))
    if has_long_number(rest) or has_long_number(free):
        return None
    if not (_brackets(rest) < MAX_DEPTH or is_shallow(payload)):
        return None
    if not _are_small_objects([*variables, *data], free):
        return None
    if (has_escapes or not free.isascii()) and not _is_storable(free):
        return None
    if not (all(breadcrumbs) and _have_times(breadcrumbs)):
        return None
    exact: dict[str, Any] = {}
    if exceptions:
        exact["exception"] = {"values": exceptions}
    if breadcrumbs:
        exact["breadcrumbs"] = {"values": breadcrumbs}
    return DecodedEvent(payload, exact, variables)


def _as_dict(exception: _Exception, variables: list[bytes]) -> dict[str, Any]:
    """An exception; `variables` takes those of its frames. Raises ValueError when they need repair."""
    given: dict[str, Any] = {
        name: value for name in _OF_EXCEPTIONS if (value := getattr(exception, name)) is not UNSET
    }
    if stack := bytes(exception.stacktrace):
        frames, found = exact_frames(stack)
        variables += found
        given["stacktrace"] = {"frames": frames}
    return given


def _breadcrumbs(event: _Event) -> Sequence[_Breadcrumb]:
    """The breadcrumbs of an event, without data that are nothing: what is logged mostly has none."""
    given = event.breadcrumbs
    found: Sequence[_Breadcrumb] = (
        [] if given is UNSET else given.values if isinstance(given, _Breadcrumbs) else given
    )
    for breadcrumb in found:
        if "data" in breadcrumb and bytes(breadcrumb["data"]) in NOTHING:
            del breadcrumb["data"]
    return found


def _have_times(breadcrumbs: Sequence[_Breadcrumb]) -> bool:
    """Bring the times of breadcrumbs into their one form; gives whether all are times."""
    timed = [breadcrumb for breadcrumb in breadcrumbs if "timestamp" in breadcrumb]
    given = [breadcrumb["timestamp"] for breadcrumb in timed]
    if set(map(type, given)) <= {str} and are_canonical_times(given):  # type: ignore[arg-type]
        return True
    for breadcrumb in timed:
        moment = parse_time(breadcrumb["timestamp"])
        if moment is None:
            return False
        breadcrumb["timestamp"] = format_time(moment)
    return True


def _are_small_objects(found: list[bytes], lines: bytes) -> bool:
    """Whether each of free data is an object within all bounds, which is not empty. `lines` has them one in each line."""
    if not found:
        return True
    if {json[:2] for json in found} != {b'{"'} or max(map(len, found)) > MAX_VARS:
        return False
    brackets = lines.translate(None, _NO_BRACKETS).split(b"\n")
    if len(brackets) == len(found) and max(map(len, brackets)) < MAX_DEPTH:
        return True  # nearly always
    return all(_brackets(json) < MAX_DEPTH for json in found if len(json) > _SHALLOW)


def _brackets(json: bytes) -> int:
    """At least as many as its lists and objects lie inside one another: those in texts count too, a bound that is cheap."""
    return json.count(b"{") + json.count(b"[")


def _is_storable(json: bytes) -> bool:
    """Whether JSON is UTF-8, without halves of characters."""
    try:
        json.decode()
    except UnicodeDecodeError:
        return False
    return _SURROGATE.search(json) is None
