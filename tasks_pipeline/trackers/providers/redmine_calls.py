"""What Redmine is asked, and how its answers are read: issues, notes, statuses, users. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Calls, Kind, Reply
from tasks_pipeline.trackers.issue import Issue
from tasks_pipeline.trackers.providers.redmine_shapes import (
    Named,
    Project,
    Row,
    User,
    by_name,
    listed,
    number,
)
from tasks_pipeline.trackers.shapes import part, rows
from tasks_pipeline.trackers.workflow import Status

NOT_THERE = "nothing: it is not there"
"""What is left to do about a note that cannot be changed since it is gone."""


class RedmineCalls:
    """Calls to one Redmine. What hardly ever changes there is asked for once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._known_statuses: list[Status] | None = None
        self._marker_fields: dict[str, bool] = {}
        self.kinds: dict[str, list[Named]] = {}
        """By project: kinds of issues that it has."""

    def get(
        self,
        path: str,
        *,
        kind: Kind,
        call: str,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """As `Calls.ask`."""
        return self._calls.ask("GET", path, kind=kind, call=call, params=params, headers=headers)

    def put(self, issue: Issue, values: Mapping[str, Any], *, kind: Kind, call: str) -> None:
        """Change an issue; what is not allowed is dropped without a word."""
        path = f"/issues/{number(issue.external_id)}.json"
        self._calls.ask("PUT", path, kind=kind, call=call, json={"issue": values})

    def put_status(self, issue: Issue, status: Status, call: str) -> Row:
        """Give an issue a status; what it is then, with the statuses that its workflow allows."""
        self.put(issue, {"status_id": int(status.id)}, kind="state", call=call)
        return self.row(issue.external_id, "journals,allowed_statuses", notes_needed=False)

    def put_note(self, comment_id: str, text: str, call: str) -> None:
        """Refusals are of this note alone, and not of its issue or project."""
        path = f"/journals/{number(comment_id)}.json"
        try:
            self._calls.ask("PUT", path, kind="comment", call=call, json={"journal": {"notes": text}})
        except TrackerError as error:
            if error.verdict.do in (Do.MAYBE_GONE, Do.GONE):
                said = "the note is not there any more"
                raise TrackerError(Verdict(Do.DEAD, then=NOT_THERE, said=said)) from error
            if error.verdict.do is Do.HELD:
                raise TrackerError(replace(error.verdict, tracker="")) from error
            raise

    def read(self, external_id: str, include: str, etag: str = "") -> Reply:
        """An issue by itself, with what is to be included."""
        return self.get(
            f"/issues/{number(external_id)}.json",
            kind="state",
            call="read",
            params={"include": include} if include else {},
            headers={"If-None-Match": etag} if etag else {},
        )

    def row(self, external_id: str, include: str, *, notes_needed: bool = True) -> Row:
        """An issue by itself; where its notes are too long for an answer and are not needed, without them."""
        try:
            reply = self.read(external_id, include)
        except TrackerError as error:
            if notes_needed or not error.is_too_long:
                raise
            reply = self.read(external_id, include.removeprefix("journals").removeprefix(","))
        return reply.shaped(Row, part(reply, "issue"))

    def user(self, *, memberships: bool = False) -> User:
        """Our user."""
        query: dict[str, str | int] = {"include": "memberships"} if memberships else {}
        reply = self.get("/users/current.json", kind="check", call="who", params=query)
        return reply.shaped(User, part(reply, "user"))

    def statuses(self) -> list[Status]:
        """All statuses, in their order."""
        if self._known_statuses is None:
            reply = self.get("/issue_statuses.json", kind="check", call="check")
            found = reply.shaped(list[Named], part(reply, "issue_statuses"))
            self._known_statuses = [Status(str(one.id), one.name, bool(one.is_closed)) for one in found]
        return self._known_statuses

    def kind(self, tracker: Tracker) -> dict[str, int]:
        """The kind of issue to make: the project's first when none is named."""
        name = tracker.project or ""
        if tracker.tracker is None:
            return {}
        if name not in self.kinds:
            reply = self.get(
                f"/projects/{name}.json", kind="create", call="place", params={"include": "trackers"}
            )
            self.kinds[name] = reply.shaped(Project, part(reply, "project")).trackers or []
        found = by_name(self.kinds[name], tracker.tracker)
        if found is None:
            said = f'project {name} has no tracker "{tracker.tracker}"; it has: {listed(self.kinds[name])}'
            raise TrackerError(Verdict(Do.HELD, tracker="misconfigured", said=said))
        return {"tracker_id": found.id}

    def has_field(self, tracker: Tracker, field: int) -> bool:
        """Whether issues of the project are seen to have a custom field: the value of one that they do not have is dropped without a
        word, and the marker with it."""
        if not self._marker_fields.get(tracker.name):
            query: dict[str, str | int] = {"project_id": tracker.project or "", "status_id": "*", "limit": 25}
            query |= self.kind(tracker)
            reply = self.get("/issues.json", kind="create", call="search", params=query)
            found = rows(reply, Row, "issues")
            has = [any(one.id == field for one in row.custom_fields) for row in found]
            self._marker_fields[tracker.name] = bool(has) and all(has)
        return self._marker_fields[tracker.name]
