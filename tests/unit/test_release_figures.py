"""Shares as text, and percentiles of durations that are counted in buckets."""

from __future__ import annotations

import math
from fractions import Fraction

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.releases.durations import BUCKET, percentile
from tasks_pipeline.releases.shares import crash_free_text, percent_text
from tests.support.release_cases import cases

_counts = st.integers(0, 10**12)


@cases("crash_free", "cases")
def test_crash_free_as_text(case: dict[str, int | str | None]) -> None:
    assert crash_free_text(int(case["crashed"] or 0), int(case["of"] or 0)) == case["text"]


@given(part=_counts, rest=_counts)
def test_a_share_is_cut_and_all_and_nothing_are_only_that(part: int, rest: int) -> None:
    of = part + rest
    text = percent_text(part, of)
    if not of:
        assert text is None
        return
    assert text is not None
    assert (text == "100") == (rest == 0)
    assert (text == "0") == (part == 0)
    share = Fraction(100 * part, of)
    assert Fraction(text) <= share or text == "0.001"
    assert share - Fraction(text) < Fraction(1, 1000)


@pytest.mark.parametrize(
    ("part", "text"), [(1, "0.001"), (10**7 - 1, "99.999"), (9 * 10**6, "90"), (10**6 + 10**4, "10.1")]
)
def test_texts_of_shares(part: int, text: str) -> None:
    assert percent_text(part, 10**7) == text


def bucket(seconds: float) -> int:
    return max(0, math.ceil(math.log(seconds * 1000) / math.log(1.02))) if seconds * 1000 > 1 else 0


@given(
    durations=st.lists(st.floats(0.001, 28 * 86_400), min_size=1, max_size=50),
    percent=st.sampled_from((50, 75, 90, 95, 99, 100)),
)
def test_a_percentile_is_right_within_one_percent(durations: list[float], percent: int) -> None:
    histogram: dict[int, int] = {}
    for each in durations:
        histogram[bucket(each)] = histogram.get(bucket(each), 0) + 1
    exact = sorted(durations)[-(-percent * len(durations) // 100) - 1]
    assert percentile(histogram, percent) == pytest.approx(exact, rel=0.01)
    assert percentile(histogram, percent, max(durations)) == pytest.approx(exact, rel=0.01)


def test_nothing_has_no_percentile() -> None:
    assert percentile({}, 50) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, 0), (0.001, 0), (0.00101, 1), (0.0005, 0), (1.0, 349), (60.0, 556), (None, None)],
)
def test_the_bucket_of_a_duration(seconds: float | None, expected: int | None) -> None:
    found = duckdb.execute(f"SELECT {BUCKET} FROM (SELECT $1::DOUBLE AS duration_s)", [seconds]).fetchall()
    assert found == [(expected,)]
    assert seconds is None or bucket(seconds or 1e-9) == expected
