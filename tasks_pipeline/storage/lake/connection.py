"""DuckDB for the lake: its settings, its extensions, and how a lake is attached.

The only module that knows them; what is done with a lake belongs to lake.py."""

from __future__ import annotations

import importlib.util
import os
import uuid
from functools import cache
from pathlib import Path

import duckdb

from tasks_pipeline.home import Home
from tasks_pipeline.storage.sqlite_space import make_empty
from tasks_pipeline.storage.state.locks import process_lock

MEMORY_LIMIT = "512MB"
LAKE_OPTIONS = {"data_inlining_row_limit": "0", "parquet_compression": "zstd", "target_file_size": "256MB"}
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


def attach_lake(connection: duckdb.DuckDBPyConnection, home: Home, read_only: bool) -> None:
    """Attach the lake as `stored`; the first to come creates its catalog."""
    connection.execute("LOAD ducklake")
    mode = ", READ_ONLY" if read_only else ""
    # The catalog names files relative to a folder that it remembers; a home that was moved has another: see `settle`.
    files = f"DATA_PATH '{quoted(home.lake_files)}', OVERRIDE_DATA_PATH true"
    if home.data_url and not home.data_url.startswith("file:"):
        connection.execute("LOAD httpfs")
    if home.embedded:
        connection.execute("LOAD sqlite_scanner")
        home.lake_catalog.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not home.data_url:
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
        return
    with process_lock(home, "lake"):  # the first to come creates the catalog
        if not home.embedded:
            _create_catalog_schema(home)
        elif not home.lake_catalog.exists():  # DuckDB's SQLite would make one that cannot be shortened
            make_empty(home.lake_catalog)
        connection.execute(f"ATTACH '{target}' AS stored ({options})")
    # Who holds the lock meets nobody's commit: whoever does has lost it, and may not try again behind another's back.
    connection.execute("SET ducklake_max_retry_count = 0")


def _create_catalog_schema(home: Home) -> None:
    import psycopg2

    connection = psycopg2.connect(libpq(home))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS lake")
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
