"""What all languages share: where stacks hang in an event, the original beside the changed, and what is said of frames.

Frames are never changed in place but replaced: what normalised them may use one object for many events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks_pipeline.protocol.bounds import MAX_ERRORS
from tasks_pipeline.symbolication.requests import Lines

Frame = dict[str, Any]

MAX_FRAMES = 100  # in a stack, with the inlined ones

JAVASCRIPT = ("javascript", "node")  # platforms
JAVA = ("java", "android", "kotlin")
NATIVE_IMAGES = ("elf", "macho", "apple", "pe", "pe_dotnet", "pdb", "symbolic", "wasm", "breakpad")

# How a frame ended, in `data.symbolicator_status`: the words of Symbolicator's public API, and two of our own
SYMBOLICATED = "symbolicated"
MISSING = "missing"  # no file
MALFORMED = "malformed"  # the file is broken
TOO_LARGE = "too_large"  # reading the file costs too much
NO_POSITION = "no_position"  # the file has nothing for the position, or the frame none
MISSING_SYMBOL = "missing_symbol"  # the file has nothing for the address
UNKNOWN_IMAGE = "unknown_image"  # the address lies in no image
UNAVAILABLE = "unavailable"  # the file could not be read now

STATUS = "symbolicator_status"

# Types of processing errors, as Sentry's clients and documents know them
ERRORS = frozenset(
    (
        *(
            "js_no_source",
            "js_invalid_source",
            "js_invalid_sourcemap_location",
            "js_no_column",
            "js_too_large",
        ),
        *("native_missing_dsym", "native_missing_system_dsym", "native_bad_dsym", "native_missing_symbol"),
        *("native_unknown_image", "native_symbolicator_failed"),
        *("proguard_missing_mapping", "proguard_missing_lineno", "proguard_invalid_mapping"),
    )
)


@dataclass(slots=True)
class Findings:
    """What one event made known: errors by type and name, and keys of missing files."""

    errors: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)

    def error(self, kind: str, name: str, value: str | None = None) -> None:
        """Note an error once for each thing it is about (a URL, an image)."""
        assert kind in ERRORS
        error = {"type": kind, "name": name[:200]}
        if value:
            error["value"] = value[:200]
        self.errors.setdefault((kind, name), error)


@dataclass(slots=True)
class Stack:
    """A stack trace in an event: what it hangs on, and the exception it belongs to, if any."""

    holder: dict[str, Any]
    exception: dict[str, Any] | None = None

    @property
    def trace(self) -> dict[str, Any]:
        """The stack trace itself."""
        trace: dict[str, Any] = self.holder["stacktrace"]
        return trace

    @property
    def frames(self) -> list[Frame]:
        """Its frames, oldest call first."""
        frames: list[Frame] = self.trace["frames"]
        return frames

    def replace(self, frames: list[Frame]) -> None:
        """Put other frames in the place of the present ones, which are kept when one of the others is resolved, or one is gone."""
        if len(frames) < len(self.frames) or any(
            (frame.get("data") or {}).get(STATUS) == SYMBOLICATED for frame in frames
        ):
            # copies: grouping writes into frames
            raw = {**self.trace, "frames": [dict(frame) for frame in self.frames]}
            self.holder.setdefault("raw_stacktrace", raw)
        self.holder["stacktrace"] = {**self.trace, "frames": frames}


def exceptions(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The exceptions of an event."""
    values: list[dict[str, Any]] = (event.get("exception") or {}).get("values") or []
    return values


def stacks(event: dict[str, Any]) -> list[Stack]:
    """The stack traces of an event: of exceptions, of threads, and its own."""
    found = [Stack(value, value) for value in exceptions(event)]
    found += [Stack(thread) for thread in (event.get("threads") or {}).get("values") or ()]
    found.append(Stack(event))
    return [stack for stack in found if (stack.holder.get("stacktrace") or {}).get("frames")]


def images(event: dict[str, Any]) -> list[dict[str, Any]]:
    """The debug images of an event."""
    found: list[dict[str, Any]] = (event.get("debug_meta") or {}).get("images") or []
    return found


def has_javascript(event: dict[str, Any]) -> bool:
    """Whether there may be something to look up: an image of a script, or a release and frames of scripts."""
    if any(image.get("type") == "sourcemap" for image in images(event)):
        return True
    return bool(event.get("release")) and event.get("platform") in JAVASCRIPT


def has_native(event: dict[str, Any]) -> bool:
    """Whether there are images to look addresses up in."""
    return any(image.get("type") in NATIVE_IMAGES for image in images(event))


def has_java(event: dict[str, Any]) -> bool:
    """Whether a mapping is named."""
    return any(image.get("type") == "proguard" for image in images(event))


def restore(event: dict[str, Any]) -> None:
    """Undo an earlier symbolication, so that another begins with what the client sent."""
    for holder in _holders(event):
        if "raw_stacktrace" in holder:
            holder["stacktrace"] = holder.pop("raw_stacktrace")
    for exception in exceptions(event):
        for name in ("type", "module"):
            if f"raw_{name}" in exception:
                exception[name] = exception.pop(f"raw_{name}")
    for stack in stacks(event):
        if any(STATUS in (frame.get("data") or {}) for frame in stack.frames):
            stack.holder["stacktrace"] = {**stack.trace, "frames": [*map(_without_status, stack.frames)]}
    kept = [error for error in event.get("errors") or () if error.get("type") not in ERRORS]
    if kept:
        event["errors"] = kept
    else:
        event.pop("errors", None)


def _holders(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from exceptions(event)
    yield from (event.get("threads") or {}).get("values") or ()
    yield event


def _without_status(frame: Frame) -> Frame:
    data = {name: value for name, value in (frame.get("data") or {}).items() if name != STATUS}
    kept = {name: value for name, value in frame.items() if name != "data"}
    return kept | {"data": data} if data else kept


def expanded(frames: Sequence[Frame], stands_for: Callable[[int], list[Frame]]) -> list[Frame]:
    """The frames that each one stands for (by its index; oldest call first), inlined ones as far as there is room.

    Where there is none, the function stays that others are inlined into; room is for what is nearest the crash.
    """
    room = MAX_FRAMES - len(frames)
    groups: list[list[Frame]] = []
    for index in range(len(frames) - 1, -1, -1):
        found = stands_for(index)
        if len(found) - 1 > room:
            found = found[:1]
        room -= len(found) - 1
        groups.append(found)
    return [frame for group in reversed(groups) for frame in group]


def add_errors(event: dict[str, Any], findings: Findings) -> None:
    """Put the errors on the event, as many as it may have."""
    if findings.errors:
        event["errors"] = [*(event.get("errors") or ()), *findings.errors.values()][:MAX_ERRORS]


def with_status(frame: Frame, status: str, **data: Any) -> Frame:
    """The frame with its status, and other facts for people, in `data`."""
    return {**frame, "data": {**(frame.get("data") or {}), STATUS: status, **data}}


def with_lines(frame: Frame, lines: Lines | None) -> Frame:
    """The frame with other source lines, or with none; changed in place."""
    for name in ("pre_context", "context_line", "post_context"):
        frame.pop(name, None)
    if lines is not None:
        frame["pre_context"] = lines.pre_context
        frame["context_line"] = lines.context_line
        frame["post_context"] = lines.post_context
    return frame
