"""The order of locks: which transactions take locks of the state database, in which order, while tests run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch
from weakref import WeakKeyDictionary

from sqlalchemy import Connection
from sqlalchemy.engine import Transaction

from tasks_pipeline.storage.state.database import LOCK_ORDER, StateDatabase


@dataclass
class LockRecorder:
    """What transactions hold, and those that took a lock after one that comes later in LOCK_ORDER."""

    held: WeakKeyDictionary[Transaction, list[str]] = field(default_factory=WeakKeyDictionary)
    against_order: list[tuple[str, ...]] = field(default_factory=list)

    def note(self, connection: Connection, name: str) -> None:
        """A transaction takes a lock; taking one again waits for nobody."""
        transaction = connection.get_transaction()
        assert transaction is not None, f"{name} is locked outside of a transaction"
        held = self.held.setdefault(transaction, [])
        if name in held:
            return
        held.append(name)
        if held != sorted(held, key=LOCK_ORDER.index):
            self.against_order.append(tuple(held))


@contextmanager
def recorded_locks() -> Iterator[LockRecorder]:
    """Record all of `StateDatabase.serialise` until the block ends."""
    recorder = LockRecorder()
    serialise = StateDatabase.serialise

    def recording(state: StateDatabase, connection: Connection, *names: str) -> None:
        for name in sorted(names, key=LOCK_ORDER.index):
            recorder.note(connection, name)
        serialise(state, connection, *names)

    with patch.object(StateDatabase, "serialise", recording):
        yield recorder
