"""DuckDB for people: the lake and the state database, to be read only."""

from __future__ import annotations

from contextlib import closing

import duckdb

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.connection import attach_lake, connect, libpq, quoted
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.mirror import Mirror, create_views
from tasks_pipeline.storage.state.database import StateDatabase


def open_reader(home: Home, *, payloads: bool = True) -> duckdb.DuckDBPyConnection:
    """DuckDB for people: the lake as `lake` and the state database as `state`, both read-only, the lake first in the path.

    It holds the tail as it was when it was opened. `payloads` of it are left out where nobody reads them. For processes
    that have no other connection to the state database open.
    """
    connection = connect(home)
    with closing(StateDatabase(home)) as state:
        with closing(Lake(home, state)) as lake:
            lake.flushed_through()  # the first to come makes the tables
        attach_lake(connection, home, read_only=True)
        create_views(connection)
        mirror = Mirror(state)
        mirror.refresh(connection)
        if payloads:
            mirror.fill_payloads(connection)
    # From here on Python has no connection to a SQLite state database: DuckDB brings a SQLite of its own, and when that
    # closes the file, the locks that this process holds on it are gone (docs/storage.md).
    if home.embedded:
        connection.execute(f"ATTACH '{quoted(home.root / 'state.sqlite')}' AS state (TYPE sqlite, READ_ONLY)")
        connection.execute("SET search_path = 'lake.main,state.main'")
    else:
        connection.execute(
            f"ATTACH '{quoted(libpq(home))}' AS state (TYPE postgres, READ_ONLY, SCHEMA 'state')"
        )
        connection.execute("SET search_path = 'lake.main,state.state'")
    return connection
