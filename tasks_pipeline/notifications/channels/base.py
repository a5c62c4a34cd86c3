"""What every channel can do, and which class serves which configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tasks_pipeline.config import Config
from tasks_pipeline.config.channels import AnyChannel, AppriseChannel, MailChannel
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


def open_channel(channel: AnyChannel, config: Config) -> Sender:
    """The sender of a configured channel. Nothing is connected before the first message."""
    if isinstance(channel, MailChannel):
        from tasks_pipeline.notifications.channels.mail import MailSender

        return MailSender(channel, config)
    if isinstance(channel, AppriseChannel):
        from tasks_pipeline.notifications.channels.apprise import AppriseSender

        return AppriseSender(channel)
    from tasks_pipeline.notifications.channels.http import HttpSender
    from tasks_pipeline.notifications.channels.shapes import shape_of

    return HttpSender(channel, shape_of(channel))
