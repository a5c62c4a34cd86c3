"""What people do in a real tracker, in the same words for each: they close, reopen, comment, assign and delete; and how it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from xml.etree import ElementTree

import httpx

from tasks_pipeline.config.integrations import AnyIntegration, RedmineIntegration, RoundupIntegration, Tracker
from tests.support.trackers import REDMINE_KEYS, ROUNDUP_USERS, RealTracker

_ATOM = "{http://www.w3.org/2005/Atom}"


class FarSide(Protocol):
    """A tracker with its people; issues and comments are named by their numbers. `secret`: what the bot logs in with."""

    kind: str
    real: RealTracker
    secret: str
    ann: str
    """Her account, as an assignment takes it."""
    ours: str
    """The bot's account."""

    def integration(self, **settings: Any) -> AnyIntegration: ...
    def tracker(self, **settings: Any) -> Tracker: ...
    def settings(self, name: str = "far") -> tuple[str, str]: ...
    def close(self, issue: str, by: str = "ann") -> None: ...
    def reopen(self, issue: str, by: str = "ann") -> None: ...
    def rename(self, issue: str, title: str) -> None: ...
    def comment(self, issue: str, text: str, by: str = "ann") -> str: ...
    def edit(self, comment: str, text: str) -> None: ...
    def assign(self, issue: str, login: str | None) -> None: ...
    def delete(self, issue: str) -> None: ...
    def titles(self) -> list[str]: ...
    def page(self, issue: str) -> str: ...
    def hang_up(self) -> None: ...


@dataclass
class RedmineSide:
    """Project `shop` of a Redmine."""

    real: RealTracker
    kind: str = "redmine"
    secret: str = REDMINE_KEYS["tasks-bot"]
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    @property
    def ann(self) -> str:
        return str(self.real.facts["users"]["ann"])

    @property
    def ours(self) -> str:
        return str(self.real.facts["users"]["tasks-bot"])

    def integration(self, **settings: Any) -> AnyIntegration:
        """Ours, with the key of the bot."""
        given: dict[str, Any] = {"name": "far", "url": self.real.url, "token": self.secret}
        return RedmineIntegration(**given | {"allow_insecure": True, "allow_private": True} | settings)

    def tracker(self, **settings: Any) -> Tracker:
        """Its project."""
        given: dict[str, Any] = {
            "name": "far-issues",
            "integration": "far",
            "project": "shop",
            "tracker": "Bug",
        }
        return Tracker(**given | settings)

    def settings(self, name: str = "far") -> tuple[str, str]:
        """An entry of `integrations` and one of `trackers`, as they stand in a configuration; the secret is in NAME_SECRET."""
        return _settings(
            self, name, f"token: '${{env:{name.upper()}_SECRET}}'", "project: shop, tracker: Bug"
        )

    def call(self, method: str, path: str, values: Mapping[str, Any] | None = None, by: str = "admin") -> Any:
        """A call of somebody; its JSON."""
        if by not in self._clients:
            self._clients[by] = self.real.people({"X-Redmine-API-Key": REDMINE_KEYS[by]})
        answer = self._clients[by].request(method, path, json=values if method != "GET" else None)
        answer.raise_for_status()
        return answer.json() if answer.content.strip() else None

    def change(self, issue: str, by: str = "ann", **values: Any) -> None:
        """Change an issue."""
        self.call("PUT", f"/issues/{issue}.json", {"issue": values}, by)

    def close(self, issue: str, by: str = "ann") -> None:
        self.change(issue, by, status_id=5)

    def reopen(self, issue: str, by: str = "ann") -> None:
        self.change(issue, by, status_id=2)

    def rename(self, issue: str, title: str) -> None:
        self.change(issue, subject=title)

    def comment(self, issue: str, text: str, by: str = "ann", **values: Any) -> str:
        self.change(issue, by, notes=text, **values)
        journals = self.call("GET", f"/issues/{issue}.json?include=journals", by=by)["issue"]["journals"]
        return str(journals[-1]["id"])

    def edit(self, comment: str, text: str) -> None:
        self.call("PUT", f"/journals/{comment}.json", {"journal": {"notes": text}}, "ann")

    def assign(self, issue: str, login: str | None) -> None:
        self.change(issue, assigned_to_id=login or "")

    def delete(self, issue: str) -> None:
        self.call("DELETE", f"/issues/{issue}.json")

    def titles(self) -> list[str]:
        found = self.call("GET", "/issues.json?status_id=*&limit=100&sort=id")
        return [row["subject"] for row in found["issues"]]

    def page(self, issue: str) -> str:
        """How Redmine shows its issues to people, and the notes of one: as feeds, which need no login."""
        query = {"key": self.real.facts["feed_key"], "set_filter": "1", "status_id": "*"}
        with self.real.people({}) as client:
            paths = ("/projects/shop/issues.atom", f"/issues/{issue}.atom")
            feeds = [client.get(path, params=query).raise_for_status().content for path in paths]
        contents = [one for feed in feeds for one in ElementTree.fromstring(feed).iter(f"{_ATOM}content")]
        return "\n".join(content.text or "" for content in contents)

    def hang_up(self) -> None:
        for client in self._clients.values():
            client.close()


