"""Workers of lanes: the command that starts one, and the settings that Dagster and workers have of Celery. No Celery import."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

from tasks_pipeline.home import BROKER_VARIABLE
from tasks_pipeline.lanes import LANES, MAINTENANCE

WORKER_MODULE = "tasks_pipeline.celery_app"
START_SECONDS = 80
"""A run that no worker began with for so long failed: its lane has no worker, or its worker died that moment."""
STOP_SECONDS = 30
"""A worker that was told to stop has ended after so long."""
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "MALLOC_ARENA_MAX": "2",
    # Nothing here multiplies matrices, and what children are forked from must have no thread.
    "OPENBLAS_NUM_THREADS": "1",
}
"""What a worker is started with."""

SETTINGS: dict[str, Any] = {
    # Dagster orders runs and bounds them by lane before they reach a queue: a worker takes what it has a child for.
    "worker_prefetch_multiplier": 1,
    # What a dead worker had is started again by Dagster. Delivered once more by the broker it would be ignored, and seem done.
    "task_acks_late": False,
    # How a run is says the state database: no results are kept.
    "task_ignore_result": True,
    # What a run prints is kept with the run, as anywhere.
    "worker_redirect_stdouts": False,
    # A run whose start timed out is not worth a child's time.
    "task_annotations": {"*": {"expires": 600}},
    # A broker that restarts is waited for: by workers for ever, by whoever launches a run for half a minute.
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "task_publish_retry_policy": {
        "max_retries": 20,
        "interval_start": 0.2,
        "interval_step": 0.4,
        "interval_max": 2,
    },
    # Children are forked warm, so that a fresh one costs little; what libraries keep goes with the former.
    "worker_max_tasks_per_child": 100,
    "worker_max_memory_per_child": 1_500_000,  # KB
}


def launcher_settings() -> dict[str, Any]:
    """`run_launcher` of dagster.yaml where a broker is configured."""
    return {
        "module": "tasks_pipeline.celery_launcher",
        "class": "LaneRunLauncher",
        "config": {
            "broker": {"env": BROKER_VARIABLE},  # the UI shows this file, and the URL has a password
            "backend": "disabled://",
            "default_queue": MAINTENANCE.queue,
            "config_source": SETTINGS,
        },
    }


def command(lanes: Sequence[str], concurrency: int | None = None) -> list[str]:
    """The command of a worker of lanes. It has a child for each run that its lanes may have at once, unless told how many."""
    children = concurrency or sum(LANES[lane].max_concurrent_runs for lane in lanes)
    return [sys.executable, "-m", WORKER_MODULE, *lanes, "--concurrency", str(children)]


def missing() -> str:
    """What has to be installed before runs can wait for workers; empty when it is."""
    needed = ("dagster_celery", "redis")
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"{BROKER_VARIABLE} is set, but {' and '.join(absent)} is not installed: pip install 'tasks-pipeline[celery]'" if absent else ""  # fmt: skip
