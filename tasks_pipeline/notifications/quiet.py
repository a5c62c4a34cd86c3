"""Quiet hours: when they end, across midnight and daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tasks_pipeline.config.people import WEEK, QuietHours


def quiet_until(hours: QuietHours | None, timezone: str, at: datetime) -> datetime | None:
    """When the quiet hours end that a moment lies in (aware, UTC); None when it lies in none.

    Hours that follow one another without a gap are one: the end is never quiet itself.
    """
    if hours is None:
        return None
    end, moment = None, at.astimezone(UTC)
    for _ in range(8):  # a week of hours that touch, at most
        found = _end_of(hours, ZoneInfo(timezone), moment)
        if found is None:
            return end
        end = moment = found
    return end


def _end_of(hours: QuietHours, zone: ZoneInfo, at: datetime) -> datetime | None:
    today = at.astimezone(zone).date()
    spans = (_span(hours, zone, today + timedelta(days=offset)) for offset in (-1, 0))
    ends = [span[1] for span in spans if span is not None and span[0] <= at < span[1]]
    return max(ends, default=None)


def _span(hours: QuietHours, zone: ZoneInfo, day: date) -> tuple[datetime, datetime] | None:
    """[start, end) in UTC of the hours that begin on a day; None when none do."""
    if WEEK[day.weekday()] not in hours.days:
        return None
    end_day = day if hours.start < hours.end else day + timedelta(days=1)
    return moment(day, hours.start, zone), moment(end_day, hours.end, zone)


def moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A local time as a moment in UTC. One that the clocks skip is as long after midnight as it would have been; of one that
    comes twice the first counts."""
    return datetime.combine(day, at.replace(tzinfo=None), zone).astimezone(UTC)
