"""statistics_sensor: figures of days that are over are computed once nothing of them waits, and again when something changed them."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from tasks_pipeline.analytics.statistics.days import MOST, Due, closed_due
from tasks_pipeline.jobs import statistics_job
from tasks_pipeline.lanes import RECOMPUTE
from tasks_pipeline.partitions import tags_of_days
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.failures import held_back, told
from tasks_pipeline.sensors.workers import described, runs_under_way
from tasks_pipeline.storage.ledger.backlog import backlogs


@dg.sensor(
    name="statistics_sensor",
    job=statistics_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts the computing of days that are over: once nothing of a day waits, and again when a late batch, a "
    "recomputation, late symbols, merged groups or late sessions changed it. Many days in one run, the newest first.",
)
def statistics_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """A run for each stretch of days that are due; the skip reason says what the others wait for."""
    now = datetime.now(UTC)
    with stores.open() as opened:
        waiting = backlogs(opened.state, opened.spool)
        with opened.state.read() as connection:
            due = closed_due(connection, waiting, now)
    held = held_back(context.instance, statistics_job.name, due.days, now)
    days = [day for day in due.days if day not in held][:MOST]
    if not days:
        return dg.SkipReason(_why_not(due, held))
    at_work = runs_under_way(context.instance, statistics_job.name)
    if at_work:
        return dg.SkipReason(f"{', '.join(map(str, days))} changed; {described(at_work)}")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(tags={**RECOMPUTE.tags, **tags_of_days(*stretch)}) for stretch in stretches(days)
        ]
    )


def _why_not(due: Due, held: Mapping[date, datetime]) -> str:
    reasons = [*([told(held)] if held else []), *due.waiting]
    return "; ".join(reasons) or "no day that is over changed since its figures were computed"


def stretches(days: Sequence[date]) -> Iterator[tuple[date, date]]:
    """First and last day of each stretch of days that follow one another, the newest first."""
    ordered = sorted(days)
    found: list[tuple[date, date]] = []
    for day in ordered:
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = found[-1][0], day
        else:
            found.append((day, day))
    yield from reversed(found)
