"""A stopwatch: where the time of a batch goes, stage by stage."""

from __future__ import annotations

import time
from collections import defaultdict

STAGES = ("decode", "symbolicate", "group", "settle", "write")
"""In the order of work: bytes to scrubbed rows, frames as people wrote them, keys of groups, event ids and groups by
the state database, files and transactions."""


class Stopwatch:
    """Seconds of each stage. One stage is at work at a time; what is between two of them belongs to none."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stage, self._since = "", time.perf_counter()

    def at(self, stage: str) -> None:
        """Let the time from now on go to a stage, or to none."""
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] += now - self._since
        self._stage, self._since = stage, now
