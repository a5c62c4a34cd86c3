"""Stack traces: what each frame contributes, and the frames that count in the app and in the system variant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.components import Component, ignored, leaf, node, sealed, unused_leaf
from tasks_pipeline.grouping.functions import JAVASCRIPT, normalise_function
from tasks_pipeline.grouping.modules import normalise_filename, normalise_module
from tasks_pipeline.grouping.values import integer, objects, text

_SOURCE_PLATFORMS = JAVASCRIPT | {"python", "php", "ruby"}
_LONGEST_SOURCE_LINE = 120
_KEPT = 16_384  # frames
_LARGEST_KEPT = 2_000  # characters of a frame; what real traffic repeats is smaller

_URL = ("http:", "https:", "blob:", "applewebdata:")
_NO_FILE = frozenset({"<anonymous>", "[native code]"})
_NO_CODE = frozenset({"[native code]", "native code", "eval code", "<anonymous>"})
_SPAWN_MAIN = re.compile(r"(?<=spawn_main\()[^()]*")


@dataclass(frozen=True, slots=True)
class StackVariants:
    """One stack trace seen twice: with the frames in app only, and with all of them."""

    app: Component
    system: Component


def stack_variants(stacktrace: Mapping[str, Any], platform: str) -> StackVariants:
    """Both variants of a stack trace object (`frames`, oldest call first; in-app flags as they stand in the event).

    `platform` is the event's; a frame's own wins.
    """
    frames = objects(stacktrace, "frames")
    app: list[Component] = []
    system: list[Component] = []
    caller: Mapping[str, Any] = {}
    caller_identity: _Identity | None = None
    for frame in frames:
        identity, counted, out_of_app = _contribution(frame, platform)
        if identity == caller_identity and _same_line(caller, frame):
            counted = out_of_app = ignored(counted, "recursion")
        system.append(counted)
        app.append(counted if frame.get("in_app") is True else out_of_app)
        caller, caller_identity = frame, identity
    if len(frames) == 1 and _is_bare_script(frames[0], platform):
        app = system = [ignored(system[0], "the only frame, without a function name")]
    return StackVariants(node("stacktrace", app), node("stacktrace", system))


def crash_frame(stacktrace: Mapping[str, Any]) -> Mapping[str, Any]:
    """The frame in app nearest the crash, else the frame nearest the crash, else an empty one."""
    frames = stacktrace.get("frames")
    if not isinstance(frames, list):
        return {}
    nearest: Mapping[str, Any] = {}
    for frame in reversed(frames):
        if isinstance(frame, dict):
            if frame.get("in_app") is True:
                return frame
            nearest = nearest or frame
    return nearest


# What decides on a frame's contribution: platform, module, filename, abs_path, function, context_line, source_mapped.
_Identity = tuple[str, str | None, str | None, str | None, str | None, str | None, bool]
_Contribution = tuple[_Identity, Component, Component]

_known: dict[_Identity, _Contribution] = {}


def _contribution(frame: Mapping[str, Any], platform: str) -> _Contribution:
    """The identity of a frame, what it contributes, and the same switched off for the variant it is not part of.

    Frames come again and again, in one event and in the next; so what is known of one is kept, under fields that were
    checked, and fields as they came are looked up first.
    """
    get = frame.get
    own_platform = get("platform")
    if own_platform and isinstance(own_platform, str):
        platform = own_platform
    function = get("function")
    if platform == "csharp":
        function = text(frame, "raw_function") or function
    data = get("data")
    source_mapped = bool(data) and isinstance(data, dict) and bool(data.get("sourcemap"))
    given = (
        platform,
        get("module"),
        get("filename"),
        get("abs_path"),
        function,
        get("context_line"),
        source_mapped,
    )
    try:
        known = _known.get(given)
    except TypeError:  # something in it is a list or an object
        known = None
    return known or _new_contribution(given)


def _new_contribution(given: tuple[Any, ...]) -> _Contribution:
    checked = [value if isinstance(value, str) else None for value in given[:-1]]
    platform, module, filename, abs_path, function, source = checked
    identity = (platform or "", module, filename, abs_path, function, source, given[-1])
    component = _frame_component(*(value or "" for value in checked), source_mapped=given[-1])
    out_of_app = ignored(component, "not in app") if component.contributes else component
    contribution = (identity, component, out_of_app)
    if sum(map(len, filter(None, checked))) <= _LARGEST_KEPT:
        if len(_known) >= _KEPT:
            _known.clear()  # rare, and cheaper than keeping track of use
        _known[identity] = contribution
    return contribution


def _frame_component(
    platform: str,
    module: str,
    filename: str,
    abs_path: str,
    function: str,
    source: str,
    *,
    source_mapped: bool,
) -> Component:
    path = abs_path or filename
    line = _source_line(platform, source, function, path)
    name = _function(platform, function, source_mapped and line.contributes)
    frame = sealed(node("frame", (*_place(platform, module, filename, path), name, line)))
    if platform in JAVASCRIPT and path in _NO_CODE:
        return ignored(frame, "native or generated code")
    if platform in JAVASCRIPT and function.rsplit(".", 1)[-1] == "eval":
        return ignored(frame, "eval")
    return frame


def _place(platform: str, module: str, filename: str, path: str) -> tuple[Component, Component]:
    """The module and the file name, of which at most one contributes."""
    name, reason = normalise_module(platform, module, path)
    module_part = leaf("module", name) if not reason else unused_leaf("module", module, reason)
    if module_part.contributes:
        return module_part, unused_leaf("filename", filename, "the module takes precedence")
    if path.startswith(_URL):
        return module_part, unused_leaf("filename", filename, "a URL")
    if filename in _NO_FILE or path in _NO_FILE:
        return module_part, unused_leaf("filename", filename, "not a file")
    return module_part, leaf("filename", normalise_filename(platform, filename))


def _function(platform: str, function: str, unreliable: bool) -> Component:
    name, reason = normalise_function(platform, function)
    if reason and function:
        return unused_leaf("function", function, reason)
    if unreliable and name:
        return unused_leaf("function", function, "from a source map; the source line takes precedence")
    return leaf("function", name)


def _source_line(platform: str, source: str, function: str, path: str) -> Component:
    if platform not in _SOURCE_PLATFORMS:
        return unused_leaf("context_line", source, "not dependable on this platform")
    if len(source) > _LONGEST_SOURCE_LINE:
        return unused_leaf("context_line", source, "too long: minified")
    if platform in JAVASCRIPT and not function and path.startswith((*_URL, "file:")):
        return unused_leaf("context_line", source, "a URL without a function name")
    line = " ".join(source.split())
    if platform == "python" and "spawn_main(" in line:
        line = _SPAWN_MAIN.sub("", line)
    return leaf("context_line", line)


def _is_bare_script(frame: Mapping[str, Any], platform: str) -> bool:
    path = text(frame, "abs_path") or text(frame, "filename")
    return (
        (text(frame, "platform") or platform) in JAVASCRIPT
        and not text(frame, "function")
        and path.startswith((*_URL, "file:"))
    )


def _same_line(caller: Mapping[str, Any], callee: Mapping[str, Any]) -> bool:
    """Direct recursion, between frames of one identity: the same place in the code twice in a row."""
    return (
        integer(caller, "lineno") == integer(callee, "lineno")
        and integer(caller, "colno") == integer(callee, "colno")
        and text(caller, "package") == text(callee, "package")
    )
