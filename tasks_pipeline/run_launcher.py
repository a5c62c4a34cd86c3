"""The run launcher of an installation without a broker: Dagster's own, which notices besides when the process of a run is gone.

Its code server tells of runs that die while it lives. When it is killed itself, or its host is gone and another one runs Dagster, nobody
would: the run would count as under way for hours, and sensors would wait for it.
"""

from __future__ import annotations

import time
from contextlib import closing

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._serdes import ConfigurableClassData

from tasks_pipeline.home import Home
from tasks_pipeline.signs import Silence, has_process, is_gone, is_here
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import RUN_SILENT_AFTER, RunBeat, beats_of_runs

LOOK_SECONDS = 90.0
"""Dagster's run monitoring looks three times as often."""


class WatchingRunLauncher(DefaultRunLauncher):
    """Launches runs as Dagster does, and says of each whether its process lives."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._silence = Silence(LOOK_SECONDS)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """How the process of a run is. One that never gave a sign of life is not judged: its code needs no stores."""
        beat = _beat_of(run.run_id)
        if beat is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        silence = self._silence.seconds(run.run_id, beat.beat_at, time.monotonic())
        is_silent = silence >= RUN_SILENT_AFTER.total_seconds()
        if is_here(beat):
            # A process that seems to be younger than the run is another one, or the clock was put forward: then signs still come.
            is_over = is_gone(beat) and (is_silent or not has_process(beat.pid))
            death = f"process {beat.pid} is gone" if is_over else ""
        else:
            death = f"{beat.host} gave no sign of life of it for {silence:.0f} s" if is_silent else ""
        return CheckRunHealthResult(WorkerStatus.FAILED if death else WorkerStatus.RUNNING, death or None)


def _beat_of(run_id: str) -> RunBeat | None:
    with closing(StateDatabase(Home.resolve())) as state, state.read() as connection:
        return beats_of_runs(connection, [run_id]).get(run_id)
