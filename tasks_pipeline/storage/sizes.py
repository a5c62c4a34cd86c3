"""How much room each store takes, and in how many files the lake lies. What object storage holds is known from the catalog, for
counting it means listing it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, NullPool, create_engine, inspect, text

from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase

_SCHEMA_SIZES = text(
    "SELECT n.nspname AS name, sum(pg_total_relation_size(c.oid))::bigint AS size FROM pg_class c "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname IN ('spool', 'state', 'lake') AND c.relkind IN ('r', 'm') GROUP BY n.nspname"
)

_LIVE_FILES = (
    "SELECT t.table_name AS name, count(DISTINCT f.data_file_id) AS files, "
    "count(DISTINCT CASE WHEN p.partition_value = :day THEN f.data_file_id END) AS of_day "
    "FROM {schema}ducklake_table t "
    "LEFT JOIN {schema}ducklake_data_file f ON f.table_id = t.table_id AND f.end_snapshot IS NULL "
    "LEFT JOIN {schema}ducklake_file_partition_value p ON p.data_file_id = f.data_file_id "
    "WHERE t.end_snapshot IS NULL AND t.table_name <> 'flushed_segments' GROUP BY t.table_name ORDER BY t.table_name"
)

_RAW_BY_PLACE = {
    "database": text(
        "SELECT count(*), coalesce(sum(pg_total_relation_size(inhrelid)), 0) FROM pg_inherits "
        "WHERE inhparent = to_regclass('spool.envelopes')"
    ),
    "files": text(
        "SELECT count(DISTINCT day), coalesce(sum(bytes), 0) FROM spool.moved WHERE state = 'kept'"
    ),
}


def lake_file_counts(home: Home, state: StateDatabase, day: date) -> dict[str, dict[str, int]]:
    """Live Parquet files by table of the lake: `today` (of the day) and in `all`.

    Read from the catalog alone. For processes that have not opened the lake: DuckDB brings a SQLite of its own, and what
    Python's closes takes the locks of both with it.
    """
    with _reading_catalog(home, state) as (connection, schema):
        return {} if connection is None else _file_counts(connection, day, schema)


@contextmanager
def _reading_catalog(home: Home, state: StateDatabase) -> Iterator[tuple[Connection | None, str | None]]:
    """A connection to the lake's catalog and the schema of its tables; None when there is no catalog yet."""
    if not home.embedded:
        with state.read() as connection:
            yield connection, "lake"
    elif not home.lake_catalog.exists():
        yield None, None
    else:
        url = f"sqlite:///file:{quote(str(home.lake_catalog))}?mode=ro&uri=true"
        with create_engine(url, poolclass=NullPool).connect() as connection:
            yield connection, None


def _file_counts(connection: Connection, day: date, schema: str | None) -> dict[str, dict[str, int]]:
    if not inspect(connection).has_table("ducklake_file_partition_value", schema=schema):
        return {}  # nobody has opened the lake yet
    sql = text(_LIVE_FILES.format(schema=f"{schema}." if schema else ""))
    rows = connection.execute(sql, {"day": day.isoformat()})
    return {row.name: {"today": int(row.of_day), "all": int(row.files)} for row in rows}


def _far_bytes(home: Home, state: StateDatabase) -> int:
    """Bytes of all files that the catalog names, also those of older snapshots."""
    with _reading_catalog(home, state) as (connection, schema):
        if connection is None or not inspect(connection).has_table("ducklake_data_file", schema=schema):
            return 0
        prefix = f"{schema}." if schema else ""
        sums = [
            connection.execute(text(f"SELECT sum(file_size_bytes) FROM {prefix}ducklake_{name}")).scalar()
            for name in ("data_file", "delete_file")
        ]
    return sum(int(size or 0) for size in sums)


