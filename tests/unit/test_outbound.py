"""Requests that leave: what they carry where, and how what cannot be asked is named."""

from __future__ import annotations

import ast
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline import outbound
from tasks_pipeline.outbound import (
    EVERYWHERE,
    Client,
    Deadline,
    NoAnswer,
    NotUsable,
    OutboundError,
    Request,
    Unreachable,
    ask,
)
from tasks_pipeline.outbound.client import _next_step, _Step, _url
from tests.support.outside import HttpReceiver, http_receiver

SECRETS = {
    "Authorization": "Bearer s3cret",
    "Cookie": "session=s3cret",
    "Proxy-Authorization": "Basic s3cret",
    "PRIVATE-TOKEN": "s3cret",
    "x-redmine-api-key": "s3cret",
    "X-Whatever-They-Call-It": "s3cret",
}
HARMLESS = {"accept": "text/html", "Accept-Language": "de", "User-Agent": "mine", "Cache-Control": "no-cache"}


@pytest.fixture
def servers() -> Iterator[tuple[HttpReceiver, HttpReceiver]]:
    """Two of the same host on two ports."""
    with ExitStack() as stack:
        yield stack.enter_context(http_receiver()), stack.enter_context(http_receiver())


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("status", [307, 308])
def test_nothing_that_may_be_a_secret_goes_to_another_origin(
    host: str, status: int, servers: tuple[HttpReceiver, HttpReceiver]
) -> None:
    first, second = servers
    elsewhere = second.url.replace("127.0.0.1", host)
    first.answer = lambda _posted, _before: (status, {"Location": f"{elsewhere}/x"}, b"")
    answer = ask(Request(f"{first.url}/", "POST", SECRETS | HARMLESS, redirects=3), EVERYWHERE)
    assert answer.url == f"{elsewhere}/x"
    assert set(lower(SECRETS).items()) <= set(lower(first.posted[0].headers).items())
    arrived = lower(second.posted[0].headers)
    assert not set(lower(SECRETS)) & set(arrived)
    assert "s3cret" not in str(second.posted)
    assert set(lower(HARMLESS).items()) <= set(arrived.items())


def test_what_was_dropped_does_not_come_back_with_the_origin(
    servers: tuple[HttpReceiver, HttpReceiver],
) -> None:
    first, second = servers
    first.answer = lambda _posted, before: (
        (307, {"Location": f"{second.url}/x"}, b"") if before == 0 else (200, {}, b"")
    )
    second.answer = lambda _posted, _before: (307, {"Location": f"{first.url}/back"}, b"")
    ask(Request(f"{first.url}/", "POST", SECRETS, redirects=3), EVERYWHERE)
    assert first.posted[1].path == "/back"
    assert "s3cret" not in str(first.posted[1])


def test_a_redirect_within_an_origin_keeps_headers_and_body(
    servers: tuple[HttpReceiver, HttpReceiver],
) -> None:
    server, _ = servers
    server.answer = lambda _posted, before: (307, {"Location": "/x"}, b"") if before == 0 else (200, {}, b"")
    ask(Request(f"{server.url}/", "POST", SECRETS, b"body", redirects=1), EVERYWHERE)
    assert set(lower(SECRETS).items()) <= set(lower(server.posted[1].headers).items())
    assert server.posted[1].body == b"body"


def test_a_body_goes_to_no_other_origin(servers: tuple[HttpReceiver, HttpReceiver]) -> None:
    first, second = servers
    first.answer = lambda _posted, _before: (307, {"Location": f"{second.url}/x"}, b"")
    with pytest.raises(NoAnswer, match="not followed"):
        ask(Request(f"{first.url}/", "POST", body=b"s3cret", redirects=3), EVERYWHERE)
    assert second.posted == []


