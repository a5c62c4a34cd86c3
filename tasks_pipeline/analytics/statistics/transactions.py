"""transaction_stats: stored transactions, by the slot in which they were received, judged by what the project calls quick."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pyarrow as pa

from tasks_pipeline.analytics.statistics.work import Work, ordered, slot_sql
from tasks_pipeline.config.performance import Performance
from tasks_pipeline.releases.durations import bucket_sql

TABLES = ("transaction_stats",)
NO_FAILURE = ("ok", "cancelled", "unknown")
"""Statuses that are no failure; none counts as unknown."""
TOLERABLE = 4
"""So many times the threshold is tolerable."""
_THRESHOLDS = pa.schema([("project_id", pa.int64()), ("name", pa.string()), ("threshold_ms", pa.float64())])


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table."""
    with work.stores.lake.given("thresholds", _thresholds(work)):
        work.add_query("transaction_stats", _transaction_stats(work))


def _thresholds(work: Work) -> Iterator[pa.Table]:
    """What is quick enough, by project and name; without a name, of all others."""
    rows = [
        {"project_id": project.id, "name": name, "threshold_ms": float(threshold)}
        for project in work.stores.config.projects
        for name, threshold in (
            (None, project.performance.threshold_ms),
            *project.performance.thresholds.items(),
        )
    ]
    yield pa.Table.from_pylist(rows, _THRESHOLDS)


def _transaction_stats(work: Work) -> str:
    known = ", ".join(f"'{status}'" for status in NO_FAILURE)
    threshold = f"coalesce(n.threshold_ms, p.threshold_ms, {Performance().threshold_ms})"
    rows = (
        f"SELECT t.*, {threshold} AS threshold FROM (SELECT * FROM lake.transactions WHERE {work.of_day}) t "
        "LEFT JOIN thresholds n ON n.project_id = t.project_id AND n.name = t.name "
        "LEFT JOIN thresholds p ON p.project_id = t.project_id AND p.name IS NULL"
    )
    return (
        f"SELECT {work.day_sql} AS day, {slot_sql('received_at')} AS slot, project_id, coalesce(name, '') AS name, "
        "coalesce(op, '') AS op, coalesce(release, '') AS release, coalesce(environment, '') AS environment, count(*) AS count, "
        f"count(*) FILTER (coalesce(status, 'unknown') NOT IN ({known})) AS failed, "
        "count(*) FILTER (duration_ms <= threshold) AS satisfied, "
        f"count(*) FILTER (duration_ms > threshold AND duration_ms <= {TOLERABLE} * threshold) AS tolerable, "
        "count(DISTINCT user_key) AS users, "
        # In whole microseconds: a sum of fractions depends on their order.
        "coalesce(sum(round(duration_ms * 1000)::BIGINT), 0)::DOUBLE / 1000 AS sum_ms, max(duration_ms) AS max_ms, "
        f"coalesce(histogram({bucket_sql('duration_ms')}), MAP {{}})::MAP(INTEGER, BIGINT) AS durations "
        f"FROM ({rows}) GROUP BY ALL {ordered('transaction_stats')}"
    )
