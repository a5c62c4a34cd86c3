"""Shapes of stack traces and what carries them: frames, exceptions, threads, templates, and debug images."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta

from tasks_pipeline.protocol.bounds import (
    MAX_EXCEPTIONS,
    MAX_FRAMES,
    MAX_IMAGES,
    MAX_LINE,
    MAX_LINE_NUMBER,
    MAX_LINES,
    MAX_THREADS,
    MAX_VARS,
)
from tasks_pipeline.protocol.decode import encode_json, fits_int64
from tasks_pipeline.protocol.fields import (
    Check,
    Fields,
    address,
    check_fields,
    count,
    flag,
    identifier,
    json_text,
    mapping,
    objects,
    shape,
    values,
)
from tasks_pipeline.protocol.trim import Notes, Path, cut_text

# Stack traces


def _lines(value: Any, notes: Notes, path: Path, key: str) -> list[str] | None:
    """Source lines beside the line of a frame."""
    if value.__class__ is not list:
        if value is not None:
            notes.invalid((*path, key), value)
        return None
    if len(value) <= MAX_LINES:
        try:
            # the usual case in two calls: only texts, none of them long
            if not value or len("".join(value)) <= MAX_LINE or max(map(len, value)) <= MAX_LINE:
                return value
        except TypeError:
            notes.invalid((*path, key))
    elif key == "pre_context":
        value = value[-MAX_LINES:]
    return [
        cut_text(line, MAX_LINE, notes, (*path, key, i)) if isinstance(line, str) else ""
        for i, line in enumerate(value[:MAX_LINES])
    ]


_any_data = mapping(1024)
_OURS = ("orig_in_app", "category")
"""What grouping writes into a frame's `data`; no client may (grouping/frames.py)."""


