"""kill -9 of a real process at every step of making an issue: in the end there is one, and the group knows it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

import tasks_pipeline.integrations.creating
from tasks_pipeline.groups.assign import NewGroup, create_group
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.trackers.provider import open_provider
from tests.support.crash import Moment, at, die, run_in_process
from tests.support.making import Maker, request
from tests.support.small_github import small_github
from tests.support.trackers import ROUNDUP_USERS, real_roundup

_creating = tasks_pipeline.integrations.creating
MOMENTS = {
    "the call is noted, not made": Moment(_creating, "note_sending"),
    "made there, not known here": Moment(_creating, "partial", after=False),
    "linked, not committed": Moment(_creating, "adopt"),
    "all is written": Moment(_creating, "_made"),
}
CONFIG = """
projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]
integrations: [{name: hub, %s, allow_insecure: true, allow_private: true}]
trackers: [{name: shop-issues, integration: hub%s}]
"""


@contextmanager
def maker_of(home: Home) -> Iterator[Maker]:
    """Stores of a home, and the provider that its configuration names."""
    os.environ["HUB_SECRET"] = ROUNDUP_USERS["tasks-bot"]
    with open_stores(home) as stores, open_provider(stores.config.integrations[0]) as provider:
        yield Maker(stores, provider)


def make_and_die(home: Home, moment: str) -> None:
    """Make what is asked for, and die at the moment."""
    with maker_of(home) as maker, at(MOMENTS[moment], die):
        maker.make_all()


def a_group(stores: Stores) -> int:
    new = NewGroup(1, (uuid4().hex,), "It fails", "here", "error", "python", "error", {}, "v1")
    with stores.state.write() as connection:
        number = create_group(stores.state, connection, new, "shop")
        seen = {"first_seen": datetime.now(UTC), "last_seen": datetime.now(UTC), "times_seen": 1}
        connection.execute(update(groups).where(groups.c.id == number).values(**seen))
    return number


Marked = Callable[[], list[str]]


@contextmanager
def github() -> Iterator[tuple[str, Marked]]:
    with small_github() as running:
        running.clock = datetime.now(UTC)
        settings = f"type: github, url: '{running.server.url}', token: '${{env:HUB_SECRET}}'"
        text = CONFIG % (settings, ", repository: acme/shop")
        yield text, lambda: [issue["body"] for issue in running.issues]


@contextmanager
def roundup() -> Iterator[tuple[str, Marked]]:
    with real_roundup() as running:
        settings = f"type: roundup, url: '{running.url}', user: tasks-bot, password: '${{env:HUB_SECRET}}'"

        def bodies() -> list[str]:
            with running.people({}, ("tasks-bot", ROUNDUP_USERS["tasks-bot"])) as client:
                found = client.get(
                    "/rest/data/issue", params={"@verbose": 2, "@fields": "id,messages"}
                ).json()
                return [_marked(client, issue) for issue in found["data"]["collection"]]

        yield CONFIG % (settings, ""), bodies


def _marked(client: Any, issue: dict[str, Any]) -> str:
    (first, *_) = issue["messages"]
    text: str = client.get(f"/rest/data/msg/{first['id']}").json()["data"]["attributes"]["messageid"]
    return text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("there", "moments"), [(github, list(MOMENTS)), (roundup, [list(MOMENTS)[1]])], ids=["github", "roundup"]
)
def test_an_issue_is_made_once_whenever_its_maker_is_killed(
    there: Any, moments: list[str], home: Home
) -> None:
    with ExitStack() as stack:
        text, bodies = stack.enter_context(there())
        home.config_path.write_text(text)
        for moment in moments:
            with maker_of(home) as maker:
                asked = request(maker.stores, a_group(maker.stores))
            assert run_in_process(make_and_die, home, moment) == -signal.SIGKILL, moment
            with maker_of(home) as maker:
                maker.expire()
                maker.make_all()
                link = maker.link(asked)
            assert link.state == "linked", moment
            assert [link.marker in body for body in bodies()].count(True) == 1, moment
        assert len(bodies()) == len(moments)
