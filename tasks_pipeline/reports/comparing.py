"""Comparison of figures: with the period before, and with the mean of up to four before. What the figures are does not belong here.

Rates per hour where the periods differ in length: an event an hour is no growth in a week of 169 hours. Shares are compared
by their difference in points; levels, sets and scores, of which nobody can tell what an hour has of them, by their difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from tasks_pipeline.reports.report import Change

NEW, NO_CHANGE, NO_DATA = "new", "0 %", "no data yet"
HARDLY = 0.005
"""A change below half a percent is none to speak of."""
TIMES = 5
"""From five times on people are told how many times, and not how many percent."""
_HALF = 0.5
"""Things are counted whole: 3 deploys in a week of 169 hours are as many as 3 in one of 168."""
_DIGITS = 6  # of a change; what lies behind them is an error of the division


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure of a period that is so many hours long; None: there are no data of it."""

    value: float | None
    hours: float


def relative(now: Measured, before: Measured, baseline: Sequence[float] = ()) -> Change | None:
    """The change of what adds up over time. None where there is nothing of now to compare."""
    if now.value is None:
        return None
    if before.value is None:
        return _change(None, NO_DATA, "relative", baseline)
    change = change_of(now, before)
    return _change(change, change_text(change), "relative", baseline)


def change_of(now: Measured, before: Measured) -> float | None:
    """Rate per hour against the rate before, less 1; None of something against nothing, 0 of nothing against nothing, and of what
    is not one more or less than that rate lets expect."""
    assert now.value is not None
    assert before.value is not None
    if before.value == 0:
        return None if now.value else 0.0
    if now.hours == before.hours or not (now.hours and before.hours):
        return round(now.value / before.value - 1, _DIGITS)
    expected = before.value / before.hours * now.hours
    if abs(now.value - expected) < _HALF:
        return 0.0
    return round(now.value / expected - 1, _DIGITS) + 0.0


def change_text(change: float | None) -> str:
    """`+50 %`, `0 %`, `12 times`, `new`."""
    if change is None:
        return NEW
    if change + 1 >= TIMES:
        return f"{change + 1:,.0f} times"
    return f"{100 * change:+.0f} %" if abs(change) >= HARDLY else NO_CHANGE


def points(
    now: float | None,
    before: float | None,
    counts: tuple[int, int],
    least: int = 1,
    baseline: Sequence[float] = (),
    kind: Literal["points", "difference"] = "points",
) -> Change | None:
    """The change of a share in percentage points, of a score that is no percentage its `difference`. `counts`: of how many each
    is; where one is of fewer than `least`, no change is told, since it says nothing."""
    if now is None:
        return None
    if before is None:
        return _change(None, NO_DATA, kind, baseline)
    if min(counts) < least:
        return _change(None, f"too few to tell ({min(counts):,})", kind, baseline)
    change = round(now - before, _DIGITS) + 0.0
    return _change(change, _TEXTS[kind](change), kind, baseline)


_TEXTS: dict[str, Callable[[float], str]] = {
    "points": lambda change: f"{100 * change:+.2f} points" if abs(change) >= HARDLY / 100 else "0 points",
    "difference": lambda change: f"{change:+.2f}" if abs(change) >= HARDLY else "0",
}


def difference(now: float | None, before: float | None, baseline: Sequence[float] = ()) -> Change | None:
    """The change of a level or of a set."""
    if now is None:
        return None
    if before is None:
        return _change(None, NO_DATA, "difference", baseline)
    change = now - before
    return _change(change, f"{change:+,g}" if change else "0", "difference", baseline)


def per_usual_hours(found: Sequence[Measured], hours: float) -> list[float]:
    """Figures of several periods as they would be in one of so many hours; those without data are left out."""
    return [each.value / each.hours * hours for each in found if each.value is not None and each.hours]


def _change(change: float | None, text: str, kind: str, baseline: Sequence[float]) -> Change:
    mean = round(fmean(baseline), 3) if baseline else None
    return Change(change=change, text=text, kind=kind, baseline=mean, periods=len(baseline))
