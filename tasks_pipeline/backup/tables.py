"""Tables of the state database in a form that is neither SQLite's nor Postgres's, and back: rows, types and the last numbers that
were given. The tables themselves are in storage/state/tables.py."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    text,
)
from sqlalchemy.types import TypeEngine

from tasks_pipeline.storage.state.database import SCHEMA
from tasks_pipeline.storage.state.tables import UtcDateTime, metadata

ROWS = 5_000
"""In memory at once; some of them are messages."""
TIME = pa.timestamp("us", "UTC")
_TYPES: tuple[tuple[type[TypeEngine[Any]], pa.DataType], ...] = (
    (BigInteger, pa.int64()),
    (Integer, pa.int64()),
    (Boolean, pa.bool_()),
    (Float, pa.float64()),
    (Date, pa.date32()),
    (UtcDateTime, TIME),
    (LargeBinary, pa.binary()),
    (JSON, pa.string()),  # as it was written
    (String, pa.string()),
)
_SEQUENCES = (
    "SELECT c.relname || '.' || a.attname AS name, s.oid::regclass::text AS sequence FROM pg_class s "
    "JOIN pg_depend d ON d.objid = s.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') "
    "JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid "
    "WHERE s.relkind = 'S' AND n.nspname = :schema ORDER BY 1"
)


def arrow_schema(table: Table) -> pa.Schema:
    """The columns of a table in Arrow's types."""
    return pa.schema([(column.name, _arrow_type(column)) for column in table.columns])


def _arrow_type(column: Column[Any]) -> pa.DataType:
    for kind, found in _TYPES:
        if isinstance(column.type, kind):
            return found
    raise TypeError(f"{column}: no form for {column.type!r}; give it one in _TYPES")


def rows_of(connection: Connection, table: Table) -> Iterator[pa.Table]:
    """All rows of a table as the transaction sees them, in the order they lie in, in pieces."""
    schema, embedded = arrow_schema(table), connection.dialect.name == "sqlite"
    names = (
        f'"{column.name}"' + ("::text" if isinstance(column.type, JSON) and not embedded else "")
        for column in table.columns
    )
    result = connection.exec_driver_sql(
        f'SELECT {", ".join(names)} FROM "{table.name}"',
        execution_options={"stream_results": True, "max_row_buffer": ROWS},
    )
    with result:
        for rows in result.partitions(ROWS):
            columns = zip(*rows, strict=True)
            arrays = [_array(list(v), f.type, embedded) for v, f in zip(columns, schema, strict=True)]
            yield pa.Table.from_arrays(arrays, schema=schema)


def _array(values: list[Any], kind: pa.DataType, embedded: bool) -> pa.Array:
    """Values as the driver gives them."""
    if kind == pa.binary():
        return pa.array([None if value is None else bytes(value) for value in values], kind)
    if embedded and kind == TIME:
        return pa.array(values, pa.string()).cast(pa.timestamp("us")).cast(TIME)
    if embedded and kind == pa.date32():
        return pa.array(values, pa.string()).cast(kind)
    if embedded and kind == pa.bool_():
        return pa.array(values, pa.int8()).cast(kind)
    return pa.array(values, kind)


def last_numbers(connection: Connection) -> dict[str, int]:
    """The last number that was given, by table and column, where the database knows that beside the rows."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
        keys = {table.name: table.autoincrement_column for table in metadata.sorted_tables}
        return {f"{name}.{key.name}": seq for name, seq in rows if (key := keys.get(name)) is not None}
    found: dict[str, int] = {}
    for name, sequence in connection.execute(text(_SEQUENCES), {"schema": SCHEMA}).all():
        last, called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
        if called:
            found[name] = last
    return found


def clear(connection: Connection, tables: Sequence[str]) -> None:
    """Remove what migrations put into new tables; `tables` are in an order in which each comes behind those it refers to."""
    for name in reversed(tables):
        connection.execute(text(f'DELETE FROM "{name}"'))


def fill(connection: Connection, name: str, file: pq.ParquetFile) -> None:
    """Put the rows of a file into a table."""
    for group in range(file.num_row_groups):
        piece = file.read_row_group(group)
        if connection.dialect.name == "sqlite":
            _insert(connection, name, piece)
        else:
            _copy(connection, name, piece)


def _insert(connection: Connection, name: str, rows: pa.Table) -> None:
    columns = ", ".join(f'"{column}"' for column in rows.column_names)
    marks = ", ".join("?" * rows.num_columns)
    values = zip(*(_sqlite_values(column) for column in rows.columns), strict=True)
    connection.exec_driver_sql(f'INSERT INTO "{name}" ({columns}) VALUES ({marks})', list(values))


def _sqlite_values(column: pa.ChunkedArray) -> list[Any]:
    """Values as SQLAlchemy writes them to SQLite."""
    if column.type == TIME:
        column = column.cast(pa.timestamp("us")).cast(pa.string())
    elif column.type == pa.date32():
        column = column.cast(pa.string())
    values: list[Any] = column.to_pylist()
    return values


def _copy(connection: Connection, name: str, rows: pa.Table) -> None:
    names = ", ".join(f'"{column}"' for column in rows.column_names)
    plain = pa.table([_copied(column) for column in rows.columns], rows.column_names)
    text_of_rows = io.BytesIO()
    pa.csv.write_csv(plain, text_of_rows, pa.csv.WriteOptions(include_header=False))
    text_of_rows.seek(0)
    with closing(connection.connection.cursor()) as cursor:
        cursor.copy_expert(f'COPY "{name}" ({names}) FROM STDIN (FORMAT csv)', text_of_rows)


def _copied(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if column.type != pa.binary():
        return column
    return pa.array([None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()])


def go_on_from(connection: Connection, numbers: dict[str, int]) -> None:
    """Have new rows of the state database numbered behind all that were given before."""
    if connection.dialect.name != "sqlite":
        number_on(connection, SCHEMA, numbers)
        return
    for name, last in numbers.items():
        row = {"name": name.partition(".")[0], "last": last}
        moved = connection.execute(
            text("UPDATE sqlite_sequence SET seq = max(seq, :last) WHERE name = :name"), row
        )
        if not moved.rowcount and row["name"] in _numbered_for_ever():
            connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :last)"), row)


def number_on(connection: Connection, schema: str, numbers: dict[str, int]) -> None:
    """The same of all tables in a schema of Postgres; what no number is known of goes on behind its rows."""
    for name, sequence in connection.execute(text(_SEQUENCES), {"schema": schema}).all():
        table, _, column = name.partition(".")
        largest = connection.execute(text(f'SELECT max("{column}") FROM {schema}."{table}"')).scalar() or 0
        last = max(numbers.get(name, 0), largest)
        if last:
            connection.execute(text("SELECT setval(:sequence, :last)"), {"sequence": sequence, "last": last})


def _numbered_for_ever() -> set[str]:
    """Tables whose numbers SQLite never gives twice."""
    return {t.name for t in metadata.sorted_tables if t.dialect_options["sqlite"]["autoincrement"]}
