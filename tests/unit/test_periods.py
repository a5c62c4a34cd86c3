"""Periods: they tile the time line of every zone, and are what their names say."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.reports.periods import (
    KINDS,
    WEEK_STARTS,
    Kind,
    PeriodError,
    first_instant,
    key_named,
    kind_named,
    period_at,
    period_of,
)
from tasks_pipeline.zones import zone_named
from tests.support.release_cases import cases

ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Santiago", "America/Toronto", "Asia/Beirut",
    "Africa/Cairo", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Atlantic/Azores", "America/Nuuk", "America/Scoresbysund",
    "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Kwajalein", "Pacific/Pago_Pago", "Pacific/Chatham",
)  # fmt: skip
zones = st.sampled_from(ZONES)
kinds = st.sampled_from(KINDS)
starts = st.sampled_from(sorted(WEEK_STARTS))
instants = st.integers(31_536_000, 2_200_000_000).map(lambda n: datetime.fromtimestamp(n, UTC))
changes = st.sampled_from(
    [
        datetime(2011, 12, 30, 10, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2024, 3, 10, 5, tzinfo=UTC),
        datetime(2024, 4, 25, 22, tzinfo=UTC), datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(1993, 8, 21, 12, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC), datetime(2024, 3, 31, 1, tzinfo=UTC), datetime(2005, 10, 30, 4, tzinfo=UTC),
    ]
)  # fmt: skip
near_changes = st.builds(
    lambda at, minutes: at + timedelta(minutes=minutes), changes, st.integers(-3000, 3000)
)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@cases("periods", "cases")
def test_cases(case: dict[str, Any]) -> None:
    weeks = case.get("week_starts", "monday")
    found = period_of(case["kind"], date.fromisoformat(case["key"]), case["zone"], weeks)
    assert (found.start, found.end) == (moment(case["start"]), moment(case["end"]))
    assert (found.hours, found.label) == (case["hours"], case["label"])
    assert found.previous().key.isoformat() == case["previous_key"]
    assert found.previous().end == found.start


@cases("periods", "instants")
def test_instants(case: dict[str, Any]) -> None:
    found = period_at(case["kind"], moment(case["instant"]), case["zone"], case.get("week_starts", "monday"))
    assert found.key.isoformat() == case["key"]


@given(kinds, instants | near_changes, zones, starts)
def test_periods_tile_the_time_line(kind: Kind, instant: datetime, zone: str, weeks: str) -> None:
    found = period_at(kind, instant, zone, weeks)
    assert found.start <= instant < found.end
    assert found.previous().end == found.start
    assert found.next().start == found.end
    assert found == period_of(kind, found.key, zone, weeks)
    assert found.utc_days[0] == found.start.date()
    assert len(found.utc_days) - 2 <= found.hours / 24 <= len(found.utc_days)
    assert key_named(kind, found.label, weeks) == found.key


@given(near_changes, zones)
def test_a_day_begins_with_its_first_moment(instant: datetime, zone: str) -> None:
    """Looked for in steps of a minute, without asking for local midnight."""
    day = instant.date()
    begin = first_instant(day, zone)
    known = zone_named(zone)
    minutes = (begin - timedelta(minutes=n) for n in range(1, 180))
    assert all(each.astimezone(known).date() < day for each in minutes)
    assert begin.astimezone(known).date() >= day


def test_a_date_that_a_zone_left_out_has_no_length() -> None:
    gone = period_of("day", date(2011, 12, 30), "Pacific/Apia")
    assert (gone.hours, gone.utc_days) == (0, [])
    assert gone.next().start == gone.end == gone.start
    assert period_of("week", date(2011, 12, 26), "Pacific/Apia").hours == 6 * 24


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("day", date(2026, 11, 22), "Mars/Olympus", "monday"), "not a time zone"),
        (("day", date(2026, 11, 22), "../../etc/passwd", "monday"), "not a time zone"),
        (("week", date(2026, 11, 16), "UTC", "friday"), "allowed are monday, saturday, sunday"),
        (("week", date(2026, 11, 17), "UTC", "monday"), "begins on 2026-11-16"),
        (("month", date(2026, 11, 2), "UTC", "monday"), "begins on 2026-11-01"),
        (("day", date(9999, 12, 31), "UTC", "monday"), "out of range"),
    ],
)
def test_what_is_no_period_is_said(given: tuple[Any, ...], said: str) -> None:
    with pytest.raises(PeriodError, match=said):
        period_of(*given)


def test_names() -> None:
    assert [kind_named(word) for word in ("weekly", "Day", "month")] == ["week", "day", "month"]
    assert key_named("week", "2026-W53") == date(2026, 12, 28)
    for kind, text in (("week", "2026-W54"), ("day", "yesterday"), ("month", "2026-13")):
        with pytest.raises(PeriodError):
            key_named(kind, text)  # type: ignore[arg-type]
    with pytest.raises(PeriodError, match="have no numbers"):
        key_named("week", "2026-W47", "sunday")


def test_the_baseline_is_of_the_same_weekday() -> None:
    day = period_of("day", date(2026, 11, 22), "Europe/Berlin")
    assert [each.key for each in day.baseline()] == [date(2026, 11, n) for n in (15, 8, 1)] + [
        date(2026, 10, 25)
    ]
    assert [each.label for each in period_of("week", date(2026, 11, 16), "UTC").baseline()] == [
        "2026-W46", "2026-W45", "2026-W44", "2026-W43",
    ]  # fmt: skip


def test_zones_are_those_of_the_pinned_package() -> None:
    assert zoneinfo.TZPATH == ()
