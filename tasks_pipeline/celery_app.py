"""A worker of lanes: `python -m tasks_pipeline.celery_app LANE… --concurrency N`, started by `tasks-pipeline worker`.

A plain Celery worker with the settings that dagster.yaml has, and three things of ours: its children are forked from a process that has
imported everything, it says that it lives, and told to stop it ends within STOP_SECONDS. SIGTERM reaches the children too, from here or
from whoever ends the whole group: it has a run end at its next step. What cannot end so soon goes back into Dagster's queue.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import dagster as dg
from celery import Celery, signals
from dagster._core.events import DagsterEvent
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import unpack_value
from dagster._utils import interrupts
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.celery_launcher import LaneRunLauncher
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANES
from tasks_pipeline.outages import Outage, one_line
from tasks_pipeline.service.address import parse_address
from tasks_pipeline.service.exposing import METRICS_VARIABLE, expose
from tasks_pipeline.service.supervisor import Life
from tasks_pipeline.stopping import tell_to_stop
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.workers import (
    BEAT_SECONDS,
    beat_worker,
    forget_run,
    forget_worker,
    note_lost_run,
)
from tasks_pipeline.warming import warm_up

log = logging.getLogger(__name__)

GRACE_SECONDS = 15.0
"""From being told to stop until a run that goes on is put back: a batch takes a few seconds."""
STOP_SECONDS = 25.0
"""From being told to stop until the worker ends, whatever its children do."""


def worker_app() -> Celery:
    """The app of this home's launcher, which knows the task that carries out a run."""
    with dg.DagsterInstance.get() as instance:
        launcher = instance.run_launcher
    if not isinstance(launcher, LaneRunLauncher):
        raise SystemExit(
            f"dagster.yaml in {os.environ.get('DAGSTER_HOME')} names no broker, and this worker would take nothing"
        )
    return launcher.celery


# ---------------------------------------------------------------- in the worker


class _Worker:
    """The process that takes runs from the broker and hands them to its children."""

    def __init__(self, lanes: Sequence[str], concurrency: int) -> None:
        self._lanes, self._concurrency = lanes, concurrency
        self._began = datetime.now(UTC)
        self._silence = Outage(log, "no sign of life of this worker")
        self._pool: Any = None

    def ready(self, sender: Any = None, **_more: Any) -> None:
        """Say from now on that its lanes are served, also to who asks for metrics."""
        if metrics := os.environ.get(METRICS_VARIABLE):
            life = Life(starts=1, pid=os.getsid(0))  # whoever started it may lead the session
            expose(parse_address(metrics), "worker", lambda: {"worker": life}, lanes=",".join(self._lanes))
        self._pool = sender.controller.pool
        self._beat()
        # Not from a thread: children are forked here, and what it held just then would be held in them for ever.
        sender.timer.call_repeatedly(BEAT_SECONDS, self._beat)

    def stopping(self, **_more: Any) -> None:
        """Have the children end what they are at; called in a signal handler."""
        deadline = threading.Timer(
            STOP_SECONDS, os._exit, (0,)
        )  # children die with it, and runs are put back by then
        deadline.daemon = True
        deadline.start()
        for process in self._pool.info["processes"] if self._pool else ():
            _tell(process)

    def ended(self, **_more: Any) -> None:
        """Say that its lanes are not served any more."""
        _note("the end of this worker", forget_worker)

    def _beat(self) -> None:
        now = datetime.now(UTC)
        try:
            _write(lambda state: beat_worker(state, self._lanes, self._concurrency, self._began, now))
        except (SQLAlchemyError, OSError) as error:
            self._silence.failed(error)
        else:
            self._silence.over()


