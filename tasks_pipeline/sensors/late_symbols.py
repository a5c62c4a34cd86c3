"""late_symbols_sensor: symbols that arrived after the events that needed them heal those events."""

import dagster as dg

from tasks_pipeline.jobs import reprocess_job
from tasks_pipeline.lanes import RECOMPUTE
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.uploads.arrivals import arrivals, days_that_missed, last_arrival


@dg.sensor(
    name="late_symbols_sensor",
    job=reprocess_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="When debug files or artifact bundles arrive for which stored events waited, processes just those events "
    "again: symbolicated, regrouped, counted once. A run per affected day.",
)
def late_symbols_sensor(context: dg.SensorEvaluationContext, stores: StoresResource) -> dg.SensorResult:
    """A run for each day with events that missed what arrived since the last tick; the cursor is the last arrival seen."""
    seen = int(context.cursor or 0)
    with stores.open() as opened:
        with opened.state.read() as connection:
            newest = last_arrival(connection)
            arrived = arrivals(connection, seen, newest) if newest > seen else set()
        if not arrived:
            return dg.SensorResult(
                skip_reason=f"no symbols arrived since number {seen}", cursor=str(max(seen, newest))
            )
        days = days_that_missed(opened.lake, arrived)
    if not days:
        return dg.SensorResult(
            skip_reason=f"{len(arrived)} symbols arrived; no stored event had missed them", cursor=str(newest)
        )
    return dg.SensorResult(
        cursor=str(newest),
        run_requests=[
            dg.RunRequest(
                run_key=f"late-symbols-{day}-{newest}",
                partition_key=day.isoformat(),
                tags=RECOMPUTE.tags,
                run_config=dg.RunConfig(
                    ops={"process_event": {"config": {"mode": "reprocess", "symbols_after": seen}}}
                ),
            )
            for day in days
        ],
    )
