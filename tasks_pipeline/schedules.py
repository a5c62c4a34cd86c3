"""Schedules: when housekeeping runs, and when sessions are counted. All run by default."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from sqlalchemy import Connection

from tasks_pipeline.analytics.statistics.days import recent_due
from tasks_pipeline.facts.outbox import COUNTED, waiting_facts
from tasks_pipeline.jobs import (
    backup_job,
    cleanup_job,
    clear_expired_caches_job,
    drop_expired_envelopes_job,
    drop_old_runs_job,
    drop_stale_chunks_job,
    merge_events_job,
    optimize_database_job,
    process_analytics_job,
    release_adoption_job,
    release_health_job,
    statistics_job,
    storage_health_job,
)
from tasks_pipeline.lanes import MAINTENANCE
from tasks_pipeline.partitions import tags_of_day, tags_of_days
from tasks_pipeline.releases.adoption import stages_due
from tasks_pipeline.releases.health_days import due_days, due_tonight
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import UNDER_WAY, described, runs_under_way
from tasks_pipeline.storage.lake.compaction import of_today
from tasks_pipeline.storage.ledger.drains import stored_since
from tasks_pipeline.upkeep.optimize import BY_DAY

MANY_FACTS, FACTS_WAIT = 1_000, timedelta(minutes=30)
"""So many facts, or one that waits for so long, are worth a run of their own."""
BACKUP_AGAIN = timedelta(hours=4)
"""So long after a backup failed the next one is tried."""
LOOKED_BACK = timedelta(minutes=20)
"""Longer than between two looks at the files of today."""


def _at(
    name: str, cron: str, job: dg.JobDefinition | UnresolvedAssetJobDefinition, description: str
) -> dg.ScheduleDefinition:
    """A job at fixed times (UTC), off the full hour, where everybody else's jobs start."""
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )


drop_expired_envelopes_schedule = _at(
    "drop_expired_envelopes_schedule",
    "17 3 * * *",
    drop_expired_envelopes_job,
    "Every night, after yesterday's last drain.",
)

# So that the files are free when optimize_database tidies the lake.
cleanup_schedule = _at("cleanup_schedule", "37 2 * * *", cleanup_job, "Every night.")

merge_events_schedule = _at(
    "merge_events_schedule",
    "41 * * * *",
    merge_events_job,
    "Every hour: new groups are compared with those that are there.",
)

drop_stale_chunks_schedule = _at(
    "drop_stale_chunks_schedule", "27 3 * * *", drop_stale_chunks_job, "Every night."
)

drop_old_runs_schedule = _at("drop_old_runs_schedule", "37 3 * * *", drop_old_runs_job, "Every night.")


# Behind what removes things.
optimize_database_nightly_schedule = _at(
    "optimize_database_nightly_schedule",
    "47 3 * * *",
    optimize_database_job,
    "Every night: all of it, when other cleanups are done.",
)

clear_expired_caches_schedule = _at(
    "clear_expired_caches_schedule", "7 4 * * *", clear_expired_caches_job, "Every night."
)

storage_health_schedule = _at(
    "storage_health_schedule", "22 */6 * * *", storage_health_job, "Four times a day."
)


@dg.schedule(
    name="optimize_database_schedule",
    job=optimize_database_job,
    cron_schedule="12,27,42,57 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every 15 minutes, when so much was stored that small files of the lake are worth merging.",
)
def optimize_database_schedule(
    context: dg.ScheduleEvaluationContext, stores: StoresResource
) -> dg.RunRequest | dg.SkipReason:
    """A run that merges files, unless there are few."""
    now = datetime.now(UTC)
    with stores.open() as opened:
        with opened.state.read() as connection:
            stored = stored_since(connection, now - LOOKED_BACK)
        if not stored:  # to open the lake costs more than to ask this
            return dg.SkipReason("nothing was stored since the last look")
        small = sum(len(files) for files in of_today(opened.lake, now.date()))
    if not small:
        return dg.SkipReason("the files of today are few")
    if _under_way(context.instance, optimize_database_job.name):
        return dg.SkipReason(f"{small} small files of today; a run is under way")
    config = dg.RunConfig(ops={"optimize_database": {"config": {"steps": list(BY_DAY)}}})
    return dg.RunRequest(run_config=config, tags=MAINTENANCE.tags)


@dg.schedule(
    name="backup_schedule",
    job=backup_job,
    cron_schedule="47 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks every hour whether the newest backup of the asset in `backup.to` is `backup.every_hours` old; does nothing without that.",
)
def backup_schedule(
    context: dg.ScheduleEvaluationContext, stores: StoresResource
) -> dg.RunRequest | dg.SkipReason:
    """A run, unless none are wanted, the newest backup is new enough, or one is under way. What was made is asked of Dagster: the
    target may be far away, and a tick waits for nobody."""
    wanted = stores.resolve().config_in_force().config.backup
    if wanted.to is None:
        return dg.SkipReason("no backups are wanted: `backup.to` is not set")
    now = datetime.now(UTC)
    newest = _last_backup(context.instance, wanted.to)
    if newest is not None and now - newest < timedelta(hours=wanted.every_hours - 0.5):
        return dg.SkipReason(f"the newest backup is of {newest:%Y-%m-%d %H:%M} UTC")
    if _under_way(context.instance, backup_job.name):
        return dg.SkipReason("a backup is under way")
    recent = dg.RunsFilter(
        job_name=backup_job.name, statuses=[dg.DagsterRunStatus.FAILURE], created_after=now - BACKUP_AGAIN
    )
    if context.instance.get_run_records(recent, limit=1):
        return dg.SkipReason("a backup failed: it is tried again after 4 hours")
    return dg.RunRequest(tags=MAINTENANCE.tags)


