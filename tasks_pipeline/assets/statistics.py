"""The asset statistics: all tables of figures of a UTC day, as one: a year of a multi asset would be thousands of records of Dagster's."""

from datetime import date
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.analytics.process_analytics_event import store_facts
from tasks_pipeline.analytics.statistics.compute import DaysFailed, StatisticsReport, compute_statistics
from tasks_pipeline.assets.analytics import facts_of_days
from tasks_pipeline.assets.metadata import STATISTICS, rows_metadata
from tasks_pipeline.lanes import LANE_TAG, RECOMPUTE
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake.tables import STATISTICS_TABLES
from tasks_pipeline.words import counted, sparkline

GROUP = "analytics"
DEPS = ("events", "transactions", "outcomes", "release_health", "session_users", "analytics_events")
"""Assets of days that figures are made of. Groups, messages and monitors have no days: their logs are read, and each of their runs
would make all days look outdated."""
_SHOWN = 8  # characters of a digest


class StatisticsConfig(dg.Config):
    """How days are computed."""

    only_changed: bool = Field(
        False,
        description="Only the tables that something changed since they were computed; what schedule and sensor ask for.",
    )


@dg.multi_asset(
    name="statistics",
    specs=[
        dg.AssetSpec(
            STATISTICS,
            deps=DEPS,
            group_name=GROUP,
            kinds={"ducklake", "parquet"},
            tags={LANE_TAG: RECOMPUTE.name},  # of what is started by hand; schedules name their own lane
            metadata={
                "tables": dg.MetadataValue.md(", ".join(f"`lake.{name}`" for name in STATISTICS_TABLES))
            },
            description="Figures of a day, in tables: events, users, groups and what became of them, transactions, outcomes, "
            "monitors, messages, releases, facts, the pipeline itself. Materialising computes a day again, many days in one run; "
            "reports and frames read them.",
        )
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def compute_days(
    context: dg.AssetExecutionContext, config: StatisticsConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Compute the figures of the days of the run, and say of each what it came to."""
    days = [date.fromisoformat(key) for key in context.partition_keys]
    with stores.open() as opened:
        # Facts that wait are figures too.
        for event in facts_of_days(opened, store_facts(opened).days):
            context.log_event(event)
        try:
            reports = compute_statistics(
                opened,
                days,
                everything=not config.only_changed,
                on_progress=lambda day: context.log.debug(f"{day}: computed"),
            )
        except DaysFailed as failure:
            for report in failure.reports:  # what failed gives no result that could mark these
                key, metadata = report.day.isoformat(), _figures(report)
                context.log_event(dg.AssetMaterialization(STATISTICS, metadata=metadata, partition=key))
            raise dg.Failure(f"not computed: {failure}", allow_retries=False) from failure
    for report in reports:
        context.log.info(
            f"{report.day}: {report.errors:,} errors, version {report.version}"
            + (f", changed: {', '.join(report.causes) or 'new'}" if report.changed else ", as it was")
        )
        context.add_asset_metadata(
            _figures(report), asset_key=STATISTICS, partition_key=report.day.isoformat()
        )
    if len(reports) == 1:  # a run of many has one for all
        return dg.MaterializeResult(STATISTICS, data_version=dg.DataVersion(reports[0].digest))
    return dg.MaterializeResult(STATISTICS)


def _figures(report: StatisticsReport) -> dict[str, Any]:
    state = "closed" if report.closed else "open: it may still rise"
    if report.waiting:
        state = f"open: {counted(report.waiting, 'envelope')} waiting"
    return rows_metadata(
        sum(report.rows.values()),
        {
            "errors": report.errors,
            "users": report.users,
            "digest": report.digest[:_SHOWN],
            "version": report.version,
            "changed_by": ", ".join(report.causes) or "nothing",
            "state": state,
            "rows_by_table": _table(report),
            "errors_per_hour": dg.MetadataValue.md(
                f"`{sparkline(report.hours)}` up to {max(report.hours):,} in an hour (UTC)"
            ),
        },
    )


def _table(report: StatisticsReport) -> dg.TableMetadataValue:
    records = [dg.TableRecord({"table": name, "rows": rows}) for name, rows in report.rows.items()]
    columns = [dg.TableColumn("table", "string"), dg.TableColumn("rows", "int")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
