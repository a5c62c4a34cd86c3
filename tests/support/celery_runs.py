"""Runs that are launched as Dagster's daemon would, without a daemon: an instance in a home, and jobs of ours put into their queues."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import Home
from tasks_pipeline.service.celery_worker import ENVIRONMENT, command
from tasks_pipeline.service.dagster_client import REPOSITORY
from tasks_pipeline.service.dagster_home import (
    DEFINITIONS_MODULE,
    LOCATION_NAME,
    SAFE_PATH,
    dagster_environment,
    write_dagster_home,
)
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import beats_of_runs, living_workers

PATIENCE_SECONDS = 90.0
_CODE = RepositoryPythonOrigin(
    executable_path=sys.executable,
    code_pointer=ModuleCodePointer(DEFINITIONS_MODULE, "defs"),
    container_image=None,
    entry_point=["dagster"],
    container_context=None,
)
_LOCATION = RemoteRepositoryOrigin(
    GrpcServerCodeLocationOrigin("127.0.0.1", 1, location_name=LOCATION_NAME), REPOSITORY
)


@dataclass(frozen=True)
class Queues:
    """A home whose runs wait in queues."""

    home: Home
    instance: dg.DagsterInstance
    definitions: dg.Definitions

    def launch(self, job: str, tags: Mapping[str, str], run_config: Mapping[str, Any] | None = None) -> str:
        """Put a run of a job into the queue of its lane; gives its id."""
        definition = self.definitions.resolve_job_def(job)
        run = self.instance.create_run_for_job(
            definition,
            tags={**definition.run_tags, **tags},
            run_config=run_config or definition.run_config,
            job_code_origin=JobPythonOrigin(job, _CODE),
            remote_job_origin=RemoteJobOrigin(_LOCATION, job),
        )
        self.launch_again(run.run_id)
        return run.run_id

    def launch_again(self, run_id: str) -> None:
        """Put a run that waits into the queue of its lane."""
        self.instance.launch_run(run_id, workspace=None)  # type: ignore[arg-type]  # Celery's launcher asks nothing of it

    def status(self, run_id: str) -> str:
        """Dagster's word for what became of a run."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status.value

    def process_of(self, run_id: str) -> int:
        """The process that carries a run out, once it told of itself."""
        found: list[int] = []

        def told() -> bool:
            with closing(StateDatabase(self.home)) as state, state.read() as connection:
                found.extend(beat.pid for beat in beats_of_runs(connection, [run_id]).values())
            return bool(found)

        await_that(told, f"no process carries out run {run_id}")
        return found[0]

    def health(self, run_id: str) -> str:
        """What the launcher says of a run."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return self.instance.run_launcher.check_run_worker_health(run).status.value

    @contextmanager
    def worker(
        self, *lanes: str, log: Path, concurrency: int = 1, grace: float = 15
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A worker of lanes that is about to serve them; it is killed at the end."""
        words = [*command(lanes, concurrency), "--grace", str(grace)]
        environment = {**os.environ, **SAFE_PATH, **ENVIRONMENT}
        with log.open("ab") as output:
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def serves(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether a worker says that it lives. Fails when it has ended."""
        assert process.poll() is None, "the worker has ended"
        with closing(StateDatabase(self.home)) as state, state.read() as connection:
            return process.pid in {worker.pid for worker in living_workers(connection, datetime.now(UTC))}


@contextmanager
def queues(root: Path, broker_url: str) -> Iterator[Queues]:
    """Such a home; the environment names it (see `fresh_environment` of the caller)."""
    os.environ["TASKS_PIPELINE_BROKER"] = broker_url
    home = Home.resolve(root)
    write_dagster_home(home)
    os.environ.update(dagster_environment(home))
    StateDatabase(home).close()
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0  # makes the tables, before workers would all do so
        yield Queues(home, instance, build_defs())


def await_that(
    condition: Callable[[], bool], otherwise: str | Path, seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once something holds; fail after so long, with a text or the end of a log."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if condition():
            return
        pause.wait(0.1)
    raise AssertionError(
        otherwise if isinstance(otherwise, str) else otherwise.read_text(errors="replace")[-3000:]
    )