@dg.schedule(
    name="release_health_schedule",
    job=release_health_job,
    cron_schedule="4,19,34,49 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every 15 minutes: today and yesterday, as far as sessions came that are not counted yet.",
)
def release_health_schedule(
    context: dg.ScheduleEvaluationContext, stores: StoresResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """A run for each of both days that is due."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    return _health_runs(context, stores, lambda connection: due_days(connection, yesterday))


@dg.schedule(
    name="release_health_nightly_schedule",
    job=release_health_job,
    cron_schedule="57 2 * * *",  # behind the last drain of yesterday, before files are tidied
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: all days of which sessions came, or were stored again, since they were counted, and those that were "
    "open yesterday.",
)
def release_health_nightly_schedule(
    context: dg.ScheduleEvaluationContext, stores: StoresResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """A run for each day that is due, or was open, if any sessions came since it was counted."""
    return _health_runs(context, stores, lambda connection: due_tonight(connection, datetime.now(UTC).date()))


def _health_runs(
    context: dg.ScheduleEvaluationContext, stores: StoresResource, ask: Callable[[Connection], list[date]]
) -> list[dg.RunRequest] | dg.SkipReason:
    with stores.open() as opened, opened.state.read() as connection:
        due = ask(connection)
    if not due:
        return dg.SkipReason("no sessions came that are not counted")
    free = [day for day in due if not _under_way(context.instance, release_health_job.name, day)]
    if not free:
        return dg.SkipReason(f"runs are under way for {', '.join(map(str, due))}")
    tick = context.scheduled_execution_time.isoformat()  # Dagster drops a request with a key that was used
    return [
        dg.RunRequest(run_key=f"{day} {tick}", tags={**MAINTENANCE.tags, **tags_of_day(day)}) for day in free
    ]


def _last_backup(instance: dg.DagsterInstance, target: str) -> datetime | None:
    """When the newest backup of a target was made by the asset; None where the newest is of another one."""
    event = instance.get_latest_materialization_event(dg.AssetKey("backup"))
    made = None if event is None else event.asset_materialization
    if event is None or made is None or "to" not in made.metadata or made.metadata["to"].value != target:
        return None
    return datetime.fromtimestamp(event.timestamp, UTC)


def _under_way(instance: dg.DagsterInstance, job: str, day: date | None = None) -> bool:
    tags = tags_of_day(day) if day else {}
    filters = dg.RunsFilter(job_name=job, tags=tags, statuses=list(UNDER_WAY))
    return bool(instance.get_runs(filters, limit=1))


@dg.schedule(
    name="process_analytics_schedule",
    job=process_analytics_job,
    cron_schedule="1-59/5 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Looks every five minutes whether many facts wait for the lake, or some for half an hour: figures take them before.",
)
def process_analytics_schedule(
    context: dg.ScheduleEvaluationContext, stores: StoresResource
) -> dg.RunRequest | dg.SkipReason:
    """A run, unless few facts wait, and not for long, or one is under way that takes them.

    A run leaves more in Dagster than a few facts are, and figures of today take what waits every 15 minutes.
    """
    with stores.open() as opened, opened.state.read() as connection:
        waiting = waiting_facts(connection)
    if waiting.oldest is None:
        return dg.SkipReason("all facts are in the lake")
    if waiting.count < MANY_FACTS and datetime.now(UTC) - waiting.oldest < FACTS_WAIT:
        return dg.SkipReason(
            f"{waiting.count:,} facts wait for the next figures, or until {waiting.oldest + FACTS_WAIT:%H:%M} UTC"
        )
    if _under_way(context.instance, process_analytics_job.name):
        more = "or more " if waiting.count == COUNTED else ""
        return dg.SkipReason(f"a run is under way; {waiting.count:,} {more}facts wait for it")
    today = datetime.now(UTC).date()
    return dg.RunRequest(tags={**MAINTENANCE.tags, **tags_of_day(today)})


@dg.schedule(
    name="release_adoption_schedule",
    job=release_adoption_job,
    cron_schedule="3 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour, when health of releases was computed since or stages may have changed by the hours that passed.",
)
def release_adoption_schedule(stores: StoresResource) -> dg.RunRequest | dg.SkipReason:
    """A run, unless there is nothing to tell."""
    with stores.open() as opened, opened.state.read() as connection:
        due = stages_due(connection, datetime.now(UTC))
    if due is None:
        return dg.SkipReason("no health was computed since, and the stages of the hours that passed are told")
    return dg.RunRequest()


@dg.schedule(
    name="statistics_schedule",
    job=statistics_job,
    cron_schedule="9,24,39,54 * * * *",  # behind release_health, whose tables are part of a day's figures
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every 15 minutes: today, and yesterday, as far as something happened since their figures were computed.",
)
def statistics_schedule(
    context: dg.ScheduleEvaluationContext, stores: StoresResource
) -> dg.RunRequest | dg.SkipReason:
    """One run for both days that are due."""
    with stores.open() as opened, opened.state.read() as connection:
        due = recent_due(connection, datetime.now(UTC))
    if not due:
        return dg.SkipReason("nothing happened since the figures of today were computed")
    at_work = runs_under_way(context.instance, statistics_job.name)
    if at_work:
        return dg.SkipReason(f"{', '.join(map(str, due))} changed; {described(at_work)}")
    return dg.RunRequest(tags={**MAINTENANCE.tags, **tags_of_days(min(due), max(due))})
