"""DuckDB for people: the lake and the state database, to be read only."""

from __future__ import annotations

import duckdb

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.connection import attach_lake, connect, libpq, quoted
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state.database import StateDatabase


def open_reader(home: Home) -> duckdb.DuckDBPyConnection:
    """DuckDB for people: the lake as `lake` and the state database as `state`, both read-only, the lake first in the path."""
    Lake(home).connection.close()  # the first to come makes the tables
    StateDatabase(home).close()
    connection = connect(home)
    # Late materialisation reads the files of the newest rows twice, which costs more over the lake than it saves.
    connection.execute("SET late_materialization_max_rows = 0")
    attach_lake(connection, home, read_only=True)
    if home.embedded:
        connection.execute(f"ATTACH '{quoted(home.root / 'state.sqlite')}' AS state (TYPE sqlite, READ_ONLY)")
        connection.execute("SET search_path = 'lake.main,state.main'")
    else:
        connection.execute(
            f"ATTACH '{quoted(libpq(home))}' AS state (TYPE postgres, READ_ONLY, SCHEMA 'state')"
        )
        connection.execute("SET search_path = 'lake.main,state.state'")
    return connection