@pytest.mark.parametrize(
    ("start", "target", "kept"),
    [
        ("https://a.example/x", "/y", True),
        ("https://a.example/x", "https://a.example:443/y", True),
        ("https://a.example/x", "https://A.example/y", True),
        ("https://a.example/x", "//a.example/y", True),
        ("https://a.example/x", "http://a.example/y", False),
        ("https://a.example/x", "http://a.example:443/y", False),
        ("http://a.example/x", "https://a.example/y", False),
        ("https://a.example/x", "https://a.example:8443/y", False),
        ("https://a.example/x", "https://sub.a.example/y", False),
        ("https://a.example/x", "https://a.example.evil.example/y", False),
        ("https://a.example/x", "https://a.example@evil.example/y", False),
        ("https://a.example/x", "//evil.example/y", False),
        ("https://a.example/x", "https:///evil.example/y", True),  # a path of its own
        ("https://a.example/x", "ftp://a.example/y", None),
        ("https://a.example/x", "javascript:alert(1)", None),
        ("https://a.example/x", "http://[::1/y", None),
        ("https://a.example/x", "https://a.example:99999/y", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(start: str, target: str, kept: bool | None) -> None:
    step = _Step(_url(start), "GET", {"Authorization": "s3cret", "Accept": "*/*"}, b"")
    if kept is None:
        with pytest.raises(NotUsable):
            _next_step(step, 302, target)
    else:
        assert ("Authorization" in _next_step(step, 302, target).headers) is kept


@given(st.text(max_size=80), st.sampled_from([301, 302, 303, 307, 308]))
def test_any_location_is_followed_without_secrets_to_strangers_or_named_unusable(
    target: str, status: int
) -> None:
    step = _Step(_url("https://a.example/x"), "GET", {"X-Token": "s3cret"}, b"")
    try:
        following = _next_step(step, status, target)
    except OutboundError:
        return
    own = (following.url.scheme, following.url.host, following.url.port) == ("https", "a.example", None)
    assert own or "X-Token" not in following.headers


@pytest.mark.parametrize(
    ("method", "status", "then"),
    [("POST", 301, "GET"), ("POST", 302, "GET"), ("POST", 303, "GET"), ("PUT", 303, "GET"), ("POST", 307, "POST"),
     ("PUT", 302, "PUT"), ("HEAD", 303, "HEAD"), ("HEAD", 302, "HEAD")],
)  # fmt: skip
def test_the_method_after_a_redirect(method: str, status: int, then: str) -> None:
    step = _Step(_url("http://a.example/"), method, {"Content-Type": "x", "Content-Length": "1"}, b"b")
    following = _next_step(step, status, "/y")
    assert following.method == then
    if method != then:
        assert (following.body, dict(following.headers)) == (b"", {})


def test_a_name_and_password_in_the_address_are_basic_authentication_there_alone(
    servers: tuple[HttpReceiver, HttpReceiver],
) -> None:
    first, second = servers
    first.answer = lambda _posted, _before: (
        307,
        {"Location": second.url.replace("://", "://other:stranger@")},
        b"",
    )
    answer = ask(Request(first.url.replace("://", "://anna:s3cr%3Aet@"), "POST", redirects=1), EVERYWHERE)
    assert first.posted[0].headers["Authorization"] == "Basic YW5uYTpzM2NyOmV0"
    assert "Authorization" not in second.posted[0].headers
    assert "stranger" not in answer.url


@pytest.mark.parametrize(
    "headers", [{"X-Token": "s3cret\n"}, {"X-Token": "s3crét"}, {"X Token": "s3cret"}, {"X-Token": " s3cret"}]
)
def test_a_header_that_cannot_be_sent_is_named_and_not_shown(headers: dict[str, str]) -> None:
    with pytest.raises(NotUsable, match="Token") as failed:
        ask(Request("http://127.0.0.1:9/", headers=headers), EVERYWHERE)
    assert "s3cr" not in str(failed.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nothing",
        "ftp://a.example/",
        "http://",
        "http://[::1/",
        "http://a.example:x/",
        "http://a.example:70000/",
        "http://127.0.0.1:0/",
        "http://a\nb/",
    ],
)
def test_what_is_no_address_is_named_so(url: str) -> None:
    with pytest.raises(NotUsable):
        ask(Request(url), EVERYWHERE)


def test_a_header_of_the_caller_replaces_ours_however_it_is_spelled(
    servers: tuple[HttpReceiver, HttpReceiver],
) -> None:
    server, _ = servers
    ask(Request(server.url, "POST", {"user-agent": "mine", "HOST": "shop.example"}), EVERYWHERE)
    names = [name.lower() for name in server.posted[0].headers]
    assert names.count("user-agent") == names.count("host") == 1
    assert lower(server.posted[0].headers)["user-agent"] == "mine"
    assert lower(server.posted[0].headers)["host"] == "shop.example"


def test_an_address_beyond_ascii_is_asked(servers: tuple[HttpReceiver, HttpReceiver]) -> None:
    server, _ = servers
    ask(Request(f"{server.url}/größe?x=ä b", "POST"), EVERYWHERE)
    assert server.posted[0].path == "/gr%C3%B6%C3%9Fe?x=%C3%A4%20b"


def test_a_connection_is_kept_when_asked_for(servers: tuple[HttpReceiver, HttpReceiver]) -> None:
    server, _ = servers
    real, made = socket.create_connection, []

    def counting(*args: object, **options: object) -> socket.socket:
        made.append(args)
        return real(*args, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "create_connection", counting)
        with Client(EVERYWHERE, keep=True) as client:
            for _ in range(3):
                client.ask(Request(server.url, "POST"))
    assert len(made) == 1


def test_the_first_address_of_a_name_leaves_time_for_the_others(
    servers: tuple[HttpReceiver, HttpReceiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, _ = servers
    real, port = socket.create_connection, int(server.url.rpartition(":")[2])
    asked: list[str] = []

    def connecting(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address[0])
        if address[0] == "127.0.0.2":
            threading.Event().wait(timeout)
            raise TimeoutError
        return real(address, timeout)

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)
    monkeypatch.setattr(socket, "create_connection", lambda *args, **options: connecting(*args, **options))
    monkeypatch.setattr("tasks_pipeline.outbound.stream.socket.create_connection", connecting)
    answer = ask(Request(f"http://two.example:{port}/", "POST", seconds=4), EVERYWHERE)
    assert (answer.status, asked) == (200, ["127.0.0.2", "127.0.0.1"])


def test_a_deadline_says_what_is_left() -> None:
    deadline = Deadline.after(60)
    assert 0 < deadline.share(0.5).left() < 31 < deadline.left() <= 60
    assert not deadline.over
    passed = Deadline.after(-1)
    assert passed.over
    with pytest.raises(TimeoutError):
        passed.left()


PACKAGE = Path(outbound.__file__).parents[1]
CLIENTS = {"httpx", "httpcore", "requests", "smtplib", "urllib.request", "http.client", "apprise", "aiohttp"}
STAYS_HERE = {
    "receiver/forwarding.py": "asks the installation's own web process",
    "service/dagster_client.py": "asks the code server and the UI of this machine",
    "service/ready.py": "asks the receiver of this machine whether it is ready",
    "demo/show.py": "sends to a service that it started itself",
    "commands/clients.py": "sends a test event to the DSN that its caller gave, and waits in front of them",
    "notifications/channels/smtp.py": "smtplib, over a connection of outbound",
    "notifications/channels/mail.py": "smtplib's words, over a connection of outbound",
    "notifications/channels/apprise_worker.py": "a process that is ended at the deadline",
}


def imported(path: Path) -> set[str]:
    """Modules that a file imports anywhere."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
    return found


def test_there_is_one_door() -> None:
    """Whatever talks to others has a deadline for all of it, because it goes through `outbound`; exceptions have a reason."""
    others = {
        str(path.relative_to(PACKAGE)): imported(path)
        for path in PACKAGE.rglob("*.py")
        if "outbound" not in path.relative_to(PACKAGE).parts
    }
    talking = {name for name, modules in others.items() if modules & CLIENTS}
    assert talking == set(STAYS_HERE)
    inside = {
        name
        for name, modules in others.items()
        if any(m.startswith("tasks_pipeline.outbound.") for m in modules)
    }
    assert inside == set(), "they use what is in the face of the package"


def test_outbound_knows_nothing_of_the_rest() -> None:
    for path in (PACKAGE / "outbound").glob("*.py"):
        own = {m for m in imported(path) if m.startswith("tasks_pipeline")}
        assert all(m.startswith("tasks_pipeline.outbound") for m in own), path.name


def test_to_connect_has_a_limit_of_its_own() -> None:
    """Somebody who listens and says nothing is not waited for as long as an answer may take."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(Unreachable, match="TLS"):
            ask(Request(url, seconds=60, connect_seconds=0.2), EVERYWHERE)
    assert time.monotonic() - began < 20
