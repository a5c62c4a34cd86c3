"""Waiting for appends to the spool in Postgres: each says at its commit how far it came, and whoever waits is told at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import psycopg

from tasks_pipeline.storage.spool.postgres_tables import CHANNEL, connect

log = logging.getLogger(__name__)

ASK_SECONDS = 3.0
"""Between two looks at the totals, told or not: a day may have been dropped, and not every pooler carries notifications."""
POLL_SECONDS = 0.5
"""Between two looks while the connection that listens is lost."""


class Listener:
    """Knows the sizes of days: the sum of the last positions of their parts. `ask` looks into the database for one.

    Its connection is made by the first to wait, and again after it was lost; meanwhile the database is asked. Threads wait
    one after the other.
    """

    def __init__(self, url: str, ask: Callable[[date], dict[str, int]]) -> None:
        self._url = url
        self._ask = ask
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._day: date | None = None
        self._ends: dict[str, int] = {}
        self._asked = float("-inf")

    def await_growth(self, day: date, seen: int, by: int, seconds: float) -> int:
        """See `storage.spool.interface.Spool.await_growth`. Raises what `ask` raises."""
        until = time.monotonic() + seconds
        with self._lock:
            self._wait(0)  # what was told since the last call
            while True:
                asked, size = self._size(day)
                left = until - time.monotonic()
                # What was told may lag behind what is in the tables: smaller than seen it is only when it was asked.
                if size - seen >= by or (asked and size < seen) or left <= 0:
                    return size
                self._wait(min(left, self._asked + ASK_SECONDS - time.monotonic()))

    def close(self) -> None:
        """Give up the connection."""
        with self._lock:
            self._lose()

    def _size(self, day: date) -> tuple[bool, int]:
        """The size of a day, and whether the database was asked for it."""
        if self._connection is None:
            self._listen()
        now = time.monotonic()
        asks = self._connection is None or day != self._day or now - self._asked >= ASK_SECONDS
        if asks:
            self._day, self._ends, self._asked = day, self._ask(day), now
        return asks, sum(self._ends.values())

    def _listen(self) -> None:
        """Listen from here on; what was committed before is found by asking afterwards."""
        try:
            self._connection = connect(self._url, autocommit=True)
            self._connection.execute(f"LISTEN {CHANNEL}")
            self._asked = float("-inf")
        except psycopg.Error:  # the totals are asked meanwhile, and say what is wrong
            self._lose()

    def _wait(self, seconds: float) -> None:
        """Until something of the day was told, or so long."""
        if self._connection is None:
            time.sleep(max(0.0, min(seconds, POLL_SECONDS)))
            return
        try:
            for told in self._connection.notifies(timeout=max(0.0, seconds), stop_after=1):
                day, part, end = told.payload.split()
                if day == str(self._day):
                    self._ends[part] = int(end)
        except psycopg.Error:
            log.info(
                "the connection that waits for envelopes is lost; the spool is asked until there is another"
            )
            self._lose()

    def _lose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
