"""Shares as people read them: percent, cut and never rounded, so that 100 means all and 0 means none."""

from __future__ import annotations

_DIGITS = 1000  # three behind the point


def percent_text(part: int, of: int) -> str | None:
    """A share in percent, at most three digits behind the point: `100` only if it is all, `0` only if it is nothing; None where
    there is nothing to have a share of."""
    if of <= 0:
        return None
    cut = 100 * _DIGITS * part // of
    if part > 0:
        cut = max(cut, 1)
    whole, rest = divmod(cut, _DIGITS)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".") if rest else str(whole)


def crash_free_text(crashed: int, of: int) -> str | None:
    """The share of sessions, or of users, that did not crash; None where there were none, which is not 100."""
    return percent_text(of - crashed, of)
