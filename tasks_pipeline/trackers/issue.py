"""What a tracker holds, in one shape for all providers: issues, comments, people, places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class IssueState(StrEnum):
    """What a group's status and an issue's state both map to."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody there. `login` is what calls need: a login, or where the provider has numbers, the number as text."""

    login: str
    name: str = ""
    email: str = ""
    is_bot: bool = False


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of an issue. Times are theirs. `private`: not for everybody there, so never copied."""

    external_id: str
    author: Person | None
    body: str
    created_at: datetime | None = None
    updated_at: datetime | None = None
    private: bool = False
    url: str = ""


@dataclass(frozen=True, slots=True)
class Issue:
    """An issue as a read shows it. Times are theirs.

    `external_id` survives moves and renamings (GitHub: `REPOSITORY_ID#NUMBER`; Redmine, Roundup: the number); `key` is what
    people are shown (`acme/shop#12`, `#17`). `reason` of a closed one: completed, not_planned, duplicate, or empty.
    `moved_to`: the external id, or address, of the issue that goes on in its place: such a close is no fix.
    `comments` is None where reading an issue does not bring them.
    """

    external_id: str
    key: str
    url: str
    title: str
    state: IssueState
    body: str = ""
    reason: str = ""
    status: str = ""
    """Name of the status in a workflow, empty where there is none."""
    assignees: tuple[Person, ...] = ()
    labels: tuple[str, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    closed_at: datetime | None = None
    author: Person | None = None
    """Who made it, where a read or list says so."""
    changed_by: Person | None = None
    """Who closed or reopened it last, where a read says so."""
    assigned_by: Person | None = None
    """Who gave it to whom it is assigned, or took it from them, where that is said; and when."""
    assigned_at: datetime | None = None
    moved_to: str = ""
    locked: bool = False
    is_pull_request: bool = False
    etag: str = ""
    comments: tuple[Comment, ...] | None = None
    unread: str = ""
    """Why its comments could not be read with it though it has some; then they are compared with nothing."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An issue to be made. `marker` is already where the provider keeps it: see `Provider.create`."""

    title: str
    body: str
    marker: str
    labels: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    assignee: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where polling of a tracker is. `since` is by their clock, None before the first poll. `seen`: external id → fingerprint of
    what was seen within the overlap. `etag` belongs to the first page."""

    since: datetime | None = None
    seen: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What polling found: issues that changed, comments where the provider lists those of a whole place (else None), and from
    where to go on. `more`: there is more behind this, poll again at once."""

    issues: Sequence[Issue]
    comments: Mapping[str, Sequence[Comment]] | None
    cursor: Cursor
    more: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom we are there. `expires_at`: when the credential ends, where the provider says so."""

    person: Person
    scopes: Sequence[str] = ()
    expires_at: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """A repository or project as a check found it. `problem` says what keeps issues from being made or changed there, in words of
    what to do; `renamed_to` its present name where the configuration holds a former one."""

    external_id: str
    name: str
    url: str = ""
    problem: str = ""
    renamed_to: str = ""
    missing_fields: Sequence[str] = ()
