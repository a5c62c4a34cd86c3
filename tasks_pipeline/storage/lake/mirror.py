"""The mirror: what readers see of the tail. It makes `lake`, one table per table of the lake wherever rows lie.

The lake itself is attached as `stored`. `tail` and `lake` are databases in memory: texts of the tail, and views over both. A
mirror is brought up to date before the lake's snapshot is taken: rows that are flushed in between are in the snapshot
and below its marker, rows that were deleted before are in it too. So nothing is seen twice or missed, whatever the
delays (docs/storage.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection

import duckdb
import pyarrow as pa

from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES, LakeColumn, LakeTable
from tasks_pipeline.storage.lake.tail import all_payloads, texts_behind
from tasks_pipeline.storage.lake.tail_json import OUTSIDE, unzipped
from tasks_pipeline.storage.state.database import StateDatabase

TRIM_ROWS = 2_000
TRIM_BYTES = 32 * 1024 * 1024
"""Texts in a mirror before those that are in the lake are removed."""
MARKER = "(SELECT coalesce(max(segment), 0) FROM stored.flushed_segments)"
"""The highest segment whose rows are in the lake, as the snapshot of a statement has it."""
_TEXTS = pa.schema(
    [
        ("seq", pa.int64()),
        ("segment", pa.int64()),
        ("day", pa.date32()),
        ("part", pa.string()),
        ("name", pa.string()),
        ("rows", pa.string()),
    ]
)
_PAYLOADS = pa.schema(
    [
        ("segment", pa.int64()),
        ("day", pa.date32()),
        ("part", pa.string()),
        ("position", pa.int64()),
        ("item", pa.int32()),
        ("payload", pa.string()),
    ]
)


def create_mirror(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the database `lake` over `stored`, with an empty mirror and no view yet."""
    connection.execute("ATTACH ':memory:' AS lake")
    connection.execute("ATTACH ':memory:' AS tail")
    connection.execute(
        "CREATE TABLE tail.rows (seq BIGINT, segment BIGINT, day DATE, part VARCHAR, name VARCHAR, rows VARCHAR)"
    )
    connection.execute(
        "CREATE TABLE tail.payloads "
        "(segment BIGINT, day DATE, part VARCHAR, position BIGINT, item INTEGER, payload VARCHAR)"
    )


def create_views(connection: duckdb.DuckDBPyConnection, names: Collection[str] = LAKE_TABLES.keys()) -> None:
    """Make the views of these tables. Each asks the catalog for all of its columns."""
    connection.execute("BEGIN")  # on their own each would ask the catalog for its newest snapshot
    try:
        for name in names:
            connection.execute(f"CREATE VIEW lake.{name} AS {_view(LAKE_TABLES[name])}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _view(table: LakeTable) -> str:
    stored = f"SELECT {table.selected} FROM stored.{table.name}"
    if table.name not in RECEIVED_TABLES:
        return stored
    return f"{stored} UNION ALL {_payloads() if table.name == 'event_payloads' else _rows(table)}"


def _rows(table: LakeTable) -> str:
    own = [c for c in table.columns if c.name not in OUTSIDE]
    shape = json.dumps([{c.name: "BIGINT" if c.type == "TIMESTAMPTZ" else c.type for c in own}])
    columns = ", ".join(c.name if c.name in OUTSIDE else _column(c) for c in table.columns)
    return (
        f"SELECT {columns} FROM (SELECT day, part, unnest(from_json(rows, '{shape}')) AS r "
        f"FROM tail.rows WHERE name = '{table.name}' AND segment > {MARKER})"
    )


def _column(column: LakeColumn) -> str:
    if column.type == "TIMESTAMPTZ":
        return f"make_timestamptz(r.{column.name}) AS {column.name}"
    return f"r.{column.name} AS {column.name}"


def _payloads() -> str:
    """Each event of the tail has a payload; which are in the mirror only when they were asked for."""
    return (
        "SELECT e.day, e.part, e.position, e.item, e.project_id, e.event_id, CASE WHEN p.payload IS NULL "
        "THEN error('payloads of the tail were not asked for') ELSE p.payload END AS payload "
        f"FROM ({_rows(LAKE_TABLES['events'])}) e "
        "LEFT JOIN tail.payloads p USING (day, part, position, item)"
    )


class Mirror:
    """The texts of the tail in one DuckDB connection. `refresh` before each statement, or once before a BEGIN."""

    def __init__(self, state: StateDatabase) -> None:
        self._state = state
        self._seen = 0
        self._added = 0  # texts, and their characters, since the last look at what may go
        self._added_bytes = 0

    def refresh(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Add what came to the tail since the last time."""
        with self._state.read() as reading:
            found = texts_behind(reading, self._seen)
        if not found:
            return
        table = pa.Table.from_arrays(
            [
                pa.array(column, field.type)
                for column, field in zip(zip(*found, strict=True), _TEXTS, strict=True)
            ],
            schema=_TEXTS,
        )
        connection.register("new_texts", table)
        connection.execute("INSERT INTO tail.rows SELECT * FROM new_texts")
        connection.unregister("new_texts")
        self._seen = found[-1][0]
        self._added += len(found)
        self._added_bytes += sum(len(row[-1]) for row in found)
        if self._added > TRIM_ROWS or self._added_bytes > TRIM_BYTES:
            self._added = self._added_bytes = 0
            connection.execute(f"DELETE FROM tail.rows WHERE segment <= {MARKER}")
            connection.execute("CHECKPOINT tail")  # without it a database in memory gives nothing back

    def fill_payloads(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Bring the payloads of the tail along: as they are now, until the next call. After `refresh`."""
        connection.execute("DELETE FROM tail.payloads")
        connection.execute("CHECKPOINT tail")
        with self._state.read() as reading:
            rows: list[tuple[object, ...]] = []
            for row in all_payloads(reading):
                rows.append((*row[:-1], unzipped(row.payload).decode()))
                if len(rows) == 256:
                    _insert_payloads(connection, rows)
                    rows.clear()
            _insert_payloads(connection, rows)


def _insert_payloads(connection: duckdb.DuckDBPyConnection, rows: list[tuple[object, ...]]) -> None:
    if not rows:
        return
    columns = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), _PAYLOADS, strict=True)]
    connection.register("new_payloads", pa.Table.from_arrays(columns, schema=_PAYLOADS))
    connection.execute("INSERT INTO tail.payloads SELECT * FROM new_payloads")
    connection.unregister("new_payloads")