def store_sizes(home: Home, state: StateDatabase) -> dict[str, int | None]:
    """Bytes of spool, lake, state and blobs; None for blobs in object storage, where counting means listing. As `lake_file_counts`,
    for processes that have not opened the lake."""
    files = _far_bytes(home, state) if home.far else folder_size(Path(home.lake_files))
    catalog = database_size(home.lake_catalog) if home.embedded else _schema_sizes(state).get("lake", 0)
    beside = sizes_beside_lake(home, state)
    return {
        "spool": beside["spool"],
        "lake": files + catalog,
        "state": beside["state"],
        "blobs": beside["blobs"],
    }


def sizes_beside_lake(home: Home, state: StateDatabase) -> dict[str, int | None]:
    """The same without the lake, for any process."""
    blobs = None if home.far else folder_size(Path(home.blobs_url))
    if home.embedded:
        spool, rows = folder_size(home.spool_dir), database_size(home.root / "state.sqlite")
        return {"spool": spool, "state": rows, "blobs": blobs}
    schemas = _schema_sizes(state)
    return {
        "spool": schemas.get("spool", 0) + _moved_bytes(state),
        "state": schemas.get("state", 0),
        "blobs": blobs,
    }


def _schema_sizes(state: StateDatabase) -> dict[str, int]:
    with state.read() as connection:
        return {row.name: int(row.size) for row in connection.execute(_SCHEMA_SIZES)}


def _moved_bytes(state: StateDatabase) -> int:
    """Bytes of the files that raw envelopes of finished days lie in."""
    with state.read() as connection:
        if not inspect(connection).has_table("moved", schema="spool"):
            return 0  # nobody has opened the spool yet
        return int(connection.execute(text("SELECT coalesce(sum(bytes), 0) FROM spool.moved")).scalar_one())


def raw_by_place(state: StateDatabase) -> dict[str, tuple[int, int]]:
    """On Postgres, days and bytes of raw envelopes in the `database` and in `files`."""
    with state.read() as connection:
        if state.home.embedded or not inspect(connection).has_table("moved", schema="spool"):
            return {}
        found = {place: connection.execute(query).one() for place, query in _RAW_BY_PLACE.items()}
    return {place: (int(days), int(size)) for place, (days, size) in found.items()}


def store_places(home: Home) -> dict[str, str]:
    """Where each store lies, for people; database URLs without what is secret in them."""
    database = "" if home.embedded else _without_password(home.postgres_url)
    return {
        "spool": str(home.spool_dir)
        if home.embedded
        else f"{database}, schema spool; finished days in {home.raw_url}",
        "lake": home.lake_files if home.embedded else f"{home.lake_files}; catalog in {database}",
        "state": str(home.root / "state.sqlite") if home.embedded else f"{database}, schema state",
        "blobs": home.blobs_url,
    }


def folder_size(folder: Path) -> int:
    """Bytes of the files below a folder; 0 when it is not there."""
    return sum(file_size(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names)


def database_size(path: Path) -> int:
    """Bytes of an SQLite database with what is not yet merged into it."""
    return file_size(path) + log_size(path)


def log_size(path: Path) -> int:
    """Bytes of what is not yet merged into an SQLite database, and of the index of that."""
    return sum(file_size(path.with_name(path.name + suffix)) for suffix in ("-wal", "-shm"))


def file_size(path: os.PathLike[str]) -> int:
    """Bytes of a file; of a link its own, for what it leads to lies elsewhere. 0 when it is not there."""
    try:
        return os.lstat(path).st_size
    except (FileNotFoundError, PermissionError):  # files come and go while the service runs
        return 0


def _without_password(url: str) -> str:
    from sqlalchemy import make_url

    parsed = make_url(url)
    return f"{parsed.host or 'localhost'}:{parsed.port or 5432}/{parsed.database or ''}"


def disk_of(home: Home) -> tuple[int, int]:
    """Free and whole bytes of the disk of a home or, when the lake lies on another of this machine that has less, of that."""
    places = [path for path in (home.root, home.root / "lake") if path.exists()]
    usage = min((shutil.disk_usage(path) for path in places), key=lambda found: found.free)
    return usage.free, usage.total
