"""Old runs: what Dagster itself keeps for ever (runs, their events and captured output, results of checks, ticks) is removed after
`retention.dagster_days`.

A run goes with its events, and with them the mark that it materialised a partition. So a run stays, however old, while
it is the one that shows when a partition was last written: of a day that is the last of its drains. It is *thinned* then: its
steps, its logs and its output go, and what it says of assets stays.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.schema import JobTickTable

from tasks_pipeline.storage import sqlite_space

log = logging.getLogger(__name__)

STEP = 200
"""Runs that are looked at together, and rows that one transaction removes."""
RUNS_AT_ONCE = 25
"""Removed in one transaction: 700 events on Postgres."""
MOST_RUNS = 5_000
"""In one night; the rest follows in the next ones."""
KEPT_RUNS = 1_500
"""Runs that ended well and are superseded: the newest stay, and older ones go before `retention.dagster_days` is over. One takes
0.2 MB of SQLite, so that jobs of every few minutes alone would be 400 MB a week."""
SKIPPED_FOR, TICKED_FOR = timedelta(days=1), timedelta(days=30)
"""Ticks that started nothing, and all others, also of sensors and schedules that there are no more: Dagster purges only those it has."""
AFRESH_BYTES = 256 * 1024 * 1024
"""Dagster makes its files so that they cannot be shortened: up to this size they are written afresh, once. It waits 30 s for a file."""
SAID_OF_ASSETS = (
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_OBSERVATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
)
"""Events that stay of a run that is thinned."""
RUNLESS = ""
"""The run of events that sensors and the UI report by themselves."""

events, checks, ticks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c, JobTickTable.c


@dataclass
class Pruned:
    """What went: runs by their ids, and how much else."""

    runs: list[str] = field(default_factory=list)
    thinned: int = 0
    events: int = 0
    check_results: int = 0
    ticks: int = 0
    log_files: int = 0
    bytes: int = 0


def prune(instance: dg.DagsterInstance, before: datetime, now: datetime, *, most: int = MOST_RUNS) -> Pruned:
    """Remove what is older than a moment, and give the space back. Interrupted at any point it goes on where it was."""
    pruned = Pruned(runs=drop_old_runs(instance, before, most))
    pruned.thinned = _thin_old_runs(instance, before)
    pruned.events = _drop_runless_events(instance, before)
    pruned.check_results = _drop_check_results(instance, before)
    pruned.ticks = _drop_ticks(instance, now)
    pruned.log_files = _drop_output(instance, before)
    pruned.bytes = _give_space_back(Path(instance.storage_directory()).parent)
    return pruned


def drop_old_runs(
    instance: dg.DagsterInstance, before: datetime, most: int = MOST_RUNS, *, dry_run: bool = False
) -> list[str]:
    """Remove runs that ended before a moment, the oldest first, then those that ended well beyond the newest KEPT_RUNS; gives
    their ids. A `dry_run` only gives them.

    The row of a run goes last: whoever is killed before finds it again.
    """
    kept = shown_by_partitions(instance)
    over = dict.fromkeys((*_ended(instance, before), *_superseded(instance, kept)))
    dropped = [run_id for run_id in over if run_id not in kept][:most]
    for start in range(0, 0 if dry_run else len(dropped), RUNS_AT_ONCE):
        _drop(instance, dropped[start : start + RUNS_AT_ONCE])
    return dropped


def _ended(instance: dg.DagsterInstance, before: datetime) -> list[str]:
    """Runs that ended before a moment, the oldest first."""
    wanted = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    found: list[str] = []
    while page := instance.get_run_ids(wanted, cursor=found[-1] if found else None, limit=5_000):
        found += page
    return found[::-1]


def _superseded(instance: dg.DagsterInstance, kept: set[str]) -> list[str]:
    """Runs that ended well and show nothing, beyond the newest KEPT_RUNS, the oldest first."""
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
    found: list[str] = []
    cursor = None
    while page := instance.get_run_ids(wanted, cursor=cursor, limit=5_000):
        cursor = page[-1]
        found += [run_id for run_id in page if run_id not in kept]
    return found[KEPT_RUNS:][::-1]


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
            query = sa.select(events.run_id).where(events.id.in_(ids[start : start + STEP])).distinct()
            with _index(instance)() as connection:
                run_ids |= set(connection.execute(query).scalars())
    return run_ids


def _index(instance: dg.DagsterInstance) -> Callable[[], Any]:
    """Where events of all runs lie: a file of its own on SQLite, all of them on Postgres."""
    storage: Any = instance.event_log_storage
    opens: Callable[[], Any] = storage.index_connection
    return opens


def _drop(instance: dg.DagsterInstance, run_ids: list[str]) -> None:
    """What `delete_run` of Dagster does, for several at once, in another order and with their tags and files."""
    storage, runs = instance.event_log_storage, instance.run_storage
    for run_id in run_ids:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        if isinstance(storage, SqliteEventLogStorage):
            _drop_file_of(storage, run_id)
    _delete_events(instance, events.run_id.in_(run_ids))
    assert isinstance(runs, SqlRunStorage)
    with runs.connect() as connection:
        connection.execute(sa.delete(RunTagsTable).where(RunTagsTable.c.run_id.in_(run_ids)))
        connection.execute(sa.delete(RunsTable).where(RunsTable.c.run_id.in_(run_ids)))


def _drop_file_of(storage: SqliteEventLogStorage, run_id: str) -> bool:
    """Remove the file of a run, which would stay when it is emptied; gives whether there was one."""
    path = Path(storage.path_for_shard(run_id))
    there = path.exists()
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    # Dagster makes a file for whoever looks at the run, once: so that it does so again.
    storage._initialized_dbs.discard(run_id)
    return there


def _thin_old_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove the steps and logs of old runs that stay; gives of how many something went."""
    storage, old, thinned = instance.event_log_storage, _ended(instance, before), 0
    of_steps = sa.or_(
        events.dagster_event_type.is_(None),
        events.dagster_event_type.not_in([kind.value for kind in SAID_OF_ASSETS]),
    )
    for start in range(0, len(old), STEP):
        runs = old[start : start + STEP]
        query = sa.select(events.run_id).where(events.run_id.in_(runs), of_steps).distinct()
        with _index(instance)() as connection:
            found = set(connection.execute(query).scalars())
        _delete_events(instance, events.run_id.in_(found), of_steps)
        if isinstance(storage, SqliteEventLogStorage):
            found |= {run_id for run_id in runs if _drop_file_of(storage, run_id)}
        thinned += len(found)
    return thinned


