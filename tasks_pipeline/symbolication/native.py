"""Addresses in native code to functions, files and lines; an address in inlined code becomes several frames."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from symbolic.common import arch_get_ip_reg_name, arch_is_known
from symbolic.debuginfo import normalize_debug_id
from symbolic.exceptions import SymbolicError
from symbolic.symcache import find_best_instruction

from tasks_pipeline.symbolication.keys import debug_id_key
from tasks_pipeline.symbolication.library import Budget, FileFailed, Library
from tasks_pipeline.symbolication.requests import Lines, Location, LookupAddresses, ReadBundledLines
from tasks_pipeline.symbolication.source import DebugFile
from tasks_pipeline.symbolication.stacks import (
    MALFORMED,
    MISSING,
    MISSING_SYMBOL,
    NATIVE_IMAGES,
    SYMBOLICATED,
    UNKNOWN_IMAGE,
    Findings,
    Frame,
    Stack,
    exceptions,
    expanded,
    images,
    stacks,
    with_lines,
    with_status,
)

_CONTAINERS = ("elf", "macho", "pe", "pdb", "breakpad", "wasm")
_NAMES = frozenset({"debug", "symtab"})
"""Features of files that name functions; one with nothing but `unwind` is a program whose symbols are elsewhere."""
_FAILURE_ERRORS = {
    MALFORMED: "native_bad_dsym",
    MISSING: "native_missing_dsym",
}
_SYSTEM = re.compile(
    r"/(?:usr/)?lib(?:32|64|x32)?/|/System/|/usr/lib/|/apex/|/system/|[A-Za-z]:\\Windows\\|(?:linux-gate|linux-vdso)",
    re.IGNORECASE,
)
_MAX_ADDRESS = 2**64 - 1
_RELATIVE = re.compile(r"rel:([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Image:
    """A library or program in memory; `start` and `end` its addresses, end 0 when unknown."""

    facts: dict[str, Any]
    start: int
    end: int
    debug_id: str | None

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.facts.get("code_file") or self.facts.get("debug_file") or self.debug_id or "")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame points to: its image, and the address to look up, relative to it."""

    image: Image
    address: int


@dataclass(slots=True)
class Resolved:
    """Locations by relative address, and their source lines by path and line; or how it failed."""

    locations: dict[int, list[Location]]
    lines: dict[tuple[str, int], Lines | None]
    failure: str = ""
    detail: str = ""


def symbolicate_native(
    event: dict[str, Any], project_id: int, library: Library, budget: Budget, findings: Findings
) -> None:
    """Replace the native stacks of an event and say of each image what became of it (`debug_status`)."""
    _Native(event, project_id, library, budget, findings).run()


