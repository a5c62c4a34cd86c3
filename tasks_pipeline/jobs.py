"""Jobs: what can be started as one, each on its lane."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from tasks_pipeline.assets.event_processing import GROUP
from tasks_pipeline.lanes import EVENTS, MAINTENANCE, MONITORING, NOTIFICATIONS, RECOMPUTE
from tasks_pipeline.resources.stores import StoresResource

_event_assets = dg.AssetSelection.groups(GROUP) - dg.AssetSelection.assets("envelopes")


def _mode(mode: str) -> dg.RunConfig:
    return dg.RunConfig(ops={"process_event": {"config": {"mode": mode}}})


process_events_job = dg.define_asset_job(
    "process_events",
    selection=_event_assets,
    config=_mode("drain"),
    run_tags=EVENTS.tags,
    description="Drains a day: processes everything that waits in batches, lingers for more, checks the books. "
    "Started by new_envelopes_sensor.",
)

recompute_job = dg.define_asset_job(
    "recompute_day",
    selection=_event_assets,
    config=_mode("recompute"),
    run_tags=RECOMPUTE.tags,
    description="Stores days again from their raw envelopes, with today's code. Safe while a day is being drained.",
)


reprocess_job = dg.define_asset_job(
    "reprocess_day",
    selection=_event_assets,
    config=_mode("reprocess"),
    run_tags=RECOMPUTE.tags,
    description="Symbolicates and groups the stored events of days again, with today's symbols and rules; works also where "
    "raw envelopes are gone. late_symbols_sensor starts it for events that waited for symbols.",
)

merge_events_job = dg.define_asset_job(
    "merge_events",
    selection=dg.AssetSelection.assets("similar_groups"),
    run_tags=MAINTENANCE.tags,
    description="Looks for groups that are alike, proposes them, and merges those above their project's `merge_above`.",
)

send_alert_notification_job = dg.define_asset_job(
    "send_alert_notification",
    selection=dg.AssetSelection.assets("notifications"),
    config=dg.RunConfig(ops={"notifications": {"config": {"linger_seconds": None}}}),
    run_tags=NOTIFICATIONS.tags,
    description="Sends what the outbox holds, all channels side by side, and lingers for more. Started by "
    "alert_notifications_sensor.",
)

send_digest_job = dg.define_asset_job(
    "send_digest",
    selection=dg.AssetSelection.assets("digests"),
    run_tags=NOTIFICATIONS.tags,
    description="Puts the digests that are due into the outbox. Started by digests_sensor.",
)

check_monitors_job = dg.define_asset_job(
    "check_monitors",
    selection=dg.AssetSelection.assets("monitor_incidents"),
    config=dg.RunConfig(ops={"monitor_incidents": {"config": {"linger_seconds": None}}}),
    run_tags=MONITORING.tags,
    description="Checks monitors that are due, opens and closes incidents (trigger_monitor_alert), and goes on while "
    "something is due soon. Started by monitors_sensor.",
)


@dg.op
def drop_expired_envelopes(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Remove days of raw envelopes that are older than retention.raw_days and have nothing waiting."""
    from tasks_pipeline.retention.spool import drop_expired_days

    with stores.open() as opened:
        dropped = drop_expired_days(opened, datetime.now(UTC).date())
    for day, envelopes in dropped.items():
        context.log.info(f"{day}: {envelopes} raw envelopes removed")
    context.add_output_metadata({"days": len(dropped), "envelopes": sum(dropped.values())})


@dg.op
def drop_finished(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Remove what was needed only while something was at work: drains, replacements, regroupings, entries of sent digests."""
    from tasks_pipeline.retention import finished

    with stores.open() as opened:
        dropped = finished.drop_finished(opened.state, datetime.now(UTC))
    context.log.info(f"removed: {dropped}")
    context.add_output_metadata(dropped)


@dg.op
def tidy_lake(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Merge the files of days that are over, forget old snapshots, and remove files that dead processes left."""
    from tasks_pipeline.storage.lake import compaction

    with stores.open() as opened:
        lake, now = opened.lake, datetime.now(UTC)
        merged = compaction.compact(lake, compaction.of_past_days(lake, now.date()))
        compaction.tidy(lake, now)
        orphans = compaction.drop_orphans(lake, now)
    context.log.info(f"{merged} files merged, {orphans} removed that nobody had registered")
    context.add_output_metadata({"merged": merged, "orphans": orphans})


@dg.job(
    run_tags=MAINTENANCE.tags,
    description="Removes raw envelopes whose retention is over, and what the state database needs only while something is at "
    "work; tidies the files of the lake. Stored events stay; days without raw envelopes cannot be recomputed any more.",
)
def drop_expired_envelopes_job() -> None:
    """Raw retention."""
    drop_expired_envelopes()
    drop_finished()
    tidy_lake()


@dg.op
def drop_stale_chunks(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Remove pieces of uploads that nobody asked for in `uploads.chunk_hours`."""
    from tasks_pipeline.retention import upload_chunks

    with stores.open() as opened:
        hours = opened.config.uploads.chunk_hours
        dropped = upload_chunks.drop_stale_chunks(opened, datetime.now(UTC) - timedelta(hours=hours))
    context.log.info(f"{dropped} pieces of uploads removed")
    context.add_output_metadata({"chunks": dropped})


@dg.job(
    run_tags=MAINTENANCE.tags,
    description="Removes pieces of uploads that were never put together, or were long ago. What was uploaded stays.",
)
def drop_stale_chunks_job() -> None:
    """Retention of upload chunks."""
    drop_stale_chunks()


@dg.op
def drop_old_runs(context: dg.OpExecutionContext, stores: StoresResource) -> None:
    """Remove runs, their events and their captured output after `retention.dagster_days`."""
    from tasks_pipeline import old_runs

    days = stores.resolve().config_in_force().config.retention.dagster_days
    dropped = old_runs.drop_old_runs(context.instance, datetime.now(UTC) - timedelta(days=days))
    context.log.info(f"{len(dropped)} runs that ended more than {days} days ago removed")
    context.add_output_metadata({"runs": len(dropped), "days": days})


@dg.job(
    run_tags=MAINTENANCE.tags,
    description="Removes old runs with their events and captured output. The newest run of each partition stays, and so "
    "does what it says of it.",
)
def drop_old_runs_job() -> None:
    """Retention of Dagster's own data."""
    drop_old_runs()
