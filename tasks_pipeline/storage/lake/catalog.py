"""The catalog of the lake: its tables, which files they hold, and its snapshots. All on a connection with `stored` attached."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

import duckdb

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.connection import LAKE_OPTIONS, quoted
from tasks_pipeline.storage.lake.files import LakeFile, lying_files, remove_file
from tasks_pipeline.storage.lake.place import Known, ensure_here, known_by
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RETIRED_COLUMNS, LakeTable
from tasks_pipeline.storage.state.locks import process_lock

FLUSHED = "flushed_segments"
"""The table of the marker: numbers of segments of the tail whose rows are in files; the highest counts."""


@dataclass(frozen=True, slots=True)
class LiveFile:
    """A file that the newest snapshot holds. `size` is in bytes, `rows` counts also those that are gone by what `deletes` names."""

    table: str
    day: date
    path: str
    size: int
    rows: int
    deletes: str | None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that the catalog names. `size` is in bytes; `rows` is None of files that say which rows are gone, `table` empty of those
    to be removed. `live` says whether the newest snapshot holds it."""

    table: str
    path: str
    size: int
    rows: int | None
    live: bool


def settle(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Have the catalog say where its files are, after the home was moved, copied or restored. Raises LakeElsewhere.

    A folder without the files would be taken for the lake's from then on, and rows be written there: a slip in
    TASKS_PIPELINE_DATA_URL, or half of a backup.
    """
    metadata = _metadata(home)

    def known() -> Known:
        return known_by(lambda sql: connection.execute(sql).fetchall(), f"{metadata}.")

    if known().path == home.lake_files.rstrip("/"):
        return
    with process_lock(home, "lake"):
        if ensure_here(home, known()):
            connection.execute(
                f"UPDATE {metadata}.ducklake_metadata SET value = ? WHERE key = 'data_path' AND scope IS NULL",
                [f"{home.lake_files.rstrip('/')}/"],
            )


def create_missing_tables(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Make what a new lake, or one of an earlier version, lacks, and drop the columns that were retired. Others that are not
    known stay: a later version made them, and has them again when it is back.

    What retired ones held is in no query and in no file that is written from then on; it stays in files that are there until
    their day is stored again or they are merged with others.
    """
    if _is_complete(_known_columns(connection, home)):
        return
    with process_lock(home, "lake"):
        known = _known_columns(connection, home)
        connection.execute("BEGIN")  # one commit: each takes tens of milliseconds
        for table in LAKE_TABLES.values():
            if table.name in known:
                _mend_columns(connection, table, known[table.name])
                continue
            connection.execute(f"CREATE TABLE stored.{table.ddl}")
            connection.execute(f"ALTER TABLE stored.{table.name} SET PARTITIONED BY (day)")
            if table.sort:
                connection.execute(f"ALTER TABLE stored.{table.name} SET SORTED BY ({table.sorted_by})")
        if FLUSHED not in known:
            connection.execute(f"CREATE TABLE stored.{FLUSHED} (segment BIGINT)")
        connection.execute("COMMIT")
        for option, value in LAKE_OPTIONS.items():
            connection.execute(f"CALL stored.set_option('{option}', ?)", [value])
        # The marker's rows stay in the catalog: they never become a file.
        connection.execute(
            f"CALL stored.set_option('data_inlining_row_limit', 1000, table_name => '{FLUSHED}')"
        )


def _mend_columns(connection: duckdb.DuckDBPyConnection, table: LakeTable, known: set[str]) -> None:
    """Give a table the columns that it should have; rows of an earlier version hold null in new ones."""
    for column in table.columns:
        if column.name not in known:
            connection.execute(f"ALTER TABLE stored.{table.name} ADD COLUMN {column.quoted} {column.type}")
    for name in sorted(known & RETIRED_COLUMNS.get(table.name, frozenset())):
        connection.execute(f'ALTER TABLE stored.{table.name} DROP COLUMN "{name}"')


def _is_complete(known: dict[str, set[str]]) -> bool:
    return FLUSHED in known and all(
        known.get(name, set()) >= {c.name for c in table.columns}
        and not known[name] & RETIRED_COLUMNS.get(name, frozenset())
        for name, table in LAKE_TABLES.items()
    )


def _known_columns(connection: duckdb.DuckDBPyConnection, home: Home) -> dict[str, set[str]]:
    """Names of columns by table, as the catalog has them. Read from its own tables: DuckLake takes ten times as long to say so."""
    metadata = _metadata(home)
    known: dict[str, set[str]] = defaultdict(set)
    for table, column in connection.execute(
        f"SELECT t.table_name, c.column_name FROM {metadata}.ducklake_column c JOIN {metadata}.ducklake_table t USING (table_id) "
        "WHERE c.parent_column IS NULL AND c.end_snapshot IS NULL AND t.end_snapshot IS NULL"
    ).fetchall():
        known[table].add(column)
    return known


def add_files(
    connection: duckdb.DuckDBPyConnection, files: Iterable[LakeFile], *, of_any_version: bool = False
) -> None:
    """Add written files to their tables, in the caller's transaction. Those `of_any_version` may hold columns that were retired
    since."""
    paths: dict[str, list[str]] = defaultdict(list)
    for file in files:
        paths[file.table].append(file.path)
    for table, found in paths.items():
        connection.execute(
            "CALL ducklake_add_data_files('stored', ?, ?, hive_partitioning => true, allow_missing => true, "
            "ignore_extra_columns => ?)",
            [table, found, of_any_version],
        )


def live_files(
    connection: duckdb.DuckDBPyConnection, home: Home, *, more_than: int = 0, before: date | None = None
) -> list[LiveFile]:
    """The files that the newest snapshot holds, of each table and day that has more than so many.

    `before` leaves out that day and those after it. Read from the catalog's own tables in one query: asking DuckLake for
    each table costs ten times as much.
    """
    metadata = _metadata(home)
    rows = connection.execute(
        "SELECT name, day, path, path_is_relative, size, rows, deletes FROM (SELECT t.table_name AS name, "
        "regexp_extract(f.path, 'day=([0-9-]{10})', 1) AS day, f.path, f.path_is_relative, "
        "f.file_size_bytes AS size, f.record_count AS rows, d.path AS deletes, count(*) OVER (PARTITION BY name, day) AS files "
        f"FROM {metadata}.ducklake_data_file f JOIN {metadata}.ducklake_table t ON t.table_id = f.table_id "
        f"LEFT JOIN {metadata}.ducklake_delete_file d "
        "ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL "
        "WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL) WHERE files > ? AND day < ?",
        [more_than, before.isoformat() if before else "9"],
    ).fetchall()
    return [
        LiveFile(
            name,
            date.fromisoformat(day),
            f"{home.lake_files}/main/{name}/{path}" if relative else path,
            int(size),
            int(count),
            deletes,
        )
        for name, day, path, relative, size, count, deletes in rows
    ]


def stored_files(connection: duckdb.DuckDBPyConnection, home: Home) -> list[StoredFile]:
    """Every file that the catalog names: of the newest snapshot, of older ones, and those that are to be removed."""
    metadata = _metadata(home)
    where = f"'{quoted(home.lake_files)}/main/' || t.table_name || '/' || f.path"
    rows = connection.execute(
        f"SELECT t.table_name, CASE WHEN f.path_is_relative THEN {where} ELSE f.path END AS path, "
        "f.file_size_bytes, f.record_count, f.end_snapshot IS NULL AND t.end_snapshot IS NULL "
        f"FROM {metadata}.ducklake_data_file f JOIN {metadata}.ducklake_table t ON t.table_id = f.table_id "
        f"UNION ALL SELECT t.table_name, CASE WHEN f.path_is_relative THEN {where} ELSE f.path END, "
        "f.file_size_bytes, NULL, f.end_snapshot IS NULL AND t.end_snapshot IS NULL "
        f"FROM {metadata}.ducklake_delete_file f JOIN {metadata}.ducklake_table t ON t.table_id = f.table_id "
        f"UNION ALL SELECT NULL, CASE WHEN f.path_is_relative THEN '{quoted(home.lake_files)}/' || f.path ELSE f.path END, "
        f"0, NULL, false FROM {metadata}.ducklake_files_scheduled_for_deletion f"
    ).fetchall()
    return [
        StoredFile(table or "", path, int(size or 0), None if count is None else int(count), bool(live))
        for table, path, size, count, live in rows
    ]


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What a table holds of a day in files: rows, files, and their bytes."""

    table: str
    day: date
    rows: int
    files: int
    size: int


def day_totals(connection: duckdb.DuckDBPyConnection, home: Home) -> list[DayTotals]:
    """What each table holds of each day, by the catalog alone; the oldest day first."""
    metadata = _metadata(home)
    rows = connection.execute(
        "SELECT t.table_name, regexp_extract(f.path, 'day=([0-9-]{10})', 1) AS day, "
        "sum(f.record_count - coalesce(d.delete_count, 0))::BIGINT, count(*), "
        "sum(f.file_size_bytes + coalesce(d.file_size_bytes, 0))::BIGINT "
        f"FROM {metadata}.ducklake_data_file f JOIN {metadata}.ducklake_table t ON t.table_id = f.table_id "
        f"LEFT JOIN {metadata}.ducklake_delete_file d "
        "ON d.data_file_id = f.data_file_id AND d.end_snapshot IS NULL "
        "WHERE f.end_snapshot IS NULL AND t.end_snapshot IS NULL GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    found = (DayTotals(name, date.fromisoformat(day), *map(int, n)) for name, day, *n in rows if day)
    return sorted(found, key=lambda each: (each.day, each.table))


def known_paths(connection: duckdb.DuckDBPyConnection, home: Home, paths: Iterable[str]) -> set[str]:
    """Those of the paths that some snapshot knows."""
    names = {path.rpartition("/")[2]: path for path in paths}
    rows = connection.execute(
        f"SELECT regexp_extract(path, '[^/]+$') AS name FROM {_metadata(home)}.ducklake_data_file "
        f"WHERE name IN ({', '.join('?' * len(names))})",
        list(names),
    ).fetchall()
    return {names[name] for (name,) in rows}


def catalog_rows(connection: duckdb.DuckDBPyConnection, home: Home) -> int:
    """Rows of those tables of the catalog that grow."""
    grow = (
        "data_file",
        "file_column_stats",
        "file_partition_value",
        "snapshot",
        "snapshot_changes",
        "delete_file",
    )
    counts = " + ".join(f"(SELECT count(*) FROM {_metadata(home)}.ducklake_{name})" for name in grow)
    return int(connection.execute(f"SELECT {counts}").fetchall()[0][0])


def _metadata(home: Home) -> str:
    """Where the catalog's own tables are (the DuckLake specification describes them)."""
    return "__ducklake_metadata_stored" + ("" if home.embedded else ".lake")


def drop_from_catalog(connection: duckdb.DuckDBPyConnection, files: Iterable[LiveFile]) -> None:
    """Take whole files out of their tables, in the caller's transaction; no file is written for it."""
    paths: dict[tuple[str, date], list[str]] = defaultdict(list)
    for file in files:
        paths[file.table, file.day].append(file.path)
    for (table, day), found in paths.items():
        names = ", ".join("?" * len(found))
        connection.execute(
            f"DELETE FROM stored.{table} WHERE day = ? AND filename IN ({names})", [day, *found]
        )


def expire_snapshots(
    connection: duckdb.DuckDBPyConnection, home: Home, before: datetime, most: int | None = None
) -> int:
    """Forget snapshots older than a moment, the oldest first and at most so many, never the newest, and remove the files that only
    they held, also those of which a killed process forgot the snapshots alone. Gives how many snapshots went. The caller holds the lock.

    By their numbers: on a SQLite catalog DuckLake compares times as texts (docs/storage.md).
    """
    rows = connection.execute(
        "SELECT snapshot_id FROM ducklake_snapshots('stored') WHERE snapshot_time < ? "
        "AND snapshot_id < (SELECT max(snapshot_id) FROM ducklake_snapshots('stored')) ORDER BY snapshot_id LIMIT ?",
        [before, most],
    ).fetchall()
    if rows:
        numbers = ", ".join(str(int(number)) for (number,) in rows)
        connection.execute(f"CALL ducklake_expire_snapshots('stored', versions => [{numbers}])")
    scheduled = f"SELECT 1 FROM {_metadata(home)}.ducklake_files_scheduled_for_deletion LIMIT 1"
    if connection.execute(scheduled).fetchall():
        connection.execute("CALL ducklake_cleanup_old_files('stored', cleanup_all => true)")
    return len(rows)


def drop_dead_markers(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Remove what no snapshot can see of the marker's rows: DuckLake keeps rows that lie in the catalog for ever. The caller
    holds the lock."""
    metadata = _metadata(home)
    tables = connection.execute(
        f"SELECT i.table_name FROM {metadata}.ducklake_inlined_data_tables i "
        f"JOIN {metadata}.ducklake_table t ON t.table_id = i.table_id WHERE t.table_name = ?",
        [FLUSHED],
    ).fetchall()
    for (name,) in tables:
        connection.execute(
            f'DELETE FROM {metadata}."{name}" WHERE end_snapshot IS NOT NULL '
            f"AND end_snapshot <= (SELECT min(snapshot_id) FROM {metadata}.ducklake_snapshot)"
        )


def forget_extremes(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """Have the catalog's least and greatest text of each column be those of the files that are there: DuckLake only ever widens them,
    and they are somebody's title, address or name. The caller holds the lock."""
    metadata = _metadata(home)
    of_files = (
        f"FROM {metadata}.ducklake_file_column_stats s JOIN {metadata}.ducklake_data_file f USING (data_file_id) "
        "WHERE f.end_snapshot IS NULL"
    )
    texts = f"SELECT table_id, column_id FROM {metadata}.ducklake_column WHERE column_type = 'varchar'"
    rows = connection.execute(
        "WITH there AS (SELECT s.table_id, s.column_id, min(s.min_value) AS least, max(s.max_value) AS greatest "
        f"{of_files} GROUP BY ALL) SELECT t.table_id, t.column_id, least, greatest "
        f"FROM {metadata}.ducklake_table_column_stats t LEFT JOIN there USING (table_id, column_id) "
        f"WHERE (t.table_id, t.column_id) IN ({texts}) AND (t.min_value IS DISTINCT FROM least OR t.max_value IS DISTINCT FROM greatest)"
    ).fetchall()
    for table, column, least, greatest in rows:
        connection.execute(
            f"UPDATE {metadata}.ducklake_table_column_stats SET min_value = ?, max_value = ? "
            "WHERE table_id = ? AND column_id = ?",
            [least, greatest, table, column],
        )


def rewrite_catalog(home: Home) -> None:
    """Write an embedded catalog anew, so that nothing that was deleted is left in its pages: DuckDB overwrites none. No lake is open in
    this process; the caller holds the lock."""
    if not home.embedded:
        return
    with closing(sqlite3.connect(home.lake_catalog, timeout=60, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def delete_orphans(connection: duckdb.DuckDBPyConnection, home: Home, before: datetime) -> int:
    """Remove files that no snapshot knows and that were written before a moment; gives how many."""
    old = [file.path for file in lying_files(home) if file.at is not None and file.at < before]
    named = {_name(file.path) for file in stored_files(connection, home)}
    orphans = [path for path in old if path.endswith(".parquet") and _name(path) not in named]
    for path in orphans:
        remove_file(home, path)
    return len(orphans)


def _name(path: str) -> str:
    """The name of a file, which no other has."""
    return path.rpartition("/")[2]
