"""GitHub and GitHub Enterprise Server, by their REST API with a token.

API version 2022-11-28, which every supported Enterprise Server knows. An issue's id in our tables is REPOSITORY_ID#NUMBER: the number
alone is another issue's when a repository was removed and made anew, and its own name changes with its repository's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from tasks_pipeline.config.integrations import GitHubIntegration, Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Calls, Reply
from tasks_pipeline.trackers.issue import (
    Changes,
    Comment,
    Cursor,
    Draft,
    Identity,
    Issue,
    IssueState,
    Place,
)
from tasks_pipeline.trackers.markers import hidden, marked
from tasks_pipeline.trackers.provider import Provider
from tasks_pipeline.trackers.providers.github_calls import GitHubCalls, parts
from tasks_pipeline.trackers.providers.github_polling import SIZES, by_numbers, changes
from tasks_pipeline.trackers.providers.github_shapes import (
    CommentShape,
    IssueShape,
    RepositoryShape,
    UserShape,
)

VERSION = "2022-11-28"
COMMENT_PAGES = 10
MARKER_PAGES = 10
FEW = 3
"""So many issues are read one by one; more of them from the lists."""
_MOVED_TO = re.compile(r"/repositories/(\d{1,20})(?:/|$)")


def open(integration: GitHubIntegration, calls: Calls) -> Provider:
    """The provider of an integration."""
    web, api = addresses(integration.url)
    calls.at(
        api,
        {
            "Authorization": f"Bearer {integration.token.get_secret_value()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            "User-Agent": "tasks-pipeline",
        },
    )
    return GitHub(calls, web)


def addresses(url: str) -> tuple[str, str]:
    """The address that people open, and where the API begins: github.com, NAME.ghe.com, or an Enterprise Server's."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().removeprefix("www.").removeprefix("api.")
    if host == "github.com" or host.endswith(".ghe.com"):
        return f"https://{host}", f"https://api.{host}"
    web = url.rstrip("/").removesuffix("/api/v3")
    return web, f"{web}/api/v3"


