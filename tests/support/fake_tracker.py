"""A tracker in memory: a provider that keeps issues, loses answers and refuses as it is told. For rules of sync; calls and wire are
tested against servers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Gate
from tasks_pipeline.trackers.issue import (
    Changes,
    Comment,
    Cursor,
    Draft,
    Identity,
    Issue,
    IssueState,
    Person,
    Place,
)
from tasks_pipeline.trackers.markers import hidden, marker_in

BOT = Person("bot")
ANN = Person("ann", name="Ann There")


@dataclass
class FakeTracker:
    """Issues by their id. `fail[METHOD]` holds what its next calls raise, or `lost`: it is done, and then the answer is lost."""

    issues: dict[str, Issue] = field(default_factory=dict)
    talk: dict[str, list[Comment]] = field(default_factory=dict)
    fail: dict[str, list[Verdict | str]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    skew: timedelta = timedelta()
    lists_comments: bool = True
    problem: str = ""
    deaf: bool = False
    """Changes are answered well and not made."""
    title_length: int = 256
    body_length: int = 65_536
    markup: str = "github"
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _comment_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    @contextmanager
    def open(self, integration: AnyIntegration, gate: Gate) -> Iterator[FakeTracker]:
        """As `trackers.provider.open_provider`."""
        yield self

    # what people do there

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skew

    def made(self, **more: Any) -> Issue:
        """A new issue of somebody."""
        number = str(next(self._numbers))
        issue = Issue(
            number,
            f"acme/shop#{number}",
            f"https://hub.example/{number}",
            "It fails",
            IssueState.OPEN,
            updated_at=self.now(),
        )
        return self.put(replace(issue, **more))

    def put(self, issue: Issue) -> Issue:
        self.issues[issue.external_id] = replace(issue, etag=f"{issue.external_id}-{issue.updated_at}")
        return self.issues[issue.external_id]

    def change(self, number: str, **more: Any) -> Issue:
        """Somebody changes an issue."""
        return self.put(replace(self.issues[number], **more, updated_at=self.now()))

    def close(self, key: str, reason: str = "completed", by: Person = ANN) -> None:
        self.change(key, state=IssueState.CLOSED, reason=reason, closed_at=self.now(), changed_by=by)

    def reopen(self, key: str, by: Person = ANN) -> None:
        self.change(key, state=IssueState.OPEN, reason="", closed_at=None, changed_by=by)

    def say(self, key: str, text: str, by: Person | None = ANN, **more: Any) -> Comment:
        comment = Comment(str(next(self._comment_numbers)), by, text, self.now(), self.now(), **more)
        self.talk.setdefault(key, []).append(comment)
        self.change(key)
        return comment

    def reword(self, key: str, comment_id: str, text: str) -> None:
        self.talk[key] = [
            replace(c, body=text, updated_at=self.now()) if c.external_id == comment_id else c
            for c in self.talk[key]
        ]
        self.change(key)

    def unsay(self, key: str, comment_id: str) -> None:
        self.talk[key] = [c for c in self.talk[key] if c.external_id != comment_id]

    def texts(self, key: str) -> list[str]:
        return [comment.body for comment in self.talk.get(key, ())]

    # what a provider does

    def who(self) -> Identity:
        return Identity(BOT)

    def place(self, tracker: Tracker) -> Place:
        return Place("1", "acme/shop", problem=self.problem)

    def read(self, tracker: Tracker, external_id: str, etag: str = "") -> Issue | None:
        with self._call("read"):
            issue = self._there(external_id)
            return None if etag and etag == issue.etag else issue

    def attributed(self, tracker: Tracker, issue: Issue, *, state: bool, assignee: bool) -> Issue:
        return issue

    def find(self, tracker: Tracker, reference: str) -> Issue:
        return self._there(reference)

    def create(self, tracker: Tracker, draft: Draft) -> Issue:
        with self._call("create"):
            body = f"{draft.body}\n{hidden(draft.marker)}"
            return self.made(title=draft.title, body=body, author=BOT)

    def find_marker(self, tracker: Tracker, marker: str, since: datetime) -> Issue | None:
        with self._call("find_marker"):
            return next((i for i in self.issues.values() if marker_in(i.body) == marker), None)

    def set_state(self, tracker: Tracker, issue: Issue, state: IssueState, reason: str = "") -> Issue:
        with self._call("set_state"):
            if not self.deaf and self._there(issue.external_id).state != state:
                self.change(issue.external_id, state=state, reason=reason, changed_by=BOT)
            return self._there(issue.external_id)

    def assign(self, tracker: Tracker, issue: Issue, login: str | None) -> Issue:
        with self._call("assign"):
            if not self.deaf:
                self.change(issue.external_id, assignees=(Person(login),) if login else ())
            return self._there(issue.external_id)

    def comments(self, tracker: Tracker, issue: Issue) -> Sequence[Comment]:
        with self._call("comments"):
            self._there(issue.external_id)
            return list(self.talk.get(issue.external_id, ()))

    def comment(self, tracker: Tracker, issue: Issue, body: str, marker: str) -> Comment:
        with self._call("comment"):
            self._there(issue.external_id)
            return self.say(issue.external_id, f"{body}\n\n{hidden(marker)}", BOT)

    def edit_comment(
        self, tracker: Tracker, issue: Issue, comment_id: str, body: str, marker: str = ""
    ) -> Comment:
        with self._call("edit_comment"):
            self.reword(issue.external_id, comment_id, f"{body}\n\n{hidden(marker)}")
            return next(c for c in self.talk[issue.external_id] if c.external_id == comment_id)

    def delete_comment(self, tracker: Tracker, issue: Issue, comment_id: str) -> None:
        with self._call("delete_comment"):
            self.unsay(issue.external_id, comment_id)

    def changed(self, tracker: Tracker, cursor: Cursor) -> Changes:
        with self._call("changed"):
            if cursor.since is None:
                return Changes([], {} if self.lists_comments else None, Cursor(self.now()))
            since = cursor.since
            found = [i for i in self.issues.values() if i.updated_at is not None and i.updated_at >= since]
            talked = {
                key: [c for c in said if c.updated_at is not None and c.updated_at >= since]
                for key, said in self.talk.items()
            }
            newest = max([since, *(i.updated_at for i in found if i.updated_at is not None)])
            found.sort(key=lambda issue: (issue.updated_at or since, issue.external_id))
            return Changes(
                found,
                {key: said for key, said in talked.items() if said} if self.lists_comments else None,
                Cursor(newest, {i.external_id: str(i.updated_at) for i in found}),
            )

    def by_ids(self, tracker: Tracker, external_ids: Sequence[str]) -> dict[str, Issue | None]:
        with self._call("by_ids"):
            return {key: self.issues.get(key) for key in external_ids}

    def _there(self, key: str) -> Issue:
        if key not in self.issues:
            raise TrackerError(Verdict(Do.MAYBE_GONE, said="Not Found"))
        return self.issues[key]

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self.calls[name] += 1
        told = self.fail.get(name)
        failure = told.pop(0) if told else None
        if isinstance(failure, Verdict):
            raise TrackerError(failure)
        yield
        if failure is not None:
            unknown = name in ("create", "comment")
            raise TrackerError(Verdict(Do.UNKNOWN if unknown else Do.LOOK_AGAIN, said="the answer was lost"))
