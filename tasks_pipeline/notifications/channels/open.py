"""Opens the channel that a configuration describes: the only place that knows every kind."""

from __future__ import annotations

from tasks_pipeline.config import Config
from tasks_pipeline.config.channels import AnyChannel, AppriseChannel, MailChannel
from tasks_pipeline.notifications.channels.base import Sender


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
