"""The live sample of the check that both sides agree: a few issues are read as they are now, from a small GitHub of our own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from tasks_pipeline.integrations.proofs import AGREED, Proof, prove
from tasks_pipeline.integrations.sampling import LINKS, REQUESTS, sample, with_sample
from tasks_pipeline.integrations.status import set_disabled
from tasks_pipeline.storage.state.tables import issue_links
from tasks_pipeline.stores import Stores
from tasks_pipeline.trackers.issue import Draft
from tasks_pipeline.trackers.provider import open_provider
from tests.support.linked import Linked, linked
from tests.support.small_github import SmallGitHub, small_github


@pytest.fixture
def github() -> Iterator[SmallGitHub]:
    with small_github() as running:
        yield running


@pytest.fixture
def hub(own: Stores, github: SmallGitHub) -> Linked:
    """Five groups, each with an issue that both sides agree on."""
    settings = {
        "name": "hub", "type": "github", "url": github.server.url, "token": "${env:HUB_TOKEN}", "allow_insecure": True,
        "allow_private": True,
    }  # fmt: skip
    made = linked(own, more={"integrations": [settings]})
    (tracker,) = made.stores.config.trackers
    (integration,) = made.stores.config.integrations
    with open_provider(integration) as provider:
        for number in range(5):
            made.link(made.group(), provider.create(tracker, Draft(f"It fails {number}", "", f"K{number}")))
    github.server.posted.clear()
    return made


def proof(hub: Linked) -> Proof:
    now = datetime.now(UTC)
    with hub.stores.state.read() as connection:
        (stored,) = prove(connection, hub.stores.config, now, [AGREED])
    return with_sample(stored, sample(hub.stores, now))


def test_a_few_links_are_read_and_what_agrees_is_said(hub: Linked, github: SmallGitHub) -> None:
    found = proof(hub)
    assert found.holds
    assert found.said.endswith("; of 3 issues read now none differ")
    assert len([each for each in github.server.posted if "/issues/" in each.path]) == LINKS
    assert len(github.server.posted) <= REQUESTS
    assert {each.method for each in github.server.posted} == {"GET"}


def test_a_change_that_no_poll_brought_is_found_and_looked_at(hub: Linked, github: SmallGitHub) -> None:
    for issue in github.issues:
        issue["state"] = "closed"
    with hub.stores.state.write() as connection:  # the others have something to do
        connection.execute(update(issue_links).where(issue_links.c.id > 1).values(look_at=datetime.now(UTC)))
    found = proof(hub)
    assert (found.many, found.said.rpartition("; ")[2]) == (1, "of 1 issue read now 1 differ: acme/shop#1")
    assert hub.row(1).look_at is not None


def test_a_change_of_this_moment_is_none_that_was_lost(hub: Linked, github: SmallGitHub) -> None:
    for issue in github.issues:
        issue["state"], issue["updated_at"] = "closed", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert proof(hub).holds
    asked = [hub.row(number).look_at is not None for number in range(1, 6)]
    assert asked.count(True) == LINKS


def test_nothing_is_asked_of_an_integration_that_lets_nobody_in_or_is_paused(
    hub: Linked, github: SmallGitHub
) -> None:
    now = datetime.now(UTC)
    set_disabled(hub.stores.state, "hub", now, now)
    found = proof(hub)
    assert found.holds
    assert found.said.endswith("of 0 issues read now none differ; hub was not asked: hub is disabled")
    set_disabled(hub.stores.state, "hub", None, now + timedelta(seconds=1))
    assert github.server.posted == []


def test_a_far_side_that_does_not_answer_is_no_disagreement(hub: Linked, github: SmallGitHub) -> None:
    github.server.answer = lambda posted, before: (502, {}, b"")
    found = proof(hub)
    assert found.holds
    assert "hub was not asked: HTTP 502" in found.said
