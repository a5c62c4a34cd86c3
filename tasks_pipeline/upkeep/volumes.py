"""What uses the disk, by store, table and project: from catalogs, page counts and names of files. No payload is read."""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from sqlalchemy import Connection, Row, func, select, text
from sqlalchemy.exc import OperationalError

from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.sizes import database_size, file_size, folder_size, log_size
from tasks_pipeline.storage.spool.interface import SpoolError
from tasks_pipeline.storage.state.tables import artifact_bundles, debug_files
from tasks_pipeline.stores import Stores

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake

log = logging.getLogger(__name__)

COUNTED_BLOBS = 4_096
"""With more than so many in the first sixteenth, the others are not counted: names are digests, so all parts are alike."""
LOOKED_THROUGH = 2 * 1024**3
"""A state database that is larger is not looked through page by page, which takes some seconds."""
_SIXTEENTH = 16
_FREE, _LOG = "(free pages)", "(log)"
_DAY_FILE = re.compile(r"(\d{4}-\d{2}-\d{2})-\w+\.sqlite.*")
_DAY_TABLE = re.compile(r"envelopes_(\d{4})_(\d{2})_(\d{2})")
_BTREES = text(
    "SELECT s.tbl_name AS name, sum(d.pgsize) AS size FROM dbstat d JOIN sqlite_schema s ON s.name = d.name "
    "WHERE d.aggregate = TRUE GROUP BY s.tbl_name"
)
_ATTACHMENTS = (
    "SELECT project_id, day, count(DISTINCT digest) AS files, count(*) AS rows, sum(size) AS bytes "
    "FROM lake.attachments WHERE digest IS NOT NULL GROUP BY ALL"
)
_RELATIONS = text(
    "SELECT n.nspname AS schema, c.relname AS name, pg_total_relation_size(c.oid) AS size, c.reltuples AS rows "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname IN ('spool', 'state', 'lake', 'dagster') AND c.relkind IN ('r', 'm')"
)


@dataclass(frozen=True, slots=True)
class Volume:
    """What something takes: `bytes` of disk, and of how many rows and files where that is known. `oldest` and `newest` are UTC days
    of receipt. `estimate` says that bytes or rows were not counted but concluded from a part.

    A file of the lake holds rows of several projects: their bytes are shares of it, and it is counted for each of them.
    """

    store: str
    table: str
    project: int | None = None
    bytes: int = 0
    rows: int | None = None
    files: int | None = None
    oldest: date | None = None
    newest: date | None = None
    estimate: bool = False


def volumes(stores: Stores, *, by_day: bool = False) -> list[Volume]:
    """What uses the disk, the largest first; `by_day` has a volume for each day where days are known."""
    found = [*_lake(stores), *_blobs(stores), *_folders(stores)]
    found += [*_spool(stores), *_sqlite(stores)] if stores.home.embedded else _postgres(stores)
    if not by_day:
        found = _joined(found)
    return sorted(
        found, key=lambda one: (-one.bytes, one.store, one.table, one.project or 0, one.oldest or date.min)
    )


def bytes_by_store(found: Iterable[Volume]) -> dict[str, int]:
    """Bytes of each store, in the order of their names."""
    sums: dict[str, int] = defaultdict(int)
    for one in found:
        sums[one.store] += one.bytes
    return dict(sorted(sums.items()))


def _joined(found: Iterable[Volume]) -> list[Volume]:
    """One volume for each store, table and project."""
    sums: dict[tuple[str, str, int | None], Volume] = {}
    for one in found:
        key = one.store, one.table, one.project
        sums[key] = _sum(sums[key], one) if key in sums else one
    return list(sums.values())


def _sum(one: Volume, other: Volume) -> Volume:
    def both(first: int | None, second: int | None) -> int | None:
        return None if first is None and second is None else (first or 0) + (second or 0)

    days = [day for each in (one, other) for day in (each.oldest, each.newest) if day is not None]
    return replace(
        one,
        bytes=one.bytes + other.bytes,
        rows=both(one.rows, other.rows),
        files=both(one.files, other.files),
        oldest=min(days, default=None),
        newest=max(days, default=None),
        estimate=one.estimate or other.estimate,
    )


