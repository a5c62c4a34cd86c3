"""DAGSTER_HOME of an installation: its dagster.yaml, its workspace.yaml, and the variables Dagster's processes need.

What the runs do is not here but in the definitions; how the processes are started and watched is in `supervisor.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from typing import Any
from urllib.parse import quote

import yaml

from tasks_pipeline.files import write_atomically
from tasks_pipeline.home import DAGSTER_DATABASE_VARIABLE, DATABASE_VARIABLE, Home
from tasks_pipeline.lanes import LANE_TAG, LANES
from tasks_pipeline.service import celery_worker

DAGSTER_SCHEMA = "dagster"
LOCATION_NAME = "tasks_pipeline"
DEFINITIONS_MODULE = "tasks_pipeline.definitions"
CODE_SERVER_MODULE = "tasks_pipeline.code_server"
DAGSTER_PROCESS_MODULE = "tasks_pipeline.dagster_process"
CODE_SERVER_VARIABLE = "TASKS_PIPELINE_CODE_SERVER"
"""Names the code server, as host:port, that Dagster's other processes wait for before they begin."""
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""For every Python started with -m: it must not import what happens to lie in the directory it was started in."""


class DagsterHomeError(Exception):
    """Dagster's own storage cannot be made ready; the message holds what Dagster said."""


_HEADER = """\
# Dagster's settings, written by `tasks-pipeline` from tasks_pipeline/service/dagster_home.py: changes here are lost.
# Limits per lane come from tasks_pipeline/lanes.py, where the reason for each stands.
"""


