"""Reading health in the receiver's process: the lake is opened by the first question, for one at a time, and closed when nobody asks.

DuckDB and Arrow cost memory, and a question may cost seconds of CPU beside a receiver that has other work. So neither is
loaded before somebody asks, few may wait, and each ends in time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web_api.calls import ApiError

if TYPE_CHECKING:
    from tasks_pipeline.releases.adoption import Queried
    from tasks_pipeline.storage.lake.reader import DerivedReader

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""After so long without a question the lake is closed."""
QUERY_SECONDS = 20.0
MEMORY = "256MB"
AT_ONCE = 4
"""Questions in work or waiting for their turn; more are refused, since each holds a thread of the Web API."""


class HealthReading:
    """The way to the lake for calls of the Web API."""

    def __init__(
        self, home: Home, state: StateDatabase, *, idle: float = IDLE_SECONDS, seconds: float = QUERY_SECONDS
    ) -> None:
        self._home, self._state = home, state
        self._idle, self._seconds = idle, seconds
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._turn = threading.Lock()
        self._reader: DerivedReader | None = None
        self._used = 0.0
        self._closer: threading.Timer | None = None

    @property
    def is_open(self) -> bool:
        """Whether the lake is open now."""
        return self._reader is not None

    @contextmanager
    def lake(self) -> Iterator[Queried]:
        """The lake, for the time of a block, as `query` of release_health and session_users. Raises ApiError (503) when too many
        ask, when a question takes too long, and when the lake cannot be read."""
        import duckdb

        if not self._places.acquire(blocking=False):
            raise ApiError(503, "too many questions about sessions at once; try again", {"retry-after": "5"})
        try:
            with self._turn:
                yield self._opened()
        except duckdb.InterruptException:
            detail = (
                f"this takes longer than {self._seconds:g} s: ask for a shorter time, or for fewer groups"
            )
            raise ApiError(503, detail) from None
        except duckdb.Error as error:
            log.exception("the lake cannot be read")
            raise ApiError(503, "storage failed; try again") from error
        finally:
            self._places.release()

    def _opened(self) -> DerivedReader:
        """The open reader; the caller has the turn."""
        from tasks_pipeline.storage.lake.reader import DerivedReader

        if self._reader is None:
            self._reader = DerivedReader(self._home, self._state, memory=MEMORY, seconds=self._seconds)
            self._close_later(self._idle)
        self._used = time.monotonic()
        return self._reader

    def _close_later(self, seconds: float) -> None:
        self._closer = threading.Timer(seconds, self._close_if_idle)
        self._closer.daemon = True
        self._closer.start()

    def _close_if_idle(self) -> None:
        with self._turn:
            left = self._used + self._idle - time.monotonic()
            if self._reader is not None and left > 0:
                self._close_later(left)
            else:
                self._close()

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def close(self) -> None:
        """Close the lake; call it when nobody asks any more."""
        with self._turn:
            if self._closer is not None:
                self._closer.cancel()
            self._close()