def _lake(stores: Stores) -> Iterator[Volume]:
    """Files of the newest snapshot by table, day and project, and what else lies in the folder of the lake."""
    lake = stores.lake
    of_days = lake.day_totals()
    # Figures of days are many small files, and take little.
    asked = {volume.table for volume in of_days} & set(RECEIVED_TABLES) - {"event_payloads"}
    weighed = {name: _of_days(_project_rows(lake, name)) for name in sorted(asked)}
    weighed["event_payloads"] = weighed.get("events", {})
    for volume in of_days:
        of_day = weighed.get(volume.table, {}).get(volume.day, {})
        whole = Volume(
            "lake", volume.table, None, volume.size, volume.rows, volume.files, volume.day, volume.day
        )
        total = sum(weight for _, weight in of_day.values())
        if not total:
            yield whole
        for project, (rows, weight) in of_day.items() if total else ():
            share = volume.size * weight // total
            yield replace(whole, project=project, bytes=share, rows=rows, estimate=len(of_day) > 1)
    if stores.home.far:  # to list objects takes longer than all else here
        rest = sum(file.size for file in lake.stored_files() if not file.live)
    else:
        rest = folder_size(Path(stores.home.lake_files)) - sum(volume.size for volume in of_days)
    yield Volume("lake", "(of older snapshots)", bytes=max(0, rest))


def _project_rows(lake: Lake, table: str) -> dict[tuple[date, int], tuple[int, int]]:
    """As the lake says; nothing of a table of which a file cannot be read: what it takes is known all the same."""
    try:
        return lake.project_rows(table)
    except (duckdb.Error, OSError):
        log.warning("the rows of %s cannot be told by project", table, exc_info=True)
        return {}


def _of_days(
    rows: dict[tuple[date, int], tuple[int, int]],
) -> dict[date, dict[int, tuple[int, int]]]:
    found: dict[date, dict[int, tuple[int, int]]] = defaultdict(dict)
    for (day, project), weighed in rows.items():
        found[day][project] = weighed
    return found


def _spool(stores: Stores) -> Iterator[Volume]:
    for entry in _entries(stores.home.spool_dir):
        match = _DAY_FILE.fullmatch(entry.name)
        if match is None:
            yield Volume("spool", "(other)", bytes=file_size(entry), files=1)
            continue
        day = date.fromisoformat(match[1])
        yield Volume("spool", "envelopes", None, file_size(entry), None, 1, day, day)
    for day in stores.spool.days():
        try:
            rows = sum(part.envelopes for part in stores.spool.totals(day).values())
        except SpoolError:
            continue  # the watch tells of it
        yield Volume("spool", "envelopes", rows=rows, oldest=day, newest=day)


def _sqlite(stores: Stores) -> Iterator[Volume]:
    root, dagster = stores.home.root, stores.home.dagster_home
    state, catalog = root / "state.sqlite", stores.home.lake_catalog
    size = file_size(state)
    with stores.state.read() as connection:
        tables = {} if size > LOOKED_THROUGH else _pages(connection)
        rows = _sqlite_rows(connection, tables)
        free, page = (
            connection.exec_driver_sql(f"PRAGMA {of}").scalar_one() for of in ("freelist_count", "page_size")
        )
    for name, used in tables.items():
        count, estimate = rows[name]
        yield Volume("state", name, bytes=used, rows=count, estimate=estimate)
    yield Volume("state", _FREE, bytes=free * page)
    rest = size - sum(tables.values()) - free * page
    yield Volume("state", "(other)" if tables else "(all tables)", bytes=max(0, rest))
    yield Volume("state", _LOG, bytes=log_size(state), files=1)
    yield Volume("lake", "(catalog)", bytes=database_size(catalog), files=1)
    history = dagster / "history"
    for name, path in (
        ("runs", history / "runs.db"),
        ("event_logs", history / "runs" / "index.db"),
        ("ticks", dagster / "schedules" / "schedules.db"),
    ):
        yield Volume("dagster", name, bytes=database_size(path), files=1)
    logs = [entry for entry in _entries(history / "runs") if not entry.name.startswith("index.db")]
    yield Volume("dagster", "events of runs", bytes=sum(map(file_size, logs)), files=len(logs))


def _pages(connection: Connection) -> dict[str, int]:
    """Bytes of each table with its indexes; empty where this SQLite cannot say."""
    try:
        return {row.name: int(row.size) for row in connection.execute(_BTREES)}
    except OperationalError:
        return {}


