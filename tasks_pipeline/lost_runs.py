"""Runs that were under way when the machine or the service died: nobody else would notice that they have ended.

Run by the service before its next start (`python -m tasks_pipeline.lost_runs`), when no run of its home can be alive. Where hosts share
a database, runs of others are left alone: those are watched by whoever runs Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from dagster import DagsterInstance, DagsterRunStatus, DefaultRunLauncher, RunsFilter

from tasks_pipeline.home import Home
from tasks_pipeline.signs import is_gone
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import beats_of_runs

UNDER_WAY = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
REASON = "The service was interrupted while this run was under way."


def end_lost_runs(
    instance: DagsterInstance, is_lost: Callable[[str], bool] = lambda _run_id: True
) -> list[str]:
    """Mark runs under way that are lost as failed (canceled, when they were being canceled); returns their ids.

    A run that failed without a failing step is retried by Dagster as `run_retries` says. Waiting runs are left alone.
    """
    lost = [run for run in instance.get_runs(RunsFilter(statuses=UNDER_WAY)) if is_lost(run.run_id)]
    for run in lost:
        if run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run, message=REASON)
        else:
            instance.report_run_failed(run, REASON)
    return [run.run_id for run in lost]


def lost_of(home: Home, run_ids: Sequence[str], *, by_workers: bool) -> set[str]:
    """Which of the runs under way ended with an earlier service of this home. With SQLite no other has any.

    Else those whose process was on this host and is gone, and those that gave no sign of life: whoever ran Dagster before was to carry
    them out, and we have that place now. But where workers take runs from queues, they may be about to.
    """
    if home.embedded:
        return set(run_ids)
    with closing(StateDatabase(home)) as state, state.read() as connection:
        beats = beats_of_runs(connection, run_ids)
    silent = set() if by_workers else set(run_ids) - beats.keys()
    return silent | {beat.run_id for beat in beats.values() if is_gone(beat)}


if __name__ == "__main__":
    with DagsterInstance.get() as instance:
        run_ids = [run.run_id for run in instance.get_runs(RunsFilter(statuses=UNDER_WAY))]
        by_workers = not isinstance(instance.run_launcher, DefaultRunLauncher)
        lost = lost_of(Home.resolve(), run_ids, by_workers=by_workers)
        end_lost_runs(instance, lost.__contains__)
