"""What is known about an item beside its own bytes: the facts of its receipt that normalisation needs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ItemContext:
    """Facts of the receipt of one item.

    `event_id` is the id of the envelope (32 lower-case hex, wins over the payload's) or None; `sent_at` the client's
    clock when it sent, `received_at` ours when it came; `client` the `sentry_client` of the auth, for SDKs that name
    themselves nowhere else.
    """

    project_id: int
    received_at: datetime
    event_id: str | None = None
    sent_at: datetime | None = None
    remote_addr: str | None = None
    client: str | None = None
    user_agent: str | None = None
