"""What every channel can do, and which class serves which configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tasks_pipeline.notifications.message import Message


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the far side said when it took a message, for the log."""

    detail: str
    message_id: str = ""


class Sender(Protocol):
    """An open channel. It may keep a connection; a failed one is opened again for the next message."""

    def send(self, message: Message, *, address: str, idempotency_key: str) -> Receipt:
        """Hand a message over. Raises TemporaryFailure, PermanentFailure, and UnknownOutcome when no answer came."""
        ...

    def close(self) -> None:
        """Close connections."""
        ...
