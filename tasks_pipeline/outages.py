"""Trouble that lasts, in the log: a line when it begins, a count while it goes on, a line when it is over. Never a traceback for each failure."""

from __future__ import annotations

import logging
import threading
import time

REMIND_SECONDS = 60.0
"""Between two lines while it goes on."""
MAX_LINE = 300


class Outage:
    """One thing that fails for a while. `what` is said of it: "envelopes cannot be written". Safe to use from several threads."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._lock = threading.Lock()
        self._failures = 0
        self._began = self._told = 0.0
        self._kinds: set[type[BaseException]] = set()

    def failed(self, error: BaseException, *, expected: bool = True) -> None:
        """It failed once more. Of an error that is not expected the first of its kind is logged with its traceback."""
        now = time.monotonic()
        with self._lock:
            if not self._failures:
                self._began = now
            self._failures += 1
            is_new = type(error) not in self._kinds
            if not is_new and now - self._told < REMIND_SECONDS:
                return
            self._kinds.add(type(error))
            self._told = now
            so_far = "" if self._failures == 1 else f" ({self._failures} times in {now - self._began:.0f} s)"
        self._log.error(
            "%s%s: %s",
            self._what,
            so_far,
            one_line(error),
            exc_info=error if is_new and not expected else None,
        )

    def over(self) -> None:
        """It worked. Says so when it had failed before."""
        if not self._failures:  # which costs no lock
            return
        with self._lock:
            failures, self._failures = self._failures, 0
            self._kinds.clear()
            seconds = time.monotonic() - self._began
        if failures:
            self._log.warning("%s: over after %.1f s, %d failures", self._what, seconds, failures)


def one_line(error: BaseException) -> str:
    """What an exception says, on one line of bounded length; of a database's without the statement, which may hold what people sent."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"{type(error).__name__}: {said}"[:MAX_LINE] if said else type(error).__name__
