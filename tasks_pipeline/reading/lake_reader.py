"""The lake for a process that answers many: one instance of DuckDB that stays open, a cursor for each question, bounded in number and time.

It never writes, nor takes the lock. Beside it the process may have the state database open, of which this attaches nothing.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import duckdb
from sqlalchemy import select

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.connection import attach_lake, connect
from tasks_pipeline.storage.lake.lake import payloads_in_files
from tasks_pipeline.storage.lake.mirror import Mirror, create_mirror, create_views
from tasks_pipeline.storage.lake.tail import Place
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import tail_rows

SECONDS = 10.0
"""A question may take."""
AT_ONCE = 4
WAIT_SECONDS = 5.0
"""For one of AT_ONCE places."""
IDLE_SECONDS = 15 * 60.0
"""After so long without a question the lake is closed, and opened again by the next."""
T = TypeVar("T")
Ask = Callable[[duckdb.DuckDBPyConnection, Collection[str]], T]
"""What is asked of a cursor, given the tables of which some waits in the tail."""
_TABLE = re.compile(r"\blake\.(\w+)")


class LakeBusy(Exception):
    """Too many ask at once; the message says so."""


class LakeTooSlow(Exception):
    """A question took longer than it may; the message says how long that is."""


class LakeReader:
    """The lake, read only, for several threads. Opened by its first question, again when its catalog is another file (a home that
    was restored), and closed by `rest` when nobody asks."""

    def __init__(self, home: Home, state: StateDatabase, seconds: float = SECONDS) -> None:
        self._home, self._state, self._seconds = home, state, seconds
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._guard = threading.Lock()  # of what follows
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._mirror = Mirror(state)
        self._opened: tuple[int, int] | None = None
        self._asking = 0
        self._asked_at = 0.0

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts; its parameters are `?`. Raises LakeBusy, LakeTooSlow and duckdb.Error."""

        def ask(cursor: duckdb.DuckDBPyConnection, waiting: Collection[str]) -> list[dict[str, Any]]:
            given = parameters if isinstance(parameters, Mapping) else list(parameters)
            found = cursor.execute(_where_stored(sql, waiting), given)
            names = [column[0] for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

        return self._ask(ask)

    def payloads_at(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The JSON of events at these places that are in files. Raises what `query` does."""
        return self._ask(lambda cursor, _: payloads_in_files(cursor, places)) if places else {}

    def rest(self, now: float | None = None) -> None:
        """Close the lake when nobody asked for IDLE_SECONDS; it is opened again by whoever does."""
        with self._guard:
            if (
                not self._asking
                and (time.monotonic() if now is None else now) - self._asked_at > IDLE_SECONDS
            ):
                self._close()

    def close(self) -> None:
        """Close the lake; what is asked meanwhile ends with an error."""
        with self._guard:
            self._close()

    def _ask(self, ask: Ask[T]) -> T:
        if not self._places.acquire(timeout=WAIT_SECONDS):
            raise LakeBusy(f"{AT_ONCE} questions are asked of the lake already; try again")
        try:
            try:
                return self._once(ask)
            except duckdb.IOException:  # a file that was merged meanwhile: the next snapshot names others
                return self._once(ask)
        finally:
            self._places.release()

    def _once(self, ask: Ask[T]) -> T:
        with self._cursor() as (cursor, waiting):
            late = threading.Event()

            def interrupt() -> None:
                late.set()
                cursor.interrupt()

            alarm = threading.Timer(self._seconds, interrupt)
            alarm.daemon = True
            alarm.start()
            try:
                return ask(cursor, waiting)
            except duckdb.Error as error:
                if late.is_set():
                    raise LakeTooSlow(f"it would take longer than {self._seconds:g} seconds") from error
                raise
            finally:
                alarm.cancel()

    @contextmanager
    def _cursor(self) -> Iterator[tuple[duckdb.DuckDBPyConnection, Collection[str]]]:
        """A cursor that sees what was stored until now, and the tables of which some waits in the tail."""
        with self._guard:
            connection = self._open()
            # What is new in the tail, before the statement takes its snapshot. What the mirror would give back meanwhile it
            # gives back later: DuckDB refuses while others read.
            with suppress(duckdb.TransactionException):
                self._mirror.refresh(connection)
            waiting = self._waiting()
            cursor = connection.cursor()
            self._asking += 1
        try:
            yield cursor, waiting
        finally:
            cursor.close()
            with self._guard:
                self._asking -= 1
                self._asked_at = time.monotonic()

    def _waiting(self) -> frozenset[str]:
        """Tables of which rows are in the tail. What it held before is in files of every snapshot that is taken from now on."""
        with self._state.read() as connection:
            return frozenset(connection.execute(select(tail_rows.c.name).distinct()).scalars())

    def _open(self) -> duckdb.DuckDBPyConnection:
        catalog = self._catalog()
        if self._connection is not None and catalog != self._opened and not self._asking:
            self._close()
        if self._connection is None:
            connection = connect(self._home)
            try:
                attach_lake(connection, self._home, read_only=True)
                create_mirror(connection)
                create_views(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._opened, self._mirror = connection, catalog, Mirror(self._state)
        return self._connection

    def _catalog(self) -> tuple[int, int] | None:
        """Which file the catalog is; None where it lies in PostgreSQL."""
        if not self._home.embedded:
            return None
        found = self._home.lake_catalog.stat()
        return found.st_dev, found.st_ino

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _where_stored(sql: str, waiting: Collection[str]) -> str:
    """The same statement that reads tables of which nothing waits in the tail where they are stored: a view over both takes three
    times as long to plan as an empty table to read."""

    def placed(match: re.Match[str]) -> str:
        name = "events" if match[1] == "event_payloads" else match[1]
        return match[0] if name in waiting else f"stored.{match[1]}"

    return _TABLE.sub(placed, sql)
