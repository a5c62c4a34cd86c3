"""Names that ProGuard or R8 shortened to the original ones: of classes, methods, exceptions; inlined frames come back, and what
R8 moved out of a method is part of it again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from symbolic.debuginfo import normalize_debug_id
from symbolic.exceptions import SymbolicError

from tasks_pipeline.symbolication.keys import debug_id_key
from tasks_pipeline.symbolication.library import Budget, FileFailed, Library
from tasks_pipeline.symbolication.requests import File, JavaFrame, JavaLocation, JavaNotes, LookupJava
from tasks_pipeline.symbolication.source import DebugFile
from tasks_pipeline.symbolication.stacks import (
    JAVA,
    MISSING,
    SYMBOLICATED,
    Findings,
    Frame,
    Stack,
    exceptions,
    expanded,
    images,
    stacks,
    with_status,
)

# What stands where the name of the file was
_NO_FILE = frozenset({"SourceFile", "Unknown Source", "PG", "ProGuard", "Proguard"})

Name = tuple[str, str, int]
"""Class, method and line; a class alone has method "" and line 0."""


@dataclass(slots=True)
class Mapped:
    """Original names for obfuscated ones, and the files that could not be used: (debug id, status, detail)."""

    names: dict[Name, JavaFrame] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


def symbolicate_java(
    event: dict[str, Any], project_id: int, library: Library, budget: Budget, findings: Findings
) -> None:
    """Replace the Java stacks of an event, and the types of its exceptions."""
    found = [stack for stack in stacks(event) if any(_is_java(frame, event) for frame in stack.frames)]
    names = [_name(frame) for stack in found for frame in stack.frames if _is_java(frame, event)]
    names += [_class(exception) for exception in exceptions(event) if exception.get("type")]
    mapped = _map(event, project_id, library, budget, findings, names)
    places = [_places(stack, event, mapped) for stack in found]
    moved = [place for of_stack in places for place in of_stack if place and place not in mapped.names]
    if mapped.names and moved:
        mapped.names |= _map(event, project_id, library, budget, findings, moved).names
    for stack, of_stack in zip(found, places, strict=True):
        _replace(stack, of_stack, mapped, findings)
    for exception in exceptions(event):
        _rename(exception, mapped)


def _is_java(frame: Frame, event: dict[str, Any]) -> bool:
    platform = frame.get("platform") or event.get("platform")
    return platform in JAVA and bool(frame.get("module")) and bool(frame.get("function"))


def _name(frame: Frame) -> Name:
    return frame["module"], frame["function"], frame.get("lineno") or 0


def _class(exception: dict[str, Any]) -> Name:
    module = exception.get("module")
    return (f"{module}.{exception['type']}" if module else exception["type"]), "", 0


def _map(
    event: dict[str, Any],
    project_id: int,
    library: Library,
    budget: Budget,
    findings: Findings,
    names: list[Name],
) -> Mapped:
    """Original names from every mapping that the event names; an app may have several."""
    mapped = Mapped()
    for debug_id in dict.fromkeys(filter(None, map(_debug_id, images(event)))):
        files = [f for f in library.debug_files(project_id, debug_id) if f.kind == "proguard"]
        if not files:
            findings.missing.add(debug_id_key(debug_id))
            findings.error("proguard_missing_mapping", debug_id)
            mapped.failures.append((debug_id, MISSING, ""))
            continue
        try:
            found = _look_up(files[0], library, budget, list(dict.fromkeys(names)))
        except FileFailed as error:
            findings.error("proguard_invalid_mapping", debug_id, error.failure.detail)
            mapped.failures.append((debug_id, error.failure.status, error.failure.detail))
            continue
        for name, original in found.items():
            if original.locations:
                mapped.names.setdefault(name, original)
    return mapped


def _look_up(file: DebugFile, library: Library, budget: Budget, names: list[Name]) -> dict[Name, JavaFrame]:
    def request(unknown: list[Name]) -> LookupJava:
        return LookupJava(File(library.blob(file.digest)), unknown)

    return dict(zip(names, library.look_up(f"proguard:{file.digest}", names, request, budget), strict=True))


def _places(stack: Stack, event: dict[str, Any], mapped: Mapped) -> list[Name | None]:
    """What each frame is looked up as; None for one that is not Java's.

    A frame that calls an outline is at the line that the outline's line stands for.
    """
    places: list[Name | None] = []
    outline: Name | None = None
    for frame in reversed(stack.frames):
        if not _is_java(frame, event):
            places.append(None)
            outline = None
            continue
        name = _name(frame)
        notes = _notes(name, mapped)
        if outline is not None and _calls(notes, outline):
            name = (*name[:2], notes.positions.get(outline[2], name[2]))
        places.append(name)
        outline = name if notes.outline else None
    return places[::-1]


def _calls(notes: JavaNotes, outline: Name) -> bool:
    """Whether a caller's notes are about this outline."""
    class_name, method, _ = outline
    return not notes.calls or notes.calls.startswith(f"{_descriptor(class_name)}{method}(")


