"""The links in mails of reports: a POST without login acts, a GET changes nothing, who has no link learns nothing."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tasks_pipeline.home import Home
from tasks_pipeline.notifications.subscriptions import Decision, decisions, token_of
from tasks_pipeline.receiver import unsubscribing
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import unsubscribe_key
from tests.support.receiver import serving

ANNA = "anna@acme.example"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def client(home: Home) -> Iterator[httpx.Client]:
    write(home, f"members: [{{email: {ANNA}}}]")
    with serving(create_app(home)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def write(home: Home, text: str) -> None:
    home.config_path.write_text(
        f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\n{text}\n"
    )


def link(home: Home, member: str = ANNA) -> str:
    state = StateDatabase(home)
    try:
        return f"/unsubscribe/{token_of(unsubscribe_key(state), member, 'week')}"
    finally:
        state.close()


def decided(home: Home) -> dict[tuple[str, str], Decision]:
    state = StateDatabase(home)
    try:
        with state.read() as connection:
            return decisions(connection)
    finally:
        state.close()


def test_looking_changes_nothing_and_one_post_acts(client: httpx.Client, home: Home) -> None:
    """As scanners of mail look first, and as RFC 8058 has a program post."""
    path = link(home)
    for ask in (client.get, client.head, client.get):
        assert ask(path).status_code == 200
    assert decided(home) == {}
    page = client.get(path)
    assert "a…@acme.example gets the weekly report." in page.text
    assert ANNA not in page.text
    assert '<form method="post">' in page.text
    assert page.headers["cache-control"] == "no-store"
    done = client.post(path, data=ONE_CLICK)
    assert (done.status_code, "no longer gets" in done.text) == (200, True)
    (found,) = decided(home).items()
    assert (found[0], found[1].wanted, found[1].by) == ((ANNA, "week"), False, "link")


def test_to_act_twice_is_to_act_once_and_it_can_be_undone(client: httpx.Client, home: Home) -> None:
    path = link(home)
    client.post(path, data=ONE_CLICK)
    at = decided(home)[ANNA, "week"].at
    client.post(path, content=b"")
    assert decided(home)[ANNA, "week"].at == at
    assert "now gets the weekly report" in client.post(path, data={"subscribe": "1"}).text
    assert decided(home)[ANNA, "week"].wanted


def test_who_has_no_link_learns_nothing(client: httpx.Client, home: Home) -> None:
    path = link(home)
    nothing = client.get("/there-is/nothing")
    for wrong in (
        path[:-1],
        path[:-1] + ("A" if path[-1] != "A" else "B"),
        "/unsubscribe/" + "A" * 32,
        "/unsubscribe/%2e%2e",
    ):
        for answer in (client.get(wrong), client.post(wrong, data=ONE_CLICK)):
            assert (answer.status_code, answer.json()) == (nothing.status_code, nothing.json())
    assert client.get(link(home, "stranger@acme.example")).status_code == 404
    assert decided(home) == {}


def test_what_is_sent_along_is_bounded_and_a_link_acts_a_few_times_a_minute(
    client: httpx.Client, home: Home
) -> None:
    path = link(home)
    assert client.post(path, content=b"x" * 2000).status_code == 413
    answers = [client.post(path, data=ONE_CLICK) for _ in range(unsubscribing.ACTS + 2)]
    assert [answer.status_code for answer in answers] == [200] * unsubscribing.ACTS + [429] * 2
    assert answers[-1].headers["retry-after"] == "60"
    assert client.post("/unsubscribe/" + "A" * 32).status_code == 404
    assert client.delete(path).status_code == 405


def test_a_member_who_left_has_no_link_any_more(client: httpx.Client, home: Home) -> None:
    path = link(home)
    assert client.get(path).status_code == 200
    write(home, "members: [{email: ben@acme.example}]")
    for _ in range(600):
        answer = client.get(link(home, "ben@acme.example"))
        if answer.status_code == 200:
            break
    assert client.get(path).status_code == 404
