"""The asset analytics_events: facts that wait in the outbox, taken to the lake, by the UTC day on which they were so. Figures only."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from tasks_pipeline.assets.metadata import column_schema, rows_metadata
from tasks_pipeline.lanes import LANE_TAG, MAINTENANCE
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake.tables import ANALYTICS_EVENTS
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted, sparkline

GROUP = "analytics"
NAME = ANALYTICS_EVENTS.name


@dg.multi_asset(
    name="process_analytics_event",
    specs=[
        dg.AssetSpec(
            NAME,
            group_name=GROUP,
            kinds={"ducklake", "parquet"},
            tags={LANE_TAG: MAINTENANCE.name},
            metadata={
                "dagster/column_schema": column_schema(ANALYTICS_EVENTS),
                "dagster/table_name": f"lake.main.{NAME}",
            },
            description=f"{ANALYTICS_EVENTS.description} They are recorded in the transaction that makes them so, and wait "
            "in state.analytics_outbox. Materialising takes all that waits to the lake, of whichever day, and says how many "
            "facts its own days have; computing a past day again records nothing twice. docs/analytics.md lists their types.",
        )
    ],
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def process_analytics_event(context: dg.AssetExecutionContext, stores: StoresResource) -> None:
    """Take what waits to the lake; tell of the days of this run, and of others that got facts."""
    from tasks_pipeline.analytics.process_analytics_event import store_facts

    with stores.open() as opened:
        report = store_facts(opened)
        asked = {date.fromisoformat(key) for key in context.partition_keys}
        context.log.info(
            f"{counted(report.stored, 'fact')} stored in {report.batches} batches, {report.dead} could not be"
        )
        for day in sorted(asked):
            figures = {"stored_now": report.days[day], "dead_now": report.dead}
            context.add_asset_metadata(
                _of_day(opened, day, figures), asset_key=NAME, partition_key=day.isoformat()
            )
        others = {day: stored for day, stored in report.days.items() if day not in asked}
        for event in facts_of_days(opened, others):
            context.log_event(event)


def facts_of_days(stores: Stores, stored_now: Mapping[date, int]) -> Iterator[dg.AssetMaterialization]:
    """What days got by storing what waited, by day: for whoever does so without being a run of these days."""
    for day, stored in sorted(stored_now.items()):
        metadata = _of_day(stores, day, {"stored_now": stored})
        yield dg.AssetMaterialization(NAME, metadata=metadata, partition=day.isoformat())


def _of_day(stores: Stores, day: date, figures: dict[str, Any]) -> dict[str, Any]:
    from tasks_pipeline.analytics.facts_stored import day_of_facts

    found = day_of_facts(stores.lake, day)
    records = [dg.TableRecord({"type": name, "facts": n}) for name, n in found.types.items()]
    columns = [dg.TableColumn("type", "string"), dg.TableColumn("facts", "int")]
    return rows_metadata(
        found.rows,
        {
            **figures,
            "types": dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns)),
            "by_hour": dg.MetadataValue.md(f"`{sparkline(found.hours)}`"),
        },
    )
