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
    MAX_FRAMES,
    MAX_LINE,
    MAX_LINE_NUMBER,
    MAX_LINES,
    MAX_VARS,
)
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import decode_json, has_long_number, is_shallow
from tasks_pipeline.protocol.search import matcher
from tasks_pipeline.protocol.times import are_canonical_times, clock_drift

_find_escape = re.compile(rb"\\u").search  # a third of the time of `in`
_find_escape_in_ascii = matcher(r"\\u")  # a third of that
_SHALLOW = 2 * MAX_DEPTH  # bytes: what is shorter has no room for more brackets and their ends
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

_Text64 = Annotated[str, Meta(max_length=64)]
_Text512 = Annotated[str, Meta(max_length=512)]
_Text1024 = Annotated[str, Meta(max_length=1024)]
_Number = Annotated[int, Meta(ge=0, le=MAX_LINE_NUMBER)]
_Line = Annotated[str, Meta(max_length=MAX_LINE)]
_Lines = Annotated[list[_Line], Meta(max_length=MAX_LINES)]


class _Frame(TypedDict, total=False):
    # In the order of the SDKs: the decoder looks for the next field first.
    filename: _Text1024
    abs_path: Annotated[str, Meta(max_length=2048)]
    function: _Text1024
    module: _Text512
    lineno: _Number
    pre_context: _Lines
    context_line: _Line
    post_context: _Lines
    vars: msgspec.Raw
    in_app: bool
    colno: _Number
    package: _Text1024
    platform: _Text64
    # Present in native frames and mended field by field: an event with one of them is not exact.
    instruction_addr: Literal[""]
    symbol_addr: Literal[""]
    image_addr: Literal[""]
    function_id: Literal[""]
    raw_function: Literal[""]
    addr_mode: Literal[""]
    symbol: Literal[""]
    trust: Literal[""]
    stack_start: Literal[""]
    lock: Literal[""]
    data: Literal[""]


class _Stack(msgspec.Struct, forbid_unknown_fields=True):
    frames: Annotated[list[_Frame], Meta(min_length=1, max_length=MAX_FRAMES)]


class _Exception(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    type: Any = UNSET
    value: Any = UNSET
    module: Any = UNSET
    thread_id: Any = UNSET
    mechanism: Any = UNSET
    stacktrace: _Stack | msgspec.UnsetType = UNSET


class _Exceptions(msgspec.Struct, forbid_unknown_fields=True):
    values: Annotated[list[_Exception], Meta(min_length=1, max_length=MAX_EXCEPTIONS)]


class _Breadcrumb(TypedDict, total=False):
    timestamp: Annotated[str, Meta(max_length=64)]
    type: _Text64
    category: Annotated[str, Meta(max_length=256)]
    level: Literal["fatal", "error", "warning", "info", "debug"]
    message: Annotated[str, Meta(max_length=4096)]
    data: msgspec.Raw
    event_id: Literal[""]
    origin: Annotated[str, Meta(max_length=128)]


class _Breadcrumbs(msgspec.Struct, forbid_unknown_fields=True):
    values: Annotated[list[_Breadcrumb], Meta(max_length=MAX_BREADCRUMBS)]


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    exception: _Exceptions | msgspec.UnsetType = UNSET
    breadcrumbs: _Breadcrumbs | msgspec.UnsetType = UNSET
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
        parts = {name: part for key, name in _REST if (part := bytes(getattr(event, key)))}
        payload = {name: _decode_part(part) for name, part in parts.items()}
    except (ValueError, RecursionError):
        return None
    exceptions = [] if event.exception is UNSET else event.exception.values
    stacks = [e.stacktrace.frames for e in exceptions if e.stacktrace]
    breadcrumbs = [] if event.breadcrumbs is UNSET else event.breadcrumbs.values
    variables = [bytes(frame["vars"]) for frames in stacks for frame in frames if "vars" in frame]
    data = [bytes(breadcrumb["data"]) for breadcrumb in breadcrumbs if "data" in breadcrumb]
    rest = b"\n".join(parts.values())
    free = b"\n".join((*variables, *data))
    if has_long_number(rest) or has_long_number(free):
        return None
    if not (_brackets(rest) < MAX_DEPTH or is_shallow(payload)):
        return None
    if not (all(map(_is_small_object, variables)) and all(map(_is_small_object, data))):
        return None
    if (has_escapes or not free.isascii()) and not _is_storable(free):
        return None
    if not (all(map(all, stacks)) and _are_exact_breadcrumbs(breadcrumbs)):
        return None
    exact: dict[str, Any] = {}
    if exceptions:
        exact["exception"] = {"values": [*map(_as_dict, exceptions)]}
    if breadcrumbs:
        exact["breadcrumbs"] = {"values": breadcrumbs}
    return DecodedEvent(payload, exact, variables)


def _as_dict(exception: _Exception) -> dict[str, Any]:
    found = msgspec.structs.asdict(exception)
    given = {name: value for name, value in found.items() if value is not UNSET}
    if isinstance(exception.stacktrace, _Stack):
        given["stacktrace"] = {"frames": exception.stacktrace.frames}
    return given


def _are_exact_breadcrumbs(breadcrumbs: Sequence[_Breadcrumb]) -> bool:
    return all(breadcrumbs) and are_canonical_times([b["timestamp"] for b in breadcrumbs if "timestamp" in b])


def _is_small_object(json: bytes) -> bool:
    """Whether free data are an object within all bounds, which is not empty."""
    if len(json) > _SHALLOW and (len(json) > MAX_VARS or _brackets(json) >= MAX_DEPTH):
        return False
    return json.startswith(b'{"')


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
