"""Stack traces as clients know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stacktrace_json(stack: Any) -> dict[str, Any] | None:
    """A stack trace, the oldest call first."""
    if not isinstance(stack, Mapping) or not stack.get("frames"):
        return None
    frames = [frame_json(each) for each in stack["frames"] if isinstance(each, Mapping)]
    omitted = stack.get("frames_omitted")
    return {
        "frames": frames,
        "framesOmitted": list(omitted) if omitted else None,
        "registers": stack.get("registers"),
        "hasSystemFrames": {frame["inApp"] for frame in frames} == {True, False},
    }


def frame_json(frame: Mapping[str, Any]) -> dict[str, Any]:
    """A frame, with the source around its line."""
    return {
        "filename": frame.get("filename"),
        "absPath": frame.get("abs_path"),
        "module": frame.get("module"),
        "package": frame.get("package"),
        "platform": frame.get("platform"),
        "function": frame.get("function"),
        "rawFunction": frame.get("raw_function"),
        "lineNo": frame.get("lineno"),
        "colNo": frame.get("colno"),
        "inApp": bool(frame.get("in_app")),
        "context": _context(frame),
        "vars": frame.get("vars"),
        "instructionAddr": frame.get("instruction_addr"),
        "addrMode": frame.get("addr_mode"),
        "symbol": frame.get("symbol"),
        "symbolAddr": frame.get("symbol_addr"),
        "trust": frame.get("trust"),
        "errors": frame.get("errors"),
        "lock": frame.get("lock"),
    }


def _context(frame: Mapping[str, Any]) -> list[list[Any]]:
    line, source = frame.get("lineno"), frame.get("context_line")
    if source is None or not isinstance(line, int):
        return []
    before, after = frame.get("pre_context") or [], frame.get("post_context") or []
    lines = [*before, source, *after]
    return [[line - len(before) + n, text] for n, text in enumerate(lines)]
