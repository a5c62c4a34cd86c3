"""new_envelopes_sensor: starts drains for every day on which more envelopes wait than those at work take soon."""

from collections.abc import Sequence, Set
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.jobs import process_events_job
from tasks_pipeline.lanes import DRAIN_TAG
from tasks_pipeline.nudging.wanted import drain_of
from tasks_pipeline.partitions import tags_of_day
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.ledger.backlog import DayBacklog, backlogs, day_may_run
from tasks_pipeline.storage.ledger.drains import ActiveDrain, active_drains, drained_runs, last_sign_of_run
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.words import counted

STARTING = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
LAUNCHED = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)
LARGE_BATCHES = 2  # a backlog of so many batches is more than one drain takes soon
# A launched run without a drain alive for so long is dead; its start takes less.
SILENT_RUN_SECONDS = 60


@dg.sensor(
    name="new_envelopes_sensor",
    job=process_events_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts process_events for a day when envelopes wait and no drain of that day is alive; for a large "
    "backlog up to processing.parallel_drains of them.",
)
def new_envelopes_sensor(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SensorResult:
    """A drain per day with a backlog, a further one when it is large; the skip reason says how much waits and who works."""
    requests, reasons = [], []
    with stores.open() as opened:
        settings = opened.config.processing
        waiting = backlogs(opened.state, opened.spool)
        working = active_drains(opened.state)
        for backlog in waiting:
            day = backlog.day.isoformat()
            if not day_may_run(backlog, datetime.now(UTC)):
                reasons.append(_why_not(backlog))
                continue
            workers = _workers(
                context.instance, opened.state, day, [d for d in working if d.day == backlog.day]
            )
            large = backlog.envelopes >= LARGE_BATCHES * settings.batch_envelopes
            if len(workers) < (settings.parallel_drains if large else 1):
                requests.append(_request(backlog.day))
            else:
                reasons.append(
                    f"{_describe(backlog)}; {' and '.join(workers)} {'works' if len(workers) == 1 else 'work'} on it"
                )
    if not waiting:
        return dg.SensorResult(skip_reason="nothing waits")
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else " · ".join(reasons),
        asset_events=[_observation(backlog) for backlog in waiting] if requests else [],
    )


def _request(day: date) -> dg.RunRequest:
    drain = drain_of(day)
    return dg.RunRequest(tags={**drain.tags, **tags_of_day(day)}, run_config=dict(drain.config))


def _workers(
    instance: dg.DagsterInstance, state: StateDatabase, day: str, drains: Sequence[ActiveDrain]
) -> list[str]:
    """Who works on a day, for people: the drains that are alive, and the runs that start up."""
    outside = ["a drain outside Dagster" for drain in drains if drain.run_id is None]
    alive = {drain.run_id for drain in drains if drain.run_id is not None}
    return [
        *outside,
        *(f"run {run_id[:8]}" for run_id in sorted(alive | _runs_on_their_way(instance, state, day, alive))),
    ]


def _runs_on_their_way(
    instance: dg.DagsterInstance, state: StateDatabase, day: str, alive: Set[str]
) -> set[str]:
    """Drain runs of the day that are starting up or draining. Silent ones are ended here; those that only check what
    they stored work on nothing that waits."""
    on_their_way = set()
    records = instance.get_run_records(dg.RunsFilter(tags={DRAIN_TAG: day}, statuses=list(STARTING)))
    over = drained_runs(state, [record.dagster_run.run_id for record in records])
    for record in records:
        run = record.dagster_run
        if run.run_id in over:
            continue
        silence = 0.0 if run.run_id in alive else _silence(record, state)
        if run.status in LAUNCHED and silence > SILENT_RUN_SECONDS:
            instance.report_run_failed(run, f"its drain gave no sign of life for {silence:.0f} s")
        else:
            on_their_way.add(run.run_id)
    return on_their_way


def _silence(record: dg.RunRecord, state: StateDatabase) -> float:
    """Seconds since a run was launched or started, or since the last sign of life of its drain."""
    sign = last_sign_of_run(state, record.dagster_run.run_id)
    launched = record.start_time or record.update_timestamp.replace(tzinfo=UTC).timestamp()
    return datetime.now(UTC).timestamp() - max(launched, sign.timestamp() if sign else 0.0)


def _describe(backlog: DayBacklog) -> str:
    age = f", oldest {(datetime.now(UTC) - backlog.oldest).total_seconds():.0f} s" if backlog.oldest else ""
    return f"{backlog.day}: {counted(backlog.envelopes, 'envelope')} waiting{age}"


def _why_not(backlog: DayBacklog) -> str:
    """Why no drain is started for a day on which something waits or is broken."""
    if backlog.broken and (backlog.idle or not backlog.envelopes):
        return f"{backlog.day}: cannot be read: {backlog.broken}"
    seconds = (backlog.not_before - datetime.now(UTC)).total_seconds() if backlog.not_before else 0.0
    return (
        f"{_describe(backlog)}; {backlog.failed_attempts} attempts failed, the next in {max(0.0, seconds):.0f} s: "
        f"{backlog.error or 'the process died'}"
    )


def _observation(backlog: DayBacklog) -> dg.AssetObservation:
    metadata: dict[str, Any] = {"waiting_envelopes": backlog.envelopes, "waiting_items": backlog.items}
    if backlog.oldest is not None:
        metadata["oldest_seconds"] = round((datetime.now(UTC) - backlog.oldest).total_seconds(), 1)
    return dg.AssetObservation("envelopes", partition=backlog.day.isoformat(), metadata=metadata)
