"""pipeline_watch_sensor: the pipeline looks at itself every minute, tells the operators, and says outside that it lives."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.dagster_facts import dagster_facts
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.heartbeat import ping_heartbeat
from tasks_pipeline.watch.probes import BROKEN, CRITICAL, OK, Reading
from tasks_pipeline.watch.watching import tell_directly, watch_pipeline

log = logging.getLogger(__name__)


@dg.sensor(
    name="pipeline_watch_sensor",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads the probes of the pipeline (lag, queues, errors, failing runs, sensors and schedules, disk, clock), tells "
    "the operators through the outbox or, when that is broken, on the fallback channel, and pings the heartbeat while all "
    "is well.",
)
def pipeline_watch_sensor(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SensorResult:
    """In the tick and not in a run: it has to work when no run can be started."""
    now = datetime.now(UTC)
    facts = _facts(context.instance)
    with _stores(context, stores, now) as opened:
        report = watch_pipeline(opened, facts, now)
        pinged = ping_heartbeat(opened, now, well=report.well)
    if report.told or report.fallback:
        context.log.info(
            f"told: {', '.join(report.told) or 'nothing'}; fallback: {report.fallback or 'not needed'}"
        )
    metadata: dict[str, Any] = {
        reading.name: reading.value for reading in report.readings if reading.value is not None
    }
    checks = [check_of(reading, report.statuses[reading.name]) for reading in report.readings]
    return dg.SensorResult(
        asset_events=[
            dg.AssetMaterialization(
                "pipeline_probes", metadata={**metadata, "worst": report.worst, "heartbeat": pinged}
            ),
            *checks,
        ]
    )


def _facts(instance: dg.DagsterInstance) -> DagsterFacts:
    """What Dagster says or, when it cannot, why: everything else is watched all the same."""
    try:
        return dagster_facts(instance)
    except Exception as error:
        log.exception("Dagster does not say how it is doing")
        return DagsterFacts(error=reason_of(error))


@contextmanager
def _stores(context: dg.SensorEvaluationContext, stores: StoresResource, now: datetime) -> Iterator[Stores]:
    """Open stores. When they cannot be opened the fallback channel hears of it, and the tick fails."""
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(stores.open())
        except Exception as error:
            config = stores.resolve().config_in_force().config
            broken = f"the pipeline cannot open its stores: {reason_of(error)}"
            context.log.exception(f"{broken}; fallback: {tell_directly(config, broken, now)}")
            raise
        yield opened


def check_of(reading: Reading, status: str) -> dg.AssetCheckEvaluation:
    """A probe as a check of the asset."""
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("pipeline_probes"),
        check_name=reading.name,
        passed=status == OK,
        severity=dg.AssetCheckSeverity.ERROR if status in (CRITICAL, BROKEN) else dg.AssetCheckSeverity.WARN,
        metadata={
            "value": dg.MetadataValue.float(float(reading.value or 0)),
            "status": dg.MetadataValue.text(status),
        },
        description=reading.detail[:200],
    )
