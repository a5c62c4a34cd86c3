"""DuckDB for the lake: its settings, its extensions, and how a lake is attached.

The only module that knows them; what is done with a lake belongs to lake.py."""

from __future__ import annotations

import importlib.util
import os
import uuid
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.place import ensure_nobodys
from tasks_pipeline.storage.s3 import Credentials, Keys, duckdb_secret
from tasks_pipeline.storage.sqlite_space import make_empty
from tasks_pipeline.storage.state.locks import process_lock

MEMORY_LIMIT = "512MB"
LAKE_OPTIONS = {"data_inlining_row_limit": "0", "parquet_compression": "zstd", "target_file_size": "256MB"}
_HTTP = {
    "http_timeout": 20,  # seconds of a request, from its beginning to the last byte of its answer
    "http_retries": 4,
    "enable_http_metadata_cache": "true",  # a file never changes: what was asked before the lock is not asked under it
}
_EXTENSIONS = ("ducklake", "sqlite_scanner", "postgres_scanner", "httpfs")


def threads(home: Home) -> int:
    """How many threads DuckDB may use: with more than one, snapshots of a SQLite catalog are torn (docs/storage.md)."""
    return 1 if home.embedded else 2


def connect(home: Home) -> duckdb.DuckDBPyConnection:
    """DuckDB in memory, bounded, with the extensions of the lake at hand and nothing attached."""
    temporary = home.run_dir / "duckdb"
    temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = duckdb.connect(
        config={
            "extension_directory": str(_extension_directory(home)),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # To verify signatures takes 80 ms for each extension, whenever a lake is opened. These come from the same packages as
            # DuckDB itself, are installed by their hashes as that is, and nobody else's SQL may LOAD anything.
            "allow_unsigned_extensions": "true",
            "threads": str(threads(home)),
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(temporary),
            "preserve_insertion_order": "false",
        }
    )
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        "SET late_materialization_max_rows = 0"
    )  # costs ORDER BY … LIMIT over the lake twice its price
    return connection


class FarFiles:
    """DuckDB's way to the files of a lake in object storage: each request in bounded time, with keys that are renewed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, home: Home) -> None:
        self._connection, self._files = connection, home.lake_files
        self._credentials = Credentials()
        self._keys: Keys | None = Keys("", "")  # which nobody has
        connection.execute("LOAD httpfs")
        for setting, value in _HTTP.items():
            connection.execute(f"SET {setting} = {value}")
        self.renew()

    def renew(self) -> None:
        """Give DuckDB the keys of now, where those that it has were lent and are over soon."""
        if (keys := self._credentials.now()) == self._keys:
            return
        with self._connection.cursor() as cursor:  # whatever transaction is under way
            cursor.execute(*duckdb_secret("lake_files", self._files, keys))
        self._keys = keys


def attach_lake(
    connection: duckdb.DuckDBPyConnection, home: Home, read_only: bool, *, of_files: bool = False
) -> FarFiles | None:
    """Attach the lake as `stored`; the first to come creates its catalog, `of_files` where some are there already. Gives the way to
    files that are far. Raises LakeElsewhere."""
    connection.execute("LOAD ducklake")
    mode = ", READ_ONLY" if read_only else ""
    # The catalog names files relative to a folder that it remembers; a home that was moved has another: see `settle`.
    files = f"DATA_PATH '{quoted(home.lake_files)}', OVERRIDE_DATA_PATH true"
    far = FarFiles(connection, home) if home.far else None
    if home.embedded:
        connection.execute("LOAD sqlite_scanner")
        home.lake_catalog.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not home.far:
            Path(home.lake_files).mkdir(parents=True, exist_ok=True, mode=0o700)
        target = f"ducklake:sqlite:{quoted(home.lake_catalog)}"
        options = (
            f"{files}, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 10000, DATA_INLINING_ROW_LIMIT 0{mode}"
        )
    else:
        connection.execute("LOAD postgres_scanner")
        target = f"ducklake:postgres:{quoted(libpq(home))}"
        options = f"{files}, META_SCHEMA 'lake', DATA_INLINING_ROW_LIMIT 0{mode}"
    if read_only:
        connection.execute(f"ATTACH '{target}' AS stored ({options})")
        return far
    with process_lock(home, "lake"):
        if _is_new(home):
            if not of_files:
                ensure_nobodys(home)
            _make_catalog(home)
        connection.execute(f"ATTACH '{target}' AS stored ({options})")
    # Who holds the lock meets nobody's commit: whoever does has lost it, and may not try again behind another's back.
    connection.execute("SET ducklake_max_retry_count = 0")
    return far


def _is_new(home: Home) -> bool:
    """Whether there is no catalog yet."""
    if home.embedded:
        return not home.lake_catalog.exists()
    return _ask_postgres(home, "SELECT to_regclass('lake.ducklake_metadata')") is None


def _make_catalog(home: Home) -> None:
    """Make what a catalog is made in."""
    if home.embedded:
        make_empty(home.lake_catalog)  # DuckDB's SQLite would make one that cannot be shortened
    else:
        _ask_postgres(home, "CREATE SCHEMA IF NOT EXISTS lake")


def _ask_postgres(home: Home, sql: str) -> Any:
    """The first value that a statement gives, if it gives any."""
    import psycopg2

    connection = psycopg2.connect(libpq(home))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def libpq(home: Home) -> str:
    """The address of Postgres as libpq reads it."""
    return home.postgres_url.replace("+psycopg2", "", 1)


def quoted(value: object) -> str:
    """A value for the inside of an SQL string."""
    return str(value).replace("'", "''")


def _extension_directory(home: Home) -> Path:
    """A directory in the layout DuckDB looks for, linking to the extensions that came as packages."""
    root = home.run_dir / "duckdb-extensions"
    folder = root / f"v{duckdb.__version__}" / _platform()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in _EXTENSIONS:
        link = folder / f"{name}.duckdb_extension"
        target = _packaged_extension(name)
        if not link.is_symlink() or os.readlink(link) != str(target):
            temporary = folder / f".{name}-{uuid.uuid4().hex}"
            temporary.symlink_to(target)
            temporary.replace(link)
    return root


def _packaged_extension(name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the package duckdb-extension-{name.replace('_', '-')} is not installed")
    found = sorted(Path(spec.submodule_search_locations[0]).glob(f"extensions/*/{name}.duckdb_extension"))
    if not found:
        raise RuntimeError(f"the package duckdb-extension-{name.replace('_', '-')} holds no extension file")
    return found[-1]


@cache
def _platform() -> str:
    row = duckdb.connect().execute("PRAGMA platform").fetchone()
    assert row is not None
    return str(row[0])
