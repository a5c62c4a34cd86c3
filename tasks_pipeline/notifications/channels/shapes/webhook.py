"""Webhooks: our own document, signed as docs/webhooks.md says."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

from tasks_pipeline.config.channels import WebhookChannel
from tasks_pipeline.notifications.channels.http import Request, Shape
from tasks_pipeline.notifications.channels.shapes.parts import encoded
from tasks_pipeline.notifications.message import Message

WEBHOOK_VERSION = 1


def shape(channel: WebhookChannel) -> Shape:
    """Our own document, signed as docs/webhooks.md says."""
    secret = channel.secret.get_secret_value().encode() if channel.secret else None
    headers = {name: value.get_secret_value() for name, value in channel.headers.items()}

    def request(message: Message, _address: str, key: str) -> Request:
        body = encoded(webhook_document(message))
        signed = {"X-Tasks-Pipeline-Signature": signature(secret, body, int(time.time()))} if secret else {}
        return Request(
            channel.url, body, {**headers, "Idempotency-Key": key, **signed}, secrets=tuple(headers.values())
        )

    return request


def webhook_document(message: Message) -> dict[str, Any]:
    """What a webhook gets; fields are only ever added to a version."""
    return {
        "version": WEBHOOK_VERSION,
        "id": message.key,
        "type": message.type,
        "status": message.status,
        "severity": message.severity,
        "thread": message.thread,
        "project": message.project,
        "rule": message.rule,
        "subject": message.subject,
        "title": message.title,
        "culprit": message.culprit,
        "changed": message.changed,
        "facts": dict(message.facts),
        "frames": [
            {
                "file": frame.file,
                "line": frame.line,
                "column": frame.column,
                "function": frame.function,
                "source": [{"line": n, "code": code, "failed": failed} for n, code, failed in frame.lines],
            }
            for frame in message.frames
        ],
        "sections": [
            {"title": s.title, "rows": [{"name": name, "value": value} for name, value in s.rows]}
            for s in message.sections
        ],
        "groups": [
            {
                "short_id": g.short_id, "title": g.title, "culprit": g.culprit, "note": g.note,
                "events": g.events, "events_before": g.before, "users": g.users, "url": g.url,
            }
            for g in message.groups
        ],
        "links": [{"label": label, "url": url} for label, url in message.links],
        "commands": list(message.commands),
        "notes": list(message.notes),
        "data": dict(message.data),
        "text": message.text(),
    }  # fmt: skip


def signature(secret: bytes, body: bytes, at: int) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 over the time, a dot and the body."""
    mac = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={mac.hexdigest()}"
