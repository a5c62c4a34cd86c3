"""Which periods there can be a report of: those that ended, and of which something was received. When one is due is in due.py."""

from __future__ import annotations

from datetime import date, datetime

from tasks_pipeline.config import Config
from tasks_pipeline.releases.spans import begin_of
from tasks_pipeline.reports.periods import Kind, Period, period_of
from tasks_pipeline.reports.scopes import Scope, scopes_of


def periods_named(config: Config, kind: Kind, key: date) -> list[tuple[Period, Scope]]:
    """The period of that name of each scope, that of the organisation first. Raises PeriodError where none begins on that day."""
    return [
        (period_of(kind, key, scope.zone, config.reports.week_starts), scope) for scope in scopes_of(config)
    ]


def computable(
    config: Config, kind: Kind, key: date, first: date | None, now: datetime
) -> list[tuple[Period, Scope]]:
    """The scopes that can have a report of that name, each with its period; `first` as of `why_no_figures`. Raises PeriodError."""
    return [each for each in periods_named(config, kind, key) if not why_no_report(each[0], first, now)]


def why_no_figures(period: Period, first: date | None, now: datetime) -> str:
    """Why nothing can be told of a period, not even as a preview; empty when something can. `first`: the UTC day of the first
    envelope, None while none was received."""
    named = f"{period.kind} {period.label}"
    if period.start > now:
        return f"{named} is still to come: it begins at {period.start:%Y-%m-%d %H:%M} UTC"
    if first is None:
        return "nothing was ever received, so there is nothing to report"
    if period.end <= begin_of(first):
        return f"nothing was received before {first}, so there are no data of {named}"
    return ""


def why_no_report(period: Period, first: date | None, now: datetime) -> str:
    """Why there is no report of a period, and what there is instead; empty when there can be one."""
    why = why_no_figures(period, first, now)
    if why or period.end <= now:
        return why
    return (
        f"{period.kind} {period.label} goes on until {period.end:%Y-%m-%d %H:%M} UTC: "
        f"`tasks-pipeline reports preview {period.kind}` shows what it comes to so far"
    )
