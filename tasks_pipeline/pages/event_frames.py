"""Stack traces as pages show them: frames of the program with their source, runs of library frames in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tasks_pipeline.pages.event_values import Named, Room, lists, mapping, named

MOST_FRAMES = 200
_FIRST = 50
"""Frames of the beginning, where there are more: the others are of the end, where it failed."""
OPEN = 3
"""Frames in app that are open without being asked for."""
MOST_VALUES = 40
_LINE, _VALUE = 400, 1_000
_AROUND = 120
"""Characters of a long line around the column that failed."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source."""

    number: int | None
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame. `place` is file, line and column; `note` what keeps it from being shown as people wrote it."""

    place: str
    function: str
    module: str
    library: str
    address: str
    in_app: bool
    open: bool
    lines: Sequence[Line]
    values: Sequence[Named]
    note: str

    @property
    def more(self) -> bool:
        """Whether there is anything to open."""
        return bool(self.lines or self.values or self.address)


@dataclass(frozen=True, slots=True)
class Run:
    """Frames of one kind that follow each other, the crash first; of libraries they are one line until it is opened."""

    in_app: bool
    frames: Sequence[Frame]


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack trace, the crash first. `left_out`: frames that are not shown; `omitted`: those that the SDK left out."""

    runs: Sequence[Run]
    frames: int
    left_out: int
    omitted: str
    registers: Sequence[Named]

    @property
    def in_app(self) -> bool:
        """Whether any frame is the program's own."""
        return any(run.in_app for run in self.runs)


def shape_stack(
    room: Room, stack: Mapping[str, Any], meta: Mapping[str, Any], *, opened: bool
) -> Stack | None:
    """A stack trace; None where there is none. `opened`: its frames in app are, or else the one that crashed."""
    found = [(n, frame) for n, frame in enumerate(lists(stack.get("frames"))) if isinstance(frame, dict)]
    if not found or room.is_used_up():
        return None
    kept = found if len(found) <= MOST_FRAMES else [*found[:_FIRST], *found[_FIRST - MOST_FRAMES :]]
    own = [n for n, frame in kept if frame.get("in_app") is not False]
    open_ones = set((own or [kept[-1][0]])[-OPEN:]) if opened else set()
    of_frames = mapping(meta.get("frames"))
    frames = [
        _frame(room, frame, mapping(of_frames.get(str(n))), n in open_ones) for n, frame in reversed(kept)
    ]
    runs = [Run(in_app, list(run)) for in_app, run in groupby(frames, key=lambda frame: frame.in_app)]
    omitted = stack.get("frames_omitted")
    said = f"{omitted[0]} to {omitted[1]}" if isinstance(omitted, list) and len(omitted) == 2 else ""
    registers = named(room, mapping(stack.get("registers")).items(), {}, 100, 64)
    return Stack(runs, len(found), len(found) - len(kept), room.text(said, 40) if said else "", registers)


def _frame(room: Room, frame: Mapping[str, Any], meta: Mapping[str, Any], opened: bool) -> Frame:
    file = next(
        (frame[k] for k in ("filename", "module", "package", "instruction_addr") if frame.get(k)), "?"
    )
    line, column = (_number(frame.get(name)) for name in ("lineno", "colno"))
    numbers = "".join(f":{number}" for number in (line, column) if number is not None)
    return Frame(
        place=f"{room.text(file, 300)}{numbers}",
        function=room.text(frame.get("function") or frame.get("instruction_addr") or "?", 300),
        module=room.text(frame.get("module") or "", 200),
        library=room.text(str(frame.get("package") or "").rpartition("/")[2], 120),
        address=room.text(frame.get("instruction_addr") or "", 32),
        in_app=frame.get("in_app") is not False,
        open=opened and bool(frame.get("context_line") is not None or frame.get("vars")),
        lines=_lines(room, frame, line, column),
        values=named(
            room,
            mapping(frame.get("vars")).items(),
            mapping(meta.get("vars")),
            MOST_VALUES,
            _VALUE,
            flat=True,
        ),
        note=room.text(mapping(frame.get("data")).get("symbolication") or "", 80),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _lines(room: Room, frame: Mapping[str, Any], number: int | None, column: int | None) -> list[Line]:
    failed = frame.get("context_line")
    if failed is None or room.is_used_up():
        return []
    if len(str(failed)) > _LINE:  # minified: what matters is around the column
        return [Line(number, room.text(_around(str(failed), column), 2 * _AROUND + 2), True)]
    before, after = (
        [str(text) for text in lists(frame.get(name))][:10] for name in ("pre_context", "post_context")
    )
    texts = [*before, str(failed), *after]
    first = None if number is None else number - len(before)
    shaped = [
        Line(None if first is None or first + n < 0 else first + n, _code(room, text), n == len(before))
        for n, text in enumerate(texts)
    ]
    while shaped and not shaped[-1].text.strip() and not shaped[-1].failed:
        shaped.pop()
    return shaped


def _code(room: Room, text: str) -> str:
    return room.text(text.expandtabs(4).rstrip("\r\n"), _LINE, lines=True).replace("\n", " ")


def _around(text: str, column: int | None) -> str:
    at = min(max(0, (column or 1) - 1), len(text))
    start, end = max(0, at - _AROUND), min(len(text), at + _AROUND)
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
