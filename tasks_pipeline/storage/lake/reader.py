"""The lake to be read only: DuckDB for people, with the state database beside it."""

from __future__ import annotations

from contextlib import closing

import duckdb

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.connection import attach_lake, connect, libpq, quoted
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.mirror import Mirror, create_mirror, create_views
from tasks_pipeline.storage.lake.read_only import SECRET
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import metadata

_WITHOUT_ROWID = {
    table.name: next(iter(table.primary_key)).name
    for table in metadata.tables.values()
    if table.dialect_options["sqlite"]["with_rowid"] is False
}
"""The first column of the key, by table of the state database that SQLite keeps without ROWID."""


"""Tables that people read nothing of; of API tokens only digests are kept."""


def open_reader(home: Home, *, payloads: bool = True) -> duckdb.DuckDBPyConnection:
    """DuckDB for people: the lake as `lake` and the state database as `state`, both read-only, the lake first in the path.

    It holds the tail as it was when it was opened. `payloads` of it are left out where nobody reads them. For processes
    that have no other connection to the state database open.
    """
    connection = connect(home)
    with closing(StateDatabase(home)) as state:
        _make_tables(home, state)
        attach_lake(connection, home, read_only=True)
        create_mirror(connection)
        create_views(connection)
        mirror = Mirror(state)
        mirror.refresh(connection)
        if payloads:
            mirror.fill_payloads(connection)
    # From here on Python has no connection to a SQLite state database: DuckDB brings a SQLite of its own, and when that
    # closes the file, the locks that this process holds on it are gone (docs/storage.md).
    _attach_state(connection, home)
    connection.execute("SET search_path = 'lake.main,state.main'")
    return connection


def _attach_state(connection: duckdb.DuckDBPyConnection, home: Home) -> None:
    """The state database as `state`: a view for each of its tables but those of secrets, so that `state.groups` is one on both engines.

    PostgreSQL's tables lie in a schema of that name: in a catalog of the same, `state.groups` would be ambiguous. And where a
    statement needs no column of a table (`count(*)`), DuckDB asks SQLite for ROWID, which tables without one refuse: views of
    those ask for a column of the key, which is never null.
    """
    target = quoted(str(home.root / "state.sqlite") if home.embedded else libpq(home))
    options = "TYPE sqlite" if home.embedded else "TYPE postgres, SCHEMA 'state'"
    connection.execute(f"ATTACH '{target}' AS stored_state ({options}, READ_ONLY)")
    connection.execute("ATTACH ':memory:' AS state")
    found = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'stored_state'"
    )
    for schema, name in found.fetchall():
        if name in SECRET:
            continue
        rows = f'SELECT * FROM stored_state."{schema}"."{name}"'
        if home.embedded and name in _WITHOUT_ROWID:
            rows += f" WHERE {_WITHOUT_ROWID[name]} IS NOT NULL"
        connection.execute(f'CREATE VIEW state."{name}" AS {rows}')


def _make_tables(home: Home, state: StateDatabase) -> None:
    with closing(Lake(home, state)) as lake:
        lake.flushed_through()  # the first to come makes the tables
