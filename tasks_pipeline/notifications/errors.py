"""How sending a message can fail: what may be tried again, what is of no use, and what nobody knows the end of."""

from __future__ import annotations


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


class PermanentFailure(SendFailure):
    """Trying again is of no use: a refused address, a rejected message, a wrong secret."""


class UnknownOutcome(SendFailure):
    """The message was handed over, but no answer came: it may have arrived."""
