"""integrations_sensor: starts sync_integrations when something is to be carried over, and a look at integrations that is due."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.assets.integrations import TRACKERS, trackers
from tasks_pipeline.config import Config
from tasks_pipeline.integrations.checking import checks_due
from tasks_pipeline.integrations.due import sync_due
from tasks_pipeline.integrations.sync import MAX_RUN_SECONDS
from tasks_pipeline.jobs import check_integrations_job, sync_integrations_job
from tasks_pipeline.nudging.wanted import CHECKS, SYNC
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_going_on, runs_under_way


@dg.sensor(
    name="integrations_sensor",
    jobs=[sync_integrations_job, check_integrations_job],
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts sync_integrations when a change waits to be made in a tracker, a link is to be looked at, or a tracker to be polled; "
    "and check_integrations when a look at an integration is due, every five minutes. Without integrations it opens nothing.",
)
def integrations_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """One run that carries over, and one that looks how integrations are."""
    config = stores.resolve().config_in_force().config
    if not config.integrations:
        return dg.SkipReason("no integrations are configured")
    now = datetime.now(UTC)
    with stores.open() as opened:
        due = sync_due(opened, now)
        checks = checks_due(opened.state, opened.config.integrations, now)
    requests, reasons = [], []
    if due:
        at_work = runs_going_on(context.instance, sync_integrations_job.name, MAX_RUN_SECONDS)
        if at_work:
            reasons.append(f"{', '.join(sorted(due))}: {described(at_work)}")
        else:
            requests.append(
                dg.RunRequest(job_name=SYNC.job, tags=dict(SYNC.tags), run_config=dict(SYNC.config))
            )
    if checks:
        at_work = runs_under_way(context.instance, check_integrations_job.name)
        if at_work:
            reasons.append(f"a look at {', '.join(checks)}: {described(at_work)}")
        else:
            requests.append(
                dg.RunRequest(job_name=CHECKS.job, tags=dict(CHECKS.tags), run_config=dict(CHECKS.config))
            )
    partitions = _partitions(context.instance, config)
    if not requests and not partitions:
        return dg.SkipReason("; ".join(reasons) or "nothing is to be carried over")
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "partitions of trackers as in the configuration",
        dynamic_partitions_requests=partitions,
    )


def _partitions(
    instance: dg.DagsterInstance, config: Config
) -> list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest]:
    """What makes the partitions those of the trackers that are configured."""
    known, wanted = set(instance.get_dynamic_partitions(TRACKERS)), {each.name for each in config.trackers}
    requests: list[dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest] = []
    if wanted - known:
        requests.append(trackers.build_add_request(sorted(wanted - known)))
    if known - wanted:
        requests.append(trackers.build_delete_request(sorted(known - wanted)))
    return requests
