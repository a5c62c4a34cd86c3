"""The pace of upkeep: it stands back while events wait for too long, and gives up for now when they go on waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from tasks_pipeline.storage.ledger.backlog import backlogs, oldest_coming
from tasks_pipeline.stores import Stores

WAIT_SECONDS = 60
"""Events that wait for so long are more urgent than anything here. A drain that lingers takes them within seconds."""
LOOK_SECONDS = 5
"""Between two looks at what waits, each of which asks the spool and the state database."""
PATIENCE_SECONDS = 600


class Postponed(Exception):
    """Events have waited for too long all the time: what is left is for the next run."""


class Pace:
    """Called before each piece of work that can be left for later."""

    def __init__(
        self,
        stores: Stores,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._sleep = sleep
        self._looked_at: datetime | None = None
        self.paused_seconds = 0.0

    def __call__(self) -> None:
        """Wait until no event waits for too long. Raises Postponed when that took PATIENCE_SECONDS in sum."""
        now = self._clock()
        if self._looked_at is not None and (now - self._looked_at).total_seconds() < LOOK_SECONDS:
            return
        self._looked_at = now
        while (waited := self._longest()) > WAIT_SECONDS:
            if self.paused_seconds >= PATIENCE_SECONDS:
                raise Postponed(f"events wait for {waited:,.0f} s")
            self._sleep(LOOK_SECONDS)
            self.paused_seconds += LOOK_SECONDS

    def _longest(self) -> float:
        oldest = oldest_coming(backlogs(self._stores.state, self._stores.spool))
        return 0.0 if oldest is None else (self._clock() - oldest).total_seconds()
