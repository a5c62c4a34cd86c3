"""Deleting many rows in small transactions, so that nobody waits for all of them. A process may die between any two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, select

from tasks_pipeline.storage.state.database import CHUNK, StateDatabase

Rows = Sequence[Mapping[str, Any]]
"""Primary keys of rows, by name of the column."""


def delete_in_pieces(
    state: StateDatabase,
    table: Table,
    *conditions: ColumnElement[bool],
    before: Callable[[Connection, Rows], None] = lambda _connection, _rows: None,
    rows: int = CHUNK,
) -> int:
    """Delete the rows of a table that meet the conditions; gives how many. `before` sees the keys of each piece in its transaction,
    before they are deleted: for what goes with them."""
    return sum(_pieces(state, table, conditions, before, rows))


def _pieces(
    state: StateDatabase,
    table: Table,
    conditions: Sequence[ColumnElement[bool]],
    before: Callable[[Connection, Rows], None],
    rows: int,
) -> Iterator[int]:
    query = select(*table.primary_key.columns).where(*conditions).limit(rows)
    while True:
        with state.write() as connection:
            found = [dict(row._mapping) for row in connection.execute(query)]
            if found:
                before(connection, found)
                delete_rows(connection, table, found)
        yield len(found)
        if len(found) < rows:
            return


def delete_rows(connection: Connection, table: Table, keys: Rows) -> None:
    """Delete rows by their primary keys: a search for each, for a list of several columns would be a scan on SQLite 3.40."""
    named = and_(*(column == bindparam(f"old_{column.name}") for column in table.primary_key.columns))
    connection.execute(
        delete(table).where(named), [{f"old_{name}": v for name, v in key.items()} for key in keys]
    )
