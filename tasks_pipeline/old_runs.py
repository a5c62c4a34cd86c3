"""Old runs: what Dagster itself keeps for ever (runs, their events and captured output) is removed after `retention.dagster_days`.

A run goes with its events, and with them the mark that it materialised a partition. So a run stays, however old, while
it is the one that shows when a partition was last written: of a day that is the last of its drains.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

log = logging.getLogger(__name__)

STEP = 200
"""Runs that are looked at together."""
MOST_RUNS = 5_000
"""In one night; the rest follows in the next ones."""
WORTH_BYTES = 16 * 1024 * 1024
"""Free space within a SQLite file that is worth writing it afresh."""
LARGEST_BYTES = 512 * 1024 * 1024
"""A larger file would be locked for too long; its free space is used again anyway."""
LOCK_SECONDS = 30


def drop_old_runs(
    instance: dg.DagsterInstance, before: datetime, most: int = MOST_RUNS, *, dry_run: bool = False
) -> list[str]:
    """Remove runs that ended before a moment, the oldest first, and give their ids; a `dry_run` only gives them.

    Each is removed by itself: interrupted at any point it goes on where it was. Disk space of SQLite files is given
    back at the end.
    """
    kept = shown_by_partitions(instance)
    wanted = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    dropped: list[str] = []
    cursor = None  # the last run that stays: one that is gone has no place
    while found := instance.get_run_records(wanted, limit=STEP, cursor=cursor, ascending=True):
        for run_id in (record.dagster_run.run_id for record in found):
            if run_id in kept or dry_run:
                cursor = run_id
            if run_id not in kept and len(dropped) < most:
                if not dry_run:
                    _drop(instance, run_id)
                dropped.append(run_id)
        if len(dropped) >= most:
            break
    if not dry_run:
        _give_space_back(Path(instance.storage_directory()).parent)
    return dropped


def shown_by_partitions(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold the newest materialisation of an asset, or of one of its partitions."""
    storage = instance.event_log_storage
    kind = dg.DagsterEventType.ASSET_MATERIALIZATION
    run_ids: set[str] = set()
    for asset in storage.all_asset_keys():
        newest = instance.get_latest_materialization_event(asset)
        if newest is not None:
            run_ids.add(newest.run_id)
        ids = sorted(storage.get_latest_storage_id_by_partition(asset, kind).values())
        for start in range(0, len(ids), STEP):
            wanted = dg.AssetRecordsFilter(asset_key=asset, storage_ids=ids[start : start + STEP])
            records = instance.fetch_materializations(wanted, limit=STEP).records
            run_ids |= {record.run_id for record in records}
    return run_ids


def _drop(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)
    storage = instance.event_log_storage
    if isinstance(
        storage, SqliteEventLogStorage
    ):  # there, each run has a file, which stays when it is emptied
        for suffix in ("", "-wal", "-shm"):
            Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)


def _give_space_back(folder: Path) -> None:
    """Write SQLite files afresh that are largely empty. One that is in use stays as it is until the next night."""
    for path in sorted(folder.rglob("*.db")):
        if not WORTH_BYTES <= path.stat().st_size <= LARGEST_BYTES:
            continue
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            try:
                free, size = (
                    connection.execute(f"PRAGMA {what}").fetchone()[0]
                    for what in ("freelist_count", "page_size")
                )
                if free * size >= WORTH_BYTES:
                    connection.execute("VACUUM")
            except sqlite3.OperationalError as error:
                log.warning("%s was not written afresh: %s", path, error)
