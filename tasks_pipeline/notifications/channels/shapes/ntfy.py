"""ntfy: JSON publishing."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.channels import NtfyChannel
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.channels.shapes.parts import cut, encoded
from tasks_pipeline.notifications.message import Message

_TEXT = 3500  # bytes beyond 4,096 would become an attachment


def shape(channel: NtfyChannel) -> Shape:
    """A message of the topic."""
    token = channel.token.get_secret_value() if channel.token else ""
    headers = {"Authorization": f"Bearer {token}"} if token else {}

    def request(message: Message, _address: str, _key: str) -> Request:
        document: dict[str, Any] = {
            "topic": channel.topic,
            "title": cut(message.subject, 200),
            "message": message.text(brief=True).encode()[:_TEXT].decode("utf-8", "ignore"),
            "priority": {"critical": 5, "warning": 4}.get(message.severity, 3),
            "tags": ["white_check_mark" if message.status == "recovered" else "rotating_light"],
        }
        if message.links:
            document["click"] = message.links[0][1]
        return Request(channel.url, encoded(document), headers, secrets=(token,))

    return request
