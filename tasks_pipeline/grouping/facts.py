"""What is known of a frame by itself: what it contributes, and what rules can ask about it. Kept, since frames repeat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks_pipeline.grouping.components import Component, ignored, leaf, node, sealed, unused_leaf
from tasks_pipeline.grouping.functions import JAVASCRIPT, NATIVE, normalise_function, trim_function
from tasks_pipeline.grouping.generated import written_filename, written_function, written_module
from tasks_pipeline.grouping.modules import normalise_filename, normalise_module

_SOURCE_PLATFORMS = JAVASCRIPT | {"python", "php", "ruby"}
_LONGEST_SOURCE_LINE = 120
_KEPT = 16_384  # frames
_LARGEST_KEPT = 2_000  # characters of a frame; what real traffic repeats is smaller

_URL = ("http:", "https:", "blob:", "applewebdata:")
_NO_FILE = frozenset({"<anonymous>", "[native code]"})
_NO_CODE = frozenset({"[native code]", "native code", "eval code", "<anonymous>"})
_SPAWN_MAIN = re.compile(r"(?<=spawn_main\()[^()]*")

FIELDS = ("platform", "module", "filename", "abs_path", "function", "context_line", "package", "raw_function")
"""What of a frame decides on its facts, beside whether a source map named its function."""


@dataclass(slots=True, eq=False)  # compared by being the same object; never changed once made
class FrameFacts:
    """A frame without its place in the code and its in-app flag.

    `component` is what it contributes, `out_of_app` the same switched off. `subjects` are the texts that rules look at
    (`path`, `module`, `function`, `package`, `family`), those that the frame has. `bare_script`: as the only frame of a
    stack trace it says nothing.
    """

    component: Component
    out_of_app: Component
    subjects: Mapping[str, str]
    bare_script: bool


_known: dict[tuple[Any, ...], FrameFacts] = {}


def frame_facts(
    platform: str, fields: tuple[Any, ...], source_mapped: bool, *, former: bool = False
) -> FrameFacts:
    """The facts of a frame by its `FIELDS` as they came; `platform` is the event's, a frame's own wins. `former`: names count
    as in the former algorithm.

    The same object for equal frames as long as it is kept; what is kept lies under fields that were checked.
    """
    given = (platform, *fields, source_mapped, former)
    try:
        known = _known.get(given)
    except TypeError:  # something in it is a list or an object
        known = None
    return known or _new_facts(given)


def family(platform: str) -> str:
    """The family that rules know a platform by: javascript, native or other."""
    return "javascript" if platform in JAVASCRIPT else "native" if platform in NATIVE else "other"


def _new_facts(given: tuple[Any, ...]) -> FrameFacts:
    *read, source_mapped, former = given
    checked = [value if isinstance(value, str) else "" for value in read]
    of_event, own, module, filename, abs_path, function, source, package, raw_function = checked
    platform = own or of_event
    if platform == "csharp":
        function = raw_function or function
    names = (module, filename, function) if former else _written(platform, module, filename, function)
    component = _frame_component(platform, *names, abs_path, source, source_mapped=source_mapped)
    path = abs_path or filename
    asked = (
        names[2] if platform in NATIVE else function
    )  # rules know native functions by the names people gave them
    subjects = {
        "path": path,
        "module": module,
        "function": trim_function(platform, asked) if asked else "<unknown>",
        "package": package,
        "family": family(platform),
    }
    facts = FrameFacts(
        component,
        ignored(component, "not in app") if component.contributes else component,
        {name: value for name, value in subjects.items() if value},
        platform in JAVASCRIPT and not function and path.startswith((*_URL, "file:")),
    )
    if sum(map(len, checked)) <= _LARGEST_KEPT:
        if len(_known) >= _KEPT:
            _known.clear()  # rare, and cheaper than keeping track of use
        _known[(*(value or None for value in checked), source_mapped, former)] = facts
    return facts


def _written(platform: str, module: str, filename: str, function: str) -> tuple[str, str, str]:
    return (
        written_module(platform, module),
        written_filename(platform, filename),
        written_function(platform, function),
    )


def _frame_component(
    platform: str,
    module: str,
    filename: str,
    function: str,
    abs_path: str,
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
