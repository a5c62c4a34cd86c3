"""Durations of sessions as histograms that can be added up: buckets that grow by two percent."""

from __future__ import annotations

import math
from collections.abc import Mapping

GROWTH = 1.02


def bucket_sql(milliseconds: str) -> str:
    """SQL: the bucket of a duration, ceil(ln(ms) / ln(1.02)), 0 up to a millisecond; null for none."""
    return (
        f"CASE WHEN {milliseconds} > 1 THEN ceil(ln({milliseconds}) / ln({GROWTH}))::INTEGER "
        f"WHEN {milliseconds} IS NOT NULL THEN 0 END"
    )


def bucket_of(milliseconds: float) -> int:
    """The same of one duration."""
    return math.ceil(math.log(milliseconds) / math.log(GROWTH)) if milliseconds > 1 else 0


BUCKET = bucket_sql("duration_s * 1000")
"""SQL: the bucket of a `duration_s`."""


def percentile(histogram: Mapping[int, int], percent: int, longest: float | None = None) -> float | None:
    """The duration in seconds that so many percent of a histogram (bucket to count) do not exceed, by the nearest rank: the one
    at place ceil(p·n). Right within one percent; None for an empty histogram.

    `longest`, where it is known, is exact, and nothing is said to be longer.
    """
    place = -(-percent * sum(histogram.values()) // 100)
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= place:
            # Between both ends of the bucket, where the relative error is the same to either.
            told = 2 * GROWTH**bucket / (1 + GROWTH) / 1000
            return told if longest is None else min(told, longest)
    return None
