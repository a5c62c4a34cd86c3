"""A mapping that forgets what was not used longest."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps values up to a total weight (by default, so many of them)."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, which is then the last to go."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int = 1) -> V:
        """Keep a value (the newest stays whatever it weighs) and return it."""
        self.drop(key)
        self._values[key] = (value, weight)
        self._used += weight
        while self._used > self._room and len(self._values) > 1:
            self._used -= self._values.popitem(last=False)[1][1]
        return value

    def drop(self, key: K) -> None:
        """Forget a value, if it is there."""
        found = self._values.pop(key, None)
        if found is not None:
            self._used -= found[1]

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._used = 0