class GitHub:
    """What `Provider` says."""

    title_length = 256
    body_length = 65_000  # of 65,536, so that the marker has room
    markup = "github"

    def __init__(self, calls: Calls, web: str) -> None:
        self._web = web
        self._far = GitHubCalls(calls, web)
        self._login = ""

    # ── who and where

    def who(self) -> Identity:
        """See `Provider`."""
        reply = self._far.ask("GET", "/user", "check", "who")
        user = reply.shaped(UserShape)
        self._login = user.login
        scopes = [scope.strip() for scope in reply.headers.get("x-oauth-scopes", "").split(",")]
        return Identity(user.person(), tuple(filter(None, scopes)), _expires(reply.headers))

    def place(self, tracker: Tracker) -> Place:
        """See `Provider`."""
        name = tracker.repository or ""
        self._far.forget(name)
        try:
            found = self._far.repository(tracker, "check")
        except TrackerError as error:
            if error.verdict.do not in (Do.HELD, Do.MAYBE_GONE, Do.GONE):
                raise
            said = f"{name} is not there, or the token may not see it: give it access to the repository ({error.verdict.said})"
            return Place("", name, problem=said)
        renamed = found.full_name if found.full_name.lower() != name.lower() else ""
        return Place(
            str(found.id),
            found.full_name,
            f"{self._web}/{found.full_name}",
            _problem_of(found) or _lacks_scope(found, self._far.scopes),
            renamed,
        )

    # ── one issue

    def read(self, tracker: Tracker, external_id: str, etag: str = "") -> Issue | None:
        """See `Provider`."""
        headers = {"If-None-Match": etag} if etag else {}
        reply = self._far.ask("GET", self._far.path(tracker, external_id), "poll", "read", headers=headers)
        if reply.unchanged:
            return None
        return self._issue(tracker, reply)

    def attributed(self, tracker: Tracker, issue: Issue, *, state: bool, assignee: bool) -> Issue:
        """See `Provider`. An issue says who closed it, when it is read by itself; all else the newest events of its repository say."""
        if state and issue.state is IssueState.CLOSED and issue.changed_by is None:
            issue = self.read(tracker, issue.external_id) or issue
        if not assignee and (issue.state is IssueState.CLOSED or issue.changed_by is not None):
            return issue
        events = self._far.events(tracker, issue)
        reopened = next((each for each in events if each.event == "reopened"), None)
        given = next((each for each in events if each.event in ("assigned", "unassigned")), None)
        if state and issue.state is IssueState.OPEN and reopened is not None and reopened.actor is not None:
            issue = replace(issue, changed_by=reopened.actor.person())
        if assignee and given is not None:
            by = given.assigner or given.actor
            issue = replace(issue, assigned_by=by.person() if by else None, assigned_at=given.created_at)
        return issue

    def find(self, tracker: Tracker, reference: str) -> Issue:
        """See `Provider`."""
        repository, number = self._named(tracker, reference)
        try:
            reply = self._far.ask("GET", f"/repos/{repository}/issues/{number}", "state", "read")
        except TrackerError as error:
            if error.verdict.do is not Do.MAYBE_GONE:
                raise
            said = f"{repository}#{number} is not there, or the token may not see it"
            raise TrackerError(replace(error.verdict, said=said)) from error
        return self._issue(tracker, reply)

    def create(self, tracker: Tracker, draft: Draft) -> Issue:
        """See `Provider`. Without the right to write, GitHub leaves labels and assignees out and says nothing: the answer is what
        was made."""
        repository = self._far.repository(tracker, "create")
        body: dict[str, Any] = {
            **draft.fields,
            "title": draft.title,
            "body": marked(draft.body, draft.marker, comment=True),
        }
        if draft.labels:
            body["labels"] = list(draft.labels)
        if draft.assignee:
            body["assignees"] = [draft.assignee]
        reply = self._far.ask("POST", f"/repos/{repository.full_name}/issues", "create", "create", json=body)
        return self._issue(tracker, reply)

    def find_marker(self, tracker: Tracker, marker: str, since: datetime) -> Issue | None:
        """See `Provider`. The list, not the search: its index is seconds to minutes late."""
        repository = self._far.repository(tracker, "create")
        params: dict[str, str | int] = {
            "state": "all",
            "creator": self._login or self.who().person.login,
            "sort": "created",
            "direction": "desc",
            "per_page": 100,
            "since": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for rows, reply in self._far.pages(
            f"/repos/{repository.full_name}/issues", params, list[IssueShape], "create", MARKER_PAGES
        ):
            for row in rows:
                if hidden(marker) in (row.body or ""):
                    return self._made(tracker, row, reply)
        return None

    def set_state(self, tracker: Tracker, issue: Issue, state: IssueState, reason: str = "") -> Issue:
        """See `Provider`."""
        body = {"state": str(state)}
        if state is IssueState.CLOSED:
            body["state_reason"] = reason or "completed"
        call = "close" if state is IssueState.CLOSED else "reopen"
        reply = self._far.ask("PATCH", self._far.path(tracker, issue.external_id), "state", call, json=body)
        found = self._issue(tracker, reply)
        if found.state is not state:
            raise TrackerError(
                Verdict(Do.LOOK_AGAIN, said=f"{found.key} is still {found.state}, though it said yes")
            )
        return found

    def assign(self, tracker: Tracker, issue: Issue, login: str | None) -> Issue:
        """See `Provider`. Those who may not be assigned are left out without a word."""
        body = {"assignees": [login] if login else []}
        reply = self._far.ask(
            "PATCH", self._far.path(tracker, issue.external_id), "state", "assign", json=body
        )
        found = self._issue(tracker, reply)
        assigned = {person.login.lower() for person in found.assignees}
        if login and login.lower() not in assigned:
            said = f"{login} cannot be assigned to {found.key}: the repository has to be shared with them, and our account needs the role Triage or more"
            raise TrackerError(Verdict(Do.DEAD, fields=("assignees",), said=said))
        return found

    # ── comments

    def comments(self, tracker: Tracker, issue: Issue) -> Sequence[Comment]:
        """See `Provider`."""
        path = f"{self._far.path(tracker, issue.external_id)}/comments"
        for size in SIZES:
            most = COMMENT_PAGES * SIZES[0] // size
            pages = self._far.pages(path, {"per_page": size}, list[CommentShape], "comment", most)
            try:
                return [row.comment(self._web) for rows, _ in pages for row in rows]
            except TrackerError as error:
                if not error.is_too_long or size == SIZES[-1]:
                    raise
        return ()

    def comment(self, tracker: Tracker, issue: Issue, body: str, marker: str) -> Comment:
        """See `Provider`."""
        path = f"{self._far.path(tracker, issue.external_id)}/comments"
        text = {"body": marked(body, marker, comment=True)}
        return (
            self._far.ask("POST", path, "comment", "comment", json=text)
            .shaped(CommentShape)
            .comment(self._web)
        )

    def edit_comment(
        self, tracker: Tracker, issue: Issue, comment_id: str, body: str, marker: str = ""
    ) -> Comment:
        """See `Provider`."""
        text = {"body": marked(body, marker, comment=True)}
        path = self._far.comment_path(tracker, issue, comment_id)
        return (
            self._far.ask("PATCH", path, "comment", "edit", json=text).shaped(CommentShape).comment(self._web)
        )

    def delete_comment(self, tracker: Tracker, issue: Issue, comment_id: str) -> None:
        """See `Provider`."""
        try:
            self._far.ask("DELETE", self._far.comment_path(tracker, issue, comment_id), "comment", "delete")
        except TrackerError as error:
            if error.verdict.do not in (Do.MAYBE_GONE, Do.GONE):
                raise

    # ── many issues

    def changed(self, tracker: Tracker, cursor: Cursor) -> Changes:
        """See `Provider`. Comments are those of the whole repository."""
        return changes(self._far.lists(tracker), cursor)

    def by_ids(self, tracker: Tracker, external_ids: Sequence[str]) -> dict[str, Issue | None]:
        """See `Provider`."""
        repository = self._far.repository(tracker, "poll")
        here: dict[int, str] = {}
        single = list(external_ids)
        found: dict[str, Issue | None] = {}
        if len(external_ids) > FEW:
            pairs = [(each, *parts(each)) for each in external_ids]
            here = {number: each for each, rid, number in pairs if rid == repository.id}
            listed, _ = by_numbers(self._far.lists(tracker), here)
            found = {here[number]: issue for number, issue in listed.items()}
            single = [each for each in external_ids if each not in found]
        for each in single:
            try:
                found[each] = self.read(tracker, each)
            except TrackerError as error:
                if error.verdict.do not in (Do.MAYBE_GONE, Do.GONE):
                    raise
                found[each] = None
        return found

    # ── how

    def _issue(self, tracker: Tracker, reply: Reply) -> Issue:
        return self._made(tracker, reply.shaped(IssueShape), reply, reply.etag)

    def _made(self, tracker: Tracker, row: IssueShape, reply: Reply, etag: str = "") -> Issue:
        repository = self._far.repository(tracker, "poll")
        if row.repository.lower() == repository.full_name.lower():
            return row.issue(repository.id, self._web, etag)
        moved = _MOVED_TO.search(urlsplit(reply.url).path)
        if moved:
            return row.issue(int(moved[1]), self._web, etag)
        found = self._far.ask("GET", row.repository_url, "poll", "read").shaped(RepositoryShape)
        return row.issue(found.id, self._web, etag)

    def _named(self, tracker: Tracker, reference: str) -> tuple[str, int]:
        text = reference.strip()
        ours = self._far.repository(tracker, "state").full_name
        allowed = f"allowed is its address ({self._web}/{ours}/issues/12), {ours}#12, or 12"
        host = re.escape(self._web.partition("://")[2])
        name = r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+"
        found = re.fullmatch(rf"https?://{host}/({name})/(?:issues|pull)/(\d{{1,9}})(?:[/?#].*)?", text)
        found = found or re.fullmatch(rf"(?:({name})?#)?(\d{{1,9}})", text, re.ASCII)
        if not found:
            raise ValueError(f"{text[:200]!r} names no issue; {allowed}")
        named = found[1] or ours
        if named.lower() not in (ours.lower(), (tracker.repository or "").lower()):
            raise ValueError(f"{named} is not the repository of {tracker.name}; {allowed}")
        return ours, int(found[2])


def _problem_of(found: RepositoryShape) -> str:
    name = found.full_name
    if found.archived:
        return f"{name} is archived, so nothing can be made or changed there: unarchive it, or give the tracker another repository"
    if not found.has_issues:
        return f"issues are switched off in {name}: switch them on in its settings, under General, Features"
    if found.disabled:
        return f"{name} is disabled by GitHub: see its page"
    may = found.permissions
    if may is not None and not any(may.get(role) for role in ("triage", "push", "maintain", "admin")):
        return f"our account may only read {name}, so labels and assignees are left out and closing is refused: give it the role Triage or more"
    return ""


def _lacks_scope(found: RepositoryShape, scopes: str | None) -> str:
    """What a classic token lacks; others have no scopes, and None is said of them. What the repository says of permissions is the account's,
    whatever its token may."""
    enough = {"repo"} if found.private else {"repo", "public_repo"}
    given = [each.strip() for each in (scopes or "").split(",") if each.strip()]
    if scopes is None or enough & set(given):
        return ""
    has = f"it has {', '.join(given)}" if given else "it has none"
    return (
        f"the token may change nothing in {found.full_name}: give it the scope {min(enough, key=len)} ({has})"
    )


def _expires(headers: Mapping[str, str]) -> datetime | None:
    """When the token ends, by the header that GitHub sends with each answer: `2026-12-24 10:00:00 UTC`."""
    text = headers.get("github-authentication-token-expiration", "").strip().replace(" UTC", " +0000")
    for shape in ("%Y-%m-%d %H:%M:%S %z", "%Y-%m-%dT%H:%M:%S%z"):
        try:
            return datetime.strptime(text, shape).astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None
