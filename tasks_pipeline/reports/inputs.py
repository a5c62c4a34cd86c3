"""What reports are made of, by UTC day: the figures and the health that they read, and whether the days have others since.

Figures are compared by what they are, never by when they were computed: of two processes that work at once neither knows when
the other commits.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.analytics.statistics.days import newest_versions
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.storage.state.tables import health_days, statistics_days

Input = Mapping[str, Any]
"""A day as a report read it: `version` and `digest` of its figures, whether they were `closed`, and how many changes of
`sessions` its health had."""
NOTHING: dict[str, Any] = {"version": 0, "digest": "", "closed": False, "sessions": 0}
"""A day without figures."""


def inputs_between(connection: Connection, first: date, last: date) -> dict[date, dict[str, Any]]:
    """The days from one to another of which there are figures or health, as they are now."""
    s, h = statistics_days.c, health_days.c
    found: dict[date, dict[str, Any]] = {}
    for row in connection.execute(newest_versions(first, last, s.day, s.version, s.digest, s.closed)):
        figures = {"version": row.version, "digest": row.digest, "closed": row.closed}
        found[row.day] = {**NOTHING, **figures}
    for day, computed in connection.execute(select(h.day, h.computed).where(h.day.between(first, last))):
        found.setdefault(day, dict(NOTHING))["sessions"] = computed
    return found


def inputs_of(period: Period, known: Mapping[date, Input]) -> dict[str, Input]:
    """What a report of a period is made of, as it is stored with it."""
    return {day.isoformat(): known[day] for day in period.utc_days if day in known}


def has_other_figures(was: Input | None, now: Input) -> bool:
    """Whether the figures of a day are others than a report read, or closed as they were not then. Inputs of before
    `closed` was noted are taken as closed."""
    if was is None or was["digest"] != now["digest"]:
        return bool(now["version"])
    return bool(now["closed"]) and not was.get("closed", True)
