"""Sync with the stand-in of GitHub behind bad weather: what it loses, stalls, cuts and shifts costs time, never truth."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from tasks_pipeline.groups.assign import NewGroup, create_group
from tasks_pipeline.groups.decisions import assign_groups_to, resolve_groups, unresolve_groups
from tasks_pipeline.home import Home
from tasks_pipeline.integrations.sync import sync_integrations
from tasks_pipeline.integrations.work import SyncReport
from tasks_pipeline.links.comments import add_comment, comments_of
from tasks_pipeline.links.intents import release_claims
from tasks_pipeline.links.rows import Link, read_links
from tasks_pipeline.storage.state.tables import (
    groups,
    integration_states,
    issue_intents,
    issue_links,
    tracker_cursors,
)
from tasks_pipeline.stores import Stores, open_stores
from tests.support.crash import run_in_process
from tests.support.stand_ins import FarSide, StandInMissing, stand_in, weather
from tests.support.sync_kills import MOMENTS, RUN, sync_and_die

BOT, ANN = "ghp_bot", "ghp_ann"
ISSUES = "/repos/acme/shop/issues"
CONFIGURATION = """\
projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]
integrations: [{{name: hub, type: github, url: "{url}", token: "${{env:HUB_TOKEN}}", allow_insecure: true, allow_private: true}}]
trackers: [{{name: shop-issues, integration: hub, repository: acme/shop}}]
members: [{{email: anna@acme.example, name: Anna, accounts: {{hub: ann}}}}]
"""
ANNA = "anna@acme.example"
_names = itertools.count(1)


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[FarSide, FarSide]]:
    try:
        with stand_in("github") as side, weather(side.url) as sky:
            limits = {"content_per_minute": 10**6, "content_per_hour": 10**6}
            side.ask("POST", "/_standin/set", limits)
            yield side, sky
    except StandInMissing as error:
        pytest.skip(str(error))


@dataclass
class Hub:
    """A home whose groups are linked to issues of the stand-in, behind the weather."""

    home: Home
    side: FarSide
    sky: FarSide

    def rain(self, *rules: dict[str, Any]) -> None:
        self.sky.ask("POST", "/_weather/rules", list(rules))

    def pair(self, stores: Stores) -> tuple[int, int, int]:
        """A group, its link, and the number of its issue."""
        made = self.side.ask("POST", ISSUES, {"title": f"It fails ({next(_names)})"}, token=BOT)
        repository = self.side.ask("GET", "/repos/acme/shop", token=BOT)["id"]
        now = datetime.now(UTC)
        with stores.state.write() as connection:
            new = NewGroup(1, (), "It fails", "here", "error", "python", "error", {}, "v1")
            group_id = create_group(stores.state, connection, new, "shop")
            seen = {"last_seen": now - timedelta(hours=1), "times_seen": 3}
            connection.execute(update(groups).where(groups.c.id == group_id).values(**seen))
            row = issue_links.insert().values(
                project_id=1, group_id=group_id, integration="hub", tracker="shop-issues",
                external_id=f"{repository}#{made['number']}", shown_key=f"acme/shop#{made['number']}", state="linked",
                origin="created", marker=f"m{group_id}", agreed_state="open", agreed_assignee="", agreed_group=group_id,
                theirs={"state": "open"}, turns=[], created_at=now,
            )  # fmt: skip
            link = int(connection.execute(row.returning(issue_links.c.id)).scalar_one())
        return group_id, link, int(made["number"])

    def issue(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.side.ask("GET", f"{ISSUES}/{number}", token=ANN)
        return found

    def texts(self, number: int) -> list[str]:
        return [c["body"] for c in self.side.ask("GET", f"{ISSUES}/{number}/comments", token=ANN)]

    def until_quiet(self, stores: Stores) -> None:
        """Sync until nothing is on its way, as if the times that it waits for had passed."""
        for _ in range(12):
            hurry(stores)
            sync(stores)
            with stores.state.read() as connection:
                waits = issue_intents.c.status.in_(("waiting", "unknown", "sending"))
                if connection.execute(select(issue_intents.c.id).where(waits)).first() is None:
                    return
        raise AssertionError("something is on its way for ever")


@pytest.fixture
def hub(
    home: Home, sides: tuple[FarSide, FarSide], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Hub]:
    side, sky = sides
    monkeypatch.setenv("HUB_TOKEN", BOT)
    home.config_path.write_text(CONFIGURATION.format(url=sky.url))
    yield Hub(home, side, sky)
    sky.ask("POST", "/_weather/clear")


def sync(stores: Stores) -> SyncReport:
    return sync_integrations(stores, linger_seconds=0, max_run_seconds=60)


def hurry(stores: Stores) -> None:
    now = datetime.now(UTC) - timedelta(seconds=1)
    with stores.state.write() as connection:
        waits = issue_intents.c.status.in_(("waiting", "unknown"))
        connection.execute(update(issue_intents).where(waits).values(not_before=now))
        connection.execute(update(issue_links).where(issue_links.c.look_at.is_not(None)).values(look_at=now))
        connection.execute(update(issue_links).values(last_looked_at=now - timedelta(minutes=1)))
        connection.execute(
            update(tracker_cursors).where(tracker_cursors.c.tracker != "").values(polled_at=None)
        )
        connection.execute(update(integration_states).values(open_until=None, failures=0, pace={}))


def row(stores: Stores, link_id: int) -> Link:
    with stores.state.read() as connection:
        return read_links(connection, [link_id])[link_id]


def status(stores: Stores, group_id: int) -> str:
    with stores.state.read() as connection:
        return str(connection.execute(select(groups.c.status).where(groups.c.id == group_id)).scalar_one())


def test_both_ways_with_github(hub: Hub) -> None:
    with open_stores(hub.home) as stores:
        group_id, link, number = hub.pair(stores)
        sync(stores)
        resolve_groups(stores.state, [group_id], ANNA)
        assign_groups_to(stores.state, [group_id], "me", ANNA)
        add_comment(stores.state, group_id, ANNA, "see @ben")
        sync(stores)
        issue = hub.issue(number)
        assert (issue["state"], issue["state_reason"]) == ("closed", "completed")
        assert [person["login"] for person in issue["assignees"]] == ["ann"]
        (text,) = hub.texts(number)
        assert text.replace("\u200b", "").startswith("**Anna** wrote in Tasks Pipeline:\n\nsee @ben\n\n<!-- ")
        hub.side.ask("PATCH", f"{ISSUES}/{number}", {"state": "open"}, token=ANN)
        hub.side.ask("POST", f"{ISSUES}/{number}/comments", {"body": "not yet"}, token=ANN)
        hub.until_quiet(stores)
        assert (status(stores, group_id), row(stores, link).agreed_state) == ("unresolved", "open")
        with stores.state.read() as connection:
            said = [(c["author"], c["body"]) for c in comments_of(connection, group_id)]
        assert ("ann", "not yet") in [(author.casefold(), body) for author, body in said]
        hub.side.ask(
            "PATCH", f"{ISSUES}/{number}", {"state": "closed", "state_reason": "not_planned"}, token=ANN
        )
        hub.until_quiet(stores)
        assert status(stores, group_id) == "ignored"


@pytest.mark.parametrize(
    "rules",
    [
        [{"method": "PATCH", "path": "/issues/", "do": "lose_answer"}],
        [{"method": "PATCH", "path": "/issues/", "do": "cut"}],
        [{"method": "PATCH", "path": "/issues/", "do": "after", "status": 502, "body": "bad gateway"}],
        [{"method": "POST", "path": "/comments", "do": "lose_answer"}],
        [{"method": "POST", "path": "/comments", "do": "after", "status": 503, "body": "later"}],
        [{"method": "POST", "path": "/comments", "do": "truncate"}],
        [{"method": "GET", "path": "/issues", "do": "html", "times": 2}],
        [{"method": "GET", "path": "/issues", "do": "truncate", "times": 2}],
        [{"path": "", "do": "status", "status": 429, "headers": {"Retry-After": "1"}, "body": "slow", "times": 2}],
        [{"path": "", "do": "skew", "seconds": 600, "times": 99}],
        [{"path": "", "do": "skew", "seconds": -600, "times": 99}],
    ],
    ids=lambda rules: f"{rules[0]['do']}-{rules[0].get('method', '')}{rules[0].get('seconds', '')}",
)  # fmt: skip
def test_weather_costs_time_and_no_truth(hub: Hub, rules: list[dict[str, Any]]) -> None:
    with open_stores(hub.home) as stores:
        closed_here, _, one = hub.pair(stores)
        closed_there, _, other = hub.pair(stores)
        sync(stores)
        hub.rain(*rules)
        resolve_groups(stores.state, [closed_here], ANNA)
        add_comment(stores.state, closed_here, ANNA, "once")
        hub.side.ask("PATCH", f"{ISSUES}/{other}", {"state": "closed"}, token=ANN)
        hub.side.ask("POST", f"{ISSUES}/{other}/comments", {"body": "theirs"}, token=ANN)
        hub.until_quiet(stores)
        hub.rain()
        hub.until_quiet(stores)
        assert hub.issue(one)["state"] == "closed"
        assert (status(stores, closed_here), status(stores, closed_there)) == ("resolved", "resolved")
        assert len(hub.texts(one)) == 1
        with stores.state.read() as connection:
            assert [c["body"] for c in comments_of(connection, closed_there)] == ["theirs"]


@pytest.mark.parametrize("moment", sorted(MOMENTS))
def test_a_run_that_is_killed_leaves_nothing_twice_and_nothing_undone(hub: Hub, moment: str) -> None:
    with open_stores(hub.home) as stores:
        group_id, link, number = hub.pair(stores)
        sync(stores)
        resolve_groups(stores.state, [group_id], ANNA)
        add_comment(stores.state, group_id, ANNA, "once")
    assert run_in_process(sync_and_die, hub.home, moment, BOT) == -signal.SIGKILL
    with open_stores(hub.home) as stores:
        release_claims(stores.state, RUN, datetime.now(UTC))
        hub.until_quiet(stores)
        assert (hub.issue(number)["state"], row(stores, link).agreed_state) == ("closed", "closed")
        assert len(hub.texts(number)) == 1
        events = hub.side.ask("GET", f"{ISSUES}/{number}/events", token=ANN)
        assert [each["event"] for each in events].count("closed") == 1
        assert status(stores, group_id) == "resolved"


def test_a_decision_that_was_undone_while_the_answer_was_lost(hub: Hub) -> None:
    with open_stores(hub.home) as stores:
        group_id, link, number = hub.pair(stores)
        sync(stores)
        hub.rain({"method": "PATCH", "path": "/issues/", "do": "lose_answer"})
        resolve_groups(stores.state, [group_id], ANNA)
        sync(stores)
        assert hub.issue(number)["state"] == "closed"
        unresolve_groups(stores.state, [group_id], ANNA)
        hub.until_quiet(stores)
        assert (hub.issue(number)["state"], status(stores, group_id)) == ("open", "unresolved")
        assert row(stores, link).agreed_state == "open"


def test_moves_renames_and_deletions(hub: Hub) -> None:
    with open_stores(hub.home) as stores:
        _, moved, number = hub.pair(stores)
        gone_group, gone, deleted = hub.pair(stores)
        sync(stores)
        hub.side.ask("POST", "/_standin/transfer", {"repo": "shop", "number": number, "to": "office"})
        hub.side.ask("POST", "/_standin/delete", {"repo": "shop", "number": deleted})
        for _ in range(2):
            sync_integrations(stores, tracker="shop-issues", full=True, linger_seconds=0, max_run_seconds=60)
            with stores.state.write() as connection:
                long_ago = datetime.now(UTC) - timedelta(hours=2)
                missing = issue_links.c.missing_since.is_not(None)
                connection.execute(update(issue_links).where(missing).values(missing_since=long_ago))
            hurry(stores)
        assert row(stores, moved).shown_key.startswith("acme/office#")
        assert (row(stores, gone).state, status(stores, gone_group)) == ("gone", "unresolved")
