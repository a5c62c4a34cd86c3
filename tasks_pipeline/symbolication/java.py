"""Names that ProGuard or R8 shortened to the original ones: of classes, methods, exceptions; inlined frames come back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from symbolic.debuginfo import normalize_debug_id
from symbolic.exceptions import SymbolicError

from tasks_pipeline.symbolication.keys import debug_id_key
from tasks_pipeline.symbolication.library import Budget, FileFailed, Library
from tasks_pipeline.symbolication.requests import File, JavaLocation, LookupJava
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

    names: dict[Name, list[JavaLocation]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)


def symbolicate_java(
    event: dict[str, Any], project_id: int, library: Library, budget: Budget, findings: Findings
) -> None:
    """Replace the Java stacks of an event, and the types of its exceptions."""
    found = [stack for stack in stacks(event) if any(_is_java(frame, event) for frame in stack.frames)]
    names = [_name(frame) for stack in found for frame in stack.frames if _is_java(frame, event)]
    names += [_class(exception) for exception in exceptions(event) if exception.get("type")]
    mapped = _map(event, project_id, library, budget, findings, list(dict.fromkeys(names)))
    for stack in found:
        _replace(stack, event, mapped, findings)
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
            found = _look_up(files[0], library, budget, names)
        except FileFailed as error:
            findings.error("proguard_invalid_mapping", debug_id, error.failure.detail)
            mapped.failures.append((debug_id, error.failure.status, error.failure.detail))
            continue
        for name, locations in found.items():
            if locations:
                mapped.names.setdefault(name, locations)
    return mapped


def _look_up(
    file: DebugFile, library: Library, budget: Budget, names: list[Name]
) -> dict[Name, list[JavaLocation]]:
    def request(unknown: list[Name]) -> LookupJava:
        return LookupJava(File(library.blob(file.digest)), unknown)

    return dict(zip(names, library.look_up(f"proguard:{file.digest}", names, request, budget), strict=True))


def _replace(stack: Stack, event: dict[str, Any], mapped: Mapped, findings: Findings) -> None:
    def stands_for(index: int) -> list[Frame]:
        frame = stack.frames[index]
        return _frames(frame, mapped, findings) if _is_java(frame, event) else [frame]

    stack.replace(expanded(stack.frames, stands_for))


def _frames(frame: Frame, mapped: Mapped, findings: Findings) -> list[Frame]:
    """The frames that one stands for, oldest call first."""
    locations = mapped.names.get(_name(frame))
    if locations:
        if not locations[0].method and not frame.get("lineno"):
            findings.error("proguard_missing_lineno", f"{frame['module']}.{frame['function']}")
        return [_resolved(frame, at) for at in reversed(locations)]
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
    module, _, kind = found[0].class_name.rpartition(".")
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
