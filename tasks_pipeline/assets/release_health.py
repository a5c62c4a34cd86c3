"""Assets of release health: sessions by how they ended, and their users, by the UTC day on which they began."""

import warnings
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import column_schema, rows_metadata
from tasks_pipeline.lanes import LANE_TAG, RECOMPUTE
from tasks_pipeline.releases.health import HealthReport, SessionsGone, compute_health
from tasks_pipeline.releases.health_days import DAYS_AFTER, DAYS_BEFORE, receipt_days
from tasks_pipeline.releases.shares import crash_free_text
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake.tables import RELEASE_HEALTH, SESSION_USERS, LakeTable
from tasks_pipeline.words import sparkline

GROUP = "releases"
_TAGS = {LANE_TAG: RECOMPUTE.name}  # of what is started by hand; schedules name their own lane


def _received() -> dg.PartitionMapping:
    """The seven days on which rows are received of sessions that began on a day; those to come are no partitions yet."""
    with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):
        return dg.TimeWindowPartitionMapping(
            start_offset=-DAYS_BEFORE, end_offset=DAYS_AFTER, allow_nonexistent_upstream_partitions=True
        )


def _spec(table: LakeTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=[dg.AssetDep("sessions", partition_mapping=_received())],
        description=table.description,
        group_name=GROUP,
        kinds={"ducklake", "parquet"},
        tags=_TAGS,
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"lake.main.{table.name}",
        },
    )


@dg.multi_asset(
    name="compute_health",
    specs=[_spec(RELEASE_HEALTH), _spec(SESSION_USERS)],
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
)
def compute_release_health(
    context: dg.AssetExecutionContext, stores: StoresResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Fold the sessions that began on a day, whenever their rows were received, and replace what the tables hold of it.

    A day is open while rows may still be received of it, and its figures may rise; then it is final.
    """
    day = date.fromisoformat(context.partition_key)
    with stores.open() as opened:
        try:
            report = compute_health(opened.lake, opened.state, day)
        except SessionsGone as gone:
            raise dg.Failure(f"{gone}.", allow_retries=False) from gone
    context.log.info(f"{day}: {report.sessions:,} sessions of {report.rows:,} rows")
    figures = _figures(report)
    for name, rows in report.written.items():
        yield dg.MaterializeResult(name, metadata=rows_metadata(rows, figures))


def _figures(report: HealthReport) -> dict[str, Any]:
    until = receipt_days(report.day)[1] + timedelta(days=1)
    return {
        "sessions": report.sessions,
        "crashed": report.crashed,
        "crash_free_sessions": crash_free_text(report.crashed, report.sessions) or "no sessions",
        "users": report.users,
        "state": "final" if report.final else f"open until {until} begins: it may still rise",
        "rows_read": report.rows,
        "late_rows": report.late,
        "sessions_per_hour": dg.MetadataValue.md(
            f"`{sparkline(report.hours)}` up to {max(report.hours):,} in an hour"
        ),
    }
