"""digests_sensor: starts send_digest when a member's digest is due."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.jobs import send_digest_job
from tasks_pipeline.notifications.digests import digests_due
from tasks_pipeline.nudging.wanted import DIGESTS
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_under_way


@dg.sensor(
    name="digests_sensor",
    job=send_digest_job,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts send_digest when a digest is due: at the member's fixed times, or a while after its first entry. "
    "After downtime a digest that is overdue is sent once.",
)
def digests_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for all digests that are due."""
    with stores.open() as opened:
        if not opened.config.members:
            return dg.SkipReason("no members are configured")
        due = digests_due(opened.state, opened.config, datetime.now(UTC))
    if not due:
        return dg.SkipReason("no digest is due")
    at_work = runs_under_way(context.instance, send_digest_job.name)
    if at_work:
        return dg.SkipReason(f"{due} digests are due; {described(at_work)}")
    return dg.SensorResult(run_requests=[dg.RunRequest(tags=dict(DIGESTS.tags))])
