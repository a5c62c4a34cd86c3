"""reports_sensor: starts reports of periods that ended, and computes those again whose days came out otherwise since."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from tasks_pipeline.assets.metadata import REPORTS
from tasks_pipeline.jobs import report_jobs
from tasks_pipeline.lanes import MAINTENANCE, RECOMPUTE, Lane
from tasks_pipeline.partitions import tags_of_range
from tasks_pipeline.reports.due import Due, reports_due
from tasks_pipeline.reports.periods import ADVERBS, KINDS, Kind
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_under_way

AFTER_FAILURE = timedelta(minutes=15)
"""So long after a run of reports failed another is started."""


@dg.sensor(
    name="reports_sensor",
    jobs=report_jobs,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every minute: periods that ended and have no report yet, as soon as what was received in them is counted; and "
    "reports whose days came out otherwise since, the newest first. Otherwise says what it waits for.",
)
def reports_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """Runs of the kinds that something is due of, unless one is under way."""
    now = datetime.now(UTC)
    with stores.open() as opened:
        since = datetime.fromisoformat(context.cursor) if context.cursor else None
        due = reports_due(opened.state, opened.spool, opened.config, now, since)
    requests: list[dg.RunRequest] = []
    busy: list[str] = []
    for kind in KINDS:
        keys = due.fresh.get(kind), due.stale.get(kind)
        if not any(keys):
            continue
        if why := _why_not(context.instance, kind):
            busy.append(why)
            continue
        requests += _requests(kind, due.fresh.get(kind, []), MAINTENANCE)
        requests += _requests(kind, due.stale.get(kind, []), RECOMPUTE)
    cursor = due.seen.isoformat() if due.seen and not due.stale else context.cursor
    if not requests:
        return dg.SensorResult(skip_reason=_reason(due, busy), cursor=cursor)
    return dg.SensorResult(run_requests=requests, cursor=cursor)


def _requests(kind: Kind, keys: Sequence[date], lane: Lane) -> Iterator[dg.RunRequest]:
    """A run for each row of keys without a gap."""
    for first, last in _ranges(kind, keys):
        yield dg.RunRequest(
            job_name=_job(kind),
            run_config={"ops": {REPORTS[kind]: {"config": {"only_due": True}}}},
            tags={**lane.tags, **tags_of_range(first, last)},
        )


def _ranges(kind: Kind, keys: Sequence[date]) -> list[tuple[date, date]]:
    """Sorted keys as first and last of rows without a gap."""
    found: list[tuple[date, date]] = []
    for key in keys:
        if found and _follows(kind, found[-1][1], key):
            found[-1] = found[-1][0], key
        else:
            found.append((key, key))
    return found


def _follows(kind: Kind, one: date, other: date) -> bool:
    days = (other - one).days
    return days == {"day": 1, "week": 7}.get(kind, days if 28 <= days <= 31 else -1)


def _why_not(instance: dg.DagsterInstance, kind: Kind) -> str:
    """Why no run of a kind is started now; empty when one can be."""
    job = _job(kind)
    if at_work := runs_under_way(instance, job):
        return f"{ADVERBS[kind]} reports are due; {described(at_work)}"
    records = instance.get_run_records(dg.RunsFilter(job_name=job), limit=1)
    if records and records[0].dagster_run.status is dg.DagsterRunStatus.FAILURE:
        ended = records[0].end_time or 0.0
        left = ended + AFTER_FAILURE.total_seconds() - time.time()
        if left > 0:
            return f"{ADVERBS[kind]} reports are due; the last run failed, another is started in {left:.0f} s"
    return ""


def _job(kind: Kind) -> str:
    return f"{REPORTS[kind]}s"


def _reason(due: Due, busy: Sequence[str]) -> str:
    if busy or due.waits:
        return " · ".join([*busy, *due.waits])
    ends = f"; the next period ends at {due.next_end:%Y-%m-%d %H:%M} UTC" if due.next_end else ""
    return f"every period that ended has its report{ends}"
