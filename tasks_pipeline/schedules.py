"""Schedules: when housekeeping runs. All run by default."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.jobs import (
    drop_expired_envelopes_job,
    drop_old_runs_job,
    drop_stale_chunks_job,
    merge_events_job,
    release_adoption_job,
)
from tasks_pipeline.releases.adoption import stages_due
from tasks_pipeline.resources.stores import StoresResource

drop_expired_envelopes_schedule = dg.ScheduleDefinition(
    name="drop_expired_envelopes_schedule",
    job=drop_expired_envelopes_job,
    cron_schedule="17 3 * * *",  # off the full hour, where everybody else's jobs start
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night, after yesterday's last drain.",
)

merge_events_schedule = dg.ScheduleDefinition(
    name="merge_events_schedule",
    job=merge_events_job,
    cron_schedule="41 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour: new groups are compared with those that are there.",
)

drop_stale_chunks_schedule = dg.ScheduleDefinition(
    name="drop_stale_chunks_schedule",
    job=drop_stale_chunks_job,
    cron_schedule="27 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night.",
)

drop_old_runs_schedule = dg.ScheduleDefinition(
    name="drop_old_runs_schedule",
    job=drop_old_runs_job,
    cron_schedule="37 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night.",
)


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
