"""Receipts of bare events, for benchmarks of what is done with them and not of how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.protocol.envelope import Envelope, Item, write_envelope
from tasks_pipeline.storage.spool.interface import Receipt


def one_event(at: datetime, user: Mapping[str, Any], event_id: str, problem: str = "Problem") -> Receipt:
    """An error event of one frame; events of the same `problem` are one group."""
    frame = {
        "function": f"do_{problem}",
        "module": "shop.orders",
        "filename": "shop/orders.py",
        "in_app": True,
    }
    exception = {"type": problem, "value": "it went wrong", "stacktrace": {"frames": [frame]}}
    payload = {
        "event_id": event_id,
        "platform": "python",
        "user": dict(user),
        "exception": {"values": [exception]},
    }
    envelope = Envelope({"event_id": event_id}, [Item({"type": "event"}, encode_json(payload))])
    return Receipt(
        received_at=at, project_id=1, public_key="abcdef", event_id=event_id, encoding="", items=1,
        body=write_envelope(envelope), meta={},
    )  # fmt: skip
