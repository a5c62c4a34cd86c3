"""pipeline_watch_sensor: the pipeline looks at itself every minute, tells the operators, and says outside that it lives."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import msgspec

from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.dagster_facts import dagster_facts
from tasks_pipeline.sensors.idle_ticks import drop_idle_ticks
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch.facts import DagsterFacts
from tasks_pipeline.watch.heartbeat import ping_heartbeat
from tasks_pipeline.watch.probes import BROKEN, CRITICAL, OK, Reading, measured
from tasks_pipeline.watch.watching import tell_directly, watch_pipeline

log = logging.getLogger(__name__)

WRITE_ALL = timedelta(hours=6)
"""Between two writings of every probe; in between only what changes its status is written."""


@dg.sensor(
    name="pipeline_watch_sensor",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads the probes of the pipeline (lag, queues, errors, failing runs, sensors and schedules, disk, clock), tells "
    "the operators through the outbox or, when that is broken, on the fallback channel, and pings the heartbeat while all "
    "is well. Checks are written when a status changes, and every six hours.",
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
    statuses = {r.name: report.statuses.get(r.name, r.status) for r in report.readings}
    written = _Written.read(context.cursor)
    due = written.due(statuses, now)
    drop_idle_ticks(context.instance, now)
    if not due:
        return dg.SensorResult(
            skip_reason=f"{len(statuses)} probes read, the worst is {report.worst}; nothing changed"
        )
    metadata: dict[str, Any] = {
        f"{reading.name}_{unit}": value
        for reading in report.readings
        if reading.value is not None
        for unit, value in [measured(reading)]
    }
    return dg.SensorResult(
        skip_reason=f"{len(statuses)} probes read, the worst is {report.worst}; {len(due)} written as checks",
        cursor=written.after(due, statuses, now),
        asset_events=[
            dg.AssetMaterialization(
                "pipeline_probes", metadata={**metadata, "worst": report.worst, "heartbeat": pinged}
            ),
            *(
                check_of(reading, statuses[reading.name])
                for reading in report.readings
                if reading.name in due
            ),
        ],
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
            home = stores.resolve()
            config = home.config_in_force().config
            broken = f"the pipeline cannot open its stores: {reason_of(error)}"
            context.log.exception(f"{broken}; fallback: {tell_directly(config, home, broken, now)}")
            raise
        yield opened


class _Written(msgspec.Struct):
    """What was last written to Dagster, kept as the cursor: the status of each probe, and when all were written.

    An event stays for good and takes 4 KB with its indexes: thirteen of them a minute would be 75 MB a day.
    """

    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    statuses: dict[str, str] = {}

    @classmethod
    def read(cls, cursor: str | None) -> _Written:
        """What a cursor says; one of another version says nothing."""
        try:
            return msgspec.json.decode(cursor or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()

    def due(self, statuses: Mapping[str, str], now: datetime) -> set[str]:
        """The probes to write: those whose status changed, and now and then all."""
        if now - self.at >= WRITE_ALL:
            return set(statuses)
        return {name for name, status in statuses.items() if self.statuses.get(name) != status}

    def after(self, due: Set[str], statuses: Mapping[str, str], now: datetime) -> str:
        """The next cursor."""
        at = now if due == set(statuses) else self.at
        return msgspec.json.encode(_Written(at, dict(statuses))).decode()


def check_of(reading: Reading, status: str) -> dg.AssetCheckEvaluation:
    """A probe as a check of the asset; the label of its value is the unit."""
    unit, value = measured(reading)
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey("pipeline_probes"),
        check_name=reading.name,
        passed=status == OK,
        severity=dg.AssetCheckSeverity.ERROR if status in (CRITICAL, BROKEN) else dg.AssetCheckSeverity.WARN,
        metadata={
            unit: dg.MetadataValue.float(float(value)),
            "status": dg.MetadataValue.text(status),
        },
        description=reading.detail[:200],
    )
