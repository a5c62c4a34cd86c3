"""monitors_sensor: starts check_monitors when a check-in is overdue, a run of a job took too long, or an address is to be asked."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.jobs import check_monitors_job
from tasks_pipeline.monitors.loop import monitors_due
from tasks_pipeline.nudging.wanted import MONITORS
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_under_way


@dg.sensor(
    name="monitors_sensor",
    job=check_monitors_job,
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts check_monitors when a monitor is due: a check-in is missing past its margin, a job runs for too "
    "long, or an uptime check is to be made. Its run goes on while something is due soon.",
)
def monitors_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for all monitors."""
    with stores.open() as opened:
        due = monitors_due(opened, datetime.now(UTC))
    if not due:
        return dg.SkipReason("no monitor is due")
    at_work = runs_under_way(context.instance, check_monitors_job.name)
    if at_work:
        return dg.SkipReason(f"{due} monitors are due; {described(at_work)}")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                tags=dict(MONITORS.tags),
                run_config=dict(MONITORS.config),
            )
        ]
    )
