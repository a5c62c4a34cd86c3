"""warm_up(): what runs need is imported, compiled and made once, before the first of them is forked."""

from __future__ import annotations

import gc
import importlib
from functools import cache

from alembic.script import ScriptDirectory
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.sql import get_alembic_config

from tasks_pipeline.config import default_config
from tasks_pipeline.dagster_process import spare
from tasks_pipeline.service.dagster_home import DEFINITIONS_MODULE
from tasks_pipeline.tools import Tools

NEEDED_BY_RUNS = (
    "duckdb",
    "pyarrow",
    "pandas",  # pyarrow imports it with the first table made of rows: half a second
    "alembic.command",
    "dagster._core.execution.api",
    "tasks_pipeline.integrations.sync",
    "tasks_pipeline.monitors.loop",
    "tasks_pipeline.notifications.task",
    "tasks_pipeline.storage.spool.sqlite",
    "tasks_pipeline.stores",
)
"""What runs import late. Threads do not live on in a fork: none may be
there but the one of Arrow's allocator, which starts its own anew. (OpenBLAS is given one thread by the service.)"""


@cache
def warm_up() -> None:
    """Import and compile what runs need, and make the definitions; once in a process, and not again in those forked from it."""
    spare()
    ScriptDirectory.from_config(get_alembic_config(sqlite_run_storage.__file__)).get_current_head()
    for name in NEEDED_BY_RUNS:
        importlib.import_module(name)
    importlib.import_module(DEFINITIONS_MODULE).defs().get_repository_def()
    importlib.import_module("duckdb").default_connection().close()  # made by the import, with a thread
    Tools(default_config("0" * 32)).of(0)  # our own rules are compiled here, and kept
    gc.collect()
    gc.freeze()  # a collection in a run would copy every page that it has in common with the others