def _sqlite_rows(connection: Connection, tables: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """Rows of each table, and whether that is an estimate: of large ones statistics know them."""
    known: dict[str, int] = {}
    if connection.exec_driver_sql("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").first():
        query = "SELECT tbl, max(CAST(stat AS INTEGER)) FROM sqlite_stat1 GROUP BY tbl"
        known = {name: int(rows) for name, rows in connection.exec_driver_sql(query)}
    return {
        name: (known[name], True)
        if name in known
        else (int(connection.exec_driver_sql(f'SELECT count(*) FROM "{name}"').scalar_one()), False)
        for name in tables
    }


def _postgres(stores: Stores) -> Iterator[Volume]:
    with stores.state.read() as connection:
        yield from (_relation(row) for row in connection.execute(_RELATIONS))
    for each in stores.spool.moved():
        yield Volume("spool", "envelopes", None, each.bytes, each.envelopes, each.files, each.day, each.day)


def _relation(row: Row[tuple[str, str, int, float]]) -> Volume:
    name, store, day = row.name, row.schema, None
    if store == "spool" and (match := _DAY_TABLE.fullmatch(name)):
        name, day = "envelopes", date(*map(int, match.groups()))
    elif store == "lake":
        name = "(catalog)"
    rows = int(row.rows) if row.rows >= 0 else None
    return Volume(store, name, None, int(row.size), rows, None, day, day, estimate=True)


def _blobs(stores: Stores) -> Iterator[Volume]:
    """Attachments, debug files and bundles by project, from the rows that name them, and the rest of what lies there."""
    named = [*_attachments(stores), *_uploads(stores)]
    yield from named
    if stores.home.far:
        return
    size, files, estimate = _blob_folder(Path(stores.home.blobs_url))
    known, count = sum(one.bytes for one in named), sum(one.files or 0 for one in named)
    # The same bytes are stored once, however many name them: so the rest may seem less than nothing.
    yield Volume(
        "blobs", "(other)", bytes=max(0, size - known), files=max(0, files - count), estimate=estimate
    )


def _attachments(stores: Stores) -> Iterator[Volume]:
    try:
        rows = stores.lake.query(_ATTACHMENTS)
    except (duckdb.Error, OSError):
        log.warning("attachments cannot be told by project", exc_info=True)
        return
    for row in rows:
        size = int(row["bytes"] or 0)
        yield Volume(
            "blobs",
            "attachments",
            row["project_id"],
            size,
            row["rows"],
            row["files"],
            row["day"],
            row["day"],
            estimate=True,
        )


def _uploads(stores: Stores) -> Iterator[Volume]:
    with stores.state.read() as connection:
        for table in (debug_files, artifact_bundles):
            columns = (
                table.c.project_id,
                func.count(),
                func.sum(table.c.size),
                func.count(table.c.digest.distinct()),
            )
            for project, rows, size, files in connection.execute(
                select(*columns).group_by(table.c.project_id)
            ):
                yield Volume("blobs", table.name, project, int(size), rows, files, estimate=True)


def _blob_folder(folder: Path) -> tuple[int, int, bool]:
    """Bytes and files of blobs, and whether they are concluded from a sixteenth of them."""
    shards = sorted(entry.path for entry in _entries(folder) if entry.is_dir())
    some, rest = shards[:_SIXTEENTH], shards[_SIXTEENTH:]
    size, files = _counted(some)
    if files > COUNTED_BLOBS and rest:
        parts = len(shards) / len(some)
        return int(size * parts), int(files * parts), True
    more = _counted(rest)
    return size + more[0], files + more[1], False


def _counted(folders: Iterable[str]) -> tuple[int, int]:
    sizes = [file_size(entry) for folder in folders for entry in _entries(Path(folder))]
    return sum(sizes), len(sizes)


def _folders(stores: Stores) -> Iterator[Volume]:
    """What else lies in the home: caches, pieces of uploads, logs, captured output, and whatever somebody put there."""
    home = stores.home
    for entry in _entries(home.cache_dir):
        yield _folder("caches", entry.name, entry)
    elsewhere = {
        home.spool_dir,
        home.lake_catalog.parent,
        Path(home.blobs_url),
        Path(home.raw_url),
        home.cache_dir,
        home.dagster_home,
    }
    for entry in _entries(home.root):
        if Path(entry.path) not in elsewhere and not entry.name.startswith("state.sqlite"):
            yield _folder("home", entry.name, entry)
    of_lake = {home.lake_catalog.name, Path(home.lake_files).name}
    for entry in _entries(home.lake_catalog.parent):
        if entry.name.removesuffix("-wal").removesuffix("-shm") not in of_lake:
            yield _folder("lake", "(other)", entry)
    for entry in _entries(home.dagster_home):
        if entry.name == "storage":
            yield _folder("dagster", "captured output", entry)
        elif entry.name not in ("history", "schedules"):
            yield _folder("dagster", "(other)", entry)


def _folder(store: str, table: str, entry: os.DirEntry[str]) -> Volume:
    is_folder = entry.is_dir(follow_symlinks=False)  # what a link leads to lies elsewhere
    return Volume(store, table, bytes=folder_size(Path(entry.path)) if is_folder else file_size(entry))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
