"""Assets of event processing: the spool as an external asset, and all tables that process_events writes, by day of receipt."""

import time
from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.metadata import column_schema, drain_metadata, rows_metadata
from tasks_pipeline.partitions import daily
from tasks_pipeline.processing.books import group_figures, row_counts
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.processing.process_batch import BatchResult, RawGone
from tasks_pipeline.processing.recompute import recompute_day
from tasks_pipeline.processing.reprocess import pay_symbols
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, LakeTable
from tasks_pipeline.storage.ledger.batches import Batch
from tasks_pipeline.stores import Stores

GROUP = "event_processing"
TELL_SECONDS = 60.0
OWNERS = ["team:ingest"]

envelopes = dg.AssetSpec(
    "envelopes",
    description="Raw envelopes as SDKs sent them: the spool. Written by the receiver, kept for `retention.raw_days`; "
    "every other asset can be computed from them again. `new_envelopes_sensor` observes what waits.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"sqlite", "http"},
    partitions_def=daily,
)


def _table_spec(table: LakeTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=[envelopes],
        description=table.description,
        group_name=GROUP,
        owners=OWNERS,
        kinds={"ducklake", "parquet"},
        metadata={
            "dagster/column_schema": column_schema(table),
            "dagster/table_name": f"lake.main.{table.name}",
        },
        skippable=True,
    )


groups = dg.AssetSpec(
    "groups",
    deps=[envelopes],
    description="Groups: events that are one and the same problem, with their short id, status and counts. Rows of the "
    "state database that change one at a time; a partition is what a day contributes to them.",
    group_name=GROUP,
    owners=OWNERS,
    kinds={"sql", "table"},
    metadata={"dagster/table_name": "state.groups"},
    skippable=True,
)


class Mode(Enum):
    """`recompute` stores the day again from its raw envelopes, with today's code; `drain` takes what waits and lingers;
    `reprocess` symbolicates and groups what is stored again, which needs no raw envelopes."""

    recompute = "recompute"
    drain = "drain"
    reprocess = "reprocess"


class ProcessEventsConfig(dg.Config):
    """What materialising a day means."""

    mode: Mode = Mode.recompute
    symbols_after: int | None = Field(
        None,
        description="With `reprocess`: only events that missed symbols which arrived after this number "
        "(state.symbol_arrivals). Without it: all events of the day.",
    )


@dg.multi_asset(
    name="process_event",
    specs=[*(_table_spec(table) for table in LAKE_TABLES.values()), groups],
    partitions_def=daily,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
)
def process_events(
    context: dg.AssetExecutionContext, config: ProcessEventsConfig, stores: StoresResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Process the envelopes of a day: validate, normalise, filter, scrub, symbolicate, group, store.

    Materialising a day by hand or by a backfill drains what waits and then recomputes the whole day.
    """
    day = date.fromisoformat(context.partition_key)
    with stores.open() as opened:
        if config.mode is Mode.reprocess:
            yield from _reprocess(context, opened, day, config.symbols_after)
            return
        extra = _drain(context, opened, day, linger=None if config.mode is Mode.drain else 0.0)
        if config.mode is Mode.recompute:
            extra |= _recompute(context, opened, day)
        rows = row_counts(opened, day)
        for name in LAKE_TABLES:
            yield dg.MaterializeResult(
                name, metadata=rows_metadata(rows[name], extra if name == "events" else None)
            )
        figures = group_figures(opened, day)
        yield dg.MaterializeResult("groups", metadata=rows_metadata(figures["groups"], figures))


def _reprocess(
    context: dg.AssetExecutionContext, stores: Stores, day: date, symbols_after: int | None
) -> Iterator[dg.MaterializeResult[Any]]:
    report = pay_symbols(
        stores,
        day,
        symbols_after,
        on_progress=lambda done, of: context.log.info(f"{day}: {done:,} of {of:,} events"),
    )
    figures = {
        "reprocessed_events": report.events,
        "moved_to_another_group": report.moved,
        "still_missing_symbols": report.missing,
    }
    context.log.info(f"{day}: {figures}")
    rows = row_counts(stores, day)
    for name in ("events", "event_payloads"):
        yield dg.MaterializeResult(name, metadata=rows_metadata(rows[name], figures))
    of_groups = group_figures(stores, day)
    yield dg.MaterializeResult("groups", metadata=rows_metadata(of_groups["groups"], of_groups))


def _drain(
    context: dg.AssetExecutionContext, stores: Stores, day: date, linger: float | None
) -> dict[str, Any]:
    report = drain(
        stores,
        day,
        run_id=context.run.run_id,
        linger_seconds=linger,
        on_batch=_told_sparingly(context.log),
    )
    context.log.info(
        f"{day}: {report.envelopes} envelopes in {report.batches} batches; ended: {report.ended_because}"
    )
    return drain_metadata(report) if report.batches else {}


def _told_sparingly(log: dg.DagsterLogManager) -> Callable[[Batch, BatchResult], None]:
    """Tells of a batch now and then: each line is an event that Dagster keeps with the run, and a trickle makes a batch a second."""
    told_at = float("-inf")

    def tell(batch: Batch, result: BatchResult) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TELL_SECONDS:
            told_at = time.monotonic()
            log.debug(
                f"batch {batch.id}: {result.envelopes} envelopes, {result.counts}, {result.groups} groups"
            )

    return tell


def _recompute(context: dg.AssetExecutionContext, stores: Stores, day: date) -> dict[str, Any]:
    try:
        report = recompute_day(
            stores,
            day,
            on_progress=lambda done, of: context.log.info(f"{day}: batch {done} of {of} recomputed"),
        )
    except RawGone as gone:
        raise dg.Failure(str(gone), allow_retries=False) from gone
    return {
        "recomputed_batches": report.batches,
        "recomputed_envelopes": report.envelopes,
        **{f"recomputed_{name}": count for name, count in report.counts.items()},
    }
