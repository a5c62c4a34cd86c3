"""Event ids as they travel on the wire. What an id means for storage does not belong here."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import msgspec

from tasks_pipeline.protocol.decode import PayloadError, decode_json

_EVENT_ID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
NIL_ID = "0" * 32


def parse_event_id(value: object) -> str | None:
    """An id as 32 lower-case hex digits, from a dashed or undashed UUID in either case; None for anything else."""
    if not isinstance(value, str) or not _EVENT_ID.fullmatch(value):
        return None
    return value.replace("-", "").lower()


def new_event_id() -> str:
    """A fresh random id: 32 lower-case hex digits."""
    return uuid4().hex


def dashed(event_id: str) -> str:
    """The hyphenated spelling (8-4-4-4-12) of 32 hex digits."""
    return "-".join((event_id[:8], event_id[8:12], event_id[12:16], event_id[16:20], event_id[20:]))


class PayloadIds(msgspec.Struct):
    """The fields of an event that decide where it goes, as sent."""

    event_id: Any = None
    type: Any = None


_decode_ids = msgspec.json.Decoder(PayloadIds).decode


def payload_ids(payload: bytes) -> PayloadIds:
    """`event_id` and `type` of an event's JSON; the rest is skipped, not built. Raises PayloadError."""
    try:
        return _decode_ids(payload)
    except (ValueError, RecursionError):
        event = decode_json(payload)
        if not isinstance(event, dict):
            raise PayloadError("not a JSON object") from None
        return PayloadIds(event.get("event_id"), event.get("type"))


def payload_event_id(payload: bytes) -> str | None:
    """The event id inside an event's JSON; None when there is no valid one."""
    try:
        return parse_event_id(payload_ids(payload).event_id)
    except PayloadError:
        return None
