"""late_symbols_sensor: symbols that arrived after the events that needed them heal those events."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.jobs import reprocess_job
from tasks_pipeline.lanes import RECOMPUTE
from tasks_pipeline.partitions import tags_of_day
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import UNDER_WAY
from tasks_pipeline.uploads.arrivals import SymbolDebt, debts_due, match_arrivals, note_attempts

DEBT_TAG = "tasks_pipeline/late_symbols"


@dg.sensor(
    name="late_symbols_sensor",
    job=reprocess_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="When debug files or artifact bundles arrive for which stored events waited, processes just those events "
    "again: symbolicated, regrouped, counted once. A run per affected day; one that fails is made again, ever later.",
)
def late_symbols_sensor(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SensorResult:
    """A run for each day to which symbols are owed. The state database knows them, so no run and no tick is the last chance."""
    now = datetime.now(UTC)
    with stores.open() as opened:
        arrived = match_arrivals(opened.state, opened.lake, now)
        due = debts_due(opened.state, now)
        free = [debt for debt in due if not _under_way(context.instance, debt)]
        if free:
            note_attempts(opened.state, free, now)
    if not free:
        return dg.SensorResult(skip_reason=_why_not(arrived, due))
    return dg.SensorResult(run_requests=[_request(debt) for debt in free])


def _under_way(instance: dg.DagsterInstance, debt: SymbolDebt) -> bool:
    tags = {DEBT_TAG: debt.day.isoformat()}
    return bool(instance.get_runs(dg.RunsFilter(tags=tags, statuses=list(UNDER_WAY)), limit=1))


def _why_not(arrived: int, due: list[SymbolDebt]) -> str:
    if due:
        return f"runs are under way for {', '.join(debt.day.isoformat() for debt in due)}"
    if arrived:
        return f"{arrived} symbols arrived; no stored event had missed them"
    return "no symbols arrived, and none are owed now"


def _request(debt: SymbolDebt) -> dg.RunRequest:
    day = debt.day.isoformat()
    config = {"mode": "reprocess", "symbols_after": debt.after}
    return dg.RunRequest(
        tags={**RECOMPUTE.tags, DEBT_TAG: day, **tags_of_day(debt.day)},
        run_config=dg.RunConfig(ops={"process_event": {"config": config}}),
    )
