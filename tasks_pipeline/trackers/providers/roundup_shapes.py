"""What Roundup's answers hold, as far as it is read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Person
from tasks_pipeline.trackers.shapes import is_number

_TIME = re.compile(r"(\d{4})-(\d{2})-(\d{2})\.(\d{2}):(\d{2}):(\d{2})")


Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}$")]


class Link(msgspec.Struct):
    """A thing that is linked to; of `name` and `username` it has the one that its class is shown by."""

    id: Id
    name: str | None = None
    username: str | None = None


class Row(msgspec.Struct):
    id: Id
    title: str | None = None
    status: Link | None = None
    assignedto: Link | None = None
    activity: str | None = None
    actor: Link | None = None
    creation: str | None = None
    creator: Link | None = None
    messages: list[Link] = []
    superseder: list[Link] = []


class Message(msgspec.Struct):
    id: Id
    content: str | None = None
    author: Link | None = None
    creator: Link | None = None
    date: str | None = None
    creation: str | None = None
    activity: str | None = None
    messageid: str | None = None


class Item(msgspec.Struct):
    """One thing as it is read by its number: what a write is conditional on."""

    etag: str = msgspec.field(name="@etag")
    attributes: dict[str, Any] = {}


class Made(msgspec.Struct):
    id: Id


class Token(msgspec.Struct):
    link: str


class KnownStatus(msgspec.Struct):
    id: Id
    name: str


class User(msgspec.Struct):
    id: Id
    username: str
    realname: str | None = None
    address: str | None = None


def description(row: Row, messages: Sequence[Message]) -> tuple[Message | None, Sequence[Message]]:
    """The message that came with an issue, from who made it, and those that followed."""
    made = time_of(row.creation)
    for first in messages[:1]:
        written = time_of(first.date) or time_of(first.creation)
        whose = first.author or first.creator
        theirs = whose is None or row.creator is None or whose.id == row.creator.id
        if theirs and (made is None or written is None or written <= made + timedelta(seconds=2)):
            return first, messages[1:]
    return None, messages


def with_messages(item: Item, messages: Sequence[str]) -> dict[str, Any]:
    """Messages of an issue, and the status that it has: what is sent along is not changed by rules of the tracker."""
    status = item.attributes.get("status")
    return {"messages": list(messages)} | ({"status": status["id"]} if isinstance(status, dict) and "id" in status else {})  # fmt: skip


def ids_in(value: Any) -> list[str]:
    return [str(one["id"]) for one in value or () if isinstance(one, dict) and "id" in one] if isinstance(value, list) else []  # fmt: skip


def name_in(value: Any) -> str:
    return str(value.get("name") or "") if isinstance(value, dict) else ""


def fingerprint(row: Row, messages: Sequence[Message]) -> str:
    """Another one when something of an issue or of its messages changed."""
    return hashlib.sha256(msgspec.json.encode([row, messages])).hexdigest()[:32]


def message_id(marker: str) -> str:
    """A marker as a message id, which is one that mail can carry."""
    return f"<tasks-pipeline.{marker.replace(':', '.')}@tasks-pipeline.invalid>"


def number(text: str) -> str:
    """A number as it may stand in a path. Raises TrackerError for what is none."""
    if not is_number(text):
        raise TrackerError(Verdict(Do.GONE, said=f"{text[:50]!r} is no number of Roundup"))
    return text


def time_of(text: str | None) -> datetime | None:
    """Times are in UTC: `2026-11-30.18:47:57`."""
    found = _TIME.match(text or "")
    try:
        return datetime(*map(int, found.groups()), tzinfo=UTC) if found else None  # type: ignore[misc, arg-type]
    except ValueError:
        return None


def person(link: Link) -> Person:
    return Person(link.username or link.name or link.id, link.username or "")
