"""Check-ins and monitor configurations."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.protocol.checkins import CheckIn, check_in, is_crontab, monitor_slug
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError

CONTEXT = ItemContext(project_id=1, received_at=datetime(2026, 11, 22, 12, 30, tzinfo=UTC))
ID = "1f7ecbf61a1d4ee79a710c6d5a0d5f30"


def make(**fields: Any) -> CheckIn:
    return check_in({"monitor_slug": "nightly", "status": "ok", **fields}, CONTEXT)


def test_a_check_in_as_clients_send_it() -> None:
    made = make(
        check_in_id="1F7ECBF6-1A1D-4EE7-9A71-0C6D5A0D5F30",
        duration=2,
        environment="staging",
        release="shop@1",
        contexts={"trace": {"trace_id": ID}},
        monitor_config={
            "schedule": {"type": "crontab", "value": "*/5 * * * *"},
            "checkin_margin": 1,
            "max_runtime": 10,
            "timezone": "Europe/Berlin",
            "failure_issue_threshold": 2,
            "unknown": 1,
        },
    )
    assert made == CheckIn(
        monitor_slug="nightly",
        check_in_id=ID,
        status="ok",
        duration=2.0,
        environment="staging",
        release="shop@1",
        trace_id=ID,
        monitor_config={
            "schedule": {"type": "crontab", "value": "*/5 * * * *"},
            "checkin_margin": 1,
            "max_runtime": 10,
            "timezone": "Europe/Berlin",
            "failure_issue_threshold": 2,
        },
        config_error=None,
    )


@pytest.mark.parametrize("given_id", [None, "", "0" * 32, "00000000-0000-0000-0000-000000000000"])
def test_no_id_means_the_latest_in_progress(given_id: object) -> None:
    assert make(check_in_id=given_id).check_in_id is None


def test_defaults() -> None:
    made = make(duration=None)
    assert (made.environment, made.duration, made.monitor_config, made.config_error) == (
        "production",
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("slug", "kept"),
    [
        ("Nightly Report!", "nightly-report"),
        ("a/b", "a-b"),
        ("a_b-1", "a_b-1"),
        ("x" * 50, "x" * 50),
        ("Größe prüfen", "größe-prüfen"),
        ("日次バックアップ", "日次バックアップ"),
        ("हिन्दी", "हिन्दी"),
        ("backup\u034f\ufe0f", "backup"),
        ("❤\ufe0f nightly", "nightly"),
    ],
)
def test_slugs(slug: str, kept: str) -> None:
    assert make(monitor_slug=slug).monitor_slug == kept


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme-shop-workers-reports-nightly-export-of-customers-eu", "acme-shop-workers-reports-nightly-export-of-customers-us"),
        ("x" * 51, "x" * 52),
        ("x" * 500 + "a", "x" * 500 + "b"),
        ("número uno", "nümero uno"),
        ("バックアップ", "レポート"),
        ("a" * 60 + " ü", "a" * 60 + " u"),
    ],
)  # fmt: skip
def test_different_jobs_are_different_monitors(one: str, other: str) -> None:
    slugs = [make(monitor_slug=name).monitor_slug for name in (one, one.upper(), other)]
    assert slugs[0] == slugs[1] != slugs[2]
    assert all(len(slug) <= 50 for slug in slugs)
    # what was shortened may be sent again, or stand in the file
    assert [monitor_slug(slug) for slug in slugs] == slugs


def test_a_name_of_nothing_but_marks_takes_no_time() -> None:
    started = time.process_time()
    first = monitor_slug("a" + "\u0301" * 25_000 + "\u0316" * 25_000)
    assert monitor_slug(first) == first
    assert first != monitor_slug("a" + "\u0301" * 25_000 + "\u0316" * 25_001)
    assert time.process_time() - started < 1


@given(st.text(max_size=300))
def test_any_name_is_refused_or_gives_a_slug_that_stays(name: str) -> None:
    slug = monitor_slug(name)
    assert len(slug) <= 50
    assert monitor_slug(slug) == slug
    assert not set(slug) & set(" /?#\0\n")


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "missed"},
        {"status": None},
        {"status": ["ok"]},
        {"monitor_slug": None},
        {"monitor_slug": "!!"},
        {"monitor_slug": "\u3164"},
        {"monitor_slug": "\u0301"},
        {"monitor_slug": 5},
        {"check_in_id": "x"},
        {"check_in_id": 5},
    ],
)
def test_malformed_check_ins_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        make(**fields)


CRON = {"type": "crontab", "value": "0 4 * * *"}


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ("x", "object"),
        ({}, "schedule"),
        ({"schedule": {"type": "weird"}}, "schedule.type"),
        ({"schedule": {"type": "crontab", "value": "61 * * * *"}}, "crontab"),
        ({"schedule": {"type": "crontab", "value": 5}}, "crontab"),
        ({"schedule": {"type": "interval", "value": 0, "unit": "hour"}}, "schedule.value"),
        ({"schedule": {"type": "interval", "value": 1, "unit": "second"}}, "schedule.unit"),
        ({"schedule": {"type": "interval", "value": 1, "unit": ["hour"]}}, "schedule.unit"),
        ({"schedule": CRON, "checkin_margin": -1}, "checkin_margin"),
        ({"schedule": CRON, "max_runtime": 0}, "max_runtime"),
        ({"schedule": CRON, "max_runtime": "5"}, "max_runtime"),
        ({"schedule": CRON, "timezone": "Mars/Olympus"}, "timezone"),
        ({"schedule": CRON, "timezone": "../../etc/passwd"}, "timezone"),
        ({"schedule": CRON, "timezone": "Europe"}, "timezone"),
        ({"schedule": {"type": "crontab", "value": "*/5 * * *"}}, "'*/5 * * *'"),
        ({"schedule": {"type": "crontab", "value": "0 0 4 * * *"}}, "'0 0 4 * * *'"),
        ({"schedule": {"type": "interval", "value": 1, "unit": "fortnight"}}, "'fortnight'"),
        ({"schedule": {"type": "interval", "value": 10**5000, "unit": "hour"}}, "schedule.value"),
        ({"schedule": CRON, "timezone": "Berlin"}, "'Berlin'"),
    ],
)
def test_an_invalid_configuration_is_dropped_with_its_reason_and_what_was_found(
    config: object, word: str
) -> None:
    made = make(monitor_config=config)
    assert made.monitor_config is None
    assert word in (made.config_error or "")


def test_intervals_with_their_number_as_text() -> None:
    made = make(monitor_config={"schedule": {"type": "interval", "value": "2", "unit": "hour"}})
    assert made.monitor_config == {"schedule": {"type": "interval", "value": 2, "unit": "hour"}}


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "@daily", "0 0 1,15 * MON-FRI", "*/10 1-5/2 * jan,DEC 0", "0  4 * * 7", "59 23 31 12 sat"],
)
def test_crontabs(expression: str) -> None:
    assert is_crontab(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "*",
        "* * * *",
        "* * * * * *",
        "@never",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "1, * * * *",
        "-1 * * * *",
        "* * * * mond",
        "* * mon * *",
        "١ * * * *",
    ],
)
def test_what_is_no_crontab(expression: str) -> None:
    assert not is_crontab(expression)


@given(st.text("0123456789*/,-@ monjan", max_size=400))
def test_any_text_is_a_crontab_or_not(expression: str) -> None:
    assert is_crontab(expression) in (True, False)


@pytest.mark.parametrize("duration", [28 * 86_400 + 1, 6.5e10, 1e12, 1e308, 2**63 - 1, float("inf"), "1e12"])
def test_a_check_in_that_took_too_long_to_be_true_counts_without_its_duration(duration: object) -> None:
    assert (make(duration=duration).status, make(duration=duration).duration) == (make().status, None)
    assert make(duration=28 * 86_400).duration == 28 * 86_400


@pytest.mark.parametrize(
    ("unit", "most"),
    [("minute", 5_270_400), ("hour", 87_840), ("day", 3_660), ("week", 520), ("month", 120), ("year", 10)],
)
def test_intervals_are_ten_years_at_most(unit: str, most: int) -> None:
    for value, known in ((most, True), (most + 1, False)):
        made = make(monitor_config={"schedule": {"type": "interval", "value": value, "unit": unit}})
        assert (made.monitor_config is not None) is known
