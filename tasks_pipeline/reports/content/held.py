"""Figures held in memory while reports are made of them: each day is read from the lake once, however many reports look at it.

A query of the lake costs 20 ms before it does anything, and a report asks thirty; and all reports of a run see the lake as it
was when their days were read. DuckDB writes to disk what is too much for its memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import DERIVED_TABLES, LakeTable

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks_pipeline.storage.lake.lake import Lake

Parameters = Sequence[Any] | Mapping[str, Any]
PIECE_ROWS = 100_000
BY_DAY = (
    "event_stats", "event_users", "group_stats", "transaction_stats", "outcome_stats", "monitor_stats", "notification_stats",
    "pipeline_stats", "release_health", "session_users",
)  # fmt: skip
"""Tables of which the days are held that somebody needs."""
CLOSE_BY = ("group_stats", "pipeline_stats")
"""Those of which only the period and the one before it are looked at: users of each group are many."""
WHOLE = ("group_moves", "release_moves")
"""Tables that are held whole: what holds at a moment follows from all that happened before it."""


class Figures(Protocol):
    """What answers queries about tables of figures: the lake, or what is held of it."""

    def query(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""

    def arrow(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """Rows of a query as one Arrow table."""


class HeldFigures:
    """Tables of figures in memory, under the names that they have in the lake. Serves one thread."""

    def __init__(self, lake: Lake, home: Home) -> None:
        from tasks_pipeline.storage.lake.connection import connect

        self._lake = lake
        self._days: dict[str, set[date]] = {name: set() for name in BY_DAY}
        self._connection = connect(home)
        self._connection.execute("ATTACH ':memory:' AS lake")
        for name in (*BY_DAY, *WHOLE):
            self._connection.execute(f"CREATE TABLE lake.{DERIVED_TABLES[name].ddl}")
        for name in WHOLE:
            self._take(DERIVED_TABLES[name], "true")

    def need(self, near: Iterable[date], far: Iterable[date] = ()) -> None:
        """Have all figures of some days, and of others those that are compared."""
        near = set(near)
        for name in BY_DAY:
            wanted = near if name in CLOSE_BY else near | set(far)
            missing = sorted(wanted - self._days[name])
            if missing:
                self._take(DERIVED_TABLES[name], _of_days(missing))
                self._days[name].update(missing)

    def drop_before(self, day: date) -> None:
        """Forget days that nobody needs any more."""
        for name, days in self._days.items():
            if any(each < day for each in days):
                self._connection.execute(f"DELETE FROM lake.{name} WHERE day < DATE '{day.isoformat()}'")
                self._days[name] = {each for each in days if each >= day}

    def _take(self, table: LakeTable, condition: str) -> None:
        """Take rows of the lake, all or none: who tries again after an error must not have some of them twice."""
        self._connection.execute("BEGIN")
        try:
            self._take_pieces(table, condition)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _take_pieces(self, table: LakeTable, condition: str) -> None:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        rows = self._lake.pieces(
            f"SELECT {columns} FROM lake.{table.name} WHERE {condition}", rows=PIECE_ROWS
        )
        for piece in rows:
            self._connection.register("taken_rows", piece)
            self._connection.execute(f"INSERT INTO lake.{table.name} SELECT {columns} FROM taken_rows")
            self._connection.unregister("taken_rows")

    def query(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        cursor = self._connection.execute(sql, _given(parameters))
        names = [d[0] for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def arrow(self, sql: str, parameters: Parameters = ()) -> pa.Table:
        """Rows of a query as one Arrow table."""
        return self._connection.execute(sql, _given(parameters)).to_arrow_table()

    def close(self) -> None:
        """Close the connection; what it held is free."""
        self._connection.close()


def _of_days(days: Sequence[date]) -> str:
    listed = ", ".join(f"DATE '{day.isoformat()}'" for day in days)
    return f"day BETWEEN DATE '{days[0].isoformat()}' AND DATE '{days[-1].isoformat()}' AND day IN ({listed})"


def _given(parameters: Parameters) -> Collection[Any]:
    return parameters if isinstance(parameters, Mapping) else list(parameters)
