"""new_release_sensor: starts process_releases when a release is new, commits arrived, deploys are to be told, or figures are old."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.groups.suspects import suspects_due
from tasks_pipeline.jobs import process_releases_job
from tasks_pipeline.nudging.wanted import SHIPPING
from tasks_pipeline.releases.due import releases_due
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_under_way


@dg.sensor(
    name="new_release_sensor",
    job=process_releases_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts process_releases when something waits for it: a new release, commits of one, a deploy that nobody was "
    "told of, events that came since figures were counted 15 minutes ago, or groups whose suspects are to be looked for.",
)
def new_release_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for all that waits; the skip reason says what does and who works on it."""
    with stores.open() as opened:
        due = releases_due(opened.state, datetime.now(UTC))
        due += ["suspects"] if suspects_due(opened.state) else []
    if not due:
        return dg.SkipReason("nothing waits")
    at_work = runs_under_way(context.instance, process_releases_job.name)
    if at_work:
        return dg.SkipReason(f"what waits: {', '.join(due)}; {described(at_work)}")
    return dg.SensorResult(
        run_requests=[dg.RunRequest(tags=dict(SHIPPING.tags), run_config=dict(SHIPPING.config))]
    )