def _drop_runless_events(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove old events that were reported without a run, but for the newest of each kind, asset and partition."""
    newest = (
        sa.select(sa.func.max(events.id))
        .where(events.asset_key.is_not(None))
        .group_by(events.asset_key, events.dagster_event_type, events.partition)
    )
    old = (events.run_id == RUNLESS, events.timestamp < _naive(before))
    dropped = _delete_events(instance, *old, events.id.not_in(newest))
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage) and Path(storage.path_for_shard(RUNLESS)).exists():
        with storage.run_connection(RUNLESS) as connection:  # a second copy, which nothing reads
            connection.execute(sa.delete(SqlEventLogStorageTable).where(*old))
    return dropped


def _delete_events(instance: dg.DagsterInstance, *conditions: sa.ColumnElement[bool]) -> int:
    def drop(connection: Any, ids: list[int]) -> None:
        connection.execute(sa.delete(AssetEventTagsTable).where(AssetEventTagsTable.c.event_id.in_(ids)))
        connection.execute(sa.delete(SqlEventLogStorageTable).where(events.id.in_(ids)))

    query = sa.select(events.id).where(*conditions).limit(STEP)
    return _in_steps(_index(instance), query, drop)


def _drop_check_results(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove old results of checks, but for the last one of each check and partition, and what was planned and never came."""
    planned = checks.execution_status == "PLANNED"
    newest = (
        sa.select(sa.func.max(checks.id))
        .where(~planned)
        .group_by(checks.asset_key, checks.check_name, checks.partition)
    )
    query = (
        sa.select(checks.id)
        .where(checks.evaluation_event_timestamp < _naive(before), sa.or_(planned, checks.id.not_in(newest)))
        .limit(STEP)
    )

    def drop(connection: Any, ids: list[int]) -> None:
        connection.execute(sa.delete(AssetCheckExecutionsTable).where(checks.id.in_(ids)))

    return _in_steps(_index(instance), query, drop)


def _drop_ticks(instance: dg.DagsterInstance, now: datetime) -> int:
    skipped = sa.and_(ticks.status == "SKIPPED", ticks.timestamp < _naive(now - SKIPPED_FOR))
    query = sa.select(ticks.id).where(sa.or_(skipped, ticks.timestamp < _naive(now - TICKED_FOR))).limit(STEP)

    def drop(connection: Any, ids: list[int]) -> None:
        connection.execute(sa.delete(JobTickTable).where(ticks.id.in_(ids)))

    storage: Any = instance.schedule_storage
    return _in_steps(storage.connect, query, drop)


def _in_steps(
    connect: Callable[[], Any], query: sa.Select[tuple[int]], drop: Callable[[Any, list[int]], None]
) -> int:
    """Drop what a query finds, a step in each transaction, so that Dagster never waits for all of it."""
    dropped = 0
    while True:
        with connect() as connection:
            ids = list(connection.execute(query).scalars())
            if ids:
                drop(connection, ids)
        dropped += len(ids)
        if len(ids) < STEP:
            return dropped


def _drop_output(instance: dg.DagsterInstance, before: datetime) -> int:
    """Remove captured output of runs and ticks that was last written before a moment; gives how many files."""
    manager = instance.compute_log_manager
    if not isinstance(manager, LocalComputeLogManager):
        return 0
    dropped = 0
    for path in _output_in(Path(manager._base_dir)):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()
                dropped += 1
                for folder in (path.parent, path.parent.parent):
                    with suppress(OSError):  # something else is in it
                        folder.rmdir()
    return dropped


def _output_in(folder: Path) -> list[Path]:
    """All at once: folders go while they are emptied."""
    endings = ("out", "err", "out.partial", "err.partial", "complete")
    return [path for ending in endings for path in folder.rglob(f"*.{ending}")]


def _naive(moment: datetime) -> datetime:
    """A moment as Dagster stores it: UTC, and not said so."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _give_space_back(folder: Path) -> int:
    """Shorten Dagster's SQLite files, those of single runs apart; gives the bytes. One that is in use waits for the next night."""
    freed = 0
    for path in sorted(folder.rglob("*.db")):
        if path.name not in ("index.db", "runs.db", "schedules.db", f"{RUNLESS}.db"):
            continue
        try:
            freed += sqlite_space.give_space_back(path, afresh_up_to=AFRESH_BYTES).freed
        except sqlite3.Error as error:
            log.warning("%s was not shortened: %s", path, error)
    return freed
