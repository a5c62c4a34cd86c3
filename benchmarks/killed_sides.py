"""Trackers that sync is killed against: what people do there, what is there in the end, and the calls whose answers get lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.integrations import CONFIGURATION, REPOSITORY, SOMEBODY, TOKEN, without_limits
from tasks_pipeline.trackers.markers import marker_in
from tests.support.far_sides import RedmineSide
from tests.support.stand_ins import FarSide, stand_in
from tests.support.trackers import real_redmine


@dataclass(frozen=True)
class There:
    """An issue as it is there. `duplicate`: closed as one, as sync closes a twin. `comments`: their texts."""

    state: str
    marker: str | None
    duplicate: bool
    comments: list[str]


class Side(Protocol):
    """A tracker; issues go by their numbers. `secret` is what sync logs in with, and `weather` are rules for calls that write."""

    url: str
    secret: str
    weather: tuple[dict[str, Any], ...]

    def configuration(self, url: str) -> str: ...
    def set_state(self, number: int, state: str) -> None: ...
    def say(self, number: int, text: str) -> None: ...
    def issues(self) -> dict[int, There]: ...


@contextmanager
def opened_side(kind: str) -> Iterator[Side]:
    """`github` or `redmine`, running. Raises StandInMissing or TrackerMissing."""
    if kind == "github":
        with stand_in("github") as far:
            without_limits(far)
            yield GitHub(far)
    else:
        with real_redmine() as real:
            side = RedmineSide(real)
            yield Redmine(side)
            side.hang_up()


class GitHub:
    """The stand-in of GitHub."""

    secret = TOKEN
    _changes = r"/issues(/\d+)?(/comments)?$"
    weather: tuple[dict[str, Any], ...] = (
        {"method": "POST", "path": r"/issues$", "do": "lose_answer"},
        {"method": "POST", "path": r"/comments$", "do": "lose_answer"},
        {"method": "PATCH", "path": _changes, "do": "lose_answer"},
        {"method": "POST", "path": r"/issues$", "do": "cut"},
        {"method": "PATCH", "path": _changes, "do": "cut"},
        {"method": "POST", "path": _changes, "do": "after", "status": 502, "body": "bad gateway"},
    )

    def __init__(self, far: FarSide) -> None:
        self._far, self.url = far, far.url

    def configuration(self, url: str) -> str:
        return CONFIGURATION.format(url=url)

    def set_state(self, number: int, state: str) -> None:
        self._far.ask("PATCH", f"/repos/{REPOSITORY}/issues/{number}", {"state": state}, token=SOMEBODY)

    def say(self, number: int, text: str) -> None:
        self._far.ask("POST", f"/repos/{REPOSITORY}/issues/{number}/comments", {"body": text}, token=SOMEBODY)

    def issues(self) -> dict[int, There]:
        found: dict[int, There] = {}
        page = 1
        while some := self._get(f"issues?state=all&per_page=100&page={page}"):
            for row in some:
                texts = [one["body"] for one in self._get(f"issues/{row['number']}/comments?per_page=100")]
                duplicate = row["state_reason"] == "duplicate"
                found[row["number"]] = There(row["state"], marker_in(row["body"] or ""), duplicate, texts)
            page += 1
        return found

    def _get(self, path: str) -> Any:
        return self._far.ask("GET", f"/repos/{REPOSITORY}/{path}", token=TOKEN)


class Redmine:
    """A real Redmine. It has no status for duplicates: a twin is Rejected, which nobody else does here."""

    weather: tuple[dict[str, Any], ...] = (
        {"method": "POST", "path": r"/issues\.json$", "do": "lose_answer"},
        {"method": "PUT", "path": r"/issues/\d+\.json$", "do": "lose_answer"},
        {"method": "POST", "path": r"/issues\.json$", "do": "cut"},
        {"method": "PUT", "path": r"/issues/\d+\.json$", "do": "cut"},
        {"method": "POST", "path": r"/issues\.json$", "do": "after", "status": 502, "body": "bad gateway"},
        {"method": "PUT", "path": r"/issues/\d+\.json$", "do": "after", "status": 502, "body": "bad gateway"},
    )

    def __init__(self, far: RedmineSide) -> None:
        self._far, self.url, self.secret = far, far.real.url, far.secret

    def configuration(self, url: str) -> str:
        how = "allow_insecure: true, allow_private: true, requests_per_second: 1000"
        return (
            "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
            f'integrations: [{{name: hub, type: redmine, url: "{url}", token: "${{env:HUB_TOKEN}}", {how}}}]\n'
            "trackers: [{name: shop-issues, integration: hub, project: shop, tracker: Bug}]\n"
        )

    def set_state(self, number: int, state: str) -> None:
        (self._far.close if state == "closed" else self._far.reopen)(str(number))

    def say(self, number: int, text: str) -> None:
        self._far.change(str(number), notes=text)

    def issues(self) -> dict[int, There]:
        found: dict[int, There] = {}
        offset = 0
        while some := self._page(offset):
            for row in some:
                whole = self._far.call("GET", f"/issues/{row['id']}.json?include=journals")["issue"]
                notes = [(one["notes"] or "").replace("\r\n", "\n") for one in whole["journals"]]
                status = whole["status"]
                found[row["id"]] = There(
                    "closed" if status["is_closed"] else "open",
                    marker_in(whole["description"] or ""),
                    status["name"] == "Rejected",
                    [text for text in notes if text],
                )
            offset += len(some)
        return found

    def _page(self, offset: int) -> list[dict[str, Any]]:
        found = self._far.call("GET", f"/issues.json?status_id=*&limit=100&sort=id&offset={offset}")
        return list(found["issues"])
