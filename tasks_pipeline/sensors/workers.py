"""Whether a run that works for long, and lingers, is already there: sensors start another only when none is."""

import time

import dagster as dg

UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)


def runs_under_way(instance: dg.DagsterInstance, job: str) -> list[str]:
    """Ids of the runs of a job that wait, start or work, oldest first. Dagster's run monitoring ends those whose process died."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=list(UNDER_WAY)))
    return [run.run_id for run in reversed(runs)]


def runs_going_on(instance: dg.DagsterInstance, job: str, max_run_seconds: float) -> list[str]:
    """The same without those that have been at work for longer than they may: they only wait for what they have in flight,
    and the next one need not wait for that."""
    filters = dg.RunsFilter(job_name=job, statuses=list(UNDER_WAY))
    oldest = time.time() - max_run_seconds
    return [
        record.dagster_run.run_id
        for record in reversed(instance.get_run_records(filters))
        if record.start_time is None or record.start_time > oldest
    ]


def described(run_ids: list[str]) -> str:
    """Runs for people: `run 1a2b3c4d works on it`."""
    names = " and ".join(f"run {run_id[:8]}" for run_id in run_ids)
    return f"{names} {'works' if len(run_ids) == 1 else 'work'} on it"
