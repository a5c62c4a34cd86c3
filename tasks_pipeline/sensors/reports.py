"""reports_sensor: starts reports of periods that ended, and computes those again whose days came out otherwise since."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from tasks_pipeline.assets.metadata import REPORTS
from tasks_pipeline.jobs import report_jobs
from tasks_pipeline.lanes import MAINTENANCE, RECOMPUTE, Lane
from tasks_pipeline.partitions import tags_of_range
from tasks_pipeline.reports.due import Due, reports_due
from tasks_pipeline.reports.periods import ADVERBS, KINDS, Kind
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.failures import held_back, told
from tasks_pipeline.sensors.workers import described, runs_under_way

MOST_STALE = 50
"""So many keys are computed again at once, the newest first."""


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
    why_not: list[str] = []
    for kind, fresh, stale in _free(context.instance, due, now, why_not):
        requests += _requests(kind, fresh, MAINTENANCE)
        requests += _requests(kind, stale, RECOMPUTE)
    cursor = due.seen.isoformat() if due.seen else None
    if not requests:
        return dg.SensorResult(skip_reason=_reason(due, why_not), cursor=cursor)
    return dg.SensorResult(run_requests=requests, cursor=cursor)


def _free(
    instance: dg.DagsterInstance, due: Due, now: datetime, why_not: list[str]
) -> Iterator[tuple[Kind, list[date], list[date]]]:
    """By kind the keys that are computed now: fresh ones, and as many stale ones as may be. What holds up others is noted."""
    left = MOST_STALE
    for kind in KINDS:
        fresh, stale = due.fresh.get(kind, []), due.stale.get(kind, [])
        if not fresh and not stale:
            continue
        if at_work := runs_under_way(instance, _job(kind)):
            why_not.append(f"{ADVERBS[kind]} reports are due; {described(at_work)}")
            continue
        held = held_back(instance, _job(kind), [*fresh, *stale], now)
        if held:
            why_not.append(f"{ADVERBS[kind]} reports: {told(held)}")
        newest = [key for key in stale if key not in held][-left:] if left else []
        left -= len(newest)
        yield kind, [key for key in fresh if key not in held], newest


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


def _job(kind: Kind) -> str:
    return f"{REPORTS[kind]}s"


def _reason(due: Due, why_not: Sequence[str]) -> str:
    if why_not or due.waits:
        return " · ".join([*why_not, *due.waits])
    ends = f"; the next period ends at {due.next_end:%Y-%m-%d %H:%M} UTC" if due.next_end else ""
    return f"every period that ended has its report{ends}"
