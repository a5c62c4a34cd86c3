"""Whether this process was told to end soon: whoever lingers asks between two steps, and ends in order."""

from __future__ import annotations

_told = False


def tell_to_stop() -> None:
    """Have what works in this process end at its next step; there is no way back. A signal handler may call it."""
    global _told
    _told = True


def told_to_stop() -> bool:
    """Whether somebody did."""
    return _told
