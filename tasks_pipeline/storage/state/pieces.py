"""Deleting many rows in small transactions, so that nobody waits for all of them. A process may die between any two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, select, tuple_

from tasks_pipeline.storage.state.database import CHUNK, StateDatabase

Rows = Sequence[Mapping[str, Any]]
"""Primary keys of rows, by name of the column."""


def delete_in_pieces(
    state: StateDatabase,
    table: Table,
    *conditions: ColumnElement[bool],
    before: Callable[[Connection, Rows], None] = lambda _connection, _rows: None,
    walk: bool = False,
) -> int:
    """Delete the rows of a table that meet the conditions; gives how many. `before` sees the keys of each piece in its transaction,
    before they are deleted: for what goes with them.

    Rows are looked for outside of the transactions. What may change meanwhile is looked at again, of tables whose key is one column;
    conditions on others must be about what never changes. `walk` goes through the table once in the order of its key: for
    conditions that no index helps to find.
    """
    dropped = 0
    for found in _pieces(state, table, conditions, walk):
        with state.write() as connection:
            still = _still(connection, table, found, conditions)
            if still:
                before(connection, still)
                _delete(connection, table, still)
        dropped += len(still)
    return dropped


def _pieces(
    state: StateDatabase, table: Table, conditions: Sequence[ColumnElement[bool]], walk: bool
) -> Iterator[Rows]:
    keys = list(table.primary_key.columns)
    query = select(*keys).where(*conditions).limit(CHUNK)
    if walk:
        query = query.order_by(*keys)
    behind = query
    while True:
        with state.read() as connection:
            found = [dict(row._mapping) for row in connection.execute(behind)]
        if found:
            yield found
        if len(found) < CHUNK:
            return
        if walk:
            behind = query.where(tuple_(*keys) > tuple_(*found[-1].values()))


def _still(
    connection: Connection, table: Table, found: Rows, conditions: Sequence[ColumnElement[bool]]
) -> Rows:
    keys = list(table.primary_key.columns)
    if len(keys) > 1:
        return found
    (key,) = keys
    rows = connection.execute(select(key).where(key.in_([row[key.name] for row in found]), *conditions))
    return [dict(row._mapping) for row in rows]


def _delete(connection: Connection, table: Table, keys: Rows) -> None:
    """By a search for each: a list of several columns would be a scan on SQLite 3.40."""
    named = and_(*(column == bindparam(f"old_{column.name}") for column in table.primary_key.columns))
    connection.execute(
        delete(table).where(named), [{f"old_{name}": v for name, v in key.items()} for key in keys]
    )