class _Native:
    """One event at work."""

    def __init__(
        self, event: dict[str, Any], project_id: int, library: Library, budget: Budget, findings: Findings
    ) -> None:
        self.project_id, self.library, self.budget, self.findings = project_id, library, budget, findings
        self.images = [_image(facts) for facts in images(event)]
        self.loaded = sorted((i for i in self.images if i and i.start), key=lambda image: image.start)
        self.starts = [image.start for image in self.loaded]
        self.signal = _signal(event)
        self.stacks = stacks(event)

    def run(self) -> None:
        work = []
        wanted: dict[int, tuple[Image, set[int]]] = {}
        for stack in self.stacks:
            if not any(frame.get("instruction_addr") for frame in stack.frames):
                continue
            places = [self._place(stack, index, frame) for index, frame in enumerate(stack.frames)]
            work.append((stack, places))
            for place in places:
                if place is not None:
                    wanted.setdefault(id(place.image), (place.image, set()))[1].add(place.address)
        resolved = {key: self._resolve(image, sorted(found)) for key, (image, found) in wanted.items()}
        for stack, places in work:
            self._replace(stack, places, resolved)

    # From frames to addresses

    def _place(self, stack: Stack, index: int, frame: Frame) -> Place | None:
        """Where a frame points to; None when it has no address or lies in no image."""
        address = int(frame.get("instruction_addr") or "0", 16)
        if not address:
            return None
        relative = _RELATIVE.fullmatch(frame.get("addr_mode") or "")
        if relative:
            number = int(relative[1])
            image = self.images[number] if number < len(self.images) else None
        else:
            image = self._image_at(address)
        if image is None:
            return None
        best = self._instruction(stack, index, address, image)
        return Place(image, best if relative else max(0, best - image.start))

    def _image_at(self, address: int) -> Image | None:
        position = bisect_right(self.starts, address)
        image = self.loaded[position - 1] if position else None
        return image if image and (not image.end or address < image.end) else None

    def _instruction(self, stack: Stack, index: int, address: int, image: Image) -> int:
        """The instruction to look up: what a caller's frame has is where it goes on after the call."""
        frames, trace = stack.frames, stack.trace
        adjustment = trace.get("instruction_addr_adjustment")
        top = index == len(frames) - 1
        if adjustment == "none" or (adjustment == "all_but_first" and top):
            return address
        arch = image.facts.get("arch")
        if not arch or not arch_is_known(arch):
            arch = "x86_64"  # an unknown instruction is at least one byte long
        crashing = top and adjustment != "all"
        crashed = crashing and (stack.exception is not None or bool(stack.holder.get("crashed")))
        register = self._register(trace, arch) if crashed else None
        signal = self.signal if register is not None else None
        best: int = find_best_instruction(address, arch, crashing, signal, register)  # type: ignore[no-untyped-call]
        return min(best, address)  # before the first instruction there is none: symbolic wraps around

    @staticmethod
    def _register(trace: dict[str, Any], arch: str) -> int | None:
        """The instruction pointer of a crash."""
        name = arch_get_ip_reg_name(arch)
        value = (trace.get("registers") or {}).get(name or "")
        try:
            number = int(value, 16) if isinstance(value, str) and len(value) <= 18 else 0
        except ValueError:
            return None
        return number if 0 < number <= _MAX_ADDRESS else None

    # From addresses to locations

    def _resolve(self, image: Image, addresses: list[int]) -> Resolved:
        if image.debug_id is None:
            return self._failed(image, MISSING, "no debug id")
        files = self.library.debug_files(self.project_id, image.debug_id)
        usable = sorted(
            (f for f in files if f.kind in _CONTAINERS and not _NAMES.isdisjoint(f.features)), key=_worth
        )
        if not any("debug" in file.features for file in usable):  # names alone are worth a second look later
            self.findings.missing.add(debug_id_key(image.debug_id))
        if not usable:
            return self._failed(image, MISSING, image.debug_id)
        failed: FileFailed | None = None
        for file in usable:
            try:
                locations = self._look_up(file, image.debug_id, addresses)
            except FileFailed as error:
                failed = failed or error
                continue
            image.facts["debug_status"] = "found"
            return Resolved(locations, self._lines(files, locations))
        assert failed is not None
        return self._failed(image, failed.failure.status, failed.failure.detail)

    def _failed(self, image: Image, status: str, detail: str) -> Resolved:
        image.facts["debug_status"] = status
        return Resolved({}, {}, status, detail)

    def _look_up(self, file: DebugFile, debug_id: str, addresses: list[int]) -> dict[int, list[Location]]:
        def request(unknown: list[int]) -> LookupAddresses:
            table = self.library.entry("symbols", file.digest, debug_id)
            return LookupAddresses(self.library.blob(file.digest), debug_id, table, unknown)

        found = self.library.look_up(f"symbols:{file.digest}/{debug_id}", addresses, request, self.budget)
        return dict(zip(addresses, found, strict=True))

    def _lines(
        self, files: Sequence[DebugFile], locations: dict[int, list[Location]]
    ) -> dict[tuple[str, int], Lines | None]:
        """Source lines from source bundles with the same debug id."""
        places = sorted(
            {(at.path, at.line) for found in locations.values() for at in found if at.path and at.line > 0}
        )
        lines: dict[tuple[str, int], Lines | None] = {}
        for file in files:
            left = [place for place in places if lines.get(place) is None]
            if file.kind != "sourcebundle" or not left:
                continue
            try:
                found = self._bundled_lines(file, left)
            except FileFailed as error:
                self.findings.error("native_bad_dsym", file.name, error.failure.detail)
                continue
            lines.update(zip(left, found, strict=True))
        return lines

    def _bundled_lines(self, file: DebugFile, places: list[tuple[str, int]]) -> list[Lines | None]:
        def request(unknown: list[tuple[str, int]]) -> ReadBundledLines:
            return ReadBundledLines(self.library.blob(file.digest), unknown)

        return self.library.look_up(f"sources:{file.digest}", places, request, self.budget)

    # From locations to frames

    def _replace(self, stack: Stack, places: list[Place | None], resolved: dict[int, Resolved]) -> None:
        def stands_for(index: int) -> list[Frame]:
            return self._frames(stack.frames[index], places[index], resolved)

        stack.replace(expanded(stack.frames, stands_for))

    def _frames(self, frame: Frame, place: Place | None, resolved: dict[int, Resolved]) -> list[Frame]:
        """The frames that one stands for, oldest call first."""
        if not frame.get("instruction_addr"):
            return [frame]
        if place is None:
            self.findings.error(
                "native_unknown_image", frame.get("package") or "?", frame["instruction_addr"]
            )
            return [with_status(frame, UNKNOWN_IMAGE)]
        image, result = place.image, resolved[id(place.image)]
        if result.failure:
            self.findings.error(_failure_error(result.failure, image), image.name, result.detail)
            return [with_status(frame, result.failure)]
        locations = result.locations.get(place.address)
        if not locations:
            self.findings.error("native_missing_symbol", image.name, frame["instruction_addr"])
            return [with_status(frame, MISSING_SYMBOL)]
        start = next((at.start for at in reversed(locations) if at.start >= 0), -1)
        return [_resolved(frame, image, at, start, result) for at in reversed(locations)]


