"""Partitions whose runs failed are tried again later and later, and those of other runs at once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from tasks_pipeline.partitions import tags_of_range
from tasks_pipeline.sensors.failures import held_back

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY, OTHER = date(2026, 11, 20), date(2026, 11, 21)
FAILED, SUCCEEDED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


def instance(*runs: tuple[dg.DagsterRunStatus, date, date]) -> Any:
    """One with runs that all ended now, the newest first."""
    records = [
        SimpleNamespace(
            dagster_run=SimpleNamespace(status=status, tags=tags_of_range(first, last)),
            end_time=NOW.timestamp(),
        )
        for status, first, last in runs
    ]
    return SimpleNamespace(get_run_records=lambda _filters: records)


@pytest.mark.parametrize(("failures", "minutes"), [(1, 15), (2, 30), (3, 60), (5, 240), (9, 240)])
def test_each_failure_in_a_row_makes_the_pause_longer(failures: int, minutes: int) -> None:
    runs = [(FAILED, KEY, KEY)] * failures + [(SUCCEEDED, KEY, KEY), (FAILED, KEY, KEY)]
    again = NOW + timedelta(minutes=minutes)
    assert held_back(instance(*runs), "job", [KEY, OTHER], NOW) == {KEY: again}
    assert held_back(instance(*runs), "job", [KEY], again) == {}


def test_a_run_of_many_holds_back_those_that_did_not_succeed_since() -> None:
    runs = [(SUCCEEDED, OTHER, OTHER), (FAILED, date(2026, 11, 1), OTHER)]
    assert list(held_back(instance(*runs), "job", [KEY, OTHER, date(2026, 11, 22)], NOW)) == [KEY]
