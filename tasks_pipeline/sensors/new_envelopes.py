"""new_envelopes_sensor: starts a drain for every day on which envelopes wait and nobody works on them."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from tasks_pipeline.jobs import DRAIN_TAG, process_events_job
from tasks_pipeline.lanes import EVENTS
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.storage.batches import DayBacklog, active_drains, backlogs

STARTING = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
SILENT_RUN_SECONDS = 60  # a run that started this long ago and has no drain alive is dead


@dg.sensor(
    name="new_envelopes_sensor",
    job=process_events_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts process_events for a day when envelopes wait and no drain of that day is alive.",
)
def new_envelopes_sensor(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SensorResult:
    """One drain per day with a backlog; the skip reason says how much waits and who works on it."""
    with stores.open() as opened:
        waiting = backlogs(opened.state, opened.spool)
        working = {drain.day: drain for drain in active_drains(opened.state)}
    if not waiting:
        return dg.SensorResult(skip_reason="nothing waits")
    requests, reasons = [], []
    for backlog in waiting:
        day = backlog.day.isoformat()
        drain = working.get(backlog.day)
        run_id = drain.run_id or "a run outside Dagster" if drain else _run_on_its_way(context.instance, day)
        if run_id:
            reasons.append(f"{_describe(backlog)}; run {run_id[:8]} works on it")
        else:
            requests.append(_request(day))
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else " · ".join(reasons),
        asset_events=[_observation(backlog) for backlog in waiting] if requests else [],
    )


def _request(day: str) -> dg.RunRequest:
    return dg.RunRequest(
        partition_key=day,
        tags={**EVENTS.tags, DRAIN_TAG: day},
        run_config=dg.RunConfig(ops={"process_event": {"config": {"mode": "drain"}}}),
    )


def _run_on_its_way(instance: dg.DagsterInstance, day: str) -> str | None:
    """A drain run of the day that is starting up. One that started long ago without a sign of life is ended here."""
    records = instance.get_run_records(dg.RunsFilter(tags={DRAIN_TAG: day}, statuses=list(STARTING)))
    on_its_way = None
    for record in records:
        run = record.dagster_run
        age = datetime.now(UTC).timestamp() - (record.start_time or datetime.now(UTC).timestamp())
        if run.status == dg.DagsterRunStatus.STARTED and age > SILENT_RUN_SECONDS:
            instance.report_run_failed(run, f"its drain gave no sign of life; it started {age:.0f} s ago")
        else:
            on_its_way = run.run_id
    return on_its_way


def _describe(backlog: DayBacklog) -> str:
    age = f", oldest {(datetime.now(UTC) - backlog.oldest).total_seconds():.0f} s" if backlog.oldest else ""
    return f"{backlog.day}: {backlog.envelopes:,} envelopes wait{age}"


def _observation(backlog: DayBacklog) -> dg.AssetObservation:
    metadata: dict[str, Any] = {"waiting_envelopes": backlog.envelopes, "waiting_items": backlog.items}
    if backlog.oldest is not None:
        metadata["oldest_seconds"] = round((datetime.now(UTC) - backlog.oldest).total_seconds(), 1)
    return dg.AssetObservation("envelopes", partition=backlog.day.isoformat(), metadata=metadata)
