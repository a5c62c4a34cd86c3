"""Comparison of figures."""

from __future__ import annotations

from typing import Any

import pytest

from tasks_pipeline.reports.comparing import (
    Measured,
    change_of,
    change_text,
    difference,
    per_usual_hours,
    points,
    relative,
)
from tasks_pipeline.reports.content.measures import Measure
from tasks_pipeline.reports.figures import changes_of
from tests.support.release_cases import cases


@cases("figures", "comparisons")
def test_cases(case: dict[str, Any]) -> None:
    now, before = Measured(case["value"], case["hours"]), Measured(case["before"], case["hours_before"])
    assert change_of(now, before) == case["change"]
    found = relative(now, before)
    assert found is not None
    assert (found.change, found.text) == (case["change"], case["text"])


def test_large_changes_are_told_in_times() -> None:
    assert change_text(11.0) == "12 times"
    assert change_text(4.0) == "5 times"
    assert change_text(3.99) == "+399 %"
    assert change_text(-1.0) == "-100 %"


def test_a_period_before_all_events_is_no_zero() -> None:
    found = relative(Measured(7, 24), Measured(None, 0))
    assert found is not None
    assert (found.change, found.text) == (None, "no data yet")
    assert points(0.9, None, (500, 0)) is not None
    assert difference(3, None).text == "no data yet"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("now", "before", "counts", "change", "text"),
    [
        (0.95, 0.99, (1000, 2000), -0.04, "-4.00 points"),
        (0.99001, 0.99, (1000, 2000), 1e-05, "0 points"),
        (0.5, 1.0, (99, 2000), None, "too few to tell (99)"),
        (0.5, 1.0, (2000, 99), None, "too few to tell (99)"),
    ],
)
def test_shares_change_by_points(
    now: float, before: float, counts: tuple[int, int], change: float | None, text: str
) -> None:
    found = points(now, before, counts, 100)
    assert found is not None
    assert (found.change, found.text, found.kind) == (change, text, "points")


def test_levels_change_by_their_difference() -> None:
    assert [difference(n, 5).text for n in (7, 5, 4)] == ["+2", "0", "-1"]  # type: ignore[union-attr]


def test_a_baseline_of_periods_of_other_lengths() -> None:
    """An event an hour is the same in each."""
    past = [Measured(168, 168), Measured(169, 169), Measured(None, 168), Measured(167, 167)]
    found = relative(Measured(169, 169), past[0], per_usual_hours(past, 169))
    assert found is not None
    assert found.baseline == 169


def test_a_share_of_one_thing_is_no_change() -> None:
    """In a week of 169 hours as many deploys are as many, and one more is one more."""
    assert change_of(Measured(1, 169), Measured(1, 168)) == 0
    assert change_of(Measured(3, 167), Measured(3, 168)) == 0
    assert change_of(Measured(2, 169), Measured(1, 168)) == pytest.approx(0.988, abs=0.001)
    assert change_of(Measured(30, 672), Measured(30, 744)) == pytest.approx(0.107, abs=0.001)


def test_sets_and_scores_change_by_their_difference() -> None:
    """Another hour brings no share of a user, and nobody reads an apdex as a percentage."""
    now = Measure(users=80, failed_monitors=1, transactions=100, satisfied=68)
    before = Measure(users=82, failed_monitors=1, transactions=100, satisfied=65)
    found = changes_of((now, 169), (before, 168), [(before, 168)], min_sessions=10)
    assert {name: found[name].text for name in ("users", "failed_monitors", "apdex")} == {
        "users": "-2",
        "failed_monitors": "0",
        "apdex": "+0.03",
    }
    assert {found[name].kind for name in ("users", "failed_monitors", "apdex")} == {"difference"}
    assert found["users"].baseline == 82
