"""Spans of reports in SQL: which days, slots and entries of lists of slots lie in a period, or in each of several.

A period has its first and its last UTC day in part, so rows of whole days are not enough: counts carry their slot, sets the
numbers of the slots. All values here are our own, and constants, since these choose files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from tasks_pipeline.releases.spans import DAY, SLOT, begin_of
from tasks_pipeline.reports.periods import Period

SLOTS_A_DAY = DAY // SLOT


@dataclass(frozen=True, slots=True)
class Bounds:
    """From one moment up to another, UTC."""

    start: datetime
    end: datetime

    @property
    def days(self) -> list[date]:
        """The UTC days that it touches."""
        if self.start >= self.end:
            return []
        first, last = self.start.date(), (self.end - timedelta(microseconds=1)).date()
        return [first + n * DAY for n in range((last - first).days + 1)]

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds() / 3600


def bounds_of(period: Period) -> Bounds:
    """The bounds of a period."""
    return Bounds(period.start, period.end)


def in_days(spans: Sequence[Bounds]) -> str:
    """A condition on `day` that chooses the files of these spans; false where there are none."""
    days = sorted({day for span in spans for day in span.days})
    if not days:
        return "false"
    between = f"day BETWEEN {_date(days[0])} AND {_date(days[-1])}"
    if len(days) == (days[-1] - days[0]).days + 1:
        return between
    return f"{between} AND day IN ({', '.join(map(_date, days))})"


def spans_table(spans: Sequence[Bounds]) -> str:
    """A table `span` of the spans: number, begins, ends, and of the days at its borders the first and last slot (exclusive)."""
    rows = ", ".join(_row(number, span) for number, span in enumerate(spans) if span.days)
    return f"(VALUES {rows}) AS span(number, begins, ends, first_day, last_day, first_slot, last_slot)"


ON_SLOT = "slot >= begins AND slot < ends"
"""Joins rows with a slot to the spans that hold it."""
ON_MOMENT = '"at" >= begins AND "at" < ends'
"""Joins rows with a moment to the spans that hold it."""
ON_DAY = "day BETWEEN first_day AND last_day"
"""Joins rows of days to the spans that touch them."""
_FROM = "CASE WHEN day = first_day THEN first_slot ELSE 0 END"
_UNTIL = f"CASE WHEN day = last_day THEN last_slot ELSE {SLOTS_A_DAY} END"
_WHOLE = f"({_FROM} = 0 AND {_UNTIL} = {SLOTS_A_DAY})"


def has_slot(column: str) -> str:
    """Whether a list of slots of a day has one in the span."""
    return f"({_WHOLE} OR len(list_filter({column}, lambda s: s >= {_FROM} AND s < {_UNTIL})) > 0)"


def summed_slots(column: str) -> str:
    """What the counts of a map by slot add up to in the span."""
    entries = f"list_filter(map_entries({column}), lambda e: e.key >= {_FROM} AND e.key < {_UNTIL})"
    return f"coalesce(list_sum(list_transform({entries}, lambda e: e.value)), 0)::BIGINT"


def in_slots(span: Bounds) -> str:
    """A condition on rows with a slot: those in a span."""
    return f"{in_days([span])} AND slot >= {moment(span.start)} AND slot < {moment(span.end)}"


def in_moments(span: Bounds) -> str:
    """A condition on rows with a moment: those in a span. `at` is a word of DuckDB."""
    return f'{in_days([span])} AND "at" >= {moment(span.start)} AND "at" < {moment(span.end)}'


def moment(at: datetime) -> str:
    """A moment as a constant."""
    return f"TIMESTAMPTZ '{at.isoformat()}'"


def _row(number: int, span: Bounds) -> str:
    first, last = span.days[0], span.days[-1]
    first_slot = (span.start - begin_of(first)) // SLOT
    last_slot = -(-(span.end - begin_of(last)) // SLOT)
    return f"({number}, {moment(span.start)}, {moment(span.end)}, {_date(first)}, {_date(last)}, {first_slot}, {last_slot})"


def _date(day: date) -> str:
    return f"DATE '{day.isoformat()}'"
