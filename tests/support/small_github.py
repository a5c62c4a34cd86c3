"""A small GitHub of our own: one repository, its issues and comments, as the published description has them. It knows no rights and
no limits; for those there is the stand-in (`support/github.py`), which is not everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.outside import HttpReceiver, Posted, http_receiver

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class SmallGitHub:
    """What it holds. Each change is a second after the one before; `former` names of the repository lead to its present one."""

    server: HttpReceiver
    name: str = "acme/shop"
    repository: dict[str, Any] = field(default_factory=dict)
    """What its repository says of itself beside its name."""
    scopes: str | None = None
    """Of the token, as a classic one's are told."""
    former: list[str] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    comments: list[dict[str, Any]] = field(default_factory=list)
    clock: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=1))

    def answer(self, posted: Posted, _before: int) -> Answer:
        """What a request is answered."""
        parts = urlsplit(posted.path)
        path = parts.path.removeprefix("/api/v3")
        if path == "/user":
            return self._said({"login": "tasks-bot", "type": "User"})
        for name in self.former:
            if path.startswith(f"/repos/{name}"):
                return (
                    307,
                    {
                        "Location": f"{self.server.url}/api/v3/repositories/701{path.removeprefix(f'/repos/{name}')}"
                    },
                    b"",
                )
        below = re.fullmatch(rf"/(?:repos/{re.escape(self.name)}|repositories/701)((?:/.*)?)", path)
        if parts.path == path or below is None:
            return self._said({"message": "Not Found"}, 404)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        return self._below(posted, below[1], query)

    def _below(self, posted: Posted, path: str, query: dict[str, str]) -> Answer:
        sent = posted.json if posted.body else {}
        match posted.method, path.strip("/").split("/"):
            case "GET", [""]:
                said = {"id": 701, "full_name": self.name, "permissions": {"push": True}} | self.repository
                status, headers, body = self._said(said)
                return (
                    status,
                    headers | ({} if self.scopes is None else {"X-OAuth-Scopes": self.scopes}),
                    body,
                )
            case "GET", ["issues"]:
                return self._list(self.issues, query)
            case "POST", ["issues"]:
                return self._said(self._opened(sent), 201)
            case "GET", ["issues", "comments"]:
                return self._list(self.comments, query)
            case "PATCH", ["issues", "comments", number]:
                return self._said(self._touched(self.comments[int(number) - 1], sent))
            case "DELETE", ["issues", "comments", number]:
                self.comments[int(number) - 1]["issue_url"] = ""
                return 204, {}, b""
            case "GET", ["issues", number, "comments"]:
                return self._list(
                    [one for one in self.comments if one["issue_url"].endswith(f"/{number}")], query
                )
            case "POST", ["issues", number, "comments"]:
                self._touched(self.issues[int(number) - 1], {})
                return self._said(self._commented(int(number), sent), 201)
            case method, ["issues", number] if int(number) <= len(self.issues):
                issue = self.issues[int(number) - 1]
                return self._said(self._edited(issue, sent) if method == "PATCH" else issue)
        return self._said({"message": "Not Found"}, 404)

    def _now(self) -> str:
        self.clock += timedelta(seconds=1)
        return self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _said(self, value: object, status: int = 200) -> Answer:
        return status, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def _list(self, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        time = f"{query.get('sort', 'created')}_at"
        found = sorted(
            (one for one in rows if one["updated_at"] >= query.get("since", "")),
            key=lambda one: (one[time], one["id"]),
            reverse=query.get("direction") == "desc",
        )
        page, size = int(query.get("page", "1")), int(query.get("per_page", "30"))
        return self._said(found[(page - 1) * size : page * size])

    def _opened(self, sent: dict[str, Any]) -> dict[str, Any]:
        at, number = self._now(), len(self.issues) + 1
        issue = {
            "id": 9000 + number, "number": number, "title": sent["title"], "body": sent.get("body"), "state": "open", "state_reason": None,
            "labels": [{"name": name} for name in sent.get("labels", [])], "created_at": at, "updated_at": at, "closed_at": None,
            "assignees": [{"login": login, "type": "User"} for login in sent.get("assignees", [])], "closed_by": None, "locked": False,
            "html_url": f"{self.server.url}/{self.name}/issues/{number}", "user": {"login": "tasks-bot", "type": "User"},
        }  # fmt: skip
        self.issues.append(issue)
        return self._named(issue)

    def _edited(self, issue: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
        if "assignees" in sent:
            sent["assignees"] = [{"login": login, "type": "User"} for login in sent["assignees"]]
        return self._named(self._touched(issue, sent))

    def _commented(self, number: int, sent: dict[str, Any]) -> dict[str, Any]:
        at = self._now()
        comment = {
            "id": len(self.comments) + 1, "body": sent["body"], "created_at": at, "updated_at": at, "html_url": "",
            "issue_url": f"{self.server.url}/api/v3/repos/{self.name}/issues/{number}", "user": {"login": "tasks-bot", "type": "User"},
        }  # fmt: skip
        self.comments.append(comment)
        return comment

    def _touched(self, row: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
        row |= sent | {"updated_at": self._now()}
        return row

    def _named(self, issue: dict[str, Any]) -> dict[str, Any]:
        issue["repository_url"] = f"{self.server.url}/api/v3/repos/{self.name}"
        return issue


@contextmanager
def small_github() -> Iterator[SmallGitHub]:
    """One for the time of a `with` block, with the addresses of an Enterprise Server."""
    with http_receiver() as server:
        github = SmallGitHub(server)

        def answer(posted: Posted, before: int) -> Answer:
            if posted.path == "/api/v3/meta":
                return 200, {}, b"{}"
            return github.answer(posted, before)

        server.answer = answer
        yield github
