"""Schedules of monitors: the next time is ahead, at the wall clock's time, across daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.monitors.schedules import described, margin, next_time

ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
MOMENTS = st.integers(0, 730 * 86_400).map(lambda s: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=s))


def crontab(expression: str, zone: str = "UTC") -> dict[str, Any]:
    return {"schedule": {"type": "crontab", "value": expression}, "timezone": zone}


def interval(value: int, unit: str, zone: str = "UTC") -> dict[str, Any]:
    return {"schedule": {"type": "interval", "value": value, "unit": unit}, "timezone": zone}


@pytest.mark.parametrize(
    ("config", "after", "due"),
    [
        (crontab("0 3 * * *", "Europe/Berlin"), "2026-11-23T01:59:00", "2026-11-23T02:00:00"),
        (
            crontab("30 2 * * *", "Europe/Berlin"),
            "2026-03-28T12:00:00",
            "2026-03-29T01:00:00",
        ),  # skipped by the clocks
        (crontab("@daily", "America/New_York"), "2026-11-23T12:00:00", "2026-11-24T05:00:00"),
        (crontab("0 0 29 2 *"), "2026-11-23T12:00:00", "2028-02-29T00:00:00"),
        (interval(10, "minute"), "2026-11-23T12:00:00", "2026-11-23T12:10:00"),
        (
            interval(1, "day", "Europe/Berlin"),
            "2026-10-24T12:00:00",
            "2026-10-25T13:00:00",
        ),  # the same time of day
        (interval(1, "month"), "2026-01-31T12:00:00", "2026-02-28T12:00:00"),
        (interval(1, "year"), "2028-02-29T12:00:00", "2029-02-28T12:00:00"),
    ],
)
def test_when_it_is_due_next(config: dict[str, Any], after: str, due: str) -> None:
    found = next_time(config, datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_an_hour_that_comes_twice_runs_a_daily_job_once() -> None:
    first = next_time(crontab("30 2 * * *", "Europe/Berlin"), datetime(2026, 10, 24, 12, tzinfo=UTC))
    second = next_time(crontab("30 2 * * *", "Europe/Berlin"), first)
    assert second - first > timedelta(hours=23)


@given(MOMENTS, ZONES, st.integers(0, 59), st.integers(0, 23))
def test_a_daily_job_runs_every_day_at_its_time(after: datetime, zone: str, minute: int, hour: int) -> None:
    due = next_time(crontab(f"{minute} {hour} * * *", zone), after)
    assert after < due <= after + timedelta(hours=26)
    local = due.astimezone(ZoneInfo(zone))
    skipped = (
        due.astimezone(ZoneInfo(zone)).utcoffset()
        != (due - timedelta(hours=2)).astimezone(ZoneInfo(zone)).utcoffset()
    )
    assert (local.hour, local.minute) == (hour, minute) or skipped


@given(
    MOMENTS,
    ZONES,
    st.integers(1, 100_000),
    st.sampled_from(["minute", "hour", "day", "week", "month", "year"]),
)
def test_an_interval_is_always_ahead(after: datetime, zone: str, value: int, unit: str) -> None:
    assert next_time(interval(value, unit, zone), after) > after


def test_a_day_that_never_comes_is_far_away() -> None:
    after = datetime(2026, 1, 1, tzinfo=UTC)
    assert next_time(crontab("0 0 30 2 *"), after) > after + timedelta(days=365 * 20)


def test_a_far_year_leaves_room_for_its_margin() -> None:
    after = datetime(2026, 12, 5, tzinfo=UTC)
    assert next_time(interval(7973, "year"), after) + margin({"checkin_margin": 40_320}) > after


def test_no_margin_is_none_at_all() -> None:
    assert margin({"checkin_margin": 0}) == timedelta()
    assert margin({}) == timedelta(minutes=1)


def test_schedules_in_words() -> None:
    assert described(crontab("0 3 * * *", "Europe/Berlin")) == "0 3 * * * (Europe/Berlin)"
    assert described(interval(2, "hour")) == "every 2 hours"
