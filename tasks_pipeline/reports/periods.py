"""Periods: the days, weeks and months of a time zone, with their bounds in UTC. What happened in them does not belong here.

A day is from the first instant of its date up to that of the next date, so that days of 23, 23.5 and 25 hours, dates without
a midnight and dates with two of them tile the time line. Bounds are converted here, and all SQL gets UTC: DuckDB takes the
second of two midnights, and its weeks begin on Monday wherever the connection is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from tasks_pipeline.zones import zone_named

Kind = Literal["day", "week", "month"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ADVERBS: dict[Kind, str] = {"day": "daily", "week": "weekly", "month": "monthly"}
WEEK_STARTS = {"monday": 0, "saturday": 5, "sunday": 6}
"""Days on which weeks may begin, by what Python numbers them."""
FIRST, LAST = date(1970, 1, 1), date(9000, 1, 1)
"""Periods begin between these dates."""

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)
_WIDEST = timedelta(hours=26)  # no two clocks of the world, and no change of one, are further apart


class PeriodError(ValueError):
    """There is no such period; the message says why, and what is allowed."""


@dataclass(frozen=True, slots=True)
class Period:
    """A day, week or month: `start` and `end` (exclusive) are UTC, `key` is the local date on which it begins."""

    kind: Kind
    key: date
    zone: str
    week_starts: str
    start: datetime
    end: datetime

    @property
    def label(self) -> str:
        """What people call it: 2026-11-22; 2026-W47 for weeks from Monday, else the date; 2026-11."""
        if self.kind == "month":
            return f"{self.key:%Y-%m}"
        if self.kind == "week" and self.week_starts == "monday":
            year, week, _ = self.key.isocalendar()
            return f"{year}-W{week:02}"
        return self.key.isoformat()

    @property
    def hours(self) -> float:
        """How long it is: 23.5 where clocks moved by half an hour."""
        return (self.end - self.start).total_seconds() / 3600

    @property
    def usual_hours(self) -> float:
        """How long it is where no clock changes."""
        return (_next_key(self.kind, self.key) - self.key).days * 24.0

    @property
    def utc_days(self) -> list[date]:
        """The UTC days that it touches, oldest first; the first and the last may be touched in part."""
        if self.start == self.end:  # a date that a zone left out
            return []
        first, last = self.start.date(), (self.end - timedelta(microseconds=1)).date()
        return [first + n * _DAY for n in range((last - first).days + 1)]

    def previous(self, by: int = 1) -> Period:
        """The period before it of the same kind, or the one so many before."""
        key = self.key
        for _ in range(by):
            key = _first_key(self.kind, key - _DAY, self.week_starts)
        return period_of(self.kind, key, self.zone, self.week_starts)

    def next(self) -> Period:
        """The period behind it."""
        return period_of(self.kind, _next_key(self.kind, self.key), self.zone, self.week_starts)

    def baseline(self) -> list[Period]:
        """The four that its figures are compared with beside the one before: weeks, and days of the same weekday; newest first."""
        if self.kind == "month":
            return []
        if self.kind == "week":
            return [self.previous(n) for n in range(1, 5)]
        return [
            period_of("day", self.key - timedelta(days=7 * n), self.zone, self.week_starts)
            for n in range(1, 5)
        ]

    def locally(self, moment: datetime) -> datetime:
        """A moment as clocks of its zone show it."""
        return moment.astimezone(zone_named(self.zone))


def kind_named(text: str) -> Kind:
    """`day` of day or daily, and so on. Raises PeriodError."""
    for kind, adverb in ADVERBS.items():
        if text.lower() in (kind, adverb):
            return kind
    raise PeriodError(f"{text[:40]!r} is no kind of period; allowed are day, week and month")


def period_of(kind: Kind, key: date, zone: str, week_starts: str = "monday") -> Period:
    """The period that begins on a local date. Raises PeriodError for a date on which none begins, and for an unknown zone,
    kind or first day of weeks."""
    _check(kind, zone, week_starts)
    if not FIRST <= key < LAST:
        raise PeriodError(f"{key} is out of range; periods begin between {FIRST} and {LAST}")
    first = _first_key(kind, key, week_starts)
    if key != first:
        begins = f"weeks begin on {week_starts.capitalize()}" if kind == "week" else "months begin on the 1st"
        raise PeriodError(f"no {kind} begins on {key}: {begins}; the one that holds it begins on {first}")
    return Period(
        kind, key, zone, week_starts, first_instant(key, zone), first_instant(_next_key(kind, key), zone)
    )


def period_at(kind: Kind, instant: datetime, zone: str, week_starts: str = "monday") -> Period:
    """The period that holds a moment (an aware datetime). Raises PeriodError."""
    _check(kind, zone, week_starts)
    return period_with(kind, local_day(instant, zone), zone, week_starts)


def period_with(kind: Kind, day: date, zone: str, week_starts: str = "monday") -> Period:
    """The period that holds a local date. Raises PeriodError."""
    _check(kind, zone, week_starts)
    return period_of(kind, _first_key(kind, day, week_starts), zone, week_starts)


def key_named(kind: Kind, text: str, week_starts: str = "monday") -> date:
    """The key that somebody writes: a date, or a label such as 2026-W47 or 2026-11. Raises PeriodError."""
    try:
        if kind == "month" and len(text) == len("2026-11"):
            return date.fromisoformat(f"{text}-01")
        if kind == "week" and "W" in text and week_starts != "monday":
            raise PeriodError(
                f"weeks from {week_starts.capitalize()} have no numbers; give the date on which it begins"
            )
        return date.fromisoformat(text)  # knows 2026-W47 too: its Monday
    except PeriodError:
        raise
    except ValueError:
        raise PeriodError(
            f"{text[:40]!r} is no date; allowed are 2026-11-22, 2026-W47 (of weeks from Monday) and 2026-11 (of months)"
        ) from None


def local_day(instant: datetime, zone: str) -> date:
    """The day of a zone that holds a moment. Where clocks go back over midnight, its date may come twice: the day is the one
    that had begun."""
    found = instant.astimezone(zone_named(zone)).date()
    while instant < first_instant(found, zone):
        found -= _DAY
    while instant >= first_instant(found + _DAY, zone):
        found += _DAY
    return found


@lru_cache(maxsize=4096)
def first_instant(day: date, zone: str) -> datetime:
    """When a date begins in a zone, as UTC: its first midnight, or where that is skipped the moment of the change."""
    known = zone_named(zone)
    found = datetime.combine(day, time(), known).astimezone(UTC)  # fold 0: the first of two
    if found.astimezone(known).replace(tzinfo=None) == datetime.combine(day, time()):
        return found
    return _change_into(day, known, found)


def _change_into(day: date, zone: ZoneInfo, after: datetime) -> datetime:
    """The first second of a date whose midnight is skipped; it begins by `after`."""
    before = after - _WIDEST
    while after - before > _SECOND:
        middle = before + ((after - before) // 2 // _SECOND) * _SECOND
        if middle.astimezone(zone).date() < day:
            before = middle
        else:
            after = middle
    return after


def _check(kind: str, zone: str, week_starts: str) -> None:
    if kind not in KINDS:
        raise PeriodError(f"{kind[:40]!r} is no kind of period; allowed are day, week and month")
    if week_starts not in WEEK_STARTS:
        raise PeriodError(f"weeks cannot begin on {week_starts[:40]!r}; allowed are {', '.join(WEEK_STARTS)}")
    try:
        zone_named(zone)
    except ValueError as error:
        raise PeriodError(str(error)) from None


def _first_key(kind: Kind, day: date, week_starts: str) -> date:
    """The key of the period that holds a date."""
    if kind == "week":
        return day - timedelta(days=(day.weekday() - WEEK_STARTS[week_starts]) % 7)
    return day.replace(day=1) if kind == "month" else day


def _next_key(kind: Kind, key: date) -> date:
    if kind == "month":
        return (key.replace(day=28) + timedelta(days=4)).replace(day=1)
    return key + timedelta(days=7 if kind == "week" else 1)
