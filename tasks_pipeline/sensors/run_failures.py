"""run_failure: what happens when a run fails; it frees what the run held, so that the next one starts at once."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.jobs import reconcile_issues_job, send_alert_notification_job, sync_integrations_job
from tasks_pipeline.lanes import DRAIN_TAG
from tasks_pipeline.links import intents
from tasks_pipeline.notifications.outbox import release_claims
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.ledger.drains import end_drains_of_run


@dg.run_failure_sensor(
    name="run_failure",
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=120,
    description="Says which run failed and why, and frees the batches a dead drain held, the messages a dead sender had in flight, and the changes of issues that it had in hand.",
)
def run_failure(context: dg.RunFailureSensorContext, stores: StoresResource) -> None:
    """Log the failure; a drain's batches can be claimed again without waiting for its silence to be noticed."""
    run = context.dagster_run
    context.log.error(f"run {run.run_id} of {run.job_name} failed: {context.failure_event.message}")
    if DRAIN_TAG in run.tags:
        with stores.open() as opened:
            freed = end_drains_of_run(opened.state, run.run_id)
        context.log.info(f"{freed} drains of run {run.run_id} ended")
    if run.job_name == send_alert_notification_job.name:
        with stores.open() as opened:
            freed = release_claims(opened.state, run.run_id, datetime.now(UTC))
        context.log.info(f"{freed} messages that run {run.run_id} had in flight are due again")
    if run.job_name in (sync_integrations_job.name, reconcile_issues_job.name):
        with stores.open() as opened:
            freed = intents.release_claims(opened.state, run.run_id, datetime.now(UTC))
        context.log.info(f"{freed} changes of issues that run {run.run_id} had in hand are due again")


def _say_why(sensor: dg.SensorDefinition, reason: str) -> None:
    """Have a sensor that found nothing say so; Dagster's words for it are "Sensor function returned an empty result".

    Run failure sensors may return nothing, so it goes by a private attribute: a Dagster without it says its own words.
    """
    evaluate = getattr(sensor, "_evaluation_fn", None)
    if evaluate is None:
        return

    def evaluated(context: dg.SensorEvaluationContext) -> Any:
        return evaluate(context) or [dg.SkipReason(reason)]

    sensor._evaluation_fn = evaluated


_say_why(run_failure, "no run failed")
