"""The nudge itself: starts what is wanted and not under way yet, one of each, slower and slower while its runs fail."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tasks_pipeline.nudging.wanted import Start

log = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0
"""The least time between two starts of the same; doubled for each of its runs in a row that failed."""
LONGEST_PAUSE_SECONDS = 300.0
KNOWN_SECONDS = 5.0
"""For so long a run that was found under way is believed to be: a steady stream asks Dagster seldom."""


class Launcher(Protocol):
    """What is asked of Dagster. Everything raises DagsterError when it does not answer."""

    def under_way(self, start: Start) -> bool:
        """Whether a run that does this waits, starts or works."""

    def launch(self, start: Start) -> str:
        """Start a run; gives its id."""

    def failed(self, run_id: str) -> bool:
        """Whether a run ended, and not well."""


@dataclass
class _Pace:
    """What is known of one thing that is started."""

    run_id: str = ""
    failures: int = 0
    not_before: float = float("-inf")
    known_until: float = float("-inf")


@dataclass
class Nudge:
    """Starts runs through a launcher. `now` is a monotonic clock in seconds."""

    launcher: Launcher
    _paces: dict[str, _Pace] = field(default_factory=dict)

    def give(self, starts: Sequence[Start], now: float) -> list[str]:
        """Start each of these unless it is under way or its pace forbids; gives the ids of the runs. Raises DagsterError."""
        launched = []
        for start in {start.key: start for start in starts}.values():
            pace = self._paces.setdefault(start.key, _Pace())
            if now < pace.known_until or now < pace.not_before:
                continue
            if self.launcher.under_way(start):
                pace.known_until = now + KNOWN_SECONDS
                continue
            self._launch(start, pace, now)
            launched.append(pace.run_id)
        return launched

    def _launch(self, start: Start, pace: _Pace, now: float) -> None:
        failed = bool(pace.run_id) and self.launcher.failed(pace.run_id)
        pace.failures = pace.failures + 1 if failed else 0
        # Before the launch: one that fails is not tried again at once either.
        pace.not_before = now + min(PAUSE_SECONDS * 2**pace.failures, LONGEST_PAUSE_SECONDS)
        pace.run_id = self.launcher.launch(start)
        log.info(
            "started %s for %s%s",
            pace.run_id[:8],
            start.key,
            f" after {pace.failures} failures" if failed else "",
        )
