"""The run launcher where a broker is configured: Dagster's own for Celery, with the ends of runs that it leaves open.

Dagster asks it every few seconds how each run is. It asks no result backend but the signs of life that runs and workers give in the
state database, so that a dead child, a dead worker and a dead machine are all noticed, on every lane and with any broker.
"""

from __future__ import annotations

import time

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from dagster_celery.config import TASK_EXECUTE_JOB_NAME
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_execute_job_task

from tasks_pipeline.home import Home
from tasks_pipeline.signs import Silence
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import RUN_SILENT_AFTER, RunBeat, beats_of_runs

CANCEL_SIGNAL = "SIGINT"
"""To the process of a run that was canceled. SIGTERM tells it to end at its next step (celery_app.py)."""
LOOK_SECONDS = 15.0
"""Dagster looks three times as often."""


class LaneRunLauncher(CeleryRunLauncher):
    """Puts runs into the queues of their lanes, ends those whose process died, and cancels as somebody who was asked to."""

    def __init__(self, *arguments: object, **more: object) -> None:
        super().__init__(*arguments, **more)  # type: ignore[arg-type]
        self._silence = Silence(LOOK_SECONDS)
        self._state: StateDatabase | None = None
        self._carry_out = create_execute_job_task(self.celery)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Put a run into the queue of its lane."""
        run = context.dagster_run
        assert run.job_code_origin is not None
        arguments = ExecuteRunArgs(
            job_origin=run.job_code_origin,
            run_id=run.run_id,
            instance_ref=None,  # a worker has its own: the paths of this host are not those of others
            set_exit_code_on_failure=True,
        )
        task = self._carry_out.si(execute_job_args_packed=pack_value(arguments))
        self._launch_celery_task_run(run=run, task_signature=task, routing_key=TASK_EXECUTE_JOB_NAME)

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """How the process of a run is, by its signs of life.

        By the kernel of this host nothing is asked: a worker in a container has numbers of processes of its own.
        """
        beat = self._beat_of(run.run_id)
        if beat and beat.lost:
            return CheckRunHealthResult(WorkerStatus.FAILED, beat.lost)
        silence = self._silence.seconds(run.run_id, beat.beat_at if beat else None, time.monotonic())
        if silence < RUN_SILENT_AFTER.total_seconds():
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"no sign of life for {silence:.0f} s")

    def terminate(self, run_id: str) -> bool:
        """Cancel a run: at once when no worker has begun with it, else as soon as its process has let go."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if run.status != dg.DagsterRunStatus.CANCELING:
            self._instance.report_run_canceling(run)  # or Dagster would take the interruption for a failure
        if run.status == dg.DagsterRunStatus.STARTING:
            self._instance.report_run_canceled(run, message="Canceled before a worker began with it.")
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id:
            self.celery.control.revoke(task_id, terminate=True, signal=CANCEL_SIGNAL)
        return True

    @property
    def supports_resume_run(self) -> bool:
        """A run that died is done again as a whole."""
        return False

    def get_run_worker_debug_info(
        self, run: dg.DagsterRun, include_container_logs: bool | None = True
    ) -> str | None:
        """Which process it was."""
        beat = self._beat_of(run.run_id)
        return f"It was process {beat.pid} on {beat.host}." if beat else "No worker began with it."

    def dispose(self) -> None:
        """Close what was opened."""
        if self._state is not None:
            self._state.close()

    def _beat_of(self, run_id: str) -> RunBeat | None:
        if self._state is None:
            self._state = StateDatabase(Home.resolve())
        with self._state.read() as connection:
            return beats_of_runs(connection, [run_id]).get(run_id)
