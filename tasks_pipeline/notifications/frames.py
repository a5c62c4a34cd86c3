"""Frames for messages: the in-app frames of a stored event with the line that failed, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks_pipeline.notifications.message import Frame
from tasks_pipeline.texts import clean

MAX_FRAMES = 5
AROUND = 2  # lines of source before and after the one that failed
CODE_LENGTH = 160
SNIPPED = "{snip}"
"""What the SDKs for JavaScript put where they cut a line of code."""
SNIP_BEFORE = 60  # characters that they leave before the column that failed
MINIFIED_BEFORE, MINIFIED_AFTER = 30, 60  # characters that are shown around it


def paths_of(event: Mapping[str, Any]) -> list[str]:
    """File names of the in-app frames, the crash first: what ownership rules are applied to."""
    own = [frame for frame in stack_of(event) if frame.get("in_app") is not False]
    names = (
        frame.get("abs_path") if "/" not in str(frame.get("filename")) else frame.get("filename")
        for frame in own
    )
    return list(dict.fromkeys(str(name)[:500] for name in reversed(list(names)) if name))[:50]


def stack_of(event: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The frames of what failed last: of the last exception that has some, else of the thread that crashed or the event."""
    exceptions = [*values_of(event, "exception")]
    threads = [
        thread for thread in values_of(event, "threads") if thread.get("crashed") or thread.get("current")
    ]
    for holder in (*reversed(exceptions), *threads, event):
        frames = mapping_of(holder.get("stacktrace")).get("frames")
        found = [frame for frame in frames if isinstance(frame, dict)] if isinstance(frames, list) else []
        if found:
            return found
    return []


def own_frames(stack: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The in-app frames that are shown, the crash last; of all frames where none is in-app."""
    return ([frame for frame in stack if frame.get("in_app") is not False] or stack)[-MAX_FRAMES:]


def shown_frame(frame: Mapping[str, Any], *, first: bool) -> Frame:
    """A frame with its code; the lines around the one that failed are those of the first alone."""
    line, column = _number(frame.get("lineno")), _number(frame.get("colno"))
    file = next(
        (frame[n] for n in ("filename", "module", "package", "instruction_addr") if frame.get(n)), "?"
    )
    function = clean(frame.get("function") or "?", 200)
    return Frame(clean(file, 200), line, function, _lines(frame, line, column, first), column)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _lines(
    frame: Mapping[str, Any], number: int | None, column: int | None, first: bool
) -> tuple[tuple[int | None, str, bool], ...]:
    if frame.get("context_line") is None:
        return ()
    failed = str(frame["context_line"])
    if SNIPPED in failed or (column is not None and len(failed) > CODE_LENGTH):
        return ((number, _minified(failed, column), True),) if first else ()
    before = _texts(frame.get("pre_context"))[-AROUND:] if first else []
    after = _texts(frame.get("post_context"))[:AROUND] if first else []
    texts = [*before, failed, *after]
    start = None if number is None else number - len(before)
    lines = [
        (None if start is None else start + i, _code(text), i == len(before)) for i, text in enumerate(texts)
    ]
    while lines and not lines[-1][1].strip() and not lines[-1][2]:
        lines.pop()
    while lines and not lines[0][1].strip() and not lines[0][2]:
        lines.pop(0)
    # A phone shows forty characters: they are not for the depth that all of them have.
    depth = min((len(code) - len(code.lstrip()) for _, code, _ in lines if code.strip()), default=0)
    return tuple((n, code[depth:], failed) for n, code, failed in lines)


def _minified(line: str, column: int | None) -> str:
    """What stands around the column that failed: the line of a minified file is all of it."""
    text = line.strip()
    cut_before, cut_after = text.startswith(SNIPPED), text.endswith(SNIPPED)
    text = text.removeprefix(SNIPPED).removesuffix(SNIPPED).strip()
    at = SNIP_BEFORE if cut_before else (column or 1) - 1
    start, end = max(0, min(at, len(text)) - MINIFIED_BEFORE), at + MINIFIED_AFTER
    before = "…" if start or cut_before else ""
    after = "…" if end < len(text) or cut_after else ""
    return f"{before}{_code(text[start:end])}{after}"


def _code(text: str) -> str:
    return clean(text[: CODE_LENGTH * 2].expandtabs(4).rstrip(), CODE_LENGTH, lines=True).replace("\n", " ")


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else []


def values_of(event: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The exceptions, threads or breadcrumbs of an event."""
    values = mapping_of(event.get(name)).get("values")
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def mapping_of(value: object) -> dict[str, Any]:
    """An object as it is; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}
