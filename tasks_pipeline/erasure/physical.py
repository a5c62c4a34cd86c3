"""Physically: what no row holds any more is in no file either. Snapshots, free pages, logs of databases, dead rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tasks_pipeline.erasure.dagster_store import SCHEMA as DAGSTER
from tasks_pipeline.erasure.dagster_store import dagster_files
from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.storage import sqlite_space
from tasks_pipeline.storage.lake.compaction import tidy
from tasks_pipeline.storage.lake.lake import BACKUP
from tasks_pipeline.storage.state.locks import is_locked
from tasks_pipeline.stores import Stores

LOG_SECONDS = 30
"""A reader keeps the log of a database from being emptied for as long as it reads."""
_SCHEMAS = ("state", "spool", "lake", DAGSTER)


def refuse_backup(stores: Stores) -> None:
    """Raise Waits while a backup copies the files of a snapshot, which then cannot go."""
    if is_locked(stores.home, BACKUP):
        raise Waits("a backup is under way, and holds files that are to go: ask again when it is done")


def forget_files(stores: Stores) -> None:
    """Have files of the lake that no row needs go now, with all snapshots but the newest, and the catalog hold nothing of them."""
    refuse_backup(stores)
    tidy(stores.lake, datetime.now(UTC) + timedelta(days=1))
    stores.lake.scrub_catalog()


def empty_pages(stores: Stores, pause: Callable[[float], None] = time.sleep) -> list[str]:
    """Have databases hold nothing of rows that went, in no page and no log; gives files whose log a reader kept from being emptied."""
    if not stores.home.embedded:
        _vacuum(stores)
        return []
    left = [stores.home.root / "state.sqlite", stores.home.lake_catalog, *dagster_files(stores.home)]
    until = time.monotonic() + LOG_SECONDS
    while left := [path for path in left if not sqlite_space.empty_log(path)]:
        if time.monotonic() > until:
            break
        pause(0.2)
    return [str(path.relative_to(stores.home.root)) for path in left]


def _vacuum(stores: Stores) -> None:
    """Remove dead rows. Their bytes may stay within pages until these are written again: docs/privacy.md says so."""
    listed = text(
        "SELECT schemaname, relname FROM pg_stat_user_tables WHERE schemaname = ANY(:names) AND n_dead_tup > 0"
    )
    with stores.state.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        for schema, name in connection.execute(listed, {"names": list(_SCHEMAS)}).all():
            connection.execute(text(f'VACUUM "{schema}"."{name}"'))
