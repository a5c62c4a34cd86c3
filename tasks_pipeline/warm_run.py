"""Imported by the fork server of `code_server.py` before its first fork: what runs need is imported, compiled and made once.

Importing it is what makes a process warm. The code server names it and does not import it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

from alembic.script import ScriptDirectory
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.sql import get_alembic_config

from tasks_pipeline.config import default_config
from tasks_pipeline.dagster_process import spare
from tasks_pipeline.service.dagster_home import DEFINITIONS_MODULE
from tasks_pipeline.tools import Tools

_PR_SET_PDEATHSIG = 1
NEEDED_BY_RUNS = (
    "duckdb",
    "pyarrow",
    "pandas",  # pyarrow imports it with the first table made of rows: half a second
    "alembic.command",
    "dagster._core.execution.api",
    "tasks_pipeline.monitors.loop",
    "tasks_pipeline.notifications.task",
    "tasks_pipeline.storage.spool.sqlite",
    "tasks_pipeline.stores",
)
"""What runs import late, so that the code server itself stays small. Threads do not live on in a fork: none may be
there but the one of Arrow's allocator, which starts its own anew. (OpenBLAS is given one thread by the service.)"""


def _warm_up() -> None:
    """Import and compile what runs need, and make the definitions."""
    spare()
    ScriptDirectory.from_config(get_alembic_config(sqlite_run_storage.__file__)).get_current_head()
    for name in NEEDED_BY_RUNS:
        importlib.import_module(name)
    importlib.import_module(DEFINITIONS_MODULE).defs().get_repository_def()
    importlib.import_module("duckdb").default_connection().close()  # made by the import, with a thread
    Tools(default_config("0" * 32)).of(0)  # our own rules are compiled here, and kept
    if sys.platform == "linux":
        os.register_at_fork(after_in_child=partial(_end_with, os.getpid(), ctypes.CDLL(None).prctl))
    gc.collect()
    gc.freeze()  # a collection in a run would copy every page that it has in common with the others


def _end_with(warm_process: int, prctl: Callable[[int, int], int]) -> None:
    """Let a run end when the process that it was forked from is killed: the code server takes it for dead then."""
    if os.getppid() == warm_process:  # and not a process that the run itself forks
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_warm_up()
