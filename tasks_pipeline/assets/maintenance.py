"""Assets of housekeeping: each materialisation says what was removed or tidied, how much of it, and of which days. Figures only."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from tasks_pipeline.assets.metadata import OF_A_DAY, RAW_GONE, envelopes_of, rows_metadata
from tasks_pipeline.lanes import LANE_TAG, MAINTENANCE
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.ledger.backlog import quiet_days
from tasks_pipeline.words import counted

GROUP = "maintenance"
DAYS_ENDED = 31
"""Looked at in one night, the newest; who needs more materialises the asset again."""
TAGS = {LANE_TAG: MAINTENANCE.name}
NIGHTLY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))


class DropConfig(dg.Config):
    """How a cleanup works."""

    dry_run: bool = Field(False, description="Only say what would be removed.")


@dg.asset(
    name="expired_envelopes",
    deps=["envelopes"],
    group_name=GROUP,
    kinds={"sqlite", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Raw envelopes that were removed because `retention.raw_days` is over and nothing of their day waited. Stored "
    "events stay; such a day cannot be recomputed any more, only what is stored of it can be processed again.",
)
def drop_expired_envelopes(
    context: dg.AssetExecutionContext, config: DropConfig, stores: StoresResource
) -> dg.MaterializeResult[Any]:
    """Remove days of raw envelopes that are older than retention.raw_days and have nothing waiting."""
    from tasks_pipeline.retention.spool import drop_expired_days

    with stores.open() as opened:
        dropped = drop_expired_days(opened, datetime.now(UTC).date(), dry_run=config.dry_run)
        left = opened.spool.days()
    for day, envelopes in dropped.items():
        context.log.info(f"{day}: {envelopes} raw envelopes {removed_text(config.dry_run)}")
        if not config.dry_run:
            context.log_event(envelopes_of(day, 0, {"raw_envelopes": RAW_GONE, "removed": envelopes}))
    return dg.MaterializeResult(
        metadata={
            "days": len(dropped),
            "envelopes": sum(dropped.values()),
            "dry_run": config.dry_run,
            "oldest_day_left": left[0].isoformat() if left else "none",
            "removed": _table(dropped),
        }
    )


@dg.asset(
    name="moved_envelopes",
    deps=["envelopes", "expired_envelopes"],
    group_name=GROUP,
    kinds={"postgres", "parquet"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Raw envelopes of finished days that lie in files at the data URL, where the spool is in PostgreSQL: days older than "
    "`retention.raw_database_days` are moved there. They are read, recomputed, erased and dropped as before.",
)
def move_envelopes(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Move raw envelopes of finished days out of PostgreSQL into files."""
    from tasks_pipeline.retention.spool import move_finished_days

    with stores.open() as opened:
        before = {each.day: each.envelopes for each in opened.spool.moved()}
        found = move_finished_days(opened, datetime.now(UTC).date())
    moved = {d.day: n for d in found.days if (n := d.envelopes - before.get(d.day, 0))}
    for day, envelopes in moved.items():
        context.log.info(f"{day}: {envelopes} raw envelopes moved into files")
    if found.could_not:
        raise dg.Failure(
            "; ".join(f"{day} could not be moved: {why}" for day, why in found.could_not.items())
        )
    return dg.MaterializeResult(
        metadata={
            "moved": _table(moved),
            "envelopes_moved": sum(moved.values()),
            "days": len(found.days),
            "envelopes": sum(each.envelopes for each in found.days),
            "files": sum(each.files for each in found.days),
            "bytes": sum(each.bytes for each in found.days),
            "swept_files": found.swept,
        }
    )