def _resolved(frame: Frame, image: Image, at: Location, start: int, result: Resolved) -> Frame:
    made = with_status(frame, SYMBOLICATED, symbolicated=True)
    made["function"] = at.function[:1024]
    made.pop("raw_function", None)
    if at.mangled != at.function:
        made["raw_function"] = at.mangled[:1024]
    for name in ("filename", "abs_path", "lineno", "colno"):
        made.pop(name, None)
    if at.path:
        made["abs_path"] = at.path[:2048]
        made["filename"] = re.split(r"[/\\]", at.path)[-1][:1024]
    if 0 < at.line < 2**31:
        made["lineno"] = at.line
    if image.start:
        made["image_addr"] = hex(image.start)
    if start >= 0 and image.start + start <= _MAX_ADDRESS:
        made["symbol_addr"] = hex(image.start + start)
    if image.facts.get("code_file"):
        made["package"] = image.facts["code_file"][:1024]
    return with_lines(made, result.lines.get((at.path, at.line)) if at.path else None)


def _image(facts: dict[str, Any]) -> Image | None:
    if facts.get("type") not in NATIVE_IMAGES:
        return None
    start = int(facts.get("image_addr") or "0", 16)
    size = facts.get("image_size") or 0
    return Image(facts, start, start + size if size > 0 else 0, _debug_id(facts))


def _debug_id(facts: dict[str, Any]) -> str | None:
    """The debug id of an image: as given, else what its code id says."""
    given = facts.get("debug_id") or facts.get("uuid") or _from_code_id(facts)
    try:
        return normalize_debug_id(given) if given else None
    except SymbolicError:
        return None


def _from_code_id(facts: dict[str, Any]) -> str | None:
    """ELF: the first 16 bytes of the build id as a little-endian UUID; Mach-O: the UUID itself."""
    code_id = (facts.get("code_id") or "").replace("-", "").lower()
    if not re.fullmatch(r"(?:[0-9a-f]{2}){1,64}", code_id):
        return None
    if facts.get("type") in ("macho", "apple"):
        return code_id
    if facts.get("type") != "elf":
        return None
    first = bytes.fromhex(code_id)[:16].ljust(16, b"\0")
    return (first[3::-1] + first[5:3:-1] + first[7:5:-1] + first[8:]).hex()


def _signal(event: dict[str, Any]) -> int | None:
    """The number of the signal that ended the program."""
    for exception in exceptions(event):
        meta = (exception.get("mechanism") or {}).get("meta") or {}
        signal = meta.get("signal")
        number = signal.get("number") if isinstance(signal, dict) else None
        if isinstance(number, int) and 0 < number < 128:
            return number
    return None


def _worth(file: DebugFile) -> int:
    """Order of debug files: those with lines and inlined functions first, then those with symbols."""
    return 0 if "debug" in file.features else 1


def _failure_error(status: str, image: Image) -> str:
    kind = _FAILURE_ERRORS.get(status, "native_symbolicator_failed")
    if kind == "native_missing_dsym" and _SYSTEM.match(image.name):
        return "native_missing_system_dsym"
    return kind
