"""What Roundup is asked, and how its answers are read: issues, messages, statuses. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Calls, Kind, Reply
from tasks_pipeline.trackers.markers import marked
from tasks_pipeline.trackers.providers.roundup_shapes import (
    Item,
    KnownStatus,
    Made,
    Message,
    Row,
    message_id,
    number,
)
from tasks_pipeline.trackers.shapes import T, part, rows
from tasks_pipeline.trackers.workflow import Status

CLOSED = ("resolved", "done-cbb", "closed")
"""Names of statuses that are closed in the templates Roundup comes with: it has no word of its own for that. The first is preferred."""
MESSAGES = 50
"""Messages in a call: each may be as long as a mail."""
FEWEST = 5
"""The same where so many were too long for one answer."""
FIELDS = "title,status,assignedto,activity,actor,creation,creator,messages,superseder"
LIST = ("data", "collection")


class RoundupCalls:
    """Calls to one Roundup, as a user."""

    def __init__(self, calls: Calls, user: str) -> None:
        self._calls, self._user = calls, user
        self._known_statuses: list[Status] | None = None

    def row(self, external_id: str, kind: Kind) -> Row:
        """An issue from a list, where one that was retired is missing."""
        rows = self.rows([("id", number(external_id))], kind, "read")
        if not rows:
            raise TrackerError(
                Verdict(Do.MAYBE_GONE, said=f"there is no issue{external_id}, or it was retired")
            )
        return rows[0]

    def listed(self, query: Sequence[tuple[str, str]], kind: Kind, call: str) -> Reply:
        """Issues by a query."""
        asked = urlencode([*query, ("@fields", FIELDS), ("@verbose", "2")])
        return self._calls.ask("GET", f"/data/issue?{asked}", kind=kind, call=call)

    def rows(self, query: Sequence[tuple[str, str]], kind: Kind, call: str) -> list[Row]:
        """The same, as rows."""
        return rows(self.listed(query, kind, call), Row, *LIST)

    def messages(self, ids: Sequence[str]) -> list[Message]:
        """Messages by their numbers, in that order; those that were retired are missing."""

        def read(wanted: Sequence[str]) -> list[Message]:
            fields = "content,author,creator,date,creation,activity,messageid"
            asked = urlencode([*(("id", one) for one in wanted), ("@fields", fields), ("@verbose", "3")])
            try:
                reply = self._calls.ask("GET", f"/data/msg?{asked}", kind="state", call="read")
            except TrackerError as error:
                if not error.is_too_long or len(wanted) <= FEWEST:
                    raise
                parts = range(0, len(wanted), FEWEST)
                return [one for start in parts for one in read(wanted[start : start + FEWEST])]
            return rows(reply, Message, *LIST)

        found = [one for start in range(0, len(ids), MESSAGES) for one in read(ids[start : start + MESSAGES])]
        return sorted(found, key=lambda one: int(one.id))

    def item(self, what: str, external_id: str, kind: Kind) -> Item:
        """One thing by its number, with its ETag."""
        path = f"/data/{what}/{number(external_id)}"
        reply = self._calls.ask("GET", path, kind=kind, call="read", params={"@verbose": 2})
        return reply.shaped(Item, part(reply, "data"))

    def patch(
        self,
        what: str,
        external_id: str,
        item: Item,
        values: Any,
        kind: Kind,
        call: str,
        op: str = "replace",
    ) -> None:
        """Change a thing that is still as it was read; else LOOK_AGAIN is raised."""
        self._calls.ask(
            "PATCH",
            f"/data/{what}/{number(external_id)}",
            kind=kind,
            call=call,
            json={"@op": op, **values},
            headers={"If-Match": item.etag},
        )

    def change_message(self, message: str, values: Any, call: str) -> None:
        """Refusals are of this message alone, and not of its issue."""
        try:
            item = self.item("msg", message, "comment")
            self.patch("msg", message, item, values, "comment", call)
        except TrackerError as error:
            if error.verdict.do in (Do.MAYBE_GONE, Do.GONE):
                raise TrackerError(Verdict(Do.DEAD, said="the message is not there any more")) from error
            if error.verdict.do is Do.HELD:
                raise TrackerError(replace(error.verdict, tracker="")) from error
            raise

    def prepare(self, path: str, values: Any, kind: Kind, call: str, shape: type[T]) -> T:
        """What has to be there before something is made. Nothing was made when it fails, so it may be done again."""
        try:
            reply = self._calls.ask("POST", path, kind=kind, call=call, json=values)
            return reply.shaped(shape, part(reply, "data"))
        except TrackerError as error:
            if error.verdict.do in (Do.LOOK_AGAIN, Do.READ_IT):
                raise TrackerError(replace(error.verdict, do=Do.RETRY)) from error
            raise

    def post_message(self, body: str, marker: str, kind: Kind, call: str) -> str:
        """A message that belongs to no issue yet; without an author and a date it may not be added to one."""
        values = {
            "content": marked(body, marker, comment=False),
            "author": self._user,
            "date": ".",
            "messageid": message_id(marker),
        }
        return self.prepare("/data/msg", values, kind, call, Made).id

    def statuses(self) -> list[Status]:
        """In their order; of those that are closed the preferred one first."""
        if self._known_statuses is None:
            query = {"@fields": "name,order", "@sort": "order,id"}
            reply = self._calls.ask("GET", "/data/status", kind="check", call="check", params=query)
            found = rows(reply, KnownStatus, *LIST)
            known = [Status(one.id, one.name, one.name.casefold() in CLOSED) for one in found]
            known.sort(key=lambda one: CLOSED.index(one.name.casefold()) if one.closed else -1)
            self._known_statuses = known
        return self._known_statuses
