"""The outbox in the state database: messages that were decided on, their delivery, and the log of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.storage.state import StateDatabase, chunks
from tasks_pipeline.storage.tables import notifications


@dataclass(frozen=True, slots=True)
class NewNotification:
    """One message to one target. `key` (at most 400 characters) makes it once, whoever asks how often.

    `status`: waiting (to be sent at `not_before`), digest (waits for a digest), collapsed (part of a storm's message),
    skipped (not wanted; `reason` says why).
    """

    key: str
    type: str
    project_id: int
    target: str
    channel: str
    thread: str
    not_before: datetime
    alert_id: int | None = None
    rule: str = ""
    address: str = ""
    status: str = "waiting"
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


def put_notifications(
    state: StateDatabase, connection: Connection, messages: Sequence[NewNotification]
) -> None:
    """Put messages into the outbox, in the caller's transaction; one whose key is known is left as it is."""
    now = datetime.now(UTC)
    rows = [
        {
            "key": m.key,
            "type": m.type,
            "alert_id": m.alert_id,
            "project_id": m.project_id,
            "rule": m.rule,
            "target": m.target,
            "channel": m.channel,
            "address": m.address,
            "thread": m.thread,
            "data": dict(m.data),
            "status": m.status,
            "reason": m.reason,
            "created_at": now,
            "not_before": m.not_before,
        }
        for m in messages
    ]
    for chunk in chunks(rows):
        connection.execute(
            state.insert(notifications).on_conflict_do_nothing(index_elements=[notifications.c.key]),
            list(chunk),
        )