def dagster_settings(*, postgres: bool, queues: bool) -> dict[str, Any]:
    """The content of dagster.yaml; with `postgres` Dagster stores its own data there instead of in SQLite files, with `queues` runs wait
    in those of a broker for workers."""
    lanes = [
        {"key": LANE_TAG, "value": lane.name, "limit": lane.max_concurrent_runs} for lane in LANES.values()
    ]
    settings: dict[str, Any] = {
        "run_coordinator": {
            # Dagster's queue; runs from the UI are put on their lanes too.
            "module": "tasks_pipeline.run_coordinator",
            "class": "LaneRunCoordinator",
            # Launching takes two seconds: a drain and the sender of its alerts must not wait for each other.
            "config": {"dequeue_interval_seconds": 1, "dequeue_use_threads": True, "dequeue_num_workers": 4},
        },
        "concurrency": {
            "runs": {
                # The sum: no lane may fill the places of another.
                "max_concurrent_runs": sum(lane.max_concurrent_runs for lane in LANES.values()),
                "tag_concurrency_limits": [*lanes, {"key": "dagster/backfill", "limit": 1}],
            },
            "pools": {"default_limit": 1},
        },
        "run_monitoring": {
            "enabled": True,
            "start_timeout_seconds": celery_worker.START_SECONDS if queues else 120,
            "max_runtime_seconds": 1800,
            # What a killed process of a run costs. Without a broker each look is a call of the code server.
            "poll_interval_seconds": 5 if queues else 30,
            "free_slots_after_run_end_seconds": 60,
        },
        "run_launcher": {"module": "tasks_pipeline.run_launcher", "class": "WatchingRunLauncher"},
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "sensors": {"use_threads": True, "num_workers": 4, "num_submit_workers": 4},
        # Nothing here is automated by conditions, and looking for them costs at rest.
        "auto_materialize": {"enabled": False, "use_sensors": False},
        "freshness": {"enabled": True},
        "retention": {
            "sensor": {"purge_after_days": {"skipped": 1, "failure": 14, "success": 7, "started": 1}},
            "schedule": {"purge_after_days": 30},
            "auto_materialize": {"purge_after_days": 3},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }
    if queues:
        settings["run_launcher"] = celery_worker.launcher_settings()
    if postgres:
        # By variable, because the UI shows this file to everyone who can open it.
        settings["storage"] = {"postgres": {"postgres_url": {"env": DAGSTER_DATABASE_VARIABLE}}}
    return settings


def dagster_yaml(*, postgres: bool = False, queues: bool = False) -> str:
    """The text of dagster.yaml."""
    settings = dagster_settings(postgres=postgres, queues=queues)
    return _HEADER + yaml.safe_dump(settings, sort_keys=False, width=110)


def workspace_yaml(host: str, port: int) -> str:
    """The text of a workspace.yaml whose code location is served by a running code server."""
    server = {"host": host, "port": port, "location_name": LOCATION_NAME}
    return yaml.safe_dump({"load_from": [{"grpc_server": server}]}, sort_keys=False)


def module_workspace_yaml() -> str:
    """The content of a workspace.yaml for `dagster dev` and its like: each process loads the code by itself."""
    module = {"module_name": DEFINITIONS_MODULE, "location_name": LOCATION_NAME}
    return yaml.safe_dump({"load_from": [{"python_module": module}]}, sort_keys=False)


def dagster_environment(home: Home) -> dict[str, str]:
    """The variables every process needs that opens this home's Dagster instance."""
    variables = home.environment()
    if not home.embedded:
        variables[DAGSTER_DATABASE_VARIABLE] = dagster_database_url(home)
    return variables


def dagster_database_url(home: Home) -> str:
    """The Postgres URL of Dagster's own storage: the home's database, in a schema of its own, or what the environment says.

    The schema keeps Dagster's tables, alembic's above all, apart from ours; a URL of the environment leads through a pooler to a
    role that has the schema in its search path. Raises ValueError on a URL that is none.
    """
    if home.dagster_database_url:
        return home.dagster_database_url
    separator = "&" if "?" in home.postgres_url else "?"
    return f"{home.postgres_url}{separator}options={quote(f'-csearch_path={DAGSTER_SCHEMA}', safe='')}"


def write_dagster_home(home: Home, code_server: tuple[str, int] | None = None) -> None:
    """Make DAGSTER_HOME with its dagster.yaml, and its workspace.yaml when a code server (host, port) is named.

    Each file is replaced as a whole and only when it differs, so it may be called at every start. On Postgres the
    schema is created. Raises OSError, and DagsterHomeError when the database cannot be used.
    """
    home.dagster_home.mkdir(parents=True, exist_ok=True, mode=0o700)
    settings = dagster_yaml(postgres=not home.embedded, queues=home.queued)
    write_atomically(home.dagster_home / "dagster.yaml", settings)
    if code_server:
        write_atomically(home.dagster_home / "workspace.yaml", workspace_yaml(*code_server))
    if not home.embedded:
        _create_schema(home)


def migrate_storage(home: Home) -> None:
    """Create Dagster's tables, or bring them to the installed version; takes seconds, but only when that changed.

    Processes of Dagster that start together on an empty store would all create the tables and fail. Raises
    DagsterHomeError.
    """
    done = home.dagster_home / "storage-version"
    wanted = f"{version('dagster')} {'postgres' if not home.embedded else 'sqlite'}\n"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    _run_python(home, "dagster", "instance", "migrate")
    write_atomically(done, wanted)


def end_lost_runs(home: Home) -> None:
    """End the runs that an interrupted service left under way in Dagster's books. Raises DagsterHomeError."""
    _run_python(home, "tasks_pipeline.lost_runs")


def _run_python(home: Home, module: str, *arguments: str) -> None:
    """Run a module to its end, in a process of its own: this one stays free of Dagster. Raises DagsterHomeError."""
    process = run_python(home, module, *arguments)
    if process.returncode != 0:
        raise DagsterHomeError(f"{' '.join([module, *arguments])} failed:\n{process.stdout[-2000:].strip()}")


def run_python(home: Home, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a module to its end, in a process of its own; what it says is in `stdout`."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **dagster_environment(home), **SAFE_PATH},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _create_schema(home: Home) -> None:
    import sqlalchemy
    import sqlalchemy.exc

    engine = sqlalchemy.create_engine(home.postgres_url, connect_args={"connect_timeout": 10})
    try:
        with engine.begin() as connection:
            # Two services that start together would both see no schema; the lock lets one create it.
            connection.execute(
                sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtext('tasks_pipeline.dagster'))")
            )
            connection.execute(sqlalchemy.text(f"CREATE SCHEMA IF NOT EXISTS {DAGSTER_SCHEMA}"))
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise DagsterHomeError(f"the database of {DATABASE_VARIABLE} cannot be used: {error}") from error
    finally:
        engine.dispose()
