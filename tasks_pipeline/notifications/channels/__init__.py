"""Channels: how a message is handed to the outside world. One module per kind, behind one protocol."""

from tasks_pipeline.notifications.channels.base import Receipt, Sender
from tasks_pipeline.notifications.channels.open import open_channel

__all__ = ["Receipt", "Sender", "open_channel"]
