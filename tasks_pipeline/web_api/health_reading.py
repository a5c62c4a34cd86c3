"""Reading health for calls of the Web API: by a process of its own, which is there only while somebody asks.

DuckDB and Arrow would cost the receiver's process 150 MB for good, and a question seconds of CPU beside its other work. So the
first question starts that process, one question is answered at a time, few may wait, each ends in time, and when nobody asked for
a while the process ends.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import msgspec

from tasks_pipeline.home import Home
from tasks_pipeline.releases.spans import Queried
from tasks_pipeline.web_api import lake_process
from tasks_pipeline.web_api.calls import ApiError
from tasks_pipeline.web_api.lake_process import Opened, Question, Rows, receive, send

log = logging.getLogger(__name__)

IDLE_SECONDS = 60.0
"""After so long without a question the process ends."""
QUERY_SECONDS = 20.0
START_SECONDS = 30.0
"""What its start may add to the time of the first question."""
MEMORY = "256MB"
AT_ONCE = 4
"""Questions in work or waiting for their turn; more are refused, since each holds a thread of the Web API."""


class LakeUnreadable(Exception):
    """The lake was not read; the message says why."""


class TookTooLong(Exception):
    """A question was ended for the time that it took."""


class LakeProcess:
    """The process and the way to it. Serves one thread at a time."""

    def __init__(self, home: Home, seconds: float) -> None:
        self._limit = seconds + START_SECONDS
        self._process = subprocess.Popen(
            [sys.executable, "-m", lake_process.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout
        first = Opened(str(home.root), home.database_url, home.data_url, MEMORY, seconds)
        try:
            self._send(first)
        except LakeUnreadable:
            self.close()
            raise

    def query(self, sql: str, parameters: Any = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts. Raises TookTooLong and LakeUnreadable."""
        alarm = threading.Timer(self._limit, self._process.kill)  # for a process that hangs
        alarm.daemon = True
        alarm.start()
        try:
            self._send(Question(sql, parameters))
            message = receive(self._answers)
        finally:
            alarm.cancel()
        if message is None:
            raise LakeUnreadable("the process that reads the lake has ended")
        found = msgspec.msgpack.decode(message, type=Rows)
        if found.too_long:
            raise TookTooLong
        if found.error:
            raise LakeUnreadable(found.error)
        return found.rows

    def _send(self, message: msgspec.Struct) -> None:
        try:
            send(self._questions, message)
        except OSError as error:
            raise LakeUnreadable("the process that reads the lake does not listen") from error

    @property
    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End it."""
        try:
            self._questions.close()
        except OSError:
            log.debug("it has ended before")
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()


class HealthReading:
    """The way to the lake for calls of the Web API."""

    def __init__(self, home: Home, *, idle: float = IDLE_SECONDS, seconds: float = QUERY_SECONDS) -> None:
        self._home = home
        self._idle, self._seconds = idle, seconds
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._turn = threading.Lock()
        self._process: LakeProcess | None = None
        self._used = 0.0
        self._closer: threading.Timer | None = None

    @property
    def is_open(self) -> bool:
        """Whether the lake is open now."""
        return self._process is not None

    @contextmanager
    def lake(self) -> Iterator[Queried]:
        """The lake, for the time of a block: release_health and session_users. Raises ApiError (503) when too many ask, when a
        question takes too long, and when the lake cannot be read."""
        if not self._places.acquire(blocking=False):
            raise ApiError(503, "too many questions about sessions at once; try again", {"retry-after": "5"})
        try:
            with self._turn:
                yield self._opened()
        except TookTooLong:
            detail = (
                f"this takes longer than {self._seconds:g} s: ask for a shorter time, or for fewer groups"
            )
            raise ApiError(503, detail) from None
        except LakeUnreadable as error:
            log.exception("the lake cannot be read")
            raise ApiError(503, "storage failed; try again") from error
        finally:
            self._places.release()

    def _opened(self) -> LakeProcess:
        """The process; the caller has the turn."""
        if self._process is not None and self._process.has_ended:
            self._close()
        if self._process is None:
            self._process = LakeProcess(self._home, self._seconds)
            self._close_later(self._idle)
        self._used = time.monotonic()
        return self._process

    def _close_later(self, seconds: float) -> None:
        if self._closer is not None:
            self._closer.cancel()
        self._closer = threading.Timer(seconds, self._close_if_idle)
        self._closer.daemon = True
        self._closer.start()

    def _close_if_idle(self) -> None:
        with self._turn:
            left = self._used + self._idle - time.monotonic()
            if self._process is not None and left > 0:
                self._close_later(left)
            else:
                self._close()

    def _close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()

    def close(self) -> None:
        """Close the lake; call it when nobody asks any more."""
        with self._turn:
            if self._closer is not None:
                self._closer.cancel()
            self._close()