@dataclass
class RoundupSide:
    """A classic tracker."""

    real: RealTracker
    kind: str = "roundup"
    secret: str = ROUNDUP_USERS["tasks-bot"]
    ann: str = "ann"
    ours: str = "tasks-bot"
    _clients: dict[str, httpx.Client] = field(default_factory=dict)

    def integration(self, **settings: Any) -> AnyIntegration:
        """Ours, with the password of the bot."""
        given: dict[str, Any] = {
            "name": "far",
            "url": self.real.url,
            "user": "tasks-bot",
            "password": self.secret,
        }
        return RoundupIntegration(**given | {"allow_insecure": True, "allow_private": True} | settings)

    def tracker(self, **settings: Any) -> Tracker:
        """It is one place, without projects."""
        return Tracker(**{"name": "far-issues", "integration": "far"} | settings)

    def settings(self, name: str = "far") -> tuple[str, str]:
        """The same as for Redmine."""
        return _settings(self, name, f"user: tasks-bot, password: '${{env:{name.upper()}_SECRET}}'", "")

    def client(self, by: str) -> httpx.Client:
        """Somebody's calls."""
        if by not in self._clients:
            origin = self.real.url.removesuffix("/tracker")
            headers = {"X-Requested-With": "rest", "Origin": origin, "Referer": f"{self.real.url}/"}
            self._clients[by] = self.real.people(headers, (by, ROUNDUP_USERS[by]))
        return self._clients[by]

    def call(self, method: str, path: str, values: Mapping[str, Any] | None = None, by: str = "ann") -> Any:
        """A call of somebody; its data. What changes a thing brings along the ETag that it has."""
        headers = {}
        if method in ("PATCH", "DELETE"):
            headers["If-Match"] = self.client(by).get(f"/rest/data/{path}").headers["ETag"]
        answer = self.client(by).request(
            method, f"/rest/data/{path}", json=values if method == "GET" else values or {}, headers=headers
        )
        answer.raise_for_status()
        return answer.json()["data"]

    def change(self, issue: str, by: str = "ann", **values: Any) -> None:
        """Change an issue."""
        self.call("PATCH", f"issue/{issue}", {"@op": "replace", **values}, by)

    def close(self, issue: str, by: str = "ann") -> None:
        self.change(issue, by, status="resolved")

    def reopen(self, issue: str, by: str = "ann") -> None:
        self.change(issue, by, status="in-progress")

    def rename(self, issue: str, title: str) -> None:
        self.change(issue, title=title)

    def comment(self, issue: str, text: str, by: str = "ann") -> str:
        made = self.call("POST", "msg", {"content": text, "author": by, "date": "."}, by)["id"]
        self.call("PATCH", f"issue/{issue}", {"@op": "add", "messages": [made]}, by)
        return str(made)

    def edit(self, comment: str, text: str) -> None:
        self.call("PATCH", f"msg/{comment}", {"@op": "replace", "content": text})

    def assign(self, issue: str, login: str | None) -> None:
        values = {"@op": "replace", "assignedto": login} if login else {"@op": "remove", "assignedto": ""}
        self.call("PATCH", f"issue/{issue}", values)

    def delete(self, issue: str) -> None:
        self.call("DELETE", f"issue/{issue}", by="admin")

    def titles(self) -> list[str]:
        return [row["title"] for row in self.call("GET", "issue?@fields=title")["collection"]]

    def page(self, issue: str) -> str:
        """The page of an issue, as Ann sees it."""
        answer = self.client("ann").get(f"/issue{issue}")
        answer.raise_for_status()
        return answer.text

    def hang_up(self) -> None:
        for client in self._clients.values():
            client.close()


def _settings(side: FarSide, name: str, login: str, place: str) -> tuple[str, str]:
    how = "allow_insecure: true, allow_private: true, requests_per_second: 1000"
    integration = f"{{name: {name}, type: {side.kind}, url: '{side.real.url}', {login}, {how}}}"
    tracker = f"{{name: {name}-issues, integration: {name}, poll_seconds: 10{place and f', {place}'}}}"
    return integration, tracker
