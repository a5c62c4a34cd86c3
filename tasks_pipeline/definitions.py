"""build_defs(): the one place where assets, checks, sensors, schedules, jobs and resources meet."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg

from tasks_pipeline.assets.analytics import process_analytics_event
from tasks_pipeline.assets.cleanup import cleanup, delete_attachments, plan_of_cleanup
from tasks_pipeline.assets.deletions import finish_deletions
from tasks_pipeline.assets.event_processing import envelopes, process_events
from tasks_pipeline.assets.groups import merge_events
from tasks_pipeline.assets.integrations import (
    RECONCILED,
    integration_status,
    reconcile_issues,
    sync_integrations,
    trackers,
)
from tasks_pipeline.assets.maintenance import (
    back_up,
    drop_expired_envelopes,
    drop_finished,
    drop_stale_chunks,
    end_quiet_days,
    move_envelopes,
)
from tasks_pipeline.assets.metadata import OF_A_DAY, OF_FACTS, OF_HEALTH, REPORTS, STATISTICS, complete
from tasks_pipeline.assets.monitoring import check_monitors, pipeline_probes
from tasks_pipeline.assets.notifications import alerts, send_alert_notification, send_digest
from tasks_pipeline.assets.release_adoption import release_adoption
from tasks_pipeline.assets.release_health import compute_release_health
from tasks_pipeline.assets.releases import process_new_release
from tasks_pipeline.assets.report_deliveries import deliver_reports
from tasks_pipeline.assets.reports import report_assets
from tasks_pipeline.assets.statistics import compute_days
from tasks_pipeline.assets.suspect_commits import find_suspect_commits
from tasks_pipeline.assets.upkeep import (
    clear_expired_caches,
    drop_old_runs,
    optimize_database,
    storage_health,
)
from tasks_pipeline.checks.analytics import check_analytics_events
from tasks_pipeline.checks.cleanup import check_cleanup
from tasks_pipeline.checks.deletions import check_found_again, check_open_deletions
from tasks_pipeline.checks.events import check_events
from tasks_pipeline.checks.integrations import check_external_issues
from tasks_pipeline.checks.pipeline import check_pipeline
from tasks_pipeline.checks.releases import check_release_health
from tasks_pipeline.checks.report_deliveries import check_report_deliveries
from tasks_pipeline.checks.reports import check_reports
from tasks_pipeline.checks.statistics import check_statistics
from tasks_pipeline.checks.upkeep import UPKEEP_CHECKS
from tasks_pipeline.executor import living_executor
from tasks_pipeline.jobs import (
    backup_job,
    check_day_job,
    check_integrations_job,
    check_monitors_job,
    cleanup_job,
    clear_expired_caches_job,
    deliver_reports_job,
    drop_expired_envelopes_job,
    drop_old_runs_job,
    drop_stale_chunks_job,
    merge_events_job,
    optimize_database_job,
    process_analytics_job,
    process_events_job,
    process_releases_job,
    recompute_job,
    reconcile_issues_job,
    release_adoption_job,
    release_health_job,
    report_jobs,
    reprocess_job,
    send_alert_notification_job,
    send_digest_job,
    statistics_job,
    storage_health_job,
    sync_integrations_job,
)
from tasks_pipeline.partitions import days_since, periods_since
from tasks_pipeline.releases.health_days import DAYS_AFTER
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.schedules import (
    backup_schedule,
    cleanup_schedule,
    clear_expired_caches_schedule,
    drop_expired_envelopes_schedule,
    drop_old_runs_schedule,
    drop_stale_chunks_schedule,
    merge_events_schedule,
    optimize_database_nightly_schedule,
    optimize_database_schedule,
    process_analytics_schedule,
    release_adoption_schedule,
    release_health_nightly_schedule,
    release_health_schedule,
    statistics_schedule,
    storage_health_schedule,
)
from tasks_pipeline.sensors.alert_notifications import alert_notifications_sensor
from tasks_pipeline.sensors.alert_windows import alert_windows_sensor
from tasks_pipeline.sensors.digests import digests_sensor
from tasks_pipeline.sensors.integrations import integrations_sensor
from tasks_pipeline.sensors.late_symbols import late_symbols_sensor
from tasks_pipeline.sensors.monitors import monitors_sensor
from tasks_pipeline.sensors.new_envelopes import new_envelopes_sensor
from tasks_pipeline.sensors.new_release import new_release_sensor
from tasks_pipeline.sensors.pipeline_watch import pipeline_watch_sensor
from tasks_pipeline.sensors.report_deliveries import report_deliveries_sensor
from tasks_pipeline.sensors.reports import reports_sensor
from tasks_pipeline.sensors.run_failures import run_failure
from tasks_pipeline.sensors.statistics import statistics_sensor


def build_defs(
    resource_overrides: Mapping[str, Any] | None = None, *, first_day: date | None = None
) -> dg.Definitions:
    """Fresh definitions; tests hand in resources of their own.

    Partitions begin with `first_day`: by default that of the first envelope in the stores.
    """
    resources = {"stores": StoresResource(), **(resource_overrides or {})}
    first = first_day or resources["stores"].first_day()
    days, begun = days_since(first), days_since(first - timedelta(days=DAYS_AFTER))
    periods = periods_since(first, resources["stores"].week_starts())
    return dg.Definitions(
        assets=complete(
            [
                envelopes,
                process_events,
                merge_events,
                find_suspect_commits,
                alerts,
                send_alert_notification,
                send_digest,
                deliver_reports,
                check_monitors,
                pipeline_probes,
                sync_integrations,
                integration_status,
                reconcile_issues,
                process_new_release,
                plan_of_cleanup,
                cleanup,
                finish_deletions,
                delete_attachments,
                drop_expired_envelopes,
                move_envelopes,
                drop_finished,
                drop_stale_chunks,
                back_up,
                end_quiet_days,
                drop_old_runs,
                optimize_database,
                clear_expired_caches,
                storage_health,
                compute_release_health,
                release_adoption,
                process_analytics_event,
                compute_days,
                *report_assets,
            ],
            dict.fromkeys((*OF_A_DAY, STATISTICS), days)
            | dict.fromkeys((*OF_HEALTH, *OF_FACTS), begun)
            | {REPORTS[kind]: definition for kind, definition in periods.items()}
            | {RECONCILED: trackers},
        ),
        asset_checks=[
            check_events(days),
            check_cleanup,
            check_found_again,
            check_open_deletions,
            check_pipeline,
            check_external_issues,
            check_release_health(begun),
            check_analytics_events(begun),
            check_report_deliveries,
            *check_reports(periods),
            check_statistics(days),
            *UPKEEP_CHECKS,
        ],
        jobs=[
            process_events_job,
            recompute_job,
            reprocess_job,
            check_day_job,
            merge_events_job,
            send_alert_notification_job,
            send_digest_job,
            deliver_reports_job,
            check_monitors_job,
            sync_integrations_job,
            check_integrations_job,
            reconcile_issues_job,
            process_releases_job,
            cleanup_job,
            drop_expired_envelopes_job,
            drop_stale_chunks_job,
            drop_old_runs_job,
            optimize_database_job,
            clear_expired_caches_job,
            storage_health_job,
            backup_job,
            release_health_job,
            release_adoption_job,
            process_analytics_job,
            *report_jobs,
            statistics_job,
        ],
        sensors=[
            new_envelopes_sensor,
            late_symbols_sensor,
            alert_notifications_sensor,
            alert_windows_sensor,
            digests_sensor,
            report_deliveries_sensor,
            monitors_sensor,
            integrations_sensor,
            new_release_sensor,
            pipeline_watch_sensor,
            reports_sensor,
            run_failure,
            statistics_sensor,
        ],
        schedules=[
            cleanup_schedule,
            drop_expired_envelopes_schedule,
            drop_stale_chunks_schedule,
            drop_old_runs_schedule,
            optimize_database_schedule,
            optimize_database_nightly_schedule,
            clear_expired_caches_schedule,
            storage_health_schedule,
            backup_schedule,
            merge_events_schedule,
            release_health_schedule,
            release_health_nightly_schedule,
            release_adoption_schedule,
            process_analytics_schedule,
            statistics_schedule,
        ],
        resources=resources,
        executor=living_executor,
    )


_made: dict[date, dg.Definitions] = {}


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads: made once in a process, and not by importing this module.

    And again where an earlier day than its first was received of meanwhile, with a clock that was set back, say: in the run
    of a day that is no partition Dagster fails.
    """
    first = min([StoresResource().first_day(), *_made])
    if first not in _made:
        _made[first] = build_defs(first_day=first)
    return _made[first]
