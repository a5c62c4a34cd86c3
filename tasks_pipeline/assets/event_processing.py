"""Assets of event processing: the spool as an external asset, and all tables that process_events writes, by day of receipt."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.groups import GROUP as GROUPS
from tasks_pipeline.assets.metadata import (
    COMPUTED,
    RAW_GONE,
    column_schema,
    drain_metadata,
    envelopes_of,
    of_state,
    rows_metadata,
    stage_metadata,
)
from tasks_pipeline.assets.notifications import alerts_since
from tasks_pipeline.lanes import LANE_TAG, RECOMPUTE
from tasks_pipeline.processing.books import books_of_state, group_figures, row_counts
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.processing.process_batch import BatchResult, RawGone
from tasks_pipeline.processing.recompute import recompute_day
from tasks_pipeline.processing.reprocess import pay_symbols
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.service.links import links
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES, LakeTable
from tasks_pipeline.storage.ledger.batches import Batch
from tasks_pipeline.storage.state import tables
from tasks_pipeline.stores import Stores

GROUP = "event_processing"
TELL_SECONDS = 60.0
REPROCESSED: tuple[str, ...] = ("events", "event_payloads", "groups")
"""What reprocessing writes."""
_TAGS = {LANE_TAG: RECOMPUTE.name}  # of what is started by hand; a drain names its own lane
_DAILY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=30))
"""On a day without envelopes the night marks its partition."""

envelopes = dg.AssetSpec(
    "envelopes",
    description="Raw envelopes as SDKs sent them: the spool. Written by the receiver, kept for `retention.raw_days`; "
    "every other asset can be computed from them again. Whoever processes them says here how many there are; "
    "`new_envelopes_sensor` observes what waits, and `expired_envelopes` has the days that are gone.",
    group_name=GROUP,
    kinds={"sqlite", "http"},
    metadata={
        "dagster/column_schema": dg.TableSchema(
            columns=[
                dg.TableColumn("position", "BIGINT", "number within a day and a part of the spool, from 1"),
                dg.TableColumn("received_at", "TIMESTAMP", "when the receiver took it, UTC"),
                dg.TableColumn("project_id", "BIGINT", "whose key it came with"),
                dg.TableColumn("public_key", "TEXT", "that key"),
                dg.TableColumn("event_id", "TEXT", "of the event in it, where there is one"),
                dg.TableColumn("encoding", "TEXT", "of the body: identity, gzip, deflate, br or zstd"),
                dg.TableColumn("items", "INTEGER", "how many of them are kept"),
                dg.TableColumn("size", "BIGINT", "bytes of the body"),
                dg.TableColumn("meta", "JSON", "what the receiver knew of the request"),
                dg.TableColumn("body", "BLOB", "the envelope as it was sent"),
            ]
        )
    },
)


def _table_spec(table: LakeTable) -> dg.AssetSpec:
    return dg.AssetSpec(
        table.name,
        deps=[envelopes],
        description=table.description,
        group_name=GROUP,
        kinds={"ducklake", "parquet"},
        tags=_TAGS,
        freshness_policy=_DAILY,
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
    group_name=GROUPS,
    kinds={"sql", "table"},
    tags=_TAGS,
    freshness_policy=_DAILY,
    metadata=of_state(tables.groups),
    skippable=True,
)


class Mode(Enum):
    """`again` is `recompute` while the raw envelopes of the day are there, else `reprocess`. `recompute` stores the day
    again from its raw envelopes, with today's code; `reprocess` symbolicates and groups what is stored again, which needs
    none; `drain` takes what waits and lingers; `look` counts what is stored and computes nothing."""

    again = "again"
    recompute = "recompute"
    drain = "drain"
    reprocess = "reprocess"
    look = "look"


class ProcessEventsConfig(dg.Config):
    """What materialising a day means."""

    mode: Mode = Field(Mode.again, description=" ".join((Mode.__doc__ or "").split()))
    symbols_after: int | None = Field(
        None,
        description="With `reprocess`: only events that missed symbols which arrived after this number "
        "(state.symbol_arrivals). Without it: all events of the day.",
    )


@dg.multi_asset(
    name="process_event",
    specs=[*(_table_spec(table) for table in RECEIVED_TABLES.values()), groups],
    can_subset=True,
    backfill_policy=dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
)
def process_events(
    context: dg.AssetExecutionContext, config: ProcessEventsConfig, stores: StoresResource
) -> Iterator[dg.MaterializeResult[Any]]:
    """Process the envelopes of a day: validate, normalise, filter, scrub, symbolicate, group, store.

    Materialising a day by hand or by a backfill drains what waits and then computes the whole day again, whichever of its
    tables were asked for: what became of an item and its rows are swapped in one transaction, or the books would not balance.
    """
    day = date.fromisoformat(context.partition_key)
    began = datetime.now(UTC)
    with stores.open() as opened:
        figures, touched = _process(context, opened, day, config)
        _tell_upstream_and_downstream(context, opened, day, began)
        yield from _materialised(context, opened, day, touched, figures)


def _process(
    context: dg.AssetExecutionContext, stores: Stores, day: date, config: ProcessEventsConfig
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Do what the mode says; gives figures, and the assets that were written, or looked at."""
    match config.mode:
        case Mode.look:
            return {}, tuple(name for name in COMPUTED if dg.AssetKey(name) in context.selected_asset_keys)
        case Mode.reprocess:
            return _reprocess(context, stores, day, config.symbols_after), REPROCESSED
        case Mode.drain:
            return _drain(context, stores, day, linger=None), COMPUTED
        case Mode.again | Mode.recompute:
            drained = _drain(context, stores, day, linger=0.0)
            figures, touched = _again(context, stores, day, may_reprocess=config.mode is Mode.again)
            return drained | figures, touched


