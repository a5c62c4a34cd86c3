"""Roundup 2, by its REST API: https://www.roundup-tracker.org/docs/rest.html. What is marked as seen was seen on 2.6.

Messages are objects of their own: the first one is an issue's description, the others are its comments. Writes are conditional by ETag.
Traps: an issue that was retired is read as before, and only missing in lists (seen); a message that is added moves a resolved issue to
chatting unless its status is sent along (seen); names of properties in a list are those of the tracker's schema.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

from tasks_pipeline.config.integrations import RoundupIntegration, Statuses, Tracker
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Calls
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
from tasks_pipeline.trackers.markers import marked
from tasks_pipeline.trackers.paging import PAGE, changed_since
from tasks_pipeline.trackers.providers.roundup_calls import CLOSED, LIST, RoundupCalls
from tasks_pipeline.trackers.providers.roundup_shapes import (
    Made,
    Message,
    Row,
    Token,
    User,
    description,
    fingerprint,
    ids_in,
    message_id,
    name_in,
    person,
    time_of,
    with_messages,
)
from tasks_pipeline.trackers.shapes import ids_listed, is_number, lines, not_listed, part, rows
from tasks_pipeline.trackers.workflow import Status, choices, reason_of, state_of, wrong_names

OVERLAP = timedelta(seconds=120)
MOST_COMMENTS = 1000
TRIES = 4
"""A message is added so often anew when somebody else changed the issue in between."""
TOKEN_SECONDS = 600


def open(integration: RoundupIntegration, calls: Calls) -> Roundup:
    """Roundup at the address of an integration, which is that of its tracker."""
    url = str(integration.url).rstrip("/")
    parts = urlsplit(url)
    pair = f"{integration.user}:{integration.password.get_secret_value()}".encode()
    calls.at(
        f"{url}/rest",
        {
            "Authorization": f"Basic {base64.b64encode(pair).decode()}",
            # Against forged requests Roundup wants to be told that this is none.
            "X-Requested-With": "rest",
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Referer": f"{url}/",
        },
    )
    return Roundup(calls, url, integration.user)


class Roundup:
    """See `provider.Provider`."""

    title_length = 255
    body_length = 65_536
    markup = "roundup"

    def __init__(self, calls: Calls, url: str, user: str) -> None:
        self._calls, self._url, self._user = calls, url, user
        self._far = RoundupCalls(calls, user)

    # ── whom and where

    def who(self) -> Identity:
        """The user who logs in. Passwords do not expire."""
        query = {"username:": self._user, "@fields": "username,realname,address"}
        users = rows(
            self._calls.ask("GET", "/data/user", kind="check", call="who", params=query), User, *LIST
        )
        found = users[0] if users else User("0", self._user)
        return Identity(Person(self._user, found.realname or self._user, found.address or ""))

    def place(self, tracker: Tracker) -> Place:
        """The tracker: it has issues, and the statuses that the settings name."""
        reply = self._calls.ask(
            "GET", "/data/issue", kind="check", call="place", params={"@page_size": 1, "@fields": "title"}
        )
        rows(reply, Row, *LIST)
        wrong = wrong_names(self._far.statuses(), tracker.statuses) if tracker.statuses != Statuses() else []
        there = ", ".join(status.name for status in self._far.statuses())
        problem = f"there is no status {', '.join(wrong)}; there are: {there}" if wrong else ""
        return Place(self._url, self._url, self._url, problem)

    # ── issues

    def read(self, tracker: Tracker, external_id: str, etag: str = "") -> Issue | None:
        """With its messages. Its own ETag does not change with the text of a message (seen), so that this one is made of all of it."""
        row = self._far.row(external_id, "state")
        try:
            messages = self._far.messages([one.id for one in row.messages[: MOST_COMMENTS + 1]])
        except TrackerError as error:
            if not error.is_too_long:
                raise
            return replace(self._issue(row, tracker, None), unread=str(error))
        issue = self._issue(row, tracker, messages)
        return None if etag and issue.etag == etag else issue

    def attributed(self, tracker: Tracker, issue: Issue, *, state: bool, assignee: bool) -> Issue:
        """Lists say who did something last, and no list says more."""
        return issue

    def find(self, tracker: Tracker, reference: str) -> Issue:
        """By number (`17`, `issue17`) or address."""
        pattern = rf"(?:#|{re.escape(self._url)}/)?(?:issue)?([0-9]{{1,12}})(?:[?#].*)?"
        found = re.fullmatch(pattern, reference.strip())
        if found is None:
            raise ValueError(f"{reference!r} names no issue; allowed: 17, issue17, {self._url}/issue17")
        issue = self.read(tracker, found[1])
        assert issue is not None
        return issue

    def create(self, tracker: Tracker, draft: Draft) -> Issue:
        """The body is its first message, with the marker as the last line and in its message id. The issue itself is made with a token
        that is good for one time: while its answer is lost, it is sent once more with the same token, and not made twice."""
        message = self._far.post_message(draft.body, draft.marker, "create", "edit")
        values = {**draft.fields, "title": draft.title, "messages": [message]}
        if draft.assignee:
            values["assignedto"] = draft.assignee
        token = self._far.prepare("/data/issue/@poe", {"lifetime": TOKEN_SECONDS}, "create", "edit", Token)
        path = f"/data/issue/@poe/{quote(token.link.rsplit('/', 1)[-1], safe='')}"
        made = self._post_once(tracker, path, values, draft.marker)
        try:
            issue = self.read(tracker, made)
        except TrackerError as error:  # it was made: to make it again would double it
            raise TrackerError(replace(error.verdict, do=Do.UNKNOWN)) from error
        assert issue is not None
        return issue

    def find_marker(self, tracker: Tracker, marker: str, since: datetime) -> Issue | None:
        """By the message id of the message that holds it. Of several issues the lowest."""
        wanted = message_id(marker)
        query = {"messageid:": wanted, "@fields": "messageid"}
        reply = self._calls.ask("GET", "/data/msg", kind="create", call="search", params=query)
        found = rows(reply, Message, *LIST)
        if any(
            one.messageid != wanted for one in found
        ):  # to take that for "it was not made" would make it twice
            said = "its list of messages is not one of those with a message id"
            raise TrackerError(Verdict(Do.UNREACHABLE, said=said))
        messages = [one.id for one in found]
        issues = [row for one in messages for row in self._far.rows([("messages", one)], "create", "search")]
        if not issues:
            return None
        first = min(issues, key=lambda row: int(row.id))
        return self._issue(first, tracker, self._far.messages([one.id for one in first.messages]))

    def set_state(self, tracker: Tracker, issue: Issue, state: IssueState, reason: str = "") -> Issue:
        """Raises TrackerError (LOOK_AGAIN) when its status is another one than `issue` shows, HELD when it is not taken."""
        wanted = choices(self._far.statuses(), tracker.statuses, state, reason)[0]
        item = self._far.item("issue", issue.external_id, "state")
        now = name_in(item.attributes.get("status"))
        if issue.status and clean(now, 200) != clean(issue.status, 200):
            raise TrackerError(Verdict(Do.LOOK_AGAIN, said=f'its status became "{now}" meanwhile'))
        call = "close" if state is IssueState.CLOSED else "reopen"
        self._far.patch("issue", issue.external_id, item, {"status": wanted.id}, "state", call)
        changed = self._read_back(tracker, issue)
        if changed.state is not state:
            said = f'the tracker did not take "{wanted.name}": it is "{changed.status}"'
            raise TrackerError(Verdict(Do.HELD, said=said))
        return changed

    def assign(self, tracker: Tracker, issue: Issue, login: str | None) -> Issue:
        """`login` is the name of a user."""
        item = self._far.item("issue", issue.external_id, "state")
        if login is None:
            values, op = {"assignedto": ""}, "remove"
        else:
            values, op = {"assignedto": login}, "replace"
        self._far.patch("issue", issue.external_id, item, values, "state", "assign", op)
        return self._read_back(tracker, issue)

    # ── comments

    def comments(self, tracker: Tracker, issue: Issue) -> Sequence[Comment]:
        """Messages but for the one that is its description."""
        row = self._far.row(issue.external_id, "state")
        messages = self._far.messages([one.id for one in row.messages[: MOST_COMMENTS + 1]])
        return self._issue(row, tracker, messages).comments or ()

    def comment(self, tracker: Tracker, issue: Issue, body: str, marker: str) -> Comment:
        """A message that is added to those of the issue. Its status stays as it is."""
        message = self._far.post_message(body, marker, "comment", "edit")
        for _ in range(TRIES):
            item = self._far.item("issue", issue.external_id, "comment")
            values = with_messages(item, [*ids_in(item.attributes.get("messages")), message])
            try:
                self._far.patch("issue", issue.external_id, item, values, "comment", "comment")
                break
            except TrackerError as error:
                if error.verdict.do is not Do.LOOK_AGAIN:
                    raise
        else:
            raise TrackerError(Verdict(Do.RETRY, said="the issue changes all the time"))
        return self._written(issue, message)

    def edit_comment(
        self, tracker: Tracker, issue: Issue, comment_id: str, body: str, marker: str = ""
    ) -> Comment:
        """The text of a message, and the id that tells its marker."""
        values = {"content": marked(body, marker, comment=False)}
        if marker:
            values["messageid"] = message_id(marker)
        self._far.change_message(comment_id, values, "edit")
        return self._written(issue, comment_id)

    def delete_comment(self, tracker: Tracker, issue: Issue, comment_id: str) -> None:
        """It is taken from the issue, and its text is dropped; only administrators may retire a message."""
        item = self._far.item("issue", issue.external_id, "comment")
        left = [one for one in ids_in(item.attributes.get("messages")) if one != comment_id]
        if len(left) < len(ids_in(item.attributes.get("messages"))):
            self._far.patch("issue", issue.external_id, item, with_messages(item, left), "comment", "delete")
        try:
            self._far.change_message(comment_id, {"content": "(deleted)", "messageid": ""}, "delete")
        except TrackerError as error:
            if error.verdict.do not in (Do.DEAD, Do.HELD):
                raise

    # ── many issues

    def changed(self, tracker: Tracker, cursor: Cursor) -> Changes:
        """Rows by the time of their last activity. Without a zone their times would be those of the zone that our user has set (seen)."""

        def page(since: datetime, offset: int) -> list[Issue]:
            rows = self._far.rows(
                [
                    ("activity", f"from {since.astimezone(UTC):%Y-%m-%d.%H:%M:%S}+0000"),
                    ("@sort", "activity,id"),
                    ("@page_size", str(PAGE)),
                    ("@page_index", str(offset // PAGE + 1)),
                ],
                "poll",
                "poll",
            )
            return [self._issue(row, tracker, None) for row in rows]

        def their_clock() -> datetime:
            reply = self._calls.ask(
                "GET", "/data/issue", kind="poll", call="poll", params={"@page_size": 1, "@fields": "title"}
            )
            rows(reply, Row, *LIST)
            return reply.date or datetime.now(UTC)

        return changed_since(cursor, page, their_clock, OVERLAP)

    def by_ids(self, tracker: Tracker, external_ids: Sequence[str]) -> dict[str, Issue | None]:
        """A hundred in a call; those that were retired are not there."""
        numbers = [one for one in external_ids if is_number(one)]
        found: dict[str, Issue | None] = dict.fromkeys(one for one in external_ids if not is_number(one))
        for start in range(0, len(numbers), PAGE):
            asked = numbers[start : start + PAGE]
            reply = self._far.listed([("id", one) for one in asked], "poll", "list")
            found |= dict.fromkeys(not_listed(asked, ids_listed(reply, *LIST)))
            listed = rows(reply, Row, *LIST)
            found |= {row.id: self._issue(row, tracker, None) for row in listed if row.id in asked}
        return found

    # ── what calls come to

    def _post_once(self, tracker: Tracker, path: str, values: Any, marker: str) -> str:
        """The number of the issue that is made. A token that was used up may have made it: then its marker is there."""
        first: TrackerError | None = None
        for _ in range(2):
            try:
                reply = self._calls.ask("POST", path, kind="create", call="create", json=values)
                return reply.shaped(Made, part(reply, "data")).id
            except TrackerError as error:
                first = first or error
                if error.verdict.do is not Do.UNKNOWN:
                    break
        assert first is not None
        if first.verdict.do in (Do.UNKNOWN, Do.DEAD, Do.LOOK_AGAIN):
            found = self.find_marker(tracker, marker, datetime.now(UTC))
            if found is not None:
                return found.external_id
        if first.verdict.do is Do.LOOK_AGAIN:  # 409: a value that it cannot use
            raise TrackerError(replace(first.verdict, do=Do.DEAD)) from first
        raise first

    def _read_back(self, tracker: Tracker, issue: Issue) -> Issue:
        found = self.read(tracker, issue.external_id)
        assert found is not None
        return found

    def _written(self, issue: Issue, message: str) -> Comment:
        """A message as it is now. It is there, whatever goes wrong with reading it."""
        try:
            found = self._far.messages([message])
        except TrackerError as error:
            raise TrackerError(replace(error.verdict, do=Do.UNKNOWN)) from error
        if not found:
            raise TrackerError(Verdict(Do.DEAD, said="the message is not there any more"))
        return self._comment(found[0])

    # ── shapes

    def _issue(self, row: Row, tracker: Tracker, messages: Sequence[Message] | None) -> Issue:
        name = (row.status.name if row.status else None) or ""
        status = Status("", name, name.casefold() in CLOSED)
        state = state_of(status, tracker.statuses)
        superseded = state is IssueState.CLOSED and bool(row.superseder)
        first, rest = description(row, messages or ())
        activity = time_of(row.activity)
        return Issue(
            external_id=row.id,
            key=f"issue{row.id}",
            url=f"{self._url}/issue{row.id}",
            title=row.title or "",
            state=state,
            body=lines(first.content) if first else "",
            reason="duplicate" if superseded else reason_of(status, tracker.statuses),
            status=name,
            author=person(row.creator) if row.creator else None,
            assignees=(person(row.assignedto),) if row.assignedto else (),
            created_at=time_of(row.creation),
            updated_at=activity,
            closed_at=activity if state is IssueState.CLOSED else None,
            changed_by=person(row.actor) if row.actor else None,
            assigned_by=person(row.actor) if row.actor else None,
            etag="" if messages is None else fingerprint(row, messages),
            comments=None if messages is None else tuple(self._comment(one) for one in rest)[:MOST_COMMENTS],
        )

    def _comment(self, message: Message) -> Comment:
        author = message.author or message.creator
        return Comment(
            message.id,
            person(author) if author else None,
            lines(message.content),
            time_of(message.date) or time_of(message.creation),
            time_of(message.activity),
            url=f"{self._url}/msg{message.id}",
        )
