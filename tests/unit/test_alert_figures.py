"""Thresholds of metrics and bounds of escalation: they never flap, and never fall below what was usual."""

from __future__ import annotations

from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.alerts.escalation import bound
from tasks_pipeline.alerts.metrics import next_status
from tasks_pipeline.config.alerts import Metric

ERRORS = Metric(type="metric", metric="error_count", warning=100, critical=500, resolve=80)
SESSIONS = Metric(type="metric", metric="crash_free_sessions", warning=99, critical=95, resolve=99.5)
STATUSES = st.sampled_from(["ok", "warning", "critical"])


def statuses(trigger: Metric, values: list[float]) -> list[str]:
    seen, status = [], "ok"
    for value in values:
        status = next_status(trigger, status, value)
        seen.append(status)
    return seen


def test_it_crosses_both_thresholds_and_recovers_below_resolve() -> None:
    values = [10.0, 120, 90, 79, 600, 120, 90, 10]
    assert statuses(ERRORS, values) == [
        "ok",
        "warning",
        "warning",
        "ok",
        "critical",
        "warning",
        "warning",
        "ok",
    ]


def test_shares_are_bad_below_their_thresholds() -> None:
    assert statuses(SESSIONS, [99.9, 98.0, 99.2, 99.6, 90.0]) == [
        "ok",
        "warning",
        "warning",
        "ok",
        "critical",
    ]


@given(st.floats(0, 1000), STATUSES)
def test_a_constant_value_never_flaps(value: float, status: str) -> None:
    for trigger in (ERRORS, SESSIONS):
        after = next_status(trigger, status, value)
        assert next_status(trigger, after, value) == after


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=200))
def test_a_bound_is_above_what_was_usual(hours: list[int]) -> None:
    limit = bound(hours)
    assert limit > median(hours)
    assert limit >= sorted(hours)[int(0.9 * (len(hours) - 1))]


@given(st.lists(st.integers(0, 1000), min_size=24, max_size=100))
def test_the_order_of_hours_does_not_matter(hours: list[int]) -> None:
    assert bound(hours) == bound(sorted(hours))
