"""Redmine 4 and later, by its REST API: https://www.redmine.org/projects/redmine/wiki/Rest_api. What is marked as seen was seen on 5.0.

Traps: a change that the workflow or a missing right forbids is dropped with 204; notes get no id in the answer; lists hold open issues
only unless `status_id=*` is given; a refusal for want of rights is a 422 in the user's language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks_pipeline.config.integrations import RedmineIntegration, Statuses, Tracker
from tasks_pipeline.trackers.answers import DEGRADED, Do, TrackerError, Verdict
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
from tasks_pipeline.trackers.markers import marker_in, plain
from tasks_pipeline.trackers.paging import PAGE, changed_since, in_parts
from tasks_pipeline.trackers.providers.redmine_calls import NOT_THERE, RedmineCalls
from tasks_pipeline.trackers.providers.redmine_place import missing_fields, missing_rights, problems
from tasks_pipeline.trackers.providers.redmine_shapes import (
    Project,
    Row,
    assignment,
    body_of,
    custom_fields,
    fitted,
    listed,
    person,
    time,
)
from tasks_pipeline.trackers.shapes import aware, ids_listed, is_number, lines, not_listed, part, rows
from tasks_pipeline.trackers.workflow import Status, choices, reason_of, state_of, wrong_names

OVERLAP = timedelta(seconds=120)
NOT_PLANNED = ("Rejected",)
"""What Redmine's own data call an issue that is closed without a fix."""
MOST_COMMENTS = 1000


def open(integration: RedmineIntegration, calls: Calls) -> Redmine:
    """Redmine at the address of an integration."""
    url = str(integration.url).rstrip("/")
    # Without a language of the user's own, refusals come in this one.
    calls.at(url, {"X-Redmine-API-Key": integration.token.get_secret_value(), "Accept-Language": "en"})
    return Redmine(calls, url)


