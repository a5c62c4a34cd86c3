"""PagerDuty: Events API v2."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.channels import PagerDutyChannel
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.channels.shapes.parts import COLOURS, cut, encoded
from tasks_pipeline.notifications.message import Message

_SUMMARY = 1024


def shape(channel: PagerDutyChannel) -> Shape:
    """Alerts trigger, recoveries resolve; messages of a thread are one incident."""
    key = channel.routing_key.get_secret_value()

    def request(message: Message, _address: str, _key: str) -> Request:
        document: dict[str, Any] = {
            "routing_key": key,
            "event_action": "resolve" if message.status == "recovered" else "trigger",
            "dedup_key": message.thread[:255],
        }
        if message.status != "recovered":
            document |= {
                "payload": {
                    "summary": cut(message.summary, _SUMMARY),
                    "source": message.project or "tasks-pipeline",
                    "severity": message.severity if message.severity in COLOURS else "info",
                    "class": message.rule,
                    "custom_details": {**dict(message.facts), "text": cut(message.text(), 8000)},
                },
                "links": [{"href": url, "text": label} for label, url in message.links],
                "client": "Tasks Pipeline",
            }
        return Request(channel.url, encoded(document), secrets=(key,))

    return request
