"""A tracker of our own for tests: a provider that keeps its issues in a file, so that processes that die leave what they made."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Comment, Draft, Identity, Issue, IssueState, Person, Place
from tasks_pipeline.trackers.markers import marked, marker_in

US = "tasks-pipeline-bot"


@dataclass
class FarSide:
    """A provider in a file. `before` and `after` are asked with the name of each call, and with what it is about, before and after
    it has its effect there: what they raise is the answer."""

    path: Path
    before: Callable[[str, Any], None] = lambda call, about: None
    after: Callable[[str, Any], None] = lambda call, about: None
    keeps_labels: bool = True
    title_length = 256
    body_length = 65_536
    markup = "github"

    # ── what tests see and do

    def issues(self) -> list[dict[str, Any]]:
        """All issues, by their numbers."""
        with self._open() as issues:
            return [dict(issue) for issue in issues]

    def change(self, number: int, **values: Any) -> None:
        """Somebody changes an issue there."""
        with self._open() as issues:
            issues[number - 1].update(values, updated_at=datetime.now(UTC).isoformat())

    def copy(self, number: int, **values: Any) -> int:
        """Another issue with the same text turns up; gives its number."""
        with self._open() as issues:
            issues.append({**issues[number - 1], "number": len(issues) + 1, "comments": [], **values})
            return len(issues)

    # ── what providers do

    def who(self) -> Identity:
        return Identity(Person(US))

    def place(self, tracker: Tracker) -> Place:
        return Place("1", "acme/shop")

    def read(self, tracker: Tracker, external_id: str, etag: str = "") -> Issue | None:
        with self._call("read", external_id), self._open() as issues:
            return self._shown(_found(issues, external_id))

    def find(self, tracker: Tracker, reference: str) -> Issue:
        if not reference.isdecimal():
            raise ValueError(f"{reference!r} names no issue; allowed is a number")
        with self._call("find", reference), self._open() as issues:
            return self._shown(_found(issues, f"1#{reference}"))

    def create(self, tracker: Tracker, draft: Draft) -> Issue:
        with self._call("create", draft):
            with self._open() as issues:
                now = datetime.now(UTC).isoformat()
                made = {
                    "number": len(issues) + 1, "title": draft.title, "body": marked(draft.body, draft.marker, comment=True),
                    "labels": list(draft.labels) if self.keeps_labels else [], "state": "open", "reason": "", "assignees": [],
                    "created_at": now, "updated_at": now, "comments": [], "fields": dict(draft.fields),
                }  # fmt: skip
                issues.append(made)
            return self._shown(made)

    def find_marker(self, tracker: Tracker, marker: str, since: datetime) -> Issue | None:
        with self._call("find_marker", since), self._open() as issues:
            found = [
                issue
                for issue in issues
                if marker_in(issue["body"]) == marker and datetime.fromisoformat(issue["created_at"]) >= since
            ]
            return self._shown(found[-1]) if found else None

    def set_state(self, tracker: Tracker, issue: Issue, state: IssueState, reason: str = "") -> Issue:
        with self._call("set_state", state), self._open() as issues:
            _found(issues, issue.external_id).update(
                state=str(state), reason=reason, updated_at=datetime.now(UTC).isoformat()
            )
            return self._shown(_found(issues, issue.external_id))

    def assign(self, tracker: Tracker, issue: Issue, login: str | None) -> Issue:
        with self._call("assign", login), self._open() as issues:
            _found(issues, issue.external_id)["assignees"] = [login] if login else []
            return self._shown(_found(issues, issue.external_id))

    def comments(self, tracker: Tracker, issue: Issue) -> Sequence[Comment]:
        with self._call("comments", issue), self._open() as issues:
            texts = _found(issues, issue.external_id)["comments"]
            return [Comment(str(number), Person(US), text) for number, text in enumerate(texts, 1)]

    def comment(self, tracker: Tracker, issue: Issue, body: str, marker: str) -> Comment:
        with self._call("comment", body), self._open() as issues:
            texts = _found(issues, issue.external_id)["comments"]
            texts.append(marked(body, marker, comment=True))
            return Comment(str(len(texts)), Person(US), texts[-1])

    def edit_comment(
        self, tracker: Tracker, issue: Issue, comment_id: str, body: str, marker: str = ""
    ) -> Comment:
        raise NotImplementedError

    def delete_comment(self, tracker: Tracker, issue: Issue, comment_id: str) -> None:
        raise NotImplementedError

    def changed(self, tracker: Tracker, cursor: Any) -> Any:
        raise NotImplementedError

    def by_ids(self, tracker: Tracker, external_ids: Sequence[str]) -> dict[str, Issue | None]:
        with self._open() as issues:
            known = {f"1#{issue['number']}": self._shown(issue) for issue in issues}
            return {external_id: known.get(external_id) for external_id in external_ids}

    # ── its file

    @contextmanager
    def _call(self, name: str, about: Any) -> Iterator[None]:
        self.before(name, about)
        yield
        self.after(name, about)

    @contextmanager
    def _open(self) -> Iterator[list[dict[str, Any]]]:
        with self.path.open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            issues: list[dict[str, Any]] = json.loads(file.read() or "[]")
            yield issues
            file.truncate(0)
            file.write(json.dumps(issues))

    def _shown(self, issue: dict[str, Any]) -> Issue:
        return Issue(
            external_id=f"1#{issue['number']}",
            key=f"acme/shop#{issue['number']}",
            url=f"https://github.example/acme/shop/issues/{issue['number']}",
            title=issue["title"],
            body=issue["body"],
            state=IssueState(issue["state"]),
            reason=issue["reason"],
            labels=tuple(issue["labels"]),
            assignees=tuple(Person(login) for login in issue["assignees"]),
            created_at=datetime.fromisoformat(issue["created_at"]),
            updated_at=datetime.fromisoformat(issue["updated_at"]),
            author=Person(US),
            is_pull_request=bool(issue.get("is_pull_request")),
        )


def _found(issues: list[dict[str, Any]], external_id: str) -> dict[str, Any]:
    number = int(external_id.rpartition("#")[2])
    if not 1 <= number <= len(issues):
        raise TrackerError(Verdict(Do.MAYBE_GONE, said="HTTP 404: Not Found"))
    return issues[number - 1]


class Answers:
    """What a far side says to calls of one name, one after the other; None: nothing special."""

    def __init__(self, call: str, *verdicts: Verdict | Exception | None) -> None:
        self.call, self.left, self.seen = call, list(verdicts), 0

    def __call__(self, call: str, about: Any) -> None:
        if call != self.call:
            return
        self.seen += 1
        verdict = self.left.pop(0) if self.left else None
        if isinstance(verdict, Verdict):
            raise TrackerError(verdict)
        if verdict is not None:
            raise verdict


LOST = Verdict(Do.UNKNOWN, said="no answer: the connection was lost")
