"""Calls of trackers, with real servers: what leaves the machine, what does not, and what each kind of silence means."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.config.integrations import GitHubIntegration, RoundupIntegration
from tasks_pipeline.trackers import calls
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Calls, Kind
from tasks_pipeline.trackers.issue import Cursor
from tasks_pipeline.trackers.provider import open_provider
from tests.support.dripping import FarSide, far_side, over_tls
from tests.support.outside import HttpReceiver, http_receiver

TOKEN = "ghp_s3cret/with+signs=="
GOOD = (200, {"Content-Type": "application/json"}, b'{"id": 1}')


def integration(url: str, **more: Any) -> GitHubIntegration:
    settings = {"allow_insecure": True, "allow_private": ("127.0.0.0/8",)} | more
    return GitHubIntegration.model_validate({"name": "hub", "url": url, "token": TOKEN} | settings)


@pytest.fixture
def server() -> Iterator[HttpReceiver]:
    with http_receiver() as running:
        running.answer = lambda _posted, _before: GOOD
        yield running


@contextmanager
def asking(url: str, path: str = "", **more: Any) -> Iterator[Calls]:
    with Calls(integration(url, **more)) as made:
        made.at(f"{url}{path}", {"Authorization": f"Bearer {TOKEN}"})
        yield made


def refused(made: Calls, call: str = "read", method: str = "GET", path: str = "/x", **more: Any) -> Verdict:
    with pytest.raises(TrackerError) as caught:
        made.ask(method, path, kind="check", call=call, **more)
    assert TOKEN not in str(caught.value)
    return caught.value.verdict


def test_a_call_carries_what_it_should_and_brings_json_and_their_clock(server: HttpReceiver) -> None:
    server.answer = lambda _posted, _before: (
        200,
        {"Link": f'<{server.url}/p?page=2>; rel="next"', "X-Left": "7"},
        b"[]",
    )
    with asking(server.url) as made:
        reply = made.ask(
            "POST",
            "/x",
            kind="state",
            call="close",
            json={"a": "ü"},
            params={"q": "a b"},
            headers={"If-Match": "1"},
        )
        assert (reply.status, reply.json, reply.headers["x-left"]) == (200, [], "7")
        assert reply.date is not None
        assert made.next_page(reply) == f"{server.url}/p?page=2"
    (posted,) = server.posted
    assert (posted.method, posted.path, posted.json) == ("POST", "/x?q=a+b", {"a": "ü"})
    assert posted.headers["Authorization"] == f"Bearer {TOKEN}"
    assert (posted.headers["If-Match"], posted.headers["User-Agent"]) == ("1", "tasks-pipeline")


@pytest.mark.parametrize(
    ("url", "more", "said"),
    [
        ("http://tracker.acme.example", {"allow_insecure": False}, "allow_insecure"),
        ("http://169.254.169.254", {"allow_private": False}, "allow_private"),
        ("http://127.0.0.1:9", {"allow_private": ("10.0.0.0/8",)}, "not a public address"),
        ("http://[::ffff:10.0.0.1]", {"allow_private": False}, "not a public address"),
    ],
)
def test_addresses_that_are_not_asked(url: str, more: dict[str, Any], said: str) -> None:
    # What the configuration refuses is refused here, too: an address may come from elsewhere.
    with Calls(integration("https://tracker.acme.example", **more)) as made:
        made.at(url, {"Authorization": f"Bearer {TOKEN}"})
        found = refused(made)
    assert found.do is Do.MISCONFIGURED
    assert said in found.said


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_api_keeps_method_body_and_credentials(
    status: int, server: HttpReceiver
) -> None:
    server.answer = lambda _posted, before: GOOD if before else (status, {"Location": "/api/moved"}, b"")
    with asking(server.url, "/api") as made:
        reply = made.ask("PATCH", "/x", kind="state", call="close", json={"state": "closed"})
    assert reply.url == f"{server.url}/api/moved"
    assert [(posted.method, posted.path, posted.json) for posted in server.posted] == [
        ("PATCH", "/api/x", {"state": "closed"}),
        ("PATCH", "/api/moved", {"state": "closed"}),
    ]
    assert server.posted[1].headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "to",
    [
        "http://169.254.169.254/latest",
        "{other}/api/x",
        "/elsewhere",
        "/api/../admin",
        "/api/%2e%2e/admin",
        "//127.0.0.1:1/api/x",
    ],
)
def test_a_redirect_out_of_the_api_is_not_followed(to: str, server: HttpReceiver) -> None:
    with http_receiver() as other, asking(server.url, "/api") as made:
        server.answer = lambda _posted, _before: (307, {"Location": to.format(other=other.url)}, b"")
        found = refused(made)
        assert other.posted == []
    assert found.do is Do.MISCONFIGURED
    assert len(server.posted) == 1


def test_redirects_in_a_circle_come_to_an_end(server: HttpReceiver) -> None:
    server.answer = lambda _posted, _before: (307, {"Location": "/x"}, b"")
    with asking(server.url) as made:
        assert refused(made).do is Do.MISCONFIGURED
    assert len(server.posted) == calls.FOLLOWED + 1


@pytest.mark.parametrize(
    "link", ["<http://169.254.169.254/p>", "<{other}/p>", "<//127.0.0.1:1/p>", "<https://127.0.0.1/p>"]
)
def test_a_next_page_that_is_elsewhere_is_not_read(link: str, server: HttpReceiver) -> None:
    with http_receiver() as other, asking(server.url) as made:
        server.answer = lambda _posted, _before: (
            200,
            {"Link": f'{link.format(other=other.url)}; rel="next"'},
            b"[]",
        )
        reply = made.ask("GET", "/x", kind="poll", call="list")
        with pytest.raises(TrackerError) as caught:
            made.next_page(reply)
    assert caught.value.verdict.do is Do.MISCONFIGURED


@pytest.mark.parametrize("call", ["read", "create", "comment", "close"])
def test_what_a_lost_answer_means(call: str, server: HttpReceiver) -> None:
    server.answer = lambda _posted, _before: None
    with asking(server.url) as made:
        found = refused(made, call, "POST", json={})
    assert found.do is {"read": Do.RETRY, "close": Do.LOOK_AGAIN}.get(call, Do.UNKNOWN)


@pytest.mark.parametrize("call", ["read", "create", "close"])
def test_where_nobody_was_reached_nothing_was_made(call: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with asking(f"http://127.0.0.1:{port}") as made:
        assert refused(made, call, "POST", json={}).do is Do.RETRY


@pytest.mark.parametrize(
    ("call", "status", "kind", "body", "do"),
    [
        ("read", 200, "text/html", b"<html><title>Sign in</title>", Do.UNREACHABLE),
        ("create", 201, "text/html", b"<html>", Do.UNKNOWN),
        ("list", 200, "application/json", b"[{", Do.RETRY),
        ("list", 200, "application/json", b"\xff\xfe", Do.UNREACHABLE),
        ("list", 200, "application/json", b"[" * 100_000, Do.RETRY),
        ("read", 200, "application/json", b"x" * (calls.BODY_BYTES + 1), Do.UNREACHABLE),
        ("create", 201, "application/json", b"{" + b" " * calls.BODY_BYTES, Do.UNKNOWN),
        ("close", 200, "application/json", b"{" + b" " * calls.BODY_BYTES, Do.LOOK_AGAIN),
    ],
)  # fmt: skip
def test_answers_that_say_nothing(
    call: str, status: int, kind: str, body: bytes, do: Do, server: HttpReceiver
) -> None:
    server.answer = lambda _posted, _before: (status, {"Content-Type": kind}, body)
    with asking(server.url) as made:
        assert refused(made, call, "POST").do is do


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('W/"a1"', 'W/"a1"'),
        ('"a1"', '"a1"'),
        ('"h\u00e9"', ""),
        ('"a b"', ""),
        ("a1", ""),
        (f'"{"x" * 500}"', ""),
        (None, ""),
    ],
)
def test_an_entity_tag_is_one_that_can_be_sent_back(
    said: str | None, kept: str, server: HttpReceiver
) -> None:
    server.answer = lambda _posted, _before: (200, {"ETag": said} if said else {}, b"{}")
    with asking(server.url) as made:
        assert made.ask("GET", "/x", kind="check", call="read").etag == kept


def test_half_a_character_does_not_hide_the_rest(server: HttpReceiver) -> None:
    server.answer = lambda _posted, _before: (
        200,
        {},
        b'[{"title": "x\\ud83d", "n": 1}, {"title": "\\ud83d\\ude00"}]',
    )
    with asking(server.url) as made:
        assert made.ask("GET", "/x", kind="poll", call="list").json == [
            {"title": "x\ufffd", "n": 1},
            {"title": "😀"},
        ]
        server.answer = lambda _posted, _before: (200, {}, b"[NaN]")
        assert refused(made, "list").do is Do.RETRY


def test_json_of_another_shape_has_a_verdict_by_what_was_asked(server: HttpReceiver) -> None:
    with asking(server.url) as made:
        for call, do in {"read": Do.UNREACHABLE, "create": Do.UNKNOWN}.items():
            reply = made.ask("GET", "/x", kind="check", call=call)
            with pytest.raises(TrackerError) as caught:
                reply.shaped(dict[str, str])
            assert caught.value.verdict.do is do


def test_a_far_side_that_drips_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "SECONDS", 0.3)

    def drip(server: FarSide, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        )
        server.drip(connection, b"[")

    with far_side(drip) as server, asking(f"http://{server.address}") as made:
        assert refused(made).do is Do.RETRY
        assert not server.exhausted.is_set()


def test_a_far_side_without_an_end_is_left_at_the_bound() -> None:
    def flood(server: FarSide, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n[")
        server.flood(connection, b"1," * 50_000)

    with far_side(flood) as server, asking(f"http://{server.address}") as made:
        assert refused(made).said == "an answer of more than 10 MiB"


@pytest.mark.parametrize(
    "echo",
    [TOKEN, base64.b64encode(TOKEN.encode()).decode(), "ghp_s3cret%2Fwith%2Bsigns%3D%3D", json.dumps(TOKEN)],
)
def test_a_secret_that_is_sent_back_is_told_to_nobody(echo: str, server: HttpReceiver) -> None:
    body = json.dumps({"message": f"bad {echo}", "errors": [{"field": echo}]}).encode()
    server.answer = lambda _posted, _before: (422, {}, body)
    with asking(server.url) as made:
        found = refused(made, "create", "POST")
    assert "s3cret" not in str(found)
    assert echo not in str(found)


def test_the_basic_form_of_a_password_is_masked(server: HttpReceiver) -> None:
    basic = base64.b64encode(b"bot:pass-word").decode()
    server.answer = lambda posted, _before: (403, {}, json.dumps({"message": str(posted.headers)}).encode())
    settings = {
        "name": "r",
        "url": server.url,
        "user": "bot",
        "password": "pass-word",
        "allow_insecure": True,
        "allow_private": True,
    }
    with Calls(RoundupIntegration.model_validate(settings)) as made:
        made.at(server.url, {"Authorization": f"Basic {basic}"})
        found = refused(made)
    assert "***" in found.said
    assert basic not in found.said


def test_the_gate_is_asked_before_each_request_and_told_after(server: HttpReceiver) -> None:
    class Book:
        def __init__(self) -> None:
            self.lines: list[tuple[str, ...]] = []

        def enter(self, kind: Kind, *, writes: bool = False) -> None:
            self.lines.append(("enter", kind))
            if kind == "enrich":
                raise TrackerError(Verdict(Do.RATE_LIMITED, wait=5))

        def note(self, kind: Kind, status: int, headers: Mapping[str, str], verdict: Verdict) -> None:
            self.lines.append(("note", kind, str(status), str(verdict.do)))

    book = Book()
    server.answer = lambda posted, before: (None, (307, {"Location": "/y"}, b""), GOOD)[min(before, 2)]
    with Calls(integration(server.url), book) as made:
        made.at(server.url, {})
        refused(made)
        made.ask("GET", "/x", kind="poll", call="read")
        with pytest.raises(TrackerError):
            made.ask("GET", "/x", kind="enrich", call="read")
    assert book.lines == [
        ("enter", "check"), ("note", "check", "0", "retry"),
        ("enter", "poll"), ("note", "poll", "307", "follow"), ("enter", "poll"), ("note", "poll", "200", "good"),
        ("enter", "enrich"),
    ]  # fmt: skip
    assert len(server.posted) == 3


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_certificates_that_cannot_be_read_is_a_mistake_of_the_settings(
    content: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "corp.pem"
    if content:
        file.write_text(content)
    with (
        pytest.raises(TrackerError, match=r"corp\.pem") as caught,
        open_provider(integration("https://x.example", ca_file=str(file))),
    ):
        pass
    assert caught.value.verdict.do is Do.MISCONFIGURED


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[1]",
        b'[{"number": "1"}]',
        b'[{"number": 1, "title": null}]',
        b'{"message": "x"}',
        b"null",
        b'"x"',
        b"1e999",
    ],
)
def test_a_provider_takes_no_list_of_another_shape_for_an_empty_one(
    body: bytes, server: HttpReceiver
) -> None:
    repository = b'{"id": 701, "full_name": "acme/shop"}'
    server.answer = lambda posted, _before: (200, {}, body if "/issues" in posted.path else repository)
    from tests.support.github import SHOP

    with open_provider(integration(server.url)) as hub, pytest.raises(TrackerError) as caught:
        hub.changed(SHOP, Cursor())
    assert caught.value.verdict.do is Do.UNREACHABLE


def test_certificates_of_a_file_are_trusted_besides(certificate: tuple[Path, Path]) -> None:
    def answer(server: FarSide, connection: socket.socket) -> None:
        server.request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with far_side(over_tls(answer, certificate), "localhost") as server:
        with asking(f"https://{server.address}", ca_file=str(certificate[1]), allow_insecure=False) as made:
            assert made.ask("GET", "/x", kind="check", call="read").json == {}
        with asking(f"https://{server.address}", allow_insecure=False) as made:
            found = refused(made, "create", "POST")
    assert found.do is Do.RETRY
    assert "self-signed" in found.said
