"""A lake that is made of files which are there already: what a restore does. Its catalog knows their rows and none of their
history."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.catalog import FLUSHED, add_files, create_missing_tables
from tasks_pipeline.storage.lake.connection import attach_lake, connect
from tasks_pipeline.storage.lake.files import LakeFile


def remake_lake(home: Home, files: Sequence[LakeFile], flushed: int) -> None:
    """Make the catalog of a home that has none, of files in its folder. `flushed` is the number of the last segment of the tail
    whose rows they hold."""
    with closing(connect(home)) as connection:
        attach_lake(connection, home, read_only=False, of_files=True)
        create_missing_tables(connection, home)
        connection.execute("BEGIN")
        add_files(connection, files, of_any_version=True)
        if flushed:
            connection.execute(f"INSERT INTO stored.{FLUSHED} VALUES (?)", [flushed])
        connection.execute("COMMIT")
