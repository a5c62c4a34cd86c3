"""How much one token may ask: so many calls a second, so many at once; what is more is told to wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks_pipeline.web_api.calls import ApiError

A_SECOND, AT_ONCE = 40, 8
_MOST_TOKENS = 1000
"""Of so many what they asked is known; those that have been silent longest are forgotten."""


class Limits:
    """Counts calls by token. Serves one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._left: dict[int, tuple[float, float]] = {}
        self._at_work: dict[int, int] = {}

    @contextmanager
    def one_of(self, token: int) -> Iterator[None]:
        """The time of a call. Raises ApiError (429)."""
        self._count(token)
        at_work = self._at_work.get(token, 0)
        if at_work >= AT_ONCE:
            raise ApiError(429, f"a token may make {AT_ONCE} calls at once", {"retry-after": "1"})
        self._at_work[token] = at_work + 1
        try:
            yield
        finally:
            self._at_work[token] -= 1
            if not self._at_work[token]:
                del self._at_work[token]

    def _count(self, token: int) -> None:
        now = self._clock()
        left, since = self._left.pop(token, (float(A_SECOND), now))
        left = min(float(A_SECOND), left + (now - since) * A_SECOND)
        self._left[token] = max(0.0, left - 1), now
        while len(self._left) > _MOST_TOKENS:
            del self._left[next(iter(self._left))]
        if left < 1:
            raise ApiError(429, f"a token may make {A_SECOND} calls a second", {"retry-after": "1"})
