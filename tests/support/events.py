"""Builders: events of an SDK, the items and envelopes they travel in, and receipts of them."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.protocol.envelope import Envelope, Item, write_envelope
from tasks_pipeline.protocol.items import accounted
from tasks_pipeline.storage.spool.interface import Receipt

KEY = "0123456789abcdef0123456789abcdef"


def event(problem: str = "Problem", **fields: Any) -> dict[str, Any]:
    """An error event with a fresh id; events of the same `problem` belong to one group."""
    frame = {
        "function": f"do_{problem}",
        "module": "shop.orders",
        "filename": "shop/orders.py",
        "in_app": True,
    }
    exception = {"type": problem, "value": "it went wrong", "stacktrace": {"frames": [frame]}}
    return {
        "event_id": uuid.uuid4().hex,
        "platform": "python",
        "exception": {"values": [exception]},
        **fields,
    }


def item(kind: str, payload: object, **headers: Any) -> Item:
    """An item; a payload that is not bytes is sent as JSON."""
    return Item({"type": kind, **headers}, payload if isinstance(payload, bytes) else encode_json(payload))


def receipt(
    at: datetime,
    project: int,
    *contents: Item | dict[str, Any],
    event_id: str | None = None,
    body: bytes | None = None,
    **meta: Any,
) -> Receipt:
    """The receipt of an envelope with these items; a dict is an error event.

    The envelope's event id is the given one, else that of its first event. `body` replaces the bytes, for envelopes
    that are none.
    """
    items = [c if isinstance(c, Item) else item("event", c) for c in contents]
    event_id = event_id or next((c["event_id"] for c in contents if isinstance(c, dict)), None)
    envelope = Envelope({"event_id": event_id} if event_id else {}, items)
    return Receipt(
        received_at=at,
        project_id=project,
        public_key=KEY,
        event_id=event_id,
        encoding="",
        items=max(1, len(items)) if body is not None else len(accounted(envelope, meta.get("refused", ()))),
        body=write_envelope(envelope) if body is None else body,
        meta=meta,
    )
