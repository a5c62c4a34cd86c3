"""What Redmine's answers hold, as far as it is read, and how its texts are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Person
from tasks_pipeline.trackers.markers import marked, marker_in
from tasks_pipeline.trackers.shapes import is_number, lines

ACTIVE = 1
TEXT_BYTES = 65_000
"""A description or note is a TEXT of 65,535 bytes where the database is MySQL."""


class Named(msgspec.Struct):
    id: int
    name: str = ""
    is_closed: bool | None = None


class Change(msgspec.Struct):
    property: str = ""
    name: str = ""
    old_value: Any = None
    new_value: Any = None


class Journal(msgspec.Struct):
    id: int
    user: Named | None = None
    notes: str | None = None
    created_on: datetime | None = None
    updated_on: datetime | None = None
    private_notes: bool = False
    details: list[Change] = []


class Field(msgspec.Struct):
    id: int
    value: Any = None


class Row(msgspec.Struct):
    id: int
    status: Named
    subject: str | None = None
    description: str | None = None
    author: Named | None = None
    assigned_to: Named | None = None
    created_on: datetime | None = None
    updated_on: datetime | None = None
    closed_on: datetime | None = None
    custom_fields: list[Field] = []
    journals: list[Journal] | None = None
    allowed_statuses: list[Named] | None = None


class Project(msgspec.Struct):
    id: int
    name: str = ""
    status: int = ACTIVE
    trackers: list[Named] | None = None
    enabled_modules: list[Named] | None = None
    issue_custom_fields: list[Named] = []


class Membership(msgspec.Struct):
    project: Named
    roles: list[Named] = []


class User(msgspec.Struct):
    id: int
    login: str = ""
    mail: str = ""
    admin: bool = False
    memberships: list[Membership] = []


class Role(msgspec.Struct):
    name: str = ""
    permissions: list[str] = []


class CustomField(msgspec.Struct):
    id: int
    name: str = ""
    customized_type: str = ""
    is_required: bool = False
    default_value: Any = None
    trackers: list[Named] = []


def number(text: str) -> str:
    """A number as it may stand in a path. Raises TrackerError for what is none."""
    if not is_number(text):
        raise TrackerError(Verdict(Do.GONE, said=f"{text[:50]!r} is no number of Redmine"))
    return text


def custom_fields(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the settings give for custom fields. Raises TrackerError for what Redmine would not understand."""
    given = fields.get("custom_fields") or []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        said = "fields.custom_fields is no list of {id, value}"
        raise TrackerError(Verdict(Do.HELD, tracker="misconfigured", said=said))
    return [dict(one) for one in given]


def assignment(row: Row) -> Journal | None:
    """The entry by which an issue was given to somebody, or to nobody, last; None where none of those that were read is one."""
    for journal in reversed(row.journals or ()):
        if any(change.property == "attr" and change.name == "assigned_to_id" for change in journal.details):
            return journal
    return None


def body_of(row: Row) -> str:
    """The description of an issue; with the marker that a field of it holds as if that were the last line."""
    body = lines(row.description)
    if marker_in(body) is None:
        texts = [field.value for field in row.custom_fields if isinstance(field.value, str)]
        found = next((key for text in texts if (key := marker_in(text))), "")
        return marked(body, found, comment=False)
    return body


def fitted(body: str, marker: str) -> str:
    """A text with its marker, cut in front of it so that both fit: each line end takes two bytes there."""
    room = TEXT_BYTES - len(marker.encode()) - 40
    raw = body.replace("\r\n", "\n").replace("\n", "\r\n").encode()
    if len(raw) > room:
        body = raw[:room].decode("utf-8", "ignore").replace("\r\n", "\n").rstrip("\r") + "…"
    return marked(body, marker, comment=False)


def time(at: datetime) -> str:
    """A time as its filters take it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def person(named: Named) -> Person:
    """A user, or a group: accounts are numbers."""
    return Person(str(named.id), named.name)


def by_name(all_: Sequence[Named], name: str) -> Named | None:
    """The one that has a name."""
    return next((one for one in all_ if one.name.casefold() == name.casefold()), None)


def listed(all_: Sequence[Named] | None) -> str:
    """Their names, for people."""
    return ", ".join(dict.fromkeys(one.name for one in all_ or ()))
