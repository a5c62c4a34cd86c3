"""Dagster's code server with warm starts: a run is forked from a process that has imported everything already.

Run by the service instead of `dagster api grpc`, with the same arguments. What is different (beside what `dagster_process.py` spares) is one thing: Dagster's server makes the process of a run with multiprocessing's `spawn`, a fresh interpreter that takes two seconds of CPU to
import Dagster and us; here it is multiprocessing's `forkserver`. Launching, canceling and noticing that a run died stay
Dagster's. When the fork server is killed its runs end, and multiprocessing starts another for the next run.
"""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver
from typing import Any

from dagster._cli.api import grpc_command
from dagster._grpc import server
from grpc import _common as grpc_common  # type: ignore[import-untyped]

from tasks_pipeline.dagster_process import spare


class WarmApiServer(server.DagsterApiServer):
    """Dagster's code server; the processes of its runs are forked from a warm one."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([f"{__package__}.warm_run"])
        self._mp_ctx = context  # type: ignore[assignment]
        forkserver.ensure_running()  # it gets warm now, not when the first run is started


if __name__ == "__main__":
    spare()
    grpc_common.MAXIMUM_WAIT_TIMEOUT = (
        1.0  # the main thread waits for signals only, ten times a second otherwise
    )
    server.DagsterApiServer = WarmApiServer  # type: ignore[misc]
    grpc_command()
