"""What GitHub is asked: where its API is, what its paths are, and pages of its lists. Nothing is decided here."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Calls, Kind, Reply
from tasks_pipeline.trackers.issue import Issue
from tasks_pipeline.trackers.providers.github_polling import Lists
from tasks_pipeline.trackers.providers.github_shapes import EventShape, RepositoryShape
from tasks_pipeline.trackers.shapes import rows as rows_of

EVENTS = 50
FRESH_SECONDS = 600.0
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_ID = re.compile(r"(\d{1,20})#(\d{1,12})")


class GitHubCalls:
    """Calls to one GitHub. A repository is read anew when that is a while ago."""

    def __init__(self, calls: Calls, web: str) -> None:
        self._calls, self._web = calls, web
        self._api_is_known = not _is_this_machine(web)
        self._repositories: dict[str, tuple[float, RepositoryShape]] = {}
        self.scopes: str | None = None
        """Of the token, by the last answer about a repository; None where it has none to tell, as only classic ones do."""

    def ask(
        self,
        method: str,
        path: str,
        kind: Kind,
        call: str,
        *,
        json: Any = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """As `Calls.ask`, at the address where the API is."""
        self._find_api()
        return self._calls.ask(method, path, kind=kind, call=call, json=json, params=params, headers=headers)

    def _find_api(self) -> None:
        """On this machine itself answers what stands in for github.com (its API is at the root) or for an Enterprise Server."""
        if self._api_is_known:
            return
        try:
            self._calls.ask("GET", "/meta", kind="check", call="read")
        except TrackerError as error:
            if error.verdict.do is not Do.MAYBE_GONE:
                raise
            self._calls.rebase(self._web)
        self._api_is_known = True

    def pages(
        self, path: str, params: Mapping[str, str | int], shape: type[Any], kind: Kind, most: int
    ) -> Iterable[tuple[Any, Reply]]:
        """Pages of a list in a shape, `most` of them, each with its reply."""
        reply = self.ask("GET", path, kind, "list", params=params)
        for number in range(1, most + 1):
            yield reply.shaped(shape), reply
            behind = self._calls.next_page(reply)
            if behind is None or number == most:
                return
            reply = self.ask("GET", behind, kind, "list")

    def lists(self, tracker: Tracker) -> Lists:
        """The lists of a tracker's repository."""
        repository = self.repository(tracker, "poll")

        def ask(path: str, params: Mapping[str, str | int], etag: str) -> Reply:
            return self.ask(
                "GET", path, "poll", "list", params=params, headers={"If-None-Match": etag} if etag else {}
            )

        return Lists(ask, self._calls.next_page, repository.full_name, repository.id, self._web)

    def forget(self, name: str) -> None:
        """Have a repository read anew."""
        self._repositories.pop(name.lower(), None)

    def repository(self, tracker: Tracker, kind: Kind) -> RepositoryShape:
        """The repository of a tracker: its number, and its present name."""
        name = tracker.repository or ""
        if not _NAME.fullmatch(name) or {".", ".."} & set(name.split("/")):
            said = f"tracker {tracker.name}: repository {name!r} is no owner/name"
            raise TrackerError(Verdict(Do.MISCONFIGURED, said=said))
        read_at, known = self._repositories.get(name.lower(), (0.0, None))
        if known is not None and time.monotonic() - read_at < FRESH_SECONDS:
            return known
        reply = self.ask("GET", f"/repos/{name}", kind, "place")
        found, self.scopes = reply.shaped(RepositoryShape), reply.headers.get("x-oauth-scopes")
        if not _NAME.fullmatch(found.full_name):
            raise TrackerError(Verdict(Do.UNREACHABLE, said="a repository without a name"))
        self._repositories[name.lower()] = (time.monotonic(), found)
        return found

    def path(self, tracker: Tracker, external_id: str) -> str:
        """Of an issue. One that is in another repository by now is addressed by that one's number."""
        repository_id, number = parts(external_id)
        repository = self.repository(tracker, "poll")
        if repository.id == repository_id:
            return f"/repos/{repository.full_name}/issues/{number}"
        return f"/repositories/{repository_id}/issues/{number}"

    def events(self, tracker: Tracker, issue: Issue) -> list[EventShape]:
        """What happened to an issue lately, newest first, of the newest events of its repository: those of an issue begin with its oldest.
        None where they do not show it, or may not be asked now: it is worth no more than one call."""
        path, _, number = self.path(tracker, issue.external_id).rpartition("/")
        try:
            reply = self.ask("GET", f"{path}/events", "enrich", "list", params={"per_page": EVENTS})
            found = rows_of(reply, EventShape)
        except TrackerError:
            return []
        return [each for each in found if each.issue is not None and each.issue.number == int(number)]

    def comment_path(self, tracker: Tracker, issue: Issue, comment_id: str) -> str:
        """Of a comment of an issue."""
        path = self.path(tracker, issue.external_id).rpartition("/")[0]
        return f"{path}/comments/{quote(comment_id, safe='')}"


def parts(external_id: str) -> tuple[int, int]:
    """Number of the repository, and of the issue in it. Raises TrackerError for what is none."""
    found = _ID.fullmatch(external_id)
    if not found:
        raise TrackerError(Verdict(Do.BUG, said=f"{external_id[:100]!r} is no REPOSITORY_ID#NUMBER"))
    return int(found[1]), int(found[2])


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
