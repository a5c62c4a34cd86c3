"""Events that need no repair, which is nearly all: decoded and checked in one pass in C, their free data left as JSON.

Everything else takes the way over `decode_json`; the result is the same event. What is right and how the wrong is
mended belongs to `stacks` and `shapes`.
"""

from __future__ import annotations

import re
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
from tasks_pipeline.protocol.times import clock_drift, is_canonical_time

# A search for an expression that begins with these two bytes takes a third of the time of `in`.
_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
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
    event_id: Any = UNSET
    timestamp: Any = UNSET
    type: Any = UNSET
    platform: Any = UNSET
    level: Any = UNSET
    logger: Any = UNSET
    transaction: Any = UNSET
    transaction_info: Any = UNSET
    server_name: Any = UNSET
    release: Any = UNSET
    dist: Any = UNSET
    environment: Any = UNSET
    tags: Any = UNSET
    message: Any = UNSET
    logentry: Any = UNSET
    threads: Any = UNSET
    stacktrace: Any = UNSET
    request: Any = UNSET
    user: Any = UNSET
    contexts: Any = UNSET
    extra: Any = UNSET
    fingerprint: Any = UNSET
    sdk: Any = UNSET
    modules: Any = UNSET
    debug_meta: Any = UNSET
    meta: Any = msgspec.field(name="_meta", default=UNSET)


_decode = msgspec.json.Decoder(_Event).decode
_REST = tuple(
    (f.name, f.encode_name)
    for f in msgspec.structs.fields(_Event)
    if f.name not in ("exception", "breadcrumbs")
)


@dataclass(frozen=True, slots=True)
class DecodedEvent:
    """A decoded payload; `exact` are parts of it that are in their final form already, their free data raw JSON."""

    payload: Any
    exact: dict[str, Any] = field(default_factory=dict)


def decode_event(raw: bytes, context: ItemContext) -> DecodedEvent:
    """The payload of an event, to be handed to `normalise_event`. Raises PayloadError."""
    return _decode_exactly(raw, context) or DecodedEvent(decode_json(raw))


def _decode_exactly(raw: bytes, context: ItemContext) -> DecodedEvent | None:
    found = _UNSTORABLE.search(raw)
    if clock_drift(context) or (found and b"\\u0000" in raw) or has_long_number(raw):
        return None
    simple = found is None and raw.isascii()
    try:
        event = _decode(raw)
    except (ValueError, RecursionError):
        return None
    payload = {name: value for key, name in _REST if (value := getattr(event, key)) is not UNSET}
    if not is_shallow(payload):
        return None
    exact: dict[str, Any] = {}
    if event.exception is not UNSET:
        exact["exception"] = {"values": [_as_dict(e) for e in event.exception.values]}
        if not all(_is_exact_stack(e, simple) for e in event.exception.values):
            return None
    if event.breadcrumbs is not UNSET and event.breadcrumbs.values:
        exact["breadcrumbs"] = {"values": event.breadcrumbs.values}
        if not all(map(_is_exact_breadcrumb, event.breadcrumbs.values)):
            return None
        if not _free_data_fits(event.breadcrumbs.values, "data", simple):
            return None
    return DecodedEvent(payload, exact)


def _as_dict(exception: _Exception) -> dict[str, Any]:
    found = msgspec.structs.asdict(exception)
    given = {name: value for name, value in found.items() if value is not UNSET}
    if isinstance(exception.stacktrace, _Stack):
        given["stacktrace"] = {"frames": exception.stacktrace.frames}
    return given


def _is_exact_stack(exception: _Exception, simple: bool) -> bool:
    stack = exception.stacktrace
    return not isinstance(stack, _Stack) or (
        all(stack.frames) and _free_data_fits(stack.frames, "vars", simple)
    )


def _is_exact_breadcrumb(breadcrumb: _Breadcrumb) -> bool:
    return bool(breadcrumb) and ("timestamp" not in breadcrumb or is_canonical_time(breadcrumb["timestamp"]))


def _free_data_fits(holders: Any, name: str, simple: bool) -> bool:
    """Whether the raw JSON below a name is an object within all bounds, in each holder.

    `simple`: the event is ASCII without halves of characters. The decoder looks for such in decoded texts alone.
    """
    for holder in holders:
        free = holder.get(name)
        if free is None:
            continue
        json = bytes(free)
        if len(json) > MAX_VARS or not json.startswith(b'{"'):
            return False
        # Brackets inside texts count too: a bound that is cheap, not tight.
        if json.count(b"{") + json.count(b"[") >= MAX_DEPTH:
            return False
        if not simple and not _is_storable(json):
            return False
    return True


def _is_storable(json: bytes) -> bool:
    """Whether JSON is UTF-8, without halves of characters."""
    try:
        json.decode()
    except UnicodeDecodeError:
        return False
    return _SURROGATE.search(json) is None
