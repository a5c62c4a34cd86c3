"""Opsgenie: Alert API."""

from __future__ import annotations

import re

from tasks_pipeline.config.channels import OpsgenieChannel
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.channels.shapes.parts import cut, encoded
from tasks_pipeline.notifications.message import Message

_MESSAGE, _DESCRIPTION = 130, 10_000


def shape(channel: OpsgenieChannel) -> Shape:
    """Alerts are created under the thread as alias, recoveries close it."""
    key = channel.api_key.get_secret_value()
    headers = {"Authorization": f"GenieKey {key}"}
    base = channel.url.rstrip("/")

    def request(message: Message, _address: str, _key: str) -> Request:
        alias = re.sub(r"[^A-Za-z0-9_.-]", "_", message.thread)[:500]
        if message.status == "recovered":
            body = encoded({"source": "Tasks Pipeline", "note": cut(message.summary, 20_000)})
            return Request(
                f"{base}/v2/alerts/{alias}/close?identifierType=alias", body, headers, secrets=(key,)
            )
        document = {
            "message": cut(message.summary, _MESSAGE),
            "alias": alias,
            "description": cut(message.text(), _DESCRIPTION),
            "priority": {"critical": "P1", "warning": "P3"}.get(message.severity, "P5"),
            "source": "Tasks Pipeline",
            "tags": [t for t in (message.project, message.rule) if t],
            "details": {name: value[:1000] for name, value in message.facts},
        }
        return Request(f"{base}/v2/alerts", encoded(document), headers, secrets=(key,))

    return request
