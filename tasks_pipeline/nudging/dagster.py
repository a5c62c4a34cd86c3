"""The launcher that asks the running Dagster, over its webserver."""

from __future__ import annotations

from dataclasses import dataclass

from tasks_pipeline.nudging.wanted import Start
from tasks_pipeline.service.dagster_client import PARTITION_TAGS, launch_run, run_status, runs_under_way
from tasks_pipeline.service.dagster_home import LOCATION_NAME
from tasks_pipeline.storage.ledger.drains import drained_runs
from tasks_pipeline.storage.state.database import StateDatabase

SENSOR_TAG = "dagster/sensor_name"  # the UI shows the run with its sensor; without it, as started by hand
NUDGED_TAG = {"tasks_pipeline/started_by": "nudge"}


@dataclass(frozen=True, slots=True)
class DagsterLauncher:
    """Starts runs of the service whose UI is at `ui_url`."""

    ui_url: str
    state: StateDatabase

    def under_way(self, start: Start) -> bool:
        """Whether a run that does this waits, starts or works; a drain run that only checks what it stored does not count."""
        runs = runs_under_way(self.ui_url, start.job)
        if start.day is None:
            return bool(runs)
        of_the_day = {run.run_id for run in runs if run.partition == start.day.isoformat()}
        return bool(of_the_day - drained_runs(self.state, of_the_day))

    def launch(self, start: Start) -> str:
        """Start a run; gives its id."""
        partition = {PARTITION_TAGS[0]: start.day.isoformat()} if start.day else {}
        tags = {**start.tags, **partition, SENSOR_TAG: start.sensor, **NUDGED_TAG}
        return launch_run(self.ui_url, LOCATION_NAME, start.job, tags, start.config)

    def failed(self, run_id: str) -> bool:
        """Whether a run ended, and not well."""
        return run_status(self.ui_url, run_id) in ("FAILURE", "CANCELED")
