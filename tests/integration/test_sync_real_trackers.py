"""Groups in step with issues of a real Redmine and a real Roundup: from the error that files one to the deletion that ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tasks_pipeline.config import parse_config
from tasks_pipeline.groups.decisions import assign_groups_to, resolve_groups
from tasks_pipeline.integrations.sync import sync_integrations
from tasks_pipeline.links.comments import add_comment, comments_of
from tasks_pipeline.storage.state.tables import (
    group_actions,
    groups,
    issue_intents,
    issue_links,
    tracker_cursors,
)
from tasks_pipeline.trackers.issue import Issue, IssueState
from tasks_pipeline.trackers.provider import open_provider
from tests.support.day import Day
from tests.support.events import event
from tests.support.far_sides import FarSide

ANNA = "anna@acme.example"
RULES = """\
members: [{{email: anna@acme.example, name: Anna, accounts: {{far: '{ann}'}}}}]
alert_rules: [{{name: file it, when: [new_group], create_issue: far-issues, every_minutes: 0}}]
"""


@dataclass
class Pair:
    """A group, and the issue that a rule made for it."""

    day: Day
    far: FarSide

    @property
    def group(self) -> dict[str, Any]:
        with self.day.stores.state.read() as connection:
            return dict(connection.execute(select(groups)).one()._mapping)

    @property
    def link(self) -> dict[str, Any]:
        with self.day.stores.state.read() as connection:
            return dict(connection.execute(select(issue_links)).one()._mapping)

    @property
    def log(self) -> list[tuple[str, str]]:
        a = group_actions.c
        with self.day.stores.state.read() as connection:
            return [tuple(row) for row in connection.execute(select(a.action, a.actor).order_by(a.id))]  # type: ignore[misc]

    def issue(self) -> Issue:
        """As the far side shows it."""
        with open_provider(self.far.integration()) as provider:
            found = provider.read(self.far.tracker(), str(self.link["external_id"]))
        assert found is not None
        return found

    def sync(self, times: int = 1) -> None:
        """Carry over what is to be carried, as if the times that it waits for had passed."""
        now = datetime.now(UTC) - timedelta(seconds=1)
        for _ in range(times):
            with self.day.stores.state.write() as connection:
                unfinished = issue_intents.c.status.in_(("waiting", "unknown"))
                connection.execute(update(issue_intents).where(unfinished).values(not_before=now))
                connection.execute(
                    update(issue_links).values(last_looked_at=now - timedelta(minutes=1), look_at=now)
                )
                connection.execute(update(tracker_cursors).values(polled_at=None))
            report = sync_integrations(self.day.stores, linger_seconds=0, max_run_seconds=60)
            assert not report.errors, report.errors


@pytest.fixture
def pair(alone: Day, far: FarSide) -> Pair:
    project = f"projects: [{{id: {alone.project}, slug: shop, keys: [{{public_key: abcdef}}]}}]\n"
    integration, tracker = far.settings()
    places = f"integrations: [{integration}]\ntrackers: [{tracker}]\n"
    text = project + places + RULES.format(ann=far.ann)
    config = parse_config(text, environ={"FAR_SECRET": far.secret})
    day = replace(alone, stores=replace(alone.stores, config=config))
    day.send(event("ZeroDivisionError: prices"))
    day.drain()
    return Pair(day, far)


def test_an_error_and_its_issue_go_through_life_together(pair: Pair) -> None:
    state, far = pair.day.stores.state, pair.far
    number: Callable[[], str] = lambda: str(pair.link["external_id"])  # noqa: E731
    pair.sync()
    made = pair.issue()
    assert (pair.link["state"], made.state) == ("linked", IssueState.OPEN)
    assert "ZeroDivisionError" in made.title
    group_id = pair.group["id"]

    resolve_groups(state, [group_id], ANNA)
    pair.sync()
    assert pair.issue().state is IssueState.CLOSED, "a resolve closes it"

    far.reopen(number())
    pair.sync()
    assert pair.group["status"] == "unresolved", "who reopens it there brings the group back"
    assert any(action == "unresolve" and ANNA in actor for action, actor in pair.log), pair.log

    far.assign(number(), far.ann)
    pair.sync()
    assert pair.group["assignee"] == ANNA
    assign_groups_to(state, [group_id], ANNA, None)
    pair.sync()
    assert pair.issue().assignees == ()

    add_comment(state, group_id, ANNA, "it is the new price list")
    far.comment(number(), "I am on it")
    pair.sync(2)  # ours changes the issue after theirs was looked for
    with state.read() as connection:
        ours = comments_of(connection, group_id)
    assert sorted(one["body"] for one in ours) == ["I am on it", "it is the new price list"]
    theirs = [one.body for one in pair.issue().comments or ()]
    assert [text for text in theirs if "it is the new price list" in text and "Anna" in text]
    assert len(theirs) == 2, "nothing comes back as an echo"

    far.close(number())
    pair.sync()
    assert pair.group["status"] == "resolved"

    far.delete(number())
    pair.sync()
    with state.write() as connection:
        connection.execute(update(issue_links).values(missing_since=datetime.now(UTC) - timedelta(hours=2)))
    pair.sync()
    assert pair.link["state"] == "gone"
    assert pair.group["status"] == "resolved", "a deletion decides nothing here"
    assert far.titles().count(made.title) == 0, "and it is not made again"
