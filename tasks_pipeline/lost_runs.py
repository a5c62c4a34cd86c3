"""Runs that were under way when the machine or the service died: nobody else would notice that they have ended.

Run by the service before its next start (`python -m tasks_pipeline.lost_runs`), when no run of its home can be alive.
"""

from __future__ import annotations

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
REASON = "The service was interrupted while this run was under way."


def end_lost_runs(instance: DagsterInstance) -> list[str]:
    """Mark every run under way as failed (canceled, when it was being canceled); returns their ids.

    A run that failed without a failing step is retried by Dagster as `run_retries` says. Waiting runs are left alone.
    """
    lost = instance.get_runs(RunsFilter(statuses=UNDER_WAY))
    for run in lost:
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=REASON)
        else:
            instance.report_run_failed(run, REASON)
    return [run.run_id for run in lost]


if __name__ == "__main__":
    with DagsterInstance.get() as instance:
        end_lost_runs(instance)
