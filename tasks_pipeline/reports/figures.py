"""Figures of a report: its measures by the names that people and programs know, and what changed since the periods before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from tasks_pipeline.reports.comparing import Measured, difference, per_usual_hours, points, relative
from tasks_pipeline.reports.content.measures import Measure
from tasks_pipeline.reports.content.transactions import apdex, failure_rate
from tasks_pipeline.reports.report import Change, Number

_MOVES: dict[str, Callable[[Measure], int]] = {
    name: (lambda m, name=name: getattr(m, name))  # type: ignore[misc]
    for name in (
        "errors", "new_groups", "sessions", "transactions", "check_ins", "incidents", "notifications", "deploys", "items",
        "moves",
    )
}  # fmt: skip
"""Figures of what happened: compared per hour where lengths differ."""
_ALWAYS = ("errors", "users", "new_groups")
"""Figures that are shown as zero too; others are left out where they are zero in both periods."""
_LEVELS: dict[str, Callable[[Measure], int]] = {"open_groups": lambda m: m.open_groups}
_SETS: dict[str, Callable[[Measure], int]] = {
    "users": lambda m: m.users,
    "failed_monitors": lambda m: m.failed_monitors,
}
"""Figures of distinct things: twice the hours do not have twice as many."""
_SHARES: dict[str, tuple[Callable[[Measure], float | None], Callable[[Measure], int]]] = {
    "crash_free_sessions": (lambda m: _crash_free(m.sessions, m.crashed), lambda m: m.sessions),
    "crash_free_users": (lambda m: _crash_free(m.session_users, m.crashed_users), lambda m: m.session_users),
    "apdex": (apdex, lambda m: m.transactions),
    "failure_rate": (failure_rate, lambda m: m.transactions),
}
"""Shares, each with what it is a share of."""
_SCORES = ("apdex",)
"""Shares that people do not read as percentages."""
_NUMBERS = {**_MOVES, **_SETS, **_LEVELS}

Past = tuple[Measure, float]
"""What was measured of a period before, and its hours."""


def figures_of(measure: Measure, before: Measure | None) -> dict[str, Number]:
    """The figures of a period, without those that there is nothing to tell of: a zero behind something is told."""
    found: dict[str, Number] = {}
    for name, number in _NUMBERS.items():
        value = number(measure)
        if value or name in _ALWAYS or name in _LEVELS or (before is not None and number(before)):
            found[name] = value
    for name, (share, of) in _SHARES.items():
        if of(measure) or (before is not None and of(before)):
            found[name] = share(measure)
    return found


def changes_of(
    now: Past, before: Past | None, baseline: Sequence[Past], *, min_sessions: int
) -> dict[str, Change]:
    """Changes of the figures by name; `before` is None where there are no data of it yet."""
    measure, hours = now
    found: dict[str, Change | None] = {}
    shown = figures_of(measure, None if before is None else before[0])
    for name in shown:
        if name in _MOVES:
            number = _MOVES[name]
            earlier = Measured(None, 0) if before is None else Measured(number(before[0]), before[1])
            past = per_usual_hours([Measured(number(m), h) for m, h in baseline], hours)
            found[name] = relative(Measured(number(measure), hours), earlier, past)
        elif name in _NUMBERS:
            number = _NUMBERS[name]
            past = [float(number(m)) for m, _ in baseline]
            found[name] = difference(number(measure), None if before is None else number(before[0]), past)
        else:
            found[name] = _share_change(name, measure, before, baseline, min_sessions)
    return {name: change for name, change in found.items() if change is not None}


def _share_change(
    name: str, measure: Measure, before: Past | None, baseline: Sequence[Past], min_sessions: int
) -> Change | None:
    share, of = _SHARES[name]
    earlier = None if before is None else share(before[0])
    counts = of(measure), 0 if before is None else of(before[0])
    past = [value for m, _ in baseline if (value := share(m)) is not None]
    kind: Literal["points", "difference"] = "difference" if name in _SCORES else "points"
    return points(share(measure), earlier, counts, min_sessions, past, kind)


def _crash_free(sessions: int, crashed: int) -> float | None:
    """Six digits, cut and never rounded up: 1 is only said of all."""
    return (1_000_000 * (sessions - crashed) // sessions) / 1_000_000 if sessions else None