class Redmine:
    """See `provider.Provider`."""

    title_length = 255
    body_length = 60_000
    markup = "redmine"

    def __init__(self, calls: Calls, url: str) -> None:
        self._calls, self._url = calls, url
        self._far = RedmineCalls(calls)

    # ── whom and where

    def who(self) -> Identity:
        """The user of the API key. Keys do not expire."""
        user = self._far.user()
        note = "an administrator: a user with fewer rights would do" if user.admin else ""
        return Identity(Person(str(user.id), user.login, user.mail), note=note)

    def place(self, tracker: Tracker) -> Place:
        """The project, with what its settings, the user's roles and the workflow lack; required fields where the user may read them."""
        name = tracker.project or ""
        query = {"include": "trackers,issue_custom_fields,enabled_modules"}
        try:
            reply = self._far.get(f"/projects/{name}.json", kind="check", call="place", params=query)
        except TrackerError as error:
            if error.verdict.do is not Do.HELD:
                raise
            said = f"there is no project {name}, or it is archived, or the user of the API key is no member of it ({error})"
            return Place("", name, self._of_project(name), said)
        project = reply.shaped(Project, part(reply, "project"))
        self._far.kinds[name] = project.trackers or []
        wrong = wrong_names(self._far.statuses(), tracker.statuses) if tracker.statuses != Statuses() else []
        user = self._far.user(memberships=True)
        return Place(
            str(project.id),
            project.name or name,
            self._of_project(name),
            next(problems(tracker, project, wrong), "") or missing_rights(self._calls, name, project, user),
            missing_fields=tuple(missing_fields(self._calls, tracker, project)),
        )

    # ── issues

    def read(self, tracker: Tracker, external_id: str, etag: str = "") -> Issue | None:
        """With its notes. Its ETag changes with them, while `updated_on` does not when one is edited (seen)."""
        try:
            reply = self._far.read(external_id, "journals", etag)
        except TrackerError as error:
            if not error.is_too_long:
                raise
            row = self._far.row(external_id, "")
            return replace(self._issue(row, tracker), unread=str(error))
        if reply.unchanged:
            return None
        row = reply.shaped(Row, part(reply, "issue"))
        return self._issue(row, tracker, reply.etag)

    def attributed(self, tracker: Tracker, issue: Issue, *, state: bool, assignee: bool) -> Issue:
        """Its journals tell, which a list does not bring."""
        if issue.comments is not None or issue.unread:
            return issue
        return self.read(tracker, issue.external_id) or issue

    def find(self, tracker: Tracker, reference: str) -> Issue:
        """By number (`17`, `#17`) or address."""
        found = re.fullmatch(
            rf"(?:#|{re.escape(self._url)}/issues/)?([0-9]{{1,12}})(?:[?#/].*)?", reference.strip()
        )
        if found is None:
            raise ValueError(f"{reference!r} names no issue; allowed: 17, #17, {self._url}/issues/17")
        issue = self.read(tracker, found[1])
        assert issue is not None
        return issue

    def create(self, tracker: Tracker, draft: Draft) -> Issue:
        """The marker is in the field `marker_field` of the tracker, or is the last line of the description."""
        in_field = tracker.marker_field is not None and self._far.has_field(tracker, tracker.marker_field)
        values: dict[str, Any] = {
            "project_id": tracker.project,
            **self._far.kind(tracker),
            **draft.fields,
            "subject": draft.title,
            "description": fitted(draft.body, "" if in_field else draft.marker),
        }
        fields = custom_fields(draft.fields)
        if tracker.marker_field is not None:
            fields.append({"id": tracker.marker_field, "value": plain(draft.marker)})
        if fields:
            values["custom_fields"] = fields
        if draft.assignee:
            values["assigned_to_id"] = draft.assignee
        try:
            reply = self._calls.ask(
                "POST", "/issues.json", kind="create", call="create", json={"issue": values}
            )
        except TrackerError as error:
            raise self._why_refused(tracker, error) from error
        return self._issue(reply.shaped(Row, part(reply, "issue")), tracker)

    def find_marker(self, tracker: Tracker, marker: str, since: datetime) -> Issue | None:
        """By their database. A filter by a field that is no filter there is ignored (seen), so every row is looked at."""
        query: dict[str, str | int] = {
            "author_id": "me",
            "status_id": "*",
            "created_on": f">={time(since)}",
            "sort": "id",
            "limit": PAGE,
        }
        for offset in range(0, 50 * PAGE, PAGE):
            reply = self._far.get(
                "/issues.json", kind="create", call="search", params=query | {"offset": offset}
            )
            found = rows(reply, Row, "issues")
            for row in found:
                if marker_in(body_of(row)) == marker:
                    return self._issue(row, tracker)
            if len(found) < PAGE:
                break
        return None

    def set_state(self, tracker: Tracker, issue: Issue, state: IssueState, reason: str = "") -> Issue:
        """By a status that the settings name, else the first one that the workflow allows; read afterwards, since one that it does
        not allow is dropped with 204 (seen). Raises TrackerError (HELD) when there is no way."""
        wanted = choices(self._far.statuses(), tracker.statuses, state, reason, NOT_PLANNED)
        call = "close" if state is IssueState.CLOSED else "reopen"
        row = self._far.put_status(issue, wanted[0], call)
        allowed = {status.id for status in row.allowed_statuses or ()}
        other = next((status for status in wanted[1:] if int(status.id) in allowed), None)
        if other is not None and state_of(self._status(row), tracker.statuses) is not state:
            row = self._far.put_status(issue, other, call)
        changed = self._issue(row, tracker)
        if changed.state is state:
            return changed
        said = f'the workflow does not allow "{wanted[0].name}" from "{changed.status}"'
        said += f"; it allows: {listed(row.allowed_statuses)}" if row.allowed_statuses else ""
        raise TrackerError(Verdict(Do.HELD, said=said))

    def assign(self, tracker: Tracker, issue: Issue, login: str | None) -> Issue:
        """`login` is the number of a user or group."""
        if login is not None and not is_number(login):
            said = f"{login!r} is no account of Redmine; allowed is the number of a user, as in the address of its page"
            raise TrackerError(Verdict(Do.DEAD, fields=("Assignee",), said=said))
        self._far.put(issue, {"assigned_to_id": login or ""}, kind="state", call="assign")
        return self._issue(self._far.row(issue.external_id, "journals", notes_needed=False), tracker)

    # ── comments: notes are journals of the issue

    def comments(self, tracker: Tracker, issue: Issue) -> Sequence[Comment]:
        """Journals with a note; changes without one are none."""
        return self._comments(self._far.row(issue.external_id, "journals"))

    def comment(self, tracker: Tracker, issue: Issue, body: str, marker: str) -> Comment:
        """Found by its marker afterwards, since the answer holds no id (seen)."""
        self._far.put(
            issue, {"notes": fitted(body, marker), "private_notes": False}, kind="comment", call="comment"
        )
        try:
            written = [
                one
                for one in self._comments(self._far.row(issue.external_id, "journals"))
                if marker_in(one.body) == marker
            ]
        except TrackerError as error:  # it was written: to write it again would double it
            raise TrackerError(replace(error.verdict, do=Do.UNKNOWN)) from error
        if len(written) > 1:  # markers of comments can be guessed: whoever writes one makes no note ours
            us = str(self._far.user().id)
            written = [one for one in written if one.author is not None and one.author.login == us] or written
        if not written:
            said = "the note was not taken: the user of the API key may not add notes to this issue"
            raise TrackerError(Verdict(Do.HELD, said=said))
        return written[-1]

    def edit_comment(
        self, tracker: Tracker, issue: Issue, comment_id: str, body: str, marker: str = ""
    ) -> Comment:
        """From Redmine 5.0 on; who may edit only what is theirs may not edit others'."""
        self._far.put_note(comment_id, fitted(body, marker), "edit")
        notes = self._comments(self._far.row(issue.external_id, "journals"))
        found = [one for one in notes if one.external_id == comment_id]
        if not found:
            raise TrackerError(Verdict(Do.DEAD, said="the note is not there any more"))
        return found[0]

    def delete_comment(self, tracker: Tracker, issue: Issue, comment_id: str) -> None:
        """A note without text is none any more."""
        try:
            self._far.put_note(comment_id, "", "delete")
        except TrackerError as error:
            if error.verdict.do is not Do.DEAD or error.verdict.then != NOT_THERE:
                raise

    # ── many issues

    def changed(self, tracker: Tracker, cursor: Cursor) -> Changes:
        """Rows of the project by the time of their last change."""
        query: dict[str, str | int] = {
            "project_id": tracker.project or "",
            "status_id": "*",
            "sort": "updated_on:asc,id",
            "limit": PAGE,
        }

        def page(since: datetime, offset: int) -> list[Issue]:
            def part_of(offset: int, many: int) -> list[Issue]:
                more: dict[str, str | int] = {"offset": offset, "limit": many}
                asked = query | {"updated_on": f">={time(since)}"} | more
                reply = self._far.get("/issues.json", kind="poll", call="poll", params=asked)
                return [self._issue(row, tracker) for row in rows(reply, Row, "issues")]

            return in_parts(part_of, offset, PAGE)  # its texts may have any length

        def their_clock() -> datetime:
            reply = self._far.get("/issues.json", kind="poll", call="poll", params=query | {"limit": 1})
            return reply.date or datetime.now(UTC)

        return changed_since(cursor, page, their_clock, OVERLAP)

    def by_ids(self, tracker: Tracker, external_ids: Sequence[str]) -> dict[str, Issue | None]:
        """A hundred in a call, in whatever project they are."""
        numbers = [one for one in external_ids if is_number(one)]
        found: dict[str, Issue | None] = dict.fromkeys(one for one in external_ids if not is_number(one))

        def part_of(offset: int, many: int) -> list[Row]:
            asked = numbers[offset : offset + many]
            query: dict[str, str | int] = {"issue_id": ",".join(asked), "status_id": "*", "limit": PAGE}
            try:
                reply = self._far.get("/issues.json", kind="poll", call="list", params=query)
            except TrackerError as error:
                if error.is_too_long and len(asked) == 1:
                    return []  # it is there
                raise
            found.update(dict.fromkeys(not_listed(asked, ids_listed(reply, "issues"))))
            return rows(reply, Row, "issues")

        for start in range(0, len(numbers), PAGE):
            listed = in_parts(part_of, start, min(PAGE, len(numbers) - start))
            found |= {str(row.id): self._issue(row, tracker) for row in listed if str(row.id) in numbers}
        return found

    # ── what calls come to

    def _why_refused(self, tracker: Tracker, error: TrackerError) -> TrackerError:
        """A 422 also says that there is no such project, or no right to add issues, in the user's language: the project tells."""
        if error.verdict.do is not Do.DEAD:
            return error
        try:
            problem = self.place(tracker).problem
        except TrackerError:
            return error
        return TrackerError(Verdict(Do.HELD, tracker=DEGRADED, said=problem)) if problem else error

    # ── shapes

    def _issue(self, row: Row, tracker: Tracker, etag: str = "") -> Issue:
        status = self._status(row)
        state, given = state_of(status, tracker.statuses), assignment(row)
        return Issue(
            external_id=str(row.id),
            key=f"#{row.id}",
            url=f"{self._url}/issues/{row.id}",
            title=row.subject or "",
            state=state,
            body=body_of(row),
            reason=reason_of(status, tracker.statuses, NOT_PLANNED),
            status=status.name,
            author=person(row.author) if row.author else None,
            assignees=(person(row.assigned_to),) if row.assigned_to else (),
            created_at=aware(row.created_on),
            updated_at=aware(row.updated_on),
            closed_at=aware(row.closed_on) if state is IssueState.CLOSED else None,
            changed_by=self._who_changed(row, tracker, state) if row.journals else None,
            assigned_by=person(given.user) if given and given.user else None,
            assigned_at=aware(given.created_on) if given else None,
            etag=etag,
            comments=None if row.journals is None else self._comments(row),
        )

    def _status(self, row: Row) -> Status:
        closed = row.status.is_closed
        if closed is None:  # before Redmine 5.0
            closed = any(one.closed for one in self._far.statuses() if one.id == str(row.status.id))
        return Status(str(row.status.id), row.status.name, closed)

    def _who_changed(self, row: Row, tracker: Tracker, state: IssueState) -> Person | None:
        """Who brought it into the state in which it is."""
        states = {one.id: state_of(one, tracker.statuses) for one in self._far.statuses()}
        for journal in reversed(row.journals or ()):
            for change in journal.details:
                if change.property == "attr" and change.name == "status_id":
                    old, new = states.get(str(change.old_value)), states.get(str(change.new_value))
                    if new is state and old is not state:
                        return person(journal.user) if journal.user else None
        return None

    def _comments(self, row: Row) -> tuple[Comment, ...]:
        return tuple(
            Comment(
                str(journal.id),
                person(journal.user) if journal.user else None,
                lines(journal.notes),
                aware(journal.created_on),
                aware(journal.updated_on),
                journal.private_notes,
                f"{self._url}/issues/{row.id}#change-{journal.id}",
            )
            for journal in row.journals or ()
            if (journal.notes or "").strip()
        )[:MOST_COMMENTS]

    def _of_project(self, name: str) -> str:
        return f"{self._url}/projects/{name}"
