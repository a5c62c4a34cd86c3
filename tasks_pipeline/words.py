"""Words for people: numbers with what they count, ids that are too long to read."""

from __future__ import annotations

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"
SPARKLINE_LENGTH = 60


def counted(number: int, word: str) -> str:
    """`1 event`, `1,234 events`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def minutes(number: float) -> str:
    """`1 minute`, `2.5 minutes`."""
    return f"{number:g} minute{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """A duration for people: `42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def short_commit(sha: str) -> str:
    """The beginning of a commit's id, long enough to tell commits apart."""
    return sha[:12]


def sparkline(values: Sequence[float]) -> str:
    """Values as one line of bars, at most SPARKLINE_LENGTH of them; neighbours are added up when there are more."""
    if not values:
        return ""
    width = -(-len(values) // SPARKLINE_LENGTH)
    sums = [sum(values[i : i + width]) for i in range(0, len(values), width)]
    top = max(sums) or 1
    return "".join(_BARS[min(len(_BARS) - 1, int(v / top * (len(_BARS) - 1) + 0.5))] for v in sums)
