"""Lists of keys as a table to join with: what a query says instead of `(a, b) IN (…)`.

SQLite up to 3.50 at least reads the whole table, or its whole index, for a row value in a list. From this table it
looks each row up. It is one parameter, JSON, so the statement is the same for any number of rows: neither we nor the
database prepare it again, and no limit on the number of parameters is met.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, FromClause, Integer, Row, Select, and_, bindparam, text
from sqlalchemy.types import TypeEngine

from tasks_pipeline.storage.state.database import chunks


def wanted(connection: Connection, rows: Iterable[Sequence[Any]], **columns: TypeEngine[Any]) -> FromClause:
    """A table `wanted` of these rows, whose columns are text or whole numbers: join it with what is looked for."""
    data = json.dumps([list(row) for row in rows], ensure_ascii=False)
    if connection.dialect.name == "sqlite":
        shown = ", ".join(f"json_extract(value, '$[{n}]') AS {name}" for n, name in enumerate(columns))
        source = "json_each(:wanted_rows)"
    else:
        shown = ", ".join(
            f"CAST(value ->> {n} AS {'bigint' if isinstance(kind, Integer) else 'text'}) AS {name}"
            for n, (name, kind) in enumerate(columns.items())
        )
        source = "json_array_elements(CAST(:wanted_rows AS json))"
    query = text(f"SELECT {shown} FROM {source}").bindparams(bindparam("wanted_rows", data))
    return query.columns(**columns).subquery("wanted")


def rows_among(
    connection: Connection, query: Select[Any], keys: Collection[tuple[Any, ...]], *columns: Column[Any]
) -> Iterator[Row[Any]]:
    """Rows of a query of one table whose columns have the values of one of these keys, looked up by them."""
    kinds = {column.name: column.type for column in columns}
    for some in chunks(sorted(keys)):
        table = wanted(connection, some, **kinds)
        same = and_(*(column == table.c[column.name] for column in columns))
        yield from connection.execute(query.join_from(columns[0].table, table, same))
