"""Which host runs Dagster for a database: one at a time, since two daemons would start everything twice.

A session lock in PostgreSQL, freed by the server when the session ends, however that happens. An embedded home needs none: its
folder has the lock of `running.py`.
"""

from __future__ import annotations

import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tasks_pipeline.home import Home

ASK_SECONDS = 2.0
"""Between two questions of a standby whether the place is free."""
_CLASS, _NUMBER = 0x7450_6970, zlib.crc32(b"dagster") & 0x7FFF_FFFF
_NAME = "tasks-pipeline dagster on "


class Elsewhere(Exception):
    """Another host runs Dagster for this database; the message says which."""


class DatabaseAway(Exception):
    """The database cannot be asked who runs Dagster; the message says why."""


class Leader:
    """The one place of a database. Use `taken` to hold it, and ask `lost` while it is held."""

    def __init__(self, home: Home) -> None:
        self._url = home.postgres_url.replace("+psycopg2", "", 1)
        self._connection: Any = None

    def take(self) -> bool:
        """Whether the place is ours now. Raises DatabaseAway."""
        import psycopg2

        try:
            if self._connection is None:
                self._connection = psycopg2.connect(
                    self._url,
                    application_name=(_NAME + socket.gethostname())[:63],
                    connect_timeout=5,
                    keepalives_idle=10,
                    keepalives_interval=5,
                    keepalives_count=3,
                )
                self._connection.autocommit = True
            return bool(self._ask("SELECT pg_try_advisory_lock(%s, %s)", _CLASS, _NUMBER))
        except psycopg2.Error as error:
            self.close()
            raise DatabaseAway(f"the database cannot be used: {_first_line(error)}") from error

    def holder(self) -> str:
        """The host that holds the place, as far as the server says. Raises DatabaseAway."""
        import psycopg2

        query = """SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted AND l.classid = %s AND l.objid = %s
              AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        try:
            name = self._ask(query, _CLASS, _NUMBER)
        except psycopg2.Error as error:
            self.close()
            raise DatabaseAway(f"the database cannot be used: {_first_line(error)}") from error
        return str(name or "").removeprefix(_NAME) or "another host"

    def lost(self) -> str | None:
        """None while the place is ours, or while nobody can take it since the database is away; else who has it.

        After an outage it is taken again, unless somebody was faster.
        """
        import psycopg2

        try:
            if self._connection is not None:
                self._ask("SELECT 1")
                return None
        except psycopg2.Error:
            self.close()
        try:
            return None if self.take() else f"{self.holder()} runs Dagster for this database now"
        except DatabaseAway:
            return None

    def close(self) -> None:
        """Give the place up."""
        import psycopg2

        if self._connection is not None:
            with suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None

    def _ask(self, question: str, *values: int) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(question, values)
            row = cursor.fetchone()
        return None if row is None else row[0]


@contextmanager
def taken(home: Home, standby: Callable[[str], None] | None = None) -> Iterator[Callable[[], str | None]]:
    """Hold the place of a home's database; gives the question whether it was lost.

    Where another host has it: with `standby` wait until it is free, after a line that says who has it, else raise Elsewhere. Raises
    DatabaseAway.
    """
    if home.embedded:
        yield lambda: None
        return
    leader = Leader(home)
    try:
        told = ""
        while not leader.take():
            holder = leader.holder()
            if standby is None:
                raise Elsewhere(
                    f"{holder} runs Dagster for this database: run `tasks-pipeline receive` or `worker` here, or `dagster` as standby"
                )
            if holder != told:
                standby(f"standing by: {holder} runs Dagster for this database")
                told = holder
            time.sleep(ASK_SECONDS)
        yield leader.lost
    finally:
        leader.close()


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
