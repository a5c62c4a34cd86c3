"""Dagster's code server with warm starts: a run is forked from a process that has imported everything already.

Run by the service instead of `dagster api grpc`, with the same arguments. What is different (beside what `dagster_process.py` spares) is one thing: Dagster's server makes the process of a run with multiprocessing's `spawn`, a fresh interpreter that takes two seconds of CPU to
import Dagster and us; here it is multiprocessing's `forkserver`. Launching, canceling and noticing that a run died stay
Dagster's. When the fork server is killed its runs end, and multiprocessing starts another for the next run.

On Linux the fork server itself is forked from here before any thread is there: what both have imported is in memory once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from multiprocessing import forkserver, resource_tracker, util
from typing import Any

from dagster._cli.api import grpc_command
from dagster._grpc import server
from grpc import _common as grpc_common  # type: ignore[import-untyped]

from tasks_pipeline.dagster_process import spare

PRELOAD = [f"{__package__}.warm_run"]
_FILES = 4096  # more than a process has open that only just began


class WarmApiServer(server.DagsterApiServer):
    """Dagster's code server; the processes of its runs are forked from a warm one."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._mp_ctx = multiprocessing.get_context("forkserver")  # type: ignore[assignment]


def start_fork_server() -> None:
    """Start the process that runs are forked from, so that it is warm before the first of them."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
    if sys.platform != "linux":  # elsewhere libraries do not stand it
        forkserver.ensure_running()
        return
    import_module(f"{__package__}.warming").warm_up()
    resource_tracker.ensure_running()
    spawned, util.spawnv_passfds = util.spawnv_passfds, _forked  # type: ignore[assignment]
    try:
        forkserver.ensure_running()
    finally:
        # When the fork server was killed, threads are at work here: another one has to be a fresh interpreter.
        util.spawnv_passfds = spawned


def _forked(_path: bytes, _arguments: Sequence[object], passed: Sequence[int]) -> int:
    """In place of the fresh interpreter that multiprocessing would start; gives its pid. `passed` are the two files it is given:
    where it listens, and the one that ends when nobody is left to ask it."""
    pid = os.fork()
    if pid:
        return pid
    status, (listener, alive) = 1, passed
    try:
        for before, after in pairwise(sorted({0, 1, 2, *passed, _FILES})):
            os.closerange(before + 1, after)
        forkserver.main(listener, alive, PRELOAD)
    except SystemExit:
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)  # what called us goes on in the other process


if __name__ == "__main__":
    spare()
    grpc_common.MAXIMUM_WAIT_TIMEOUT = (
        1.0  # the main thread waits for signals only, ten times a second otherwise
    )
    start_fork_server()
    server.DagsterApiServer = WarmApiServer  # type: ignore[misc]
    grpc_command()