def _frame_data(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    if value.__class__ is dict and not value.keys().isdisjoint(_OURS):
        value = {name: field for name, field in value.items() if name not in _OURS}
    checked: dict[str, Any] | None = _any_data(value, notes, path, key)
    return checked


_SOURCE: Fields = {
    "abs_path": 2048,
    "filename": 1024,
    "lineno": count,
    "colno": count,
    "pre_context": _lines,
    "context_line": MAX_LINE,
    "post_context": _lines,
}

FRAME: Fields = _SOURCE | {
    "function": 1024,
    "raw_function": 1024,
    "module": 512,
    "package": 1024,
    "platform": 64,
    "in_app": flag,
    "vars": mapping(MAX_VARS),
    "instruction_addr": address,
    "symbol_addr": address,
    "image_addr": address,
    "function_id": address,
    "addr_mode": 64,
    "symbol": 1024,
    "trust": 64,
    "stack_start": flag,
    "lock": mapping(1024),
    "data": _frame_data,
}


_EXACT: dict[int | Check, Any] = {
    flag: bool,
    count: Annotated[int, Meta(ge=0, le=MAX_LINE_NUMBER)],
    _lines: Annotated[list[Annotated[str, Meta(max_length=MAX_LINE)]], Meta(max_length=MAX_LINES)],
    FRAME["vars"]: Annotated[dict[str, Any], Meta(min_length=1)],
}
_ExactFrame = TypedDict(  # type: ignore[misc]
    "_ExactFrame",
    {
        name: Annotated[str, Meta(max_length=check)] if isinstance(check, int) else _EXACT[check]
        for name, check in FRAME.items()
        if isinstance(check, int) or check in _EXACT
    },
    total=False,
)
_EXACT_FRAMES = Annotated[list[_ExactFrame], Meta(max_length=MAX_FRAMES)]


def _exact(frames: list[Any]) -> list[dict[str, Any]] | None:
    """The frames when there is nothing to do, else None. They are the bulk of an event; msgspec checks them in C."""
    try:
        kept: list[dict[str, Any]] = msgspec.convert(frames, _EXACT_FRAMES)
    except msgspec.ValidationError:
        return None
    if kept != frames or not all(kept):
        return None  # a field that no exact frame has
    if any(len(encode_json(frame["vars"])) > MAX_VARS for frame in kept if "vars" in frame):
        return None
    return kept


def _frames(value: Any, notes: Notes, path: Path, key: str) -> list[dict[str, Any]] | None:
    if isinstance(value, list):
        exact = _exact(value)
        if exact is None:
            exact = objects(value, MAX_FRAMES // 2, MAX_FRAMES // 2, FRAME, notes, (*path, key))
        return exact or None
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def _omitted(value: Any, notes: Notes, path: Path, key: str) -> list[int] | None:
    """[start, end) of the frames that were left out of the middle."""
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(v.__class__ is int and 0 <= v <= MAX_LINE_NUMBER for v in value)
    ):
        return value
    if value is not None:
        notes.invalid((*path, key), value)
    return None


_STACK: Fields = {
    "frames": _frames,
    "frames_omitted": _omitted,
    "registers": mapping(8192),
    "lang": 64,
    "snapshot": flag,
    "instruction_addr_adjustment": 64,
}


def stacktrace(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """A stack trace, oldest call first: {"frames": [...]} or a bare list of frames."""
    stack = {"frames": value} if isinstance(value, list) else value
    if not isinstance(stack, dict):
        if stack:
            notes.invalid((*path, key), stack)
        return None
    given = stack.get("frames")
    usable = 0
    if isinstance(given, list) and len(given) > MAX_FRAMES:
        usable = sum(1 for frame in given if frame and isinstance(frame, dict))
    check_fields(stack, _STACK, notes, (*path, key))
    if usable > MAX_FRAMES:
        stack["frames_omitted"] = [MAX_FRAMES // 2, usable - MAX_FRAMES // 2]
    return stack if "frames" in stack else None


_MECHANISM: Fields = {
    "type": 128,
    "description": 512,
    "help_link": 1024,
    "handled": flag,
    "synthetic": flag,
    "source": 256,
    "exception_id": count,
    "parent_id": count,
    "is_exception_group": flag,
    "data": mapping(8192),
    "meta": mapping(4096),
}

EXCEPTION: Fields = {
    "type": 256,
    "value": json_text(8192),
    "module": 512,
    "raw_type": 256,  # as sent, where symbolication found the original name
    "raw_module": 512,
    "thread_id": identifier,
    "mechanism": shape(_MECHANISM),
    "stacktrace": stacktrace,
    "raw_stacktrace": stacktrace,
}

_exceptions = values(MAX_EXCEPTIONS // 2, MAX_EXCEPTIONS // 2, EXCEPTION)


def _unchanged(value: Any, notes: Notes, path: Path, key: str) -> Any:
    return value


exceptions_with_exact_stacks = values(MAX_EXCEPTIONS, 0, EXCEPTION | {"stacktrace": _unchanged})


def exceptions(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """Exceptions, innermost first. A mechanism beside the values belongs to the last one."""
    if isinstance(value, dict) and isinstance(value.get("values"), list) and "mechanism" in value:
        last = next((v for v in reversed(value["values"]) if isinstance(v, dict)), None)
        if last is not None:
            last.setdefault("mechanism", value["mechanism"])
    checked = _exceptions(value, notes, path, key)
    return checked  # type: ignore[no-any-return]


THREAD: Fields = {
    "id": identifier,
    "name": 256,
    "state": 64,
    "crashed": flag,
    "current": flag,
    "main": flag,
    "stacktrace": stacktrace,
    "raw_stacktrace": stacktrace,
    "held_locks": mapping(4096),
}

threads = values(MAX_THREADS, 0, THREAD)
template = shape(_SOURCE)


# Debug images


def _size(value: Any, notes: Notes, path: Path, key: str) -> int | None:
    """A size in bytes, from a number or a decimal or hex text."""
    number = address(value, notes, path, key)
    size = int(number, 16) if number else None
    return size if size is not None and fits_int64(size) else None


_IMAGE: Fields = {
    "type": 64,
    "debug_id": 64,
    "code_id": 128,
    "uuid": 64,
    "code_file": 2048,
    "debug_file": 2048,
    "name": 2048,
    "debug_checksum": 128,
    "arch": 64,
    "image_addr": address,
    "image_vmaddr": address,
    "image_size": _size,
    "cpu_type": identifier,
    "cpu_subtype": identifier,
    "debug_status": 64,
}


def _images(value: Any, notes: Notes, path: Path, key: str) -> list[dict[str, Any]] | None:
    if isinstance(value, list):
        return objects(value, MAX_IMAGES, 0, _IMAGE, notes, (*path, key)) or None
    if value is not None:
        notes.invalid((*path, key), value)
    return None


debug_meta = shape({"images": _images, "sdk_info": mapping(1024)})
