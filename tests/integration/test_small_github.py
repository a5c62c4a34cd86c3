"""The provider of GitHub, wherever these tests run: what it asks, by the published description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tasks_pipeline.config.integrations import GitHubIntegration
from tasks_pipeline.trackers.issue import Cursor, Draft, IssueState
from tasks_pipeline.trackers.provider import Provider, open_provider
from tests.support.github import SHOP
from tests.support.small_github import SmallGitHub, small_github


@pytest.fixture
def github() -> Iterator[SmallGitHub]:
    with small_github() as running:
        yield running


@pytest.fixture
def hub(github: SmallGitHub) -> Iterator[Provider]:
    settings = {
        "name": "hub",
        "url": github.server.url,
        "token": "ghp_secret",
        "allow_insecure": True,
        "allow_private": True,
    }
    with open_provider(GitHubIntegration.model_validate(settings)) as provider:
        yield provider


def test_an_issue_from_its_making_to_its_end(github: SmallGitHub, hub: Provider) -> None:
    start = hub.changed(SHOP, Cursor(since=github.clock)).cursor
    issue = hub.create(SHOP, Draft("Broken", "It failed.", "K1", labels=["error"], assignee="ann"))
    assert (issue.external_id, issue.key, issue.labels) == ("701#1", "acme/shop#1", ("error",))
    assert github.issues[0]["body"] == "It failed.\n\n<!-- tasks-pipeline:K1 -->"
    found = hub.find_marker(SHOP, "K1", datetime.now(UTC) - timedelta(hours=2))
    assert found is not None
    assert found.external_id == "701#1"
    assert hub.set_state(SHOP, issue, IssueState.CLOSED, "not_planned").reason == "not_planned"
    assert hub.set_state(SHOP, issue, IssueState.OPEN).state is IssueState.OPEN
    assert hub.assign(SHOP, issue, None).assignees == ()
    comment = hub.comment(SHOP, issue, "Seen again.", "c:1:1")
    hub.edit_comment(SHOP, issue, comment.external_id, "Seen twice.", "c:1:2")
    changes = hub.changed(SHOP, start)
    assert [one.external_id for one in changes.issues] == ["701#1"]
    assert changes.comments is not None
    assert [one.body for one in changes.comments["701#1"]] == ["Seen twice.\n\n<!-- tasks-pipeline:c:1:2 -->"]
    hub.delete_comment(SHOP, issue, comment.external_id)
    assert hub.comments(SHOP, issue) == []


def test_a_repository_with_another_name_is_the_same_one(github: SmallGitHub, hub: Provider) -> None:
    issue = hub.create(SHOP, Draft("Broken", "It failed.", "K1"))
    github.former, github.name = ["acme/shop"], "acme/store"
    closed = hub.set_state(SHOP, issue, IssueState.CLOSED)
    assert (closed.state, closed.external_id, closed.key) == (IssueState.CLOSED, "701#1", "acme/store#1")
    assert hub.place(SHOP).renamed_to == "acme/store"


def test_many_at_once(github: SmallGitHub, hub: Provider) -> None:
    for number in range(1, 7):
        hub.create(SHOP, Draft(f"Broken {number}", "It failed.", f"K{number}"))
    before = len(github.server.posted)
    found = hub.by_ids(SHOP, [f"701#{number}" for number in (1, 2, 3, 4, 5, 9)])
    assert [issue and issue.title for issue in found.values()] == [
        *(f"Broken {number}" for number in range(1, 6)),
        None,
    ]
    assert len(github.server.posted) - before <= 3
