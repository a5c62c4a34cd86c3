"""How sending a message can fail: what may be tried again, what is of no use, and what nobody knows the end of.

    SendFailure
     ├─ TemporaryFailure     trying again may help: nobody there, not now, a secret or certificate that people have to mend
     │   └─ OwnFailure       it lies with us (a database, a disk): says nothing of the channel, and kills no message
     ├─ PermanentFailure     trying again is of no use: it is the message itself, or its address
     └─ UnknownOutcome       it was handed over, and no answer came: it may have arrived

Whoever catches something on the way of a message makes one of these of it, and says by its choice what follows:
temporary and unknown ones are tried again with growing waits and counted by the channel's breaker, own ones are tried again
and not counted, permanent ones are dead letters. `HICCUPS` is what our own stores raise when they cannot be used now.
"""

from __future__ import annotations

import duckdb
from sqlalchemy.exc import SQLAlchemyError

HICCUPS = (SQLAlchemyError, duckdb.Error, OSError, MemoryError)
"""What a database that is locked or away, a file that cannot be read, and a full machine raise: it passes, or people mend it.

(One exception among them does not pass: sqlalchemy's NoResultFound, a row that is not there.)"""


class SendFailure(Exception):
    """A message was not sent for sure. `detail` says what the far side or the network said, without secrets."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class TemporaryFailure(SendFailure):
    """Trying again may help; not before `retry_after` seconds when the far side said so."""

    def __init__(self, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class OwnFailure(TemporaryFailure):
    """Our own stores cannot be used now: the message could not be made, and was not sent."""


class PermanentFailure(SendFailure):
    """Trying again is of no use: a refused address, a rejected message, a message that cannot be made."""


class UnknownOutcome(SendFailure):
    """The message was handed over, but no answer came: it may have arrived."""