def _tell(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _note_death(kwargs: Mapping[str, Any], exception: BaseException, **_more: Any) -> None:
    """A child died with its run; Dagster asks soon."""
    run_id = _run_id(kwargs)
    _note(
        f"the death of run {run_id}",
        lambda state: note_lost_run(state, run_id, f"its process died: {exception}"),
    )


def _note(what: str, write: Callable[[StateDatabase], object]) -> None:
    """Write something to the state database. Where that fails silence says the same, a little later."""
    try:
        _write(write)
    except (SQLAlchemyError, OSError) as error:
        log.error("%s could not be noted: %s", what, one_line(error))  # noqa: TRY400  # a database that is away is no riddle


def _write(write: Callable[[StateDatabase], object]) -> None:
    with closing(StateDatabase(Home.resolve())) as state:
        write(state)


def _run_id(kwargs: Mapping[str, Any]) -> str:
    return unpack_value(kwargs["execute_job_args_packed"], as_type=ExecuteRunArgs).run_id


# ---------------------------------------------------------------- in its children

_grace = GRACE_SECONDS
_at_work = ""
"""The run that this process carries out."""


def _begin_process(**_more: Any) -> None:
    """A child was forked. Signals of the terminal are for the worker, and SIGTERM is nothing that interrupts a run.

    It waits until a run has begun here: the pool sets a handler of its own after this.
    """
    os.setpgid(0, 0)
    interrupts.setup_interrupt_handlers = lambda: None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _begin_run(kwargs: Mapping[str, Any], **_more: Any) -> None:
    global _at_work
    _at_work = _run_id(kwargs)
    if signal.getsignal(signal.SIGTERM) is not _noted:
        threading.Thread(target=_await_stop, args=(_signals(),), name="stop", daemon=True).start()
        signal.signal(signal.SIGTERM, _noted)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_run(**_more: Any) -> None:
    global _at_work
    _at_work = ""


def _noted(_signum: int, _frame: FrameType | None) -> None:
    """Python comes to this when the main thread is back from what it waits for; `_await_stop` is told at once."""


def _signals() -> int:
    """The file from which the numbers of signals can be read."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def _await_stop(told: int) -> None:
    while signal.SIGTERM not in os.read(told, 64):
        continue
    tell_to_stop()
    threading.Event().wait(_grace)
    _put_back()


def _put_back() -> None:
    """Give the run at work to another worker. It is killed for that, which every run stands: what it has not finished is done again."""
    run_id = _at_work
    if not run_id:
        return
    with dg.DagsterInstance.get() as instance:
        run = instance.get_run_by_id(run_id)
        if run is None or run.status is not dg.DagsterRunStatus.STARTED:
            return  # it ends just now, or somebody cancels it
        instance.report_engine_event("Its worker stops, and this run goes back into the queue.", run)
        instance.report_dagster_event(DagsterEvent.job_enqueue(run), run_id=run_id)
    _note(f"that run {run_id} was put back", lambda state: forget_run(state, run_id))
    os.kill(os.getpid(), signal.SIGKILL)


# ---------------------------------------------------------------- the command


def run_worker(lanes: Sequence[str], concurrency: int) -> None:
    """Serve lanes until told to stop."""
    app = worker_app()
    worker = _Worker(lanes, concurrency)
    signals.worker_ready.connect(worker.ready, weak=False)
    signals.worker_shutting_down.connect(worker.stopping, weak=False)
    signals.worker_shutdown.connect(worker.ended, weak=False)
    signals.task_failure.connect(_note_death)
    signals.worker_process_init.connect(_begin_process)
    signals.task_prerun.connect(_begin_run)
    signals.task_postrun.connect(_end_run)
    warm_up()
    queues = ",".join(LANES[lane].queue for lane in lanes)
    app.worker_main(
        [
            "worker", "--queues", queues, "--concurrency", str(concurrency), "--hostname", f"{'+'.join(lanes)}.{os.getpid()}@%h",
            "--without-gossip", "--without-mingle", "--loglevel", "INFO",
        ]
    )  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("lanes", nargs="+", choices=tuple(LANES))
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--grace", type=float, default=GRACE_SECONDS, metavar="SECONDS")
    asked = parser.parse_args(arguments)
    global _grace
    _grace = asked.grace
    run_worker(asked.lanes, asked.concurrency)


if __name__ == "__main__":
    main(sys.argv[1:])
