"""The links in mails of reports: a POST without login acts, a GET changes nothing, who has no link learns nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest
from sqlalchemy import select

from tasks_pipeline.facts.actors import hashed
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications
from tasks_pipeline.notifications.subscriptions import Decision, decide, decisions, token_of
from tasks_pipeline.receiver import unsubscribing
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import unsubscribe_key
from tasks_pipeline.storage.state.tables import analytics_outbox, notifications
from tests.support.receiver import serving

ANNA = "anna@acme.example"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def client(home: Home) -> Iterator[httpx.Client]:
    write(home, f"members: [{{email: {ANNA}}}]")
    with serving(create_app(home)) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


def write(home: Home, text: str) -> None:
    home.config_path.write_text(
        f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\n{text}\n"
    )


@contextmanager
def state_of(home: Home) -> Iterator[StateDatabase]:
    state = StateDatabase(home)
    try:
        yield state
    finally:
        state.close()


def link(home: Home, member: str = ANNA) -> str:
    with state_of(home) as state:
        return f"/unsubscribe/{token_of(unsubscribe_key(state), member, 'week')}"


def decided(home: Home) -> dict[tuple[str, str], Decision]:
    with state_of(home) as state, state.read() as connection:
        return decisions(connection)


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


def test_who_has_no_link_learns_nothing_but_what_to_do(client: httpx.Client, home: Home) -> None:
    """Whatever its length and spelling: the path is no tunnel, which would read what is sent along."""
    path = link(home)
    nothing = client.get("/unsubscribe/" + "A" * 32)
    assert (nothing.status_code, "newest mail" in nothing.text) == (404, True)
    for wrong in (
        path[:-1],
        path[:-1] + ("A" if path[-1] != "A" else "B"),
        path + "/x",
        "/unsubscribe",
        "/unsubscribe/",
        "/unsubscribe//",
        "/unsubscribe/%2e%2e",
        "/unsubscribe/%0a%00%ff/",
        "/%75nsubscribe%2F" + "A" * 32,
        f"{client.base_url}//unsubscribe/" + "A" * 32,
        *("/unsubscribe/" + "A" * length for length in (1, 100, 101, 8000)),
    ):
        for answer in (client.get(wrong), client.post(wrong, data=ONE_CLICK)):
            assert (answer.status_code, answer.text) == (404, nothing.text), wrong
        assert client.head(wrong).status_code == 404
        assert client.delete(wrong).status_code == client.delete(path).status_code == 405
    assert client.get(link(home, "stranger@acme.example")).text == nothing.text
    assert decided(home) == {}


@pytest.mark.parametrize("spelling", ["{}/", "/{}", "{}//"])
def test_a_link_may_have_slashes_around_it(client: httpx.Client, home: Home, spelling: str) -> None:
    url = f"{client.base_url}{spelling.format(link(home))}"
    assert "no longer gets" in client.post(url, data=ONE_CLICK).text


def slow_post(client: httpx.Client, path: str, more: bytes) -> bytes:
    """The status line for a client that sends the head of a POST, `more` and no end."""
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=120) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\n".encode() + more)
        return raw.makefile("rb").readline()


@pytest.mark.parametrize(
    "more", [b"content-length: 900\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n"]
)
def test_nobody_holds_a_connection_by_a_body_that_does_not_end(
    client: httpx.Client, home: Home, more: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("A" * 32, "A" * 101):
        assert b" 404 " in slow_post(client, f"/unsubscribe/{token}", more)
    monkeypatch.setattr(unsubscribing, "BODY_SECONDS", 0.01)
    assert b" 408 " in slow_post(client, link(home), more)
    assert decided(home) == {}


def test_a_link_is_of_its_member_alone_who_is_said_to_have_decided(client: httpx.Client, home: Home) -> None:
    write(home, f"members: [{{email: {ANNA.title()}}}, {{email: ben@acme.example}}]")
    client.post(link(home), data=ONE_CLICK)
    assert decided(home).keys() == {(ANNA, "week")}
    with state_of(home) as state, state.read() as connection:
        (fact,) = connection.execute(select(analytics_outbox)).mappings()
        anna = hashed(state, connection, ANNA)
    assert (fact["type"], fact["actor_kind"], fact["actor"]) == ("report.unsubscribed", "member", anna)
    assert (fact["source"], fact["data"]) == ("receiver", {"kind": "week", "member": anna, "by": "link"})
    with state_of(home) as state, state.write() as connection:  # the command, which the link then finds done
        decide(state, connection, ANNA.upper(), "week", True, "command", datetime.now(UTC))
    assert "gets the weekly report" in client.get(link(home)).text
    assert decided(home)[ANNA, "week"].by == "command"


def test_what_waits_of_the_kind_is_withdrawn_and_nothing_else(home: Home) -> None:
    now = datetime.now(UTC)
    messages = {
        f"report:weekly:2026-11-16:{ANNA}": ("report", ANNA),
        f"report:weekly:2026-11-09:{ANNA}:revision:2": ("report", ANNA),
        f"report:daily:2026-11-16:{ANNA}": ("report", ANNA),
        "report:weekly:2026-11-16:ben@acme.example": ("report", "ben@acme.example"),
        "alert:1": ("alert", ANNA),
    }
    with state_of(home) as state, state.write() as connection:
        put_notifications(
            state, connection,
            [NewNotification(key=key, type=type_, project_id=0, thread="a", target=f"member:{who}", channel="mail", not_before=now)
             for key, (type_, who) in messages.items()],
        )  # fmt: skip
        decide(state, connection, ANNA.upper(), "week", False, "command", now)
        rows = connection.execute(select(notifications.c.key, notifications.c.status, notifications.c.reason))
        assert {row.key: (row.status, row.reason) for row in rows} == {
            key: ("skipped", "unsubscribed") if number < 2 else ("waiting", "")
            for number, key in enumerate(messages)
        }


def test_links_of_another_key_are_of_nothing(client: httpx.Client, home: Home) -> None:
    """As those of old mails after the state database was made anew."""
    old = f"/unsubscribe/{token_of(b'another', ANNA, 'week')}"
    assert "newest mail" in client.post(old, data=ONE_CLICK).text
    assert decided(home) == {}


def test_what_is_sent_along_is_bounded_and_a_link_acts_a_few_times_a_minute(
    client: httpx.Client, home: Home
) -> None:
    path = link(home)
    assert client.post(path, content=b"x" * 2000).status_code == 413
    answers = [client.post(path, data=ONE_CLICK) for _ in range(unsubscribing.ACTS + 2)]
    assert [answer.status_code for answer in answers] == [200] * unsubscribing.ACTS + [429] * 2
    assert answers[-1].headers["retry-after"] == "60"


def test_a_member_who_left_has_no_link_any_more(client: httpx.Client, home: Home) -> None:
    path = link(home)
    assert client.get(path).status_code == 200
    write(home, "members: [{email: ben@acme.example}]")
    for _ in range(600):
        answer = client.get(link(home, "ben@acme.example"))
        if answer.status_code == 200:
            break
    assert client.get(path).status_code == 404
