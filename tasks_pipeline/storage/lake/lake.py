"""The lake: DuckLake tables over Parquet files that we write ourselves.

Facts behind the choices (writer lock, fsync before the catalog commits, no inlining) are in docs/storage.md.
"""

from __future__ import annotations

import threading
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.connection import LAKE_OPTIONS, THREADS, attach_lake, connect
from tasks_pipeline.storage.lake.files import LakeFile, write_durably, write_parquet
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, LakeTable
from tasks_pipeline.storage.state.database import process_lock

REGROUPED_ROWS = 50_000  # rows of events in memory when they are written again; a file each


class Lake:
    """An open lake. One instance serves one thread at a time; readers in other processes need no lock."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._guard = threading.Lock()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """DuckDB with the lake attached as `lake`; opened on first use, tables made when they are missing."""
        with self._guard:
            if self._connection is None:
                self._connection = connect(self.home)
                attach_lake(self._connection, self.home, read_only=False)
                self._create_missing_tables(self._connection)
        return self._connection

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts; its parameters are `?`, or `$name` for those in a mapping."""
        given = parameters if isinstance(parameters, Mapping) else list(parameters)
        cursor = self.connection.execute(sql, given)
        names = [d[0] for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def lock(self) -> AbstractContextManager[None]:
        """The writer lock; every commit to the lake happens under it."""
        _ = self.connection  # opening takes the lock too, and it does not nest
        return process_lock(self.home, "lake")

    def write(self, day: date, tables: Mapping[str, pa.Table], label: str) -> list[LakeFile]:
        """Write rows as Parquet files of a day and make them durable. The catalog does not know them yet.

        `label` tells people what wrote a file; names are unique whatever it is.
        """
        return [
            self._write_file(day, LAKE_TABLES[name], rows, label)
            for name, rows in tables.items()
            if rows.num_rows
        ]

    def register(self, files: Iterable[LakeFile]) -> None:
        """Make files visible, all in one transaction. The caller holds the lock."""
        with self._one_thread(), self._transaction() as connection:
            _add(connection, files)

    def replace(self, day: date, bounds: Mapping[str, int], files: Iterable[LakeFile]) -> None:
        """Swap what a day holds for the given files, in one transaction. The caller holds the lock.

        `bounds` gives the last position per part that the files cover; rows behind it, of batches that came
        meanwhile, stay.
        """
        with self._transaction() as connection:
            for table in LAKE_TABLES:
                for part, last in bounds.items():
                    connection.execute(
                        f"DELETE FROM lake.{table} WHERE day = ? AND part = ? AND position <= ?",
                        [day, part, last],
                    )
            _add(connection, files)

    def swap_events(self, day: date, places: pa.Table, files: Iterable[LakeFile]) -> None:
        """Swap the events at these places (columns part, position, item) of a day, and their payloads, for the given
        files, in one transaction. The caller holds the lock."""
        with self._transaction() as connection:
            connection.register("swapped_places", places)
            for table in ("events", "event_payloads"):
                connection.execute(
                    f"DELETE FROM lake.{table} WHERE day = ? AND (part, position, item) IN "
                    "(SELECT (part, position, item) FROM swapped_places)",
                    [day],
                )
            connection.unregister("swapped_places")
            _add(connection, files)

    def regroup(self, group_ids: Sequence[int], keys: pa.Table) -> int:
        """Give each event of these groups the group of the first of its keys that is among `keys` (columns project_id,
        key, group_id), in one transaction; gives how many moved. The caller holds the lock.

        The rows are written again by us, like all others: DuckDB's UPDATE would leave files that are not synced.
        """
        connection, of_groups = self.connection, f"group_id IN ({_numbers(group_ids)})"
        connection.register("known_keys", keys)
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE misplaced AS WITH keys AS ("
            "SELECT day, part, position, item, project_id, group_id, "
            "unnest(group_keys) AS key, generate_subscripts(group_keys, 1) AS number "
            f"FROM lake.events WHERE {of_groups}), decided AS ("
            "SELECT day, part, position, item, e.group_id AS former, arg_min(k.group_id, number) AS group_id "
            "FROM keys e JOIN known_keys k USING (project_id, key) GROUP BY ALL) "
            "SELECT * EXCLUDE (former) FROM decided WHERE group_id <> former"
        )
        connection.unregister("known_keys")
        days = connection.execute("SELECT day, count(*) FROM misplaced GROUP BY day ORDER BY day").fetchall()
        files = [file for day, _ in days for file in self._write_regrouped(day, of_groups)]
        with self._transaction():
            for day, _ in days:
                connection.execute(
                    f"DELETE FROM lake.events WHERE day = $1 AND {of_groups} AND (part, position, item) IN "
                    "(SELECT (part, position, item) FROM misplaced WHERE day = $1)",
                    [day],
                )
            _add(connection, files)
        connection.execute("DROP TABLE misplaced")
        return sum(events for _, events in days)

    def _write_regrouped(self, day: date, of_groups: str) -> list[LakeFile]:
        rows = self.connection.execute(
            "SELECT e.* REPLACE (m.group_id AS group_id) FROM lake.events e "
            "JOIN misplaced m USING (day, part, position, item) "
            f"WHERE e.day = $1 AND m.day = $1 AND e.{of_groups}",
            [day],
        )
        files: list[LakeFile] = []
        for batch in rows.to_arrow_reader(REGROUPED_ROWS):
            files += self.write(day, {"events": pa.Table.from_batches([batch])}, "regrouped")
        return files

    def drop_groups(self, group_ids: Sequence[int]) -> None:
        """Remove the events of these groups, their payloads and attachments, in one transaction. The caller holds the lock."""
        events = f"FROM lake.events WHERE group_id IN ({_numbers(group_ids)})"
        with self._transaction() as connection:
            for table in ("event_payloads", "attachments"):
                connection.execute(
                    f"DELETE FROM lake.{table} WHERE day IN (SELECT day {events}) "
                    f"AND (project_id, event_id) IN (SELECT (project_id, event_id) {events})"
                )
            connection.execute(f"DELETE {events}")

    def groups_of_batch(self, day: date, part: str, first: int, last: int) -> set[int]:
        """The groups that the rows of a range of positions name."""
        rows = self.connection.execute(
            "SELECT DISTINCT group_id FROM lake.events WHERE day = ? AND part = ? AND position BETWEEN ? AND ?",
            [day, part, first, last],
        )
        return {group_id for (group_id,) in rows.fetchall()}

    def holds_batch(self, day: date, part: str, first_position: int) -> bool:
        """Whether a batch was registered; its outcome rows carry the first position of its range."""
        rows = self.connection.execute(
            "SELECT 1 FROM lake.outcomes WHERE day = ? AND part = ? AND position = ? LIMIT 1",
            [day, part, first_position],
        ).fetchall()
        return bool(rows)

    def close(self) -> None:
        """Close the connection."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Registering asks the catalog a hundred small things; a second thread for each takes half as much CPU again."""
        self.connection.execute("SET threads = 1")
        try:
            yield
        finally:
            self.connection.execute(f"SET threads = {THREADS}")

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        connection = self.connection
        connection.execute("BEGIN")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _create_missing_tables(self, connection: duckdb.DuckDBPyConnection) -> None:
        known = _known_columns(connection)
        if all(
            known.get(name, set()) >= {c.name for c in table.columns} for name, table in LAKE_TABLES.items()
        ):
            return
        with process_lock(self.home, "lake"):
            connection.execute("BEGIN")  # one commit: each takes tens of milliseconds
            known = _known_columns(connection)
            for table in LAKE_TABLES.values():
                if table.name in known:
                    for (
                        column
                    ) in table.columns:  # a lake made by an earlier version; its rows hold null there
                        if column.name not in known[table.name]:
                            connection.execute(
                                f"ALTER TABLE lake.{table.name} ADD COLUMN {column.name} {column.type}"
                            )
                    continue
                connection.execute(f"CREATE TABLE lake.{table.ddl}")
                connection.execute(f"ALTER TABLE lake.{table.name} SET PARTITIONED BY (day)")
                if table.sort:
                    connection.execute(
                        f"ALTER TABLE lake.{table.name} SET SORTED BY ({', '.join(table.sort)})"
                    )
            connection.execute("COMMIT")
            for option, value in LAKE_OPTIONS.items():
                connection.execute(f"CALL lake.set_option('{option}', ?)", [value])

    def _write_file(self, day: date, table: LakeTable, rows: pa.Table, label: str) -> LakeFile:
        if table.sort:
            rows = rows.sort_by([(column, "ascending") for column in table.sort])
        folder = f"{self.home.lake_files}/main/{table.name}/day={day.isoformat()}"
        path = f"{folder}/{label}-{uuid.uuid4().hex[:12]}.parquet"
        if self.home.data_url:
            with fsspec.open(path, "wb") as remote:  # an object appears whole or not at all
                write_parquet(rows, remote, table)
        else:
            write_durably(Path(path), rows, table)
        return LakeFile(table.name, path, rows.num_rows)


def _numbers(ids: Iterable[int]) -> str:
    return ", ".join(str(int(i)) for i in ids)


def _add(connection: duckdb.DuckDBPyConnection, files: Iterable[LakeFile]) -> None:
    for file in files:
        connection.execute(
            "CALL ducklake_add_data_files('lake', ?, ?, hive_partitioning => true)", [file.table, file.path]
        )


def _known_columns(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """Names of columns by table, as the catalog has them."""
    known: dict[str, set[str]] = defaultdict(set)
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'"
    ).fetchall():
        known[table].add(column)
    return known
