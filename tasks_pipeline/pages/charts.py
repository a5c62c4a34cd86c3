"""Charts as the outlines of SVG: bars of numbers. The templates put the rest around them."""

from __future__ import annotations

from collections.abc import Sequence


def bars(values: Sequence[float], *, height: int = 24, step: int = 5) -> str:
    """The path of bars from the left, one each `step`, to be drawn by their middle; the greatest is as high as the chart, any that is
    not 0 at least 2."""
    top = max(values, default=0)
    if top <= 0:
        return ""
    drawn = ((n, max(2, round(value / top * height))) for n, value in enumerate(values) if value > 0)
    return "".join(f"M{n * step + step // 2} {height}v-{tall}" for n, tall in drawn)


def told(values: Sequence[int], what: str) -> str:
    """A chart as a sentence, for those who do not see it."""
    if not values or not any(values):
        return f"no events in {what}"
    total, top = sum(values), max(values)
    return f"{total:,} events in {what}, at most {top:,} in one"
