"""report_deliveries_sensor: makes the rows of periods that are over, and starts deliver_reports when some can be decided."""

from datetime import UTC, datetime

import dagster as dg

from tasks_pipeline.jobs import deliver_reports_job
from tasks_pipeline.lanes import MAINTENANCE
from tasks_pipeline.notifications.subscriptions import ADVERBS
from tasks_pipeline.reports.deliveries import next_delivery
from tasks_pipeline.reports.due_deliveries import Due, look, plan, revised
from tasks_pipeline.reports.last_run import PAUSE, LastRun, last_run
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.sensors.workers import described, runs_under_way


@dg.sensor(
    name="report_deliveries_sensor",
    job=deliver_reports_job,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts deliver_reports when reports are due to subscribers and computed, or too late for good. Its skip reason says "
    "what is due and waits, or who gets the next one and when.",
)
def report_deliveries_sensor(
    context: dg.SensorEvaluationContext, stores: StoresResource
) -> dg.SensorResult | dg.SkipReason:
    """One run for all reports that are due."""
    now = datetime.now(UTC)
    with stores.open() as opened:
        config = opened.config
        if not config.members and not any(team.reports for team in config.teams):
            return dg.SkipReason("nobody is subscribed")
        plan(opened, now)
        due = look(opened.state, config, now)
        with opened.state.read() as connection:
            following = next_delivery(connection, config, now)
            newer = revised(connection, config, now)
            last = last_run(connection)
    if not due.ready and not newer:
        return dg.SkipReason(f"{_waiting(due)}{_failed(last, now)}{_next(following)}")
    what = f"{due.ready} reports are due" if due.ready else "reports were revised"
    if at_work := runs_under_way(context.instance, deliver_reports_job.name):
        return dg.SkipReason(f"{what}; {described(at_work)}")
    if failed := _died_lately(context.instance, last, now):
        return dg.SkipReason(f"{what}; run {failed[:8]} failed, another one is tried later")
    return dg.SensorResult(run_requests=[dg.RunRequest(tags=dict(MAINTENANCE.tags))])


def _waiting(due: Due) -> str:
    """What is due, and waits for its report."""
    if not due.waiting:
        return ""
    reports = sorted({f"the {ADVERBS[one.kind]} report of {one.key}" for one in due.waiting})
    some = ", ".join(reports[:3]) + (" and others" if len(reports) > 3 else "")
    wrong = f" and right ({'; '.join(due.wrong[:3])})" if due.wrong else ""
    return f"{len(due.waiting)} are due and wait until {some} is computed{wrong}; "


def _failed(last: LastRun, now: datetime) -> str:
    """What could not be composed, and is left for a while."""
    count = len(last.paused(now))
    again = f"another run is tried after {last.again_at:%H:%M} UTC"
    return f"{count} could not be composed, {again}; " if count else ""


def _next(following: tuple[datetime, str] | None) -> str:
    if following is None:
        return "nobody is subscribed"
    at, target = following
    return f"the next one is due at {at:%Y-%m-%d %H:%M} UTC, to {target}"


def _died_lately(instance: dg.DagsterInstance, last: LastRun, now: datetime) -> str | None:
    """The newest run, when it failed a short while ago before it was through: another would fail as it did. One that went through
    says what failed, and nothing else waits for that."""
    for record in instance.get_run_records(dg.RunsFilter(job_name=deliver_reports_job.name), limit=1):
        began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else now
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else now
        failed = record.dagster_run.status == dg.DagsterRunStatus.FAILURE
        if failed and last.at < began and now - ended < PAUSE:
            return record.dagster_run.run_id
    return None
