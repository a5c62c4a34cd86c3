"""Schedules: when housekeeping runs. All run by default."""

import dagster as dg

from tasks_pipeline.jobs import (
    drop_expired_envelopes_job,
    drop_old_runs_job,
    drop_stale_chunks_job,
    merge_events_job,
)

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