@dg.asset(
    name="finished_work",
    group_name=GROUP,
    kinds={"sql", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Rows of the state database that were removed because they were needed only while something was at work: "
    "drains, workers, processes of runs, replacements, regroupings, entries of digests that were sent.",
)
def drop_finished(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Remove what was needed only while something was at work: drains, workers, processes of runs, replacements, regroupings, entries of sent digests."""
    from tasks_pipeline.retention import finished

    with stores.open() as opened:
        dropped = finished.drop_finished(opened.state, datetime.now(UTC))
    context.log.info(f"removed: {dropped}")
    return dg.MaterializeResult(metadata=dropped)


@dg.asset(
    name="stale_chunks",
    group_name=GROUP,
    kinds={"file", "cleanup"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Pieces of uploads that were removed because nobody asked for them in `uploads.chunk_hours`. What was uploaded "
    "stays.",
)
def drop_stale_chunks(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Remove pieces of uploads that nobody asked for in `uploads.chunk_hours`."""
    from tasks_pipeline.retention import upload_chunks

    with stores.open() as opened:
        hours = opened.config.uploads.chunk_hours
        dropped = upload_chunks.drop_stale_chunks(opened, datetime.now(UTC) - timedelta(hours=hours))
    context.log.info(f"{dropped} pieces of uploads removed")
    return dg.MaterializeResult(metadata={"chunks": dropped, "hours": hours})


@dg.asset(
    name="backup",
    group_name=GROUP,
    kinds={"file", "parquet"},
    tags=TAGS,
    description="Backups of everything, where `backup.to` says: what never changes is stored there once, and the newest "
    "`backup.keep` stay.",
)
def back_up(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Make a backup, and remove those that are too many."""
    from tasks_pipeline.backup.create import create_backup

    with stores.open() as opened:
        wanted = opened.config.backup
        if wanted.to is None:
            raise dg.Failure("there is nowhere to put a backup: set `backup.to`")
        report = create_backup(opened, wanted.to, keep=wanted.keep)
    if report.problems:
        raise dg.Failure(f"backup {report.name} is there, but not whole: {'; '.join(report.problems)}")
    context.log.info(f"backup {report.name}: {counted(report.files, 'file')}, {report.bytes:,} bytes")
    return dg.MaterializeResult(
        metadata={
            "name": report.name,
            "to": wanted.to,
            "files": report.files,
            "bytes": report.bytes,
            "bytes_stored": report.stored,
            "rows": report.rows,
            "seconds": report.seconds,
            "problems": len(report.problems),
            "left_out": ", ".join(report.left_out),
        }
    )


@dg.asset(
    name="quiet_days",
    group_name=GROUP,
    kinds={"sql", "table"},
    tags=TAGS,
    freshness_policy=NIGHTLY,
    description="Days that are over and on which nothing was received: their partitions are marked as done, with no rows, so "
    "that a day that is missing is one that should be looked at.",
)
def end_quiet_days(context: dg.AssetExecutionContext, stores: StoresResource) -> dg.MaterializeResult[Any]:
    """Mark the partitions of past days on which nothing was received."""
    with stores.open() as opened:
        quiet = quiet_days(opened.state, opened.spool, datetime.now(UTC).date(), DAYS_ENDED)
    done = {name: context.instance.get_materialized_partitions(dg.AssetKey(name)) for name in OF_A_DAY}
    missing = [
        (name, day.isoformat()) for name in OF_A_DAY for day in quiet if day.isoformat() not in done[name]
    ]
    for name, day in missing:
        context.log_event(
            dg.AssetMaterialization(name, "nothing was received", rows_metadata(0), partition=day)
        )
    ended = sorted({day for _, day in missing})
    context.log.info(f"days without envelopes that were marked as done: {', '.join(ended) or 'none'}")
    return dg.MaterializeResult(
        metadata={"quiet_days": len(quiet), "marked": len(ended), "days": ", ".join(ended) or "none"}
    )


def removed_text(dry_run: bool) -> str:
    """What a cleanup says that it did."""
    return "would be removed" if dry_run else "removed"


def _table(dropped: Mapping[date, int]) -> dg.TableMetadataValue:
    records = [dg.TableRecord({"day": day.isoformat(), "envelopes": n}) for day, n in sorted(dropped.items())]
    columns = [dg.TableColumn("day", "date"), dg.TableColumn("envelopes", "int")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