def _materialised(
    context: dg.AssetExecutionContext,
    stores: Stores,
    day: date,
    touched: Sequence[str],
    figures: Mapping[str, Any],
) -> Iterator[dg.MaterializeResult[Any]]:
    """A materialisation of each asset that was written. Those that the run was not started for are told of all the same,
    and the run says why it wrote others than it was asked for."""
    asked = {key.to_user_string() for key in context.selected_asset_keys}
    if others := [name for name in touched if name not in asked]:
        context.log.info(
            f"{', '.join(others)}: computed too. Rows and outcomes of an item come from one reading of its envelope, and the "
            "tables of a day are swapped in one transaction; else the books would not balance."
        )
    if left := sorted(asked.difference(touched)):
        context.log.info(
            f"{', '.join(left)}: as they were. Only events can be computed again from what is stored."
        )
    rows, of_groups = row_counts(stores, day), group_figures(stores, day)
    for name in touched:
        metadata = rows_metadata(rows[name], figures if name == "events" else None) if name in rows else {}
        if name == "groups":
            metadata = rows_metadata(of_groups["groups"], of_groups)
        if name in asked:
            yield dg.MaterializeResult(name, metadata=metadata)
        else:
            context.log_event(dg.AssetMaterialization(name, metadata=metadata, partition=day.isoformat()))


def _tell_upstream_and_downstream(
    context: dg.AssetExecutionContext, stores: Stores, day: date, began: datetime
) -> None:
    """What this run knows of assets that no run makes: the envelopes of the day, and alerts that were fired meanwhile."""
    raw_days = stores.config.retention.raw_days
    books, kept = books_of_state(stores, day), day + timedelta(days=raw_days)
    raw = RAW_GONE
    if raw_days and day in stores.spool.days():
        raw = f"kept until {kept}; until then the day can be recomputed"
    count = sum(part.last_position for part in stores.spool.totals(day).values())
    figures = {"accepted_items": books.accepted, "waiting_items": books.waiting, "raw_envelopes": raw}
    context.log_event(envelopes_of(day, count, figures))
    fired = alerts_since(stores, began, least=0)
    if fired is not None:
        context.log_event(fired)


def _again(
    context: dg.AssetExecutionContext, stores: Stores, day: date, *, may_reprocess: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Compute a day again; gives figures, and the assets that were written."""
    try:
        return _recompute(context, stores, day), COMPUTED
    except RawGone as gone:
        if not may_reprocess:
            raise dg.Failure(
                f"{gone}. What is stored of it can be symbolicated and grouped again: mode reprocess.",
                allow_retries=False,
            ) from gone
        context.log.warning(f"{gone}. What is stored of it is symbolicated and grouped again instead.")
        return _reprocess(context, stores, day, None), REPROCESSED


def _reprocess(
    context: dg.AssetExecutionContext, stores: Stores, day: date, symbols_after: int | None
) -> dict[str, Any]:
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
    return figures | stage_metadata(report.watch.seconds)


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
    if not report.batches:
        return {}
    pages = links(stores.home, stores.config)
    seen = dg.MetadataValue.url(pages.groups(f"lastSeen:>={day.isoformat()}"))
    return {**drain_metadata(report), "groups_of_the_day": seen}


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
    report = recompute_day(
        stores,
        day,
        on_progress=lambda done, of: context.log.info(f"{day}: batch {done} of {of} recomputed"),
    )
    return {
        "recomputed_batches": report.batches,
        "recomputed_envelopes": report.envelopes,
        **{f"recomputed_{name}": count for name, count in report.counts.items()},
        **stage_metadata(report.watch.seconds),
    }
