"""A home opened to read figures: beside a running service, without its configuration's secrets, and without writing anything of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import duckdb
import pandas as pd
import pyarrow as pa

from tasks_pipeline.analytics.frame_queries import typed
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.read_only import check_reads
from tasks_pipeline.storage.lake.reader import open_reader


class ReadLake:
    """What `stores.lake` answers, over a connection that only reads. For one thread at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def arrow(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """Rows of a query as one Arrow table."""
        return self._execute(sql, parameters).to_arrow_table()

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        cursor = self._execute(sql, parameters)
        names = [d[0] for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any]) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(
            sql, parameters if isinstance(parameters, Mapping) else list(parameters)
        )


class OpenHome:
    """A home that frames are read from; it goes wherever frames take `stores`. Close it, or use it in a `with` block."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, slugs: dict[int, str]) -> None:
        self._connection = connection
        self.lake = ReadLake(connection)
        self.slugs = slugs

    def sql(self, statement: str) -> pd.DataFrame:
        """The rows of one statement that reads, over `lake` and `state`, as `tasks-pipeline sql` has them; whole numbers are Int64.

        Raises read_only.NotReadOnly for any other statement, and duckdb.Error. Nothing bounds its rows but a LIMIT.
        """
        check_reads(statement)
        table = self.lake.arrow(statement)
        return typed(table, table.column_names)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


def open_home(root: str | Path | None = None) -> OpenHome:
    """A home by its folder (`~/.tasks-pipeline`; that of the environment when none is named), to be read.

    Nothing of it is written, and its service may go on; events that are not in files yet are seen as they were when it was opened,
    figures as they are. For processes that have no other connection to its databases open. Raises FileNotFoundError where there is
    no home.
    """
    home = Home.resolve(root, create=False)
    if home.embedded and not (home.root / "state.sqlite").exists():
        raise FileNotFoundError(f"no home is in {home.root}: there is no state.sqlite")
    slugs = {project.id: project.slug for project in home.config_to_look().config.projects}
    return OpenHome(open_reader(home, payloads=False), slugs)
