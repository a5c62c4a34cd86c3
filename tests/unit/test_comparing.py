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
