"""What people and clients report: feedback, user reports, and what a client discarded itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tasks_pipeline.protocol import fields
from tasks_pipeline.protocol.bounds import MAX_COUNT, MAX_DISCARDED, MAX_MESSAGE
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.protocol.trim import Notes


@dataclass(frozen=True, slots=True)
class UserReport:
    """What a user wrote. `kind` is feedback or user_report; ids are 32 lower-case hex.

    `event_id` is the report's own id; for a user_report, which has none, that of the event it is about.
    """

    kind: str
    event_id: str
    associated_event_id: str | None
    name: str | None
    email: str | None
    message: str
    url: str | None
    release: str | None
    environment: str | None


@dataclass(frozen=True, slots=True)
class DiscardedEvents:
    """So many items of a data category that a client did not send, and why."""

    reason: str
    category: str
    quantity: int


def user_report(payload: object, context: ItemContext) -> UserReport:
    """The report of a `user_report` item. Raises PayloadError when it has no text or no event it is about."""
    report = _object(payload)
    event_id = parse_event_id(report.get("event_id")) or context.event_id
    if event_id is None:
        raise PayloadError("no event_id")
    return UserReport(
        kind="user_report",
        event_id=event_id,
        associated_event_id=event_id,
        name=_text(report.get("name"), 128),
        email=_text(report.get("email"), 256),
        message=_message(report.get("comments")),
        url=None,
        release=None,
        environment=None,
    )


def feedback(payload: object, context: ItemContext) -> UserReport:
    """The report in an event of type feedback, normalised or not.

    Raises PayloadError when it has no id or no contexts.feedback.message.
    """
    event = _object(payload)
    event_id = context.event_id or parse_event_id(event.get("event_id"))
    if event_id is None:
        raise PayloadError("no event_id")
    contexts = event.get("contexts")
    given = contexts.get("feedback") if isinstance(contexts, dict) else None
    if not isinstance(given, dict):
        raise PayloadError("no contexts.feedback")
    notes = Notes(timedelta())
    return UserReport(
        kind="feedback",
        event_id=event_id,
        associated_event_id=parse_event_id(given.get("associated_event_id")),
        name=_text(given.get("name"), 128),
        email=_text(given.get("contact_email"), 256),
        message=_message(given.get("message")),
        url=_text(given.get("url"), 2048),
        release=fields.release(event.get("release"), notes, (), "release"),
        environment=fields.environment(event.get("environment"), notes, (), "environment"),
    )


def client_report(payload: object, context: ItemContext) -> list[DiscardedEvents]:
    """What a `client_report` item counts, at most MAX_DISCARDED entries. Raises PayloadError when it is malformed."""
    entries = _object(payload).get("discarded_events")
    if entries is None:
        return []
    if not isinstance(entries, list) or len(entries) > MAX_DISCARDED:
        raise PayloadError(f"discarded_events is not a list of at most {MAX_DISCARDED}")
    return [discarded for entry in entries if (discarded := _discarded(entry)).quantity]


def _discarded(entry: object) -> DiscardedEvents:
    if not isinstance(entry, dict):
        raise PayloadError("discarded_events holds what is no object")
    reason, category = _text(entry.get("reason"), 200), _text(entry.get("category"), 64)
    quantity = entry.get("quantity")
    if reason is None or category is None:
        raise PayloadError("discarded_events without reason or category")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or not 0 <= quantity <= MAX_COUNT:
        raise PayloadError("quantity is not a count")
    return DiscardedEvents(reason, category, quantity)


def _object(payload: object) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise PayloadError("not a JSON object")
    return payload


def _text(value: object, limit: int) -> str | None:
    return (value.strip()[:limit] or None) if isinstance(value, str) else None


def _message(value: object) -> str:
    message = _text(value, MAX_MESSAGE)
    if message is None:
        raise PayloadError("no text")
    return message
