"""GitHub's JSON as far as it is read (API version 2022-11-28), and issues and comments made of it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from tasks_pipeline.trackers.issue import Comment, Issue, IssueState, Person

Number = Annotated[int, msgspec.Meta(ge=1, lt=10**12)]
Id = Annotated[int, msgspec.Meta(ge=1, lt=10**18)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
_REPOSITORY = re.compile(r"/repos/([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)(?:/|$)")


class UserShape(msgspec.Struct):
    """Somebody; None in its place is somebody whose account is gone."""

    login: str
    type: str = "User"
    name: str | None = None
    email: str | None = None

    def person(self) -> Person:
        """In our shape."""
        return Person(self.login, self.name or "", self.email or "", self.type == "Bot")


class LabelShape(msgspec.Struct):
    """A label of an issue."""

    name: str | None = None


class IssueShape(msgspec.Struct):
    """An issue or a pull request, which are numbered together."""

    number: Number
    title: str
    state: Literal["open", "closed"]
    updated_at: Time
    repository_url: str
    html_url: str = ""
    body: str | None = None
    state_reason: str | None = None
    user: UserShape | None = None
    assignees: list[UserShape | None] | None = None
    labels: list[LabelShape | str] = []
    created_at: Time | None = None
    closed_at: Time | None = None
    closed_by: UserShape | None = None
    locked: bool = False
    pull_request: dict[str, Any] | None = None

    @property
    def repository(self) -> str:
        """`owner/name`, empty where the answer has another address."""
        found = _REPOSITORY.search(self.repository_url)
        return found[1] if found else ""

    def issue(self, repository_id: int, web: str, etag: str = "") -> Issue:
        """In our shape. `web`: the address that people open; one that is elsewhere is not shown to them."""
        closed = self.state == "closed"
        names = (label.name if isinstance(label, LabelShape) else label for label in self.labels)
        return Issue(
            external_id=f"{repository_id}#{self.number}",
            key=f"{self.repository}#{self.number}",
            url=shown_url(self.html_url, web, f"/{self.repository}/issues/{self.number}"),
            title=self.title,
            state=IssueState.CLOSED if closed else IssueState.OPEN,
            body=self.body or "",
            reason=(self.state_reason or "completed") if closed else "",
            author=self.user.person() if self.user else None,
            assignees=tuple(user.person() for user in self.assignees or () if user),
            labels=tuple(name for name in names if name),
            created_at=self.created_at,
            updated_at=self.updated_at,
            closed_at=self.closed_at,
            changed_by=self.closed_by.person() if closed and self.closed_by else None,
            locked=self.locked,
            is_pull_request=self.pull_request is not None,
            etag=etag,
        )


class _NumberShape(msgspec.Struct):
    number: int


class EventShape(msgspec.Struct):
    """One entry of what happened in a repository."""

    event: str
    created_at: Time | None = None
    actor: UserShape | None = None
    assigner: UserShape | None = None
    issue: _NumberShape | None = None


class CommentShape(msgspec.Struct):
    """A comment of an issue or pull request."""

    id: Id
    issue_url: str
    updated_at: Time
    created_at: Time | None = None
    user: UserShape | None = None
    body: str | None = None
    html_url: str = ""

    @property
    def number(self) -> int:
        """Of its issue; 0 where the answer has another address."""
        last = self.issue_url.rpartition("/")[2]
        return int(last) if last.isdecimal() and len(last) < 12 else 0

    def comment(self, web: str) -> Comment:
        """In our shape."""
        return Comment(
            external_id=str(self.id),
            author=self.user.person() if self.user else None,
            body=self.body or "",
            created_at=self.created_at,
            updated_at=self.updated_at,
            url=shown_url(self.html_url, web, ""),
        )


class RepositoryShape(msgspec.Struct):
    """A repository. `permissions`: what our account may there."""

    id: Id
    full_name: str
    html_url: str = ""
    archived: bool = False
    private: bool = False
    disabled: bool = False
    has_issues: bool = True
    permissions: dict[str, bool] | None = None


def shown_url(url: str, web: str, path: str) -> str:
    """An address to show to people: theirs when it is one of the tracker's pages, else made of `path`; empty without."""
    try:
        theirs, ours = urlsplit(url), urlsplit(web)
        same = (theirs.scheme, theirs.hostname, theirs.port) == (ours.scheme, ours.hostname, ours.port)
    except ValueError:
        same = False
    if same and "@" not in theirs.netloc and url.isprintable() and len(url) <= 2000:
        return url
    return f"{web}{path}" if path else ""
