"""Item types: the data category of each, which are supported, and which of an envelope count in the books."""

from __future__ import annotations

from collections.abc import Collection

from tasks_pipeline.protocol.envelope import Envelope, Item

SUPPORTED = frozenset(
    {
        "event",
        "attachment",
        "session",
        "sessions",
        "check_in",
        "client_report",
        "user_report",
        "feedback",
        "transaction",
        "security",
    }
)
"""Types that are stored. Items of any other type have the outcome `unsupported` and stay out of the books."""

UNLIMITED = frozenset({"internal"})
"""Categories that no quota refuses: reports of what a client itself discarded."""

_CATEGORIES = {
    "event": "error",
    "attachment": "attachment",
    "session": "session",
    "sessions": "session",
    "check_in": "monitor",
    "client_report": "internal",
    "user_report": "feedback",
    "feedback": "feedback",
    "transaction": "transaction",
    "security": "security",
    "span": "span",
    "log": "log_item",
    "trace_metric": "trace_metric",
    "profile": "profile",
    "profile_chunk": "profile_chunk",
    "replay_event": "replay",
    "replay_recording": "replay",
    "replay_video": "replay",
}


def category(item_type: str) -> str:
    """The data category of an item type; `default` for unknown types."""
    return _CATEGORIES.get(item_type, "default")


def accounted(envelope: Envelope, refused: Collection[str] = ()) -> list[tuple[int, Item]]:
    """The items that processing accounts for, each with its index in the envelope.

    `refused` are the categories that a quota refused. The receiver counts with this and processing works with it, so
    the books of both agree.
    """
    return [
        (index, item)
        for index, item in enumerate(envelope.items)
        if item.type in SUPPORTED and _CATEGORIES[item.type] not in refused
    ]
