"""Processes of Dagster with stores that cost less to ask: `python -m tasks_pipeline.dagster_process MODULE ARGUMENTS…`.

On SQLite, Dagster makes a new engine for each question to its stores, so that SQLAlchemy compiles each statement again, and
reads all revisions of its tables whenever it opens them, at each tick of a sensor. That was most of what the service took at rest.
Both are made once per process here; the module is then run as `python -m` would. On PostgreSQL it opens a session for each question,
35 a second at rest; here a process keeps a few.
"""

from __future__ import annotations

import importlib
import os
import runpy
import socket
import sys
import time
from functools import cache
from typing import Any

from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._grpc import server_watcher
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool, Pool

WATCH_SECONDS = 5
"""Between two questions whether the code server is another one, each over a connection of its own; Dagster's is one second."""

CODE_SERVER_VARIABLE = "TASKS_PIPELINE_CODE_SERVER"  # of service/dagster_home.py, which stays free of Dagster
DAGSTER_DATABASE_VARIABLE = (
    "TASKS_PIPELINE_DAGSTER_DATABASE_URL"  # of home.py, which knows more than is needed here
)
SESSIONS = 3
"""So many stay open in a process that has needed them at once."""
PATIENCE_SECONDS = 60
ASK_SECONDS = 0.1

WARM_PROCESS, RUN = "warm process", "run"
"""What `ps` and `top` call the process that runs are forked from, and runs, on Linux: by their words they look alike."""


def await_code_server(address: str, patience_seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether the code server answers, after at most so long. A daemon that began before would fail the first runs: it
    remembers for a minute that the code cannot be loaded."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + patience_seconds
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(ASK_SECONDS)
        else:
            return True


def spare() -> None:
    """Keep engines and revisions from now on, and ask seldom for the code server."""
    for storage in (sqlite_run_storage, sqlite_schedule_storage):
        storage.create_engine = _kept_engine  # type: ignore[attr-defined]
    if DAGSTER_DATABASE_VARIABLE in os.environ:
        _spare_sessions()
    server_watcher.WATCH_INTERVAL = WATCH_SECONDS
    if ScriptDirectory.from_config.__func__ is not _kept_revisions:  # type: ignore[attr-defined]
        ScriptDirectory.from_config = classmethod(_kept_revisions)  # type: ignore[method-assign, assignment]


def _spare_sessions() -> None:
    from dagster_postgres.event_log import event_log
    from dagster_postgres.run_storage import run_storage
    from dagster_postgres.schedule_storage import schedule_storage

    for storage in (event_log, run_storage, schedule_storage):
        storage.create_pg_engine = _kept_sessions  # type: ignore[attr-defined]


def _kept_sessions(url: str, token_provider: object = None, **options: Any) -> Engine:
    """An engine of a storage in Postgres, whose sessions stay open. What the webserver asks for itself it gets."""
    assert token_provider is None
    if options.get("poolclass") is NullPool:
        return _shared_engine(os.getpid(), url, options["isolation_level"])
    return create_engine(url, **options)


@cache
def _shared_engine(_pid: int, url: str, isolation_level: str) -> Engine:
    """One for all storages of a process; a process that was forked may not use its parent's sessions."""
    return create_engine(
        url,
        isolation_level=isolation_level,
        pool_size=SESSIONS,
        max_overflow=20,
        pool_pre_ping=True,
        pool_recycle=300,
    )


@cache
def _kept_engine(url: str, poolclass: type[Pool], **more: Any) -> Engine:
    """One engine for each database. Nothing is shared but compiled statements: connections are made for each use."""
    assert poolclass is NullPool
    return create_engine(url, poolclass=poolclass, **more)


_read_revisions = ScriptDirectory.from_config.__func__  # type: ignore[attr-defined]
_revisions: dict[str, ScriptDirectory] = {}


def _kept_revisions(cls: type[ScriptDirectory], config: AlembicConfig) -> ScriptDirectory:
    location = config.get_main_option("script_location") or ""
    if location not in _revisions:
        _revisions[location] = _read_revisions(cls, config)
    return _revisions[location]


if __name__ == "__main__":
    spare()
    sys.argv = sys.argv[1:]
    if code_server := os.environ.get(CODE_SERVER_VARIABLE):
        # What takes long is imported while the code server starts. Where that never answers, Dagster itself says so.
        importlib.import_module(f"{sys.argv[0]}.cli")
        await_code_server(code_server)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
