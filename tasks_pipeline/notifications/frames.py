"""Frames for messages: the in-app frames of a stored event with the line that failed, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks_pipeline.notifications.message import Frame, clean

MAX_FRAMES = 5
AROUND = 2  # lines of source before and after the one that failed
CODE_LENGTH = 160


def frames_of(event: Mapping[str, Any]) -> tuple[Frame, ...]:
    """The in-app frames nearest to the crash, that one first; all frames where none is in-app."""
    stack = _stack(event)
    own = [frame for frame in stack if frame.get("in_app") is not False] or stack
    return tuple(_frame(frame, first=index == 0) for index, frame in enumerate(reversed(own[-MAX_FRAMES:])))


def paths_of(event: Mapping[str, Any]) -> list[str]:
    """File names of the in-app frames, the crash first: what ownership rules are applied to."""
    own = [frame for frame in _stack(event) if frame.get("in_app") is not False]
    names = (
        frame.get("abs_path") if "/" not in str(frame.get("filename")) else frame.get("filename")
        for frame in own
    )
    return list(dict.fromkeys(str(name)[:500] for name in reversed(list(names)) if name))[:50]


def _stack(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    exceptions = [*_values(event, "exception")]
    threads = [
        thread for thread in _values(event, "threads") if thread.get("crashed") or thread.get("current")
    ]
    for holder in (*reversed(exceptions), *threads, event):
        frames = _dict(holder.get("stacktrace")).get("frames")
        found = [frame for frame in frames if isinstance(frame, dict)] if isinstance(frames, list) else []
        if found:
            return found
    return []


def _frame(frame: Mapping[str, Any], *, first: bool) -> Frame:
    line = frame.get("lineno")
    number = line if isinstance(line, int) else None
    file = next(
        (frame[n] for n in ("filename", "module", "package", "instruction_addr") if frame.get(n)), "?"
    )
    return Frame(
        clean(file, 200), number, clean(frame.get("function") or "?", 200), _lines(frame, number, first)
    )


def _lines(
    frame: Mapping[str, Any], number: int | None, first: bool
) -> tuple[tuple[int | None, str, bool], ...]:
    if frame.get("context_line") is None:
        return ()
    before = _texts(frame.get("pre_context"))[-AROUND:] if first else []
    after = _texts(frame.get("post_context"))[:AROUND] if first else []
    texts = [*before, str(frame["context_line"]), *after]
    start = None if number is None else number - len(before)
    lines = [
        (None if start is None else start + i, _code(text), i == len(before)) for i, text in enumerate(texts)
    ]
    while lines and not lines[-1][1].strip() and not lines[-1][2]:
        lines.pop()
    while lines and not lines[0][1].strip() and not lines[0][2]:
        lines.pop(0)
    return tuple(lines)


def _code(text: str) -> str:
    return clean(text[: CODE_LENGTH * 2].expandtabs(4).rstrip(), CODE_LENGTH, lines=True).replace("\n", " ")


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def _values(event: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = _dict(event.get(name)).get("values")
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
