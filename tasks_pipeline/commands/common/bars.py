"""Bars of block characters for shares, as tables on a terminal show them."""

from __future__ import annotations

from tasks_pipeline.commands.common.tables import terminal_width

WIDTH = 10
_PARTS = " ▏▎▍▌▋▊▉█"
_FULL = _PARTS[-1]


def bar(share: float | None, width: int = WIDTH) -> str:
    """A share (0 to 1) as a bar of up to `width` cells, an eighth of a cell at least for what is not nothing; empty for None.
    A bar is full only for all of it."""
    if share is None:
        return ""
    eighths = int(max(0.0, min(1.0, share)) * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return _FULL * full + _PARTS[rest].strip()


def with_bar(share: float | None, text: str | None) -> str:
    """A share as text, on a terminal behind its bar."""
    if text is None or share is None:
        return ""
    return f"{bar(share):<{WIDTH}} {text}" if terminal_width() is not None else text
