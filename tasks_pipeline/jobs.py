"""Jobs: what can be started as one, each on its lane."""

import dagster as dg
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG

from tasks_pipeline.assets.metadata import CLEANUP, COMPUTED, OF_FACTS, OF_HEALTH, REPORTS
from tasks_pipeline.lanes import (
    EVENTS,
    INTEGRATIONS,
    MAINTENANCE,
    MONITORING,
    NOTIFICATIONS,
    RECOMPUTE,
    RELEASES,
)

_event_assets = dg.AssetSelection.assets(*COMPUTED)


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

check_day_job = dg.define_asset_job(
    "check_day",
    selection=_event_assets,
    config=_mode("look"),
    run_tags=MAINTENANCE.tags,
    description="Counts the rows of days and proves that their books balance, from what lies in the lake. Computes and changes "
    "nothing.",
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

deliver_reports_job = dg.define_asset_job(
    "deliver_reports",
    selection=dg.AssetSelection.assets("report_deliveries"),
    run_tags=MAINTENANCE.tags,
    description="Puts the reports that are due into the outbox, one message for each subscriber, or says why not. Started by "
    "report_deliveries_sensor.",
)

check_monitors_job = dg.define_asset_job(
    "check_monitors",
    selection=dg.AssetSelection.assets("monitor_incidents"),
    config=dg.RunConfig(ops={"monitor_incidents": {"config": {"linger_seconds": None}}}),
    run_tags=MONITORING.tags,
    description="Checks monitors that are due, opens and closes incidents (trigger_monitor_alert), and goes on while "
    "something is due soon. Started by monitors_sensor.",
)

sync_integrations_job = dg.define_asset_job(
    "sync_integrations",
    selection=dg.AssetSelection.assets("external_issues", "integration_status"),
    config=dg.RunConfig(ops={"external_issues": {"config": {"linger_seconds": None}}}),
    run_tags=INTEGRATIONS.tags,
    description="Makes what has to be made in issue trackers, looks at what changed there, keeps both sides in step, lingers for more, and "
    "then looks how the integrations are. Started by integrations_sensor.",
)

check_integrations_job = dg.define_asset_job(
    "check_integrations",
    selection=dg.AssetSelection.assets("integration_status"),
    run_tags=INTEGRATIONS.tags,
    description="update_integration_status: looks how integrations are that were not looked at for five minutes. Started by integrations_sensor.",
)

reconcile_issues_job = dg.define_asset_job(
    "reconcile_issues",
    selection=dg.AssetSelection.assets("reconciled_issues"),
    run_tags=INTEGRATIONS.tags,
    description="Looks at all links of a tracker, each a partition; a backfill of all partitions reconciles everything.",
)

process_releases_job = dg.define_asset_job(
    "process_releases",
    selection=dg.AssetSelection.assets("releases", "suspect_commits"),
    config=dg.RunConfig(ops={"releases": {"config": {"linger_seconds": None}}}),
    run_tags=RELEASES.tags,
    description="process_new_release for releases that are new, update_release_data for those of which commits came, deploys "
    "told, figures counted; lingers for more, and then looks for suspect commits. Started by new_release_sensor.",
)

release_adoption_job = dg.define_asset_job(
    "update_release_adoption",
    selection=dg.AssetSelection.assets("release_adoption"),
    run_tags=MAINTENANCE.tags,
    description="Tells the stages of releases (low adoption, adopted, replaced) of the full hours that passed, and again those of "
    "days whose health changed. Started by release_adoption_schedule.",
)

process_analytics_job = dg.define_asset_job(
    "process_analytics",
    selection=dg.AssetSelection.assets(*OF_FACTS),
    run_tags=MAINTENANCE.tags,
    description="process_analytics_event: takes the facts that wait in the outbox to the lake, of whichever day, and proves that "
    "each is there once. Started by process_analytics_schedule.",
)

cleanup_job = dg.define_asset_job(
    "cleanup",
    selection=dg.AssetSelection.assets(*CLEANUP),
    run_tags=MAINTENANCE.tags,
    description="Removes what is older than its retention: cleanup_old_events, and delete_old_file_attachments; and finishes deletions.",
)

drop_expired_envelopes_job = dg.define_asset_job(
    "drop_expired_envelopes_job",
    selection=dg.AssetSelection.assets("expired_envelopes", "moved_envelopes", "finished_work", "quiet_days"),
    run_tags=MAINTENANCE.tags,
    description="Removes raw envelopes whose retention is over, moves those of finished days out of PostgreSQL, and removes what the state "
    "database needs only while something is at work; ends days on which nothing came. Stored events stay; days without raw envelopes cannot "
    "be recomputed any more.",
)

drop_stale_chunks_job = dg.define_asset_job(
    "drop_stale_chunks_job",
    selection=dg.AssetSelection.assets("stale_chunks"),
    run_tags=MAINTENANCE.tags,
    description="Removes pieces of uploads that were never put together, or were long ago. What was uploaded stays.",
)

drop_old_runs_job = dg.define_asset_job(
    "drop_old_runs_job",
    selection=dg.AssetSelection.assets("old_runs"),
    run_tags=MAINTENANCE.tags,
    description="Removes old runs with their events and captured output, results of checks and ticks. The newest run of each partition "
    "stays, and so does what it says of it.",
)

optimize_database_job = dg.define_asset_job(
    "optimize_database_job",
    selection=dg.AssetSelection.assets("optimize_database"),
    run_tags=MAINTENANCE.tags,
    description="Merges small files of the lake, trims its catalog, gives disk space back, takes statistics, and looks for damage.",
)

clear_expired_caches_job = dg.define_asset_job(
    "clear_expired_caches_job",
    selection=dg.AssetSelection.assets("clear_expired_caches"),
    run_tags=MAINTENANCE.tags,
    description="Removes entries of caches that nobody used for long, or that are too many.",
)

storage_health_job = dg.define_asset_job(
    "storage_health_job",
    selection=dg.AssetSelection.assets("storage_health"),
    run_tags=MAINTENANCE.tags,
    description="Measures what each store takes, compares the lake with its catalog, and says how long the disk will do.",
)

backup_job = dg.define_asset_job(
    "backup_job",
    selection=dg.AssetSelection.assets("backup"),
    run_tags={**MAINTENANCE.tags, MAX_RUNTIME_SECONDS_TAG: str(24 * 3600)},
    description="Makes a backup where `backup.to` says. Started by backup_schedule every `backup.every_hours`.",
)

release_health_job = dg.define_asset_job(
    "release_health",
    selection=dg.AssetSelection.assets(*OF_HEALTH),
    run_tags=MAINTENANCE.tags,
    description="Counts the sessions that began on a day, by how they ended, and their users, and proves that it adds up. "
    "Started by its schedules for days of which rows came since.",
)

report_jobs = [
    dg.define_asset_job(
        f"{name}s",
        selection=dg.AssetSelection.assets(name),
        run_tags=MAINTENANCE.tags,
        description=f"Computes the reports of {kind}s, stores those that came out otherwise as revisions, and proves them. Started by "
        "reports_sensor; a backfill of many is one run.",
    )
    for kind, name in REPORTS.items()
]
statistics_job = dg.define_asset_job(
    "compute_statistics",
    selection=dg.AssetSelection.assets("statistics"),
    config=dg.RunConfig(ops={"statistics": {"config": {"only_changed": True}}}),
    run_tags=MAINTENANCE.tags,
    description="Computes the tables of figures of days, those that something changed since, and proves that they add up. Started "
    "by statistics_schedule for today, by statistics_sensor for days that are over.",
)
