"""What a materialisation shows of a drain."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.assets.metadata import (
    column_schema,
    drain_metadata,
    rows_metadata,
)
from tasks_pipeline.processing.drain import DrainReport
from tasks_pipeline.processing.process_batch import BatchResult
from tasks_pipeline.storage.lake.tables import EVENTS
from tasks_pipeline.words import SPARKLINE_LENGTH, sparkline

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def report() -> DrainReport:
    return DrainReport(date(2026, 11, 22), NOON, ended_because="nothing came for 30 s")


def test_figures_of_a_drain() -> None:
    drained = report()
    first = BatchResult(3, {"stored": 2, "invalid": 1}, 1, seconds={"decode": 0.5})
    drained.add(first, NOON + SECOND / 2, NOON - 2 * SECOND)
    second = BatchResult(10, {"stored": 10}, 1, seconds={"decode": 0.25, "write": 2.0})
    drained.add(second, NOON + 2.5 * SECOND, NOON + 2 * SECOND)
    shown = drain_metadata(drained)
    of_the_run = [
        shown[f"this_run_{name}"] for name in ("batches", "envelopes", "stored", "invalid", "duplicate")
    ]
    assert of_the_run == [2, 13, 12, 1, 0]
    assert (shown["decode_seconds"], shown["write_seconds"], "group_seconds" in shown) == (0.75, 2.0, False)
    assert shown["items_per_second"].value == "`▃▁█` up to 10 a second"
    assert (shown["lag_median_seconds"], shown["lag_max_seconds"]) == (1.5, 2.5)
    assert shown["ended"] == "nothing came for 30 s"


def test_a_drain_that_found_nothing_shows_no_curve() -> None:
    shown = drain_metadata(report())
    assert shown["this_run_stored"] == 0
    assert "items_per_second" not in shown
    assert "lag_max_seconds" not in shown


def test_a_batch_of_nothing_but_refusals_has_no_lag() -> None:
    drained = report()
    drained.add(BatchResult(1, {}, 0), NOON, None)
    assert drained.rate == Counter({0: 0})
    assert "lag_max_seconds" not in drain_metadata(drained)


@given(st.lists(st.integers(0, 10**6), max_size=500))
def test_a_sparkline_is_short_and_peaks_where_the_values_do(values: list[int]) -> None:
    line = sparkline(values)
    assert len(line) <= SPARKLINE_LENGTH
    assert bool(line) == bool(values)
    if 0 < len(values) <= SPARKLINE_LENGTH and max(values) > 0:
        assert line[values.index(max(values))] == "█"


def test_rows_and_columns_are_in_the_form_dagster_knows() -> None:
    assert rows_metadata(3, {"a": 1}) == {"dagster/partition_row_count": 3, "a": 1}
    columns = column_schema(EVENTS).columns
    assert [c.name for c in columns][:2] == ["day", "part"]
    assert all(c.description for c in columns)