def _notes(name: Name, mapped: Mapped) -> JavaNotes:
    found = mapped.names.get(name)
    return found.notes if found else JavaNotes()


def _replace(stack: Stack, places: list[Name | None], mapped: Mapped, findings: Findings) -> None:
    thrown = _thrown(stack.exception, mapped)

    def stands_for(index: int) -> list[Frame]:
        frame, place = stack.frames[index], places[index]
        if place is None:
            return [frame]
        innermost = index == len(places) - 1
        return _frames(frame, place, thrown if innermost else frozenset(), mapped, findings)

    # A stack of nothing but what nobody wrote is better than none.
    if frames := expanded(stack.frames, stands_for):
        stack.replace(frames)


def _thrown(exception: dict[str, Any] | None, mapped: Mapped) -> frozenset[str]:
    """Descriptors of what was thrown, by its shortened and its original name."""
    if exception is None or not exception.get("type"):
        return frozenset()
    name = _class(exception)
    found = mapped.names.get(name)
    original = [at.class_name for at in found.locations] if found else []
    return frozenset(map(_descriptor, [name[0], *original]))


def _descriptor(class_name: str) -> str:
    """A class in the Java virtual machine's words: `La/b;`."""
    return f"L{class_name.replace('.', '/')};"


def _written(found: JavaFrame, thrown: frozenset[str]) -> list[JavaLocation]:
    """Those of the original frames that people wrote and that were running, innermost first."""
    notes, locations = found.notes, found.locations
    if notes.outline:
        return []
    removed = sum(rewrite.removed for rewrite in notes.rewrites if thrown.issuperset(rewrite.thrown))
    locations = locations[min(removed, len(locations) - 1) :] if thrown else locations
    return locations[:-1] if notes.synthesized else locations


def _frames(
    frame: Frame, place: Name, thrown: frozenset[str], mapped: Mapped, findings: Findings
) -> list[Frame]:
    """The frames that one stands for, oldest call first."""
    found = mapped.names.get(place) or mapped.names.get(_name(frame))
    if found:
        if not found.locations[0].method and not frame.get("lineno"):
            findings.error("proguard_missing_lineno", f"{frame['module']}.{frame['function']}")
        return [_resolved(frame, at) for at in reversed(_written(found, thrown))]
    if mapped.failures and not mapped.names:
        # with a mapping at hand an unknown class is one that was not renamed
        return [with_status(frame, mapped.failures[0][1])]
    return [frame]


def _resolved(frame: Frame, at: JavaLocation) -> Frame:
    made = with_status(frame, SYMBOLICATED, symbolicated=True)
    made["module"] = at.class_name[:512]
    if at.method and at.method != frame["function"]:
        made.setdefault("raw_function", frame["function"])
        made["function"] = at.method[:1024]
    if at.line > 0:
        made["lineno"] = at.line
    if at.file:
        made["filename"] = at.file[:1024]
    elif made.get("filename") in _NO_FILE or str(made.get("filename", "")).startswith("r8-map-id"):
        made.pop("filename")
    if made.get("abs_path") in _NO_FILE:
        made.pop("abs_path")
    return made


def _rename(exception: dict[str, Any], mapped: Mapped) -> None:
    """Give an exception its original type and module; the obfuscated ones stay beside them."""
    if not exception.get("type"):
        return
    found = mapped.names.get(_class(exception))
    if not found:
        return
    module, _, kind = found.locations[0].class_name.rpartition(".")
    exception["raw_type"] = exception["type"]
    exception["type"] = kind[:256]
    if exception.get("module"):
        exception["raw_module"] = exception["module"]
    if module:
        exception["module"] = module[:512]


def _debug_id(image: dict[str, Any]) -> str | None:
    if image.get("type") != "proguard":
        return None
    given = image.get("uuid") or image.get("debug_id")
    try:
        return normalize_debug_id(given) if given else None
    except SymbolicError:
        return None
