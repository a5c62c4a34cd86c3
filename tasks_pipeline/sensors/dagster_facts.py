"""What Dagster says of itself, in the form that the watch reads."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from tasks_pipeline.watch.facts import DagsterFacts, Failing

LOOKED_AT = 12  # newest runs of a job, and newest ticks of a sensor or schedule
RUNS_LOOKED_AT = 200
OVER = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
INTERRUPTED = RunFailureReason.UNEXPECTED_TERMINATION.value
WATCHED_DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING")


def dagster_facts(instance: dg.DagsterInstance) -> DagsterFacts:
    """Failures in a row of jobs, sensors and schedules, and daemons that are not well."""
    return DagsterFacts(
        jobs=tuple(_failing_jobs(instance)),
        ticks=tuple(_failing_ticks(instance)),
        daemons=tuple(_silent_daemons(instance)),
    )


def _failing_jobs(instance: dg.DagsterInstance) -> Iterator[Failing]:
    """Jobs whose newest runs failed. A run that is retried by Dagster counts with its retries."""
    newest = instance.get_run_records(dg.RunsFilter(statuses=list(OVER)), limit=RUNS_LOOKED_AT)
    streaks: dict[str, list[dg.DagsterRun]] = {}
    ended: set[str] = set()
    for record in newest:
        run = record.dagster_run
        if run.job_name in ended:
            continue
        if run.status == dg.DagsterRunStatus.SUCCESS:
            ended.add(run.job_name)
        else:
            streaks.setdefault(run.job_name, []).append(run)
    for name, runs in sorted(streaks.items()):
        if len(runs) == 1 and runs[0].tags.get(RUN_FAILURE_REASON_TAG) == INTERRUPTED:
            continue  # whoever stops the service ends the runs that stand by, and the next does what was left
        run_id = runs[0].run_id
        yield Failing(name, len(runs), f"run {run_id[:8]}: {_why(instance, run_id)}")


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the newest failure of a run says, in a line."""
    failed = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.RUN_FAILURE, limit=1, ascending=False
    )
    said = [record.event_log_entry.user_message for record in failed.records]
    return " ".join(" ".join(said).split())[:200] or "no reason is known"


def _failing_ticks(instance: dg.DagsterInstance) -> Iterator[Failing]:
    for state in instance.all_instigator_state():
        if state.status is InstigatorStatus.STOPPED:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=LOOKED_AT)
        failures, error = 0, ""
        for tick in ticks:
            if tick.status is TickStatus.STARTED:
                continue
            if tick.status is not TickStatus.FAILURE:
                break
            failures += 1
            error = error or (tick.error.message.strip().splitlines()[-1] if tick.error else "")
        if failures:
            yield Failing(state.instigator_name, failures, error)


def _silent_daemons(instance: dg.DagsterInstance) -> Iterator[str]:
    for name, status in instance.get_daemon_statuses().items():
        if name in WATCHED_DAEMONS and status.required and not status.healthy:
            yield name
