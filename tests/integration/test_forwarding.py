"""The receiver forwards what is no ingestion to the web process: streamed, bounded, with nothing said of a client but by it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks_pipeline.asgi import Receive, Scope, Send
from tasks_pipeline.home import Home
from tasks_pipeline.pages.app import PAGES
from tasks_pipeline.reading.lake_reader import LakeReader
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.receiver.forwarding import AT_ONCE, OF_ONE_ADDRESS, is_forwarded
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.app import create_web
from tasks_pipeline.web.login.routes import Login
from tests.support.receiver import KEY, MemorySpool, configure, serving

MIB = 1024 * 1024
ENVELOPE = b'{"event_id":"9ec79c33ec9942ab8353589fcb2e04dc"}\n{"type":"event"}\n{}\n'


class Far:
    """A web process of which a test says what it answers, and sees what it was asked."""

    is_stopping = False

    def __init__(self) -> None:
        self.asked: list[Scope] = []
        self.answer: Callable[[Receive, Send], Any] = _ok

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.asked.append(scope)
            await self.answer(receive, send)
            return
        for said in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{said}.complete"})


async def _say(send: Send, body: bytes, status: int = 200, *, more: bool = False) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"x-far", b"1"), (b"connection", b"x")]})  # fmt: skip
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _ok(receive: Receive, send: Send) -> None:
    await _say(send, b"far")


@contextmanager
def receiving(home: Home, web_url: str | None, receiver: str = "", more: str = "") -> Iterator[httpx.Client]:
    configure(home, receiver=receiver)
    home.config_path.write_text(home.config_path.read_text() + more)
    app = create_app(home, spool=MemorySpool(), web_url=web_url)  # type: ignore[arg-type]
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def far() -> Far:
    return Far()


@pytest.fixture(scope="module")
def client(far: Far, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with ExitStack() as stack:
        url = stack.enter_context(serving(far))
        yield stack.enter_context(receiving(Home(tmp_path_factory.mktemp("home")), url))


@pytest.fixture(autouse=True)
def _forgotten(far: Far) -> None:
    far.asked.clear()
    far.answer = _ok


def test_what_is_asked_arrives_and_is_answered(client: httpx.Client, far: Far) -> None:
    sent = {
        "x-forwarded-for": "6.6.6.6", "x-forwarded-host": "evil.example", "forwarded": "for=6.6.6.6", "x-real-ip": "6.6.6.6",
        "connection": "x-secret", "x-secret": "1", "authorization": "Bearer t", "x-own": "1",
    }  # fmt: skip
    answer = client.get("/api/0/organizations/acme/releases/a%2Fb/?x=1&x=2", headers=sent)
    assert (answer.status_code, answer.text, answer.headers["x-far"]) == (200, "far", "1")
    assert "access-control-allow-origin" not in answer.headers, "other sites read errors of ingestion alone"
    (scope,) = far.asked
    assert scope["raw_path"] == b"/api/0/organizations/acme/releases/a%2Fb/"
    assert scope["query_string"] == b"x=1&x=2"
    headers = {key.decode(): value.decode() for key, value in scope["headers"]}
    assert headers["x-forwarded-for"] == "unknown", "somebody else asks by a proxy that nobody said to trust"
    assert headers["host"] == f"{client.base_url.host}:{client.base_url.port}"
    assert headers["x-own"] == "1"
    assert headers["authorization"] == "Bearer t"
    assert not {"x-secret", "x-forwarded-host", "forwarded", "x-real-ip"} & set(headers)


def test_a_value_that_ends_in_blanks_is_passed_on(client: httpx.Client, far: Far) -> None:
    request = (
        b"GET /api/0/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer \t\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as connection:
        connection.sendall(request % connection.getpeername()[1])
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert dict(far.asked[0]["headers"])[b"authorization"] == b"Bearer"


@pytest.mark.parametrize(
    ("settings", "sent", "address"),
    [
        ("", {}, "127.0.0.1"),
        ("", {"x-forwarded-for": "10.0.0.9"}, "unknown"),
        ("", {"x-real-ip": "127.0.0.1"}, "unknown"),
        ("trust_forwarded_for: true", {"x-forwarded-for": "127.0.0.1, 10.0.0.9"}, "10.0.0.9"),
    ],
)
def test_who_comes_by_a_proxy_is_not_taken_for_one_on_this_machine(
    far: Far, tmp_path: Path, settings: str, sent: dict[str, str], address: str
) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(serving(far))
        client = stack.enter_context(receiving(Home(tmp_path), url, settings))
        client.get("/groups/", headers=sent)
    assert dict(far.asked[0]["headers"])[b"x-forwarded-for"] == address.encode()


@pytest.mark.parametrize(("proxies", "passed"), [("10.0.0.0/8", False), ("127.0.0.1/32", True)])
def test_who_names_a_member_must_be_a_proxy_that_is_believed(
    far: Far, tmp_path: Path, proxies: str, passed: bool
) -> None:
    section = f"web: {{login: proxy, trusted_user_header: X-User, trusted_proxies: [{proxies}]}}\n"
    with ExitStack() as stack:
        url = stack.enter_context(serving(far))
        client = stack.enter_context(receiving(Home(tmp_path), url, more=section))
        client.get("/groups/", headers={"x-user": "anna@acme.example"})
    assert (b"x-user" in dict(far.asked[0]["headers"])) is passed


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_is_streamed(client: httpx.Client, far: Far, chunked: bool) -> None:
    whole, seen = b"x" * MIB, hashlib.sha1(usedforsecurity=False)

    async def take(receive: Receive, send: Send) -> None:
        more, largest = True, 0
        while more:
            message = await receive()
            seen.update(message["body"])
            largest = max(largest, len(message["body"]))
            more = message["more_body"]
        assert largest < 8 * MIB
        await _say(send, seen.hexdigest().encode(), 201)

    far.answer = take
    pieces = (whole for _ in range(32))
    headers = {} if chunked else {"content-length": str(32 * MIB)}
    answer = client.post("/api/0/organizations/acme/chunk-upload/", content=pieces, headers=headers)
    expected = hashlib.sha1(whole * 32, usedforsecurity=False).hexdigest()
    assert (answer.status_code, answer.text) == (201, expected)
    assert (b"transfer-encoding" in dict(far.asked[0]["headers"])) is chunked


def test_who_refuses_before_the_body_came_is_heard(client: httpx.Client, far: Far) -> None:
    async def refuse(receive: Receive, send: Send) -> None:
        await _say(send, b'{"detail":"no"}', 401)

    far.answer = refuse
    answer = client.post("/api/0/organizations/acme/chunk-upload/", content=b"x" * (32 * MIB))
    assert (answer.status_code, answer.json()) == (401, {"detail": "no"})


def test_an_answer_is_streamed_and_one_that_breaks_off_is_broken_off(client: httpx.Client, far: Far) -> None:
    goes_on = asyncio.Event()

    async def slow(receive: Receive, send: Send) -> None:
        await _say(send, b"first", more=True)
        await goes_on.wait()
        raise OSError("broken")

    far.answer = slow
    with client.stream("GET", "/groups/csv") as answer:
        pieces = answer.iter_bytes()
        assert next(pieces) == b"first"
        goes_on._loop.call_soon_threadsafe(goes_on.set)  # type: ignore[attr-defined]
        with pytest.raises(httpx.RemoteProtocolError):
            next(pieces)


def test_many_at_once_are_refused_and_ingestion_goes_on(client: httpx.Client, far: Far) -> None:
    waiting, goes_on = [0], asyncio.Event()

    async def wait(receive: Receive, send: Send) -> None:
        waiting[0] += 1
        await goes_on.wait()
        await _say(send, b"at last")

    far.answer = wait

    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=client.base_url, timeout=60, limits=limits) as many:
            asked = [asyncio.create_task(many.get("/groups/")) for _ in range(AT_ONCE)]
            while waiting[0] < AT_ONCE:
                await asyncio.sleep(0.01)
            refused = await many.get("/groups/")
            path = f"/api/1/envelope/?sentry_key={KEY}"
            taken = await many.post(path, content=ENVELOPE)
            goes_on._loop.call_soon_threadsafe(goes_on.set)  # type: ignore[attr-defined]
            answers = await asyncio.gather(*asked)
            assert refused.json()["detail"] == "too many requests are on their way; try again"
            assert refused.headers["retry-after"] == "1"
            return [taken.status_code, refused.status_code, *{each.status_code for each in answers}]

    assert asyncio.run(ask()) == [200, 503, 200]


def test_one_address_does_not_take_all_places(far: Far, tmp_path: Path) -> None:
    """A stranger's slow bodies keep others from nothing."""
    waiting, goes_on = [0], asyncio.Event()

    async def wait(receive: Receive, send: Send) -> None:
        waiting[0] += 1
        await goes_on.wait()
        await _say(send, b"at last")

    async def ask(url: httpx.URL) -> list[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as many:
            stranger = [{"x-forwarded-for": f"2001:db8::{n:x}"} for n in range(OF_ONE_ADDRESS + 1)]
            asked = [asyncio.create_task(many.get("/login/", headers=each)) for each in stranger[1:]]
            while waiting[0] < OF_ONE_ADDRESS:
                await asyncio.sleep(0.01)
            refused = await many.get("/login/", headers=stranger[0])
            far.answer = _ok
            other = await many.get("/groups/", headers={"x-forwarded-for": "2001:db8:0:1::1"})
            goes_on._loop.call_soon_threadsafe(goes_on.set)  # type: ignore[attr-defined]
            answers = await asyncio.gather(*asked)
            again = await many.get("/login/", headers=stranger[0])
            return [refused.status_code, other.status_code, *{each.status_code for each in answers}, again.status_code]  # fmt: skip

    far.answer = wait
    with serving(far) as url, receiving(Home(tmp_path), url, "trust_forwarded_for: true") as client:
        assert asyncio.run(ask(client.base_url)) == [503, 200, 200, 200]


def test_without_a_web_process_the_answer_is_502(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with receiving(Home(tmp_path), url) as client:
        answer = client.get("/api/0/")
        assert answer.status_code == 502
        assert answer.json() == {"detail": "pages and the Web API do not answer; try again"}
        assert client.get("/health/ready").status_code == 200
        assert 'requests_total{endpoint="web",status="502"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "forwarded"),
    [
        ("GET", "/", True),
        ("GET", "/nothing", True),
        ("GET", "/groups/SHOP-1/", True),
        ("POST", "/groups/SHOP-1/resolve", True),
        ("POST", "/login", True),
        ("PUT", "/api/0/organizations/acme/issues/", True),
        ("GET", "/api/0", True),
        ("POST", "/tunnel", False),
        ("POST", "/", False),
        ("GET", "/health/live", False),
        ("GET", "/metrics", False),
        ("GET", "/unsubscribe/token", False),
        ("POST", "/unsubscribe/token", False),
        ("POST", "/api/1/envelope/", False),
        ("GET", "/api/1/nothing/", False),
        ("GET", "/api/embed/error-page/", False),
        ("OPTIONS", "/tunnel", False),
    ],
)
def test_what_is_forwarded(method: str, path: str, forwarded: bool) -> None:
    assert is_forwarded(method, path) is forwarded


def test_every_form_of_a_page_comes_to_it(tmp_path: Path) -> None:
    """A POST elsewhere would be a tunnel."""
    home = Home(tmp_path)
    configure(home)
    with closing(StateDatabase(home)) as state:
        login = Login(Reading(home, state, LakeReader(home, state), lambda: home.config_in_force().config))
        pages = [*PAGES, *login.pages()]
    assert {page.method for page in pages} == {"GET", "POST"}
    strange = [page.path for page in pages if not is_forwarded(page.method, re.sub(r"[{}]", "", page.path))]
    assert strange == []


def test_a_name_that_is_not_ours_is_refused_before_anything_else(tmp_path: Path) -> None:
    """DNS rebinding: a page of evil.example whose name leads to the loopback address."""
    configure(Home(tmp_path))
    with ExitStack() as stack:
        url = stack.enter_context(serving(create_web(Home(tmp_path))))
        client = stack.enter_context(receiving(Home(tmp_path), url))
        for path in ("/", "/api/0/", "/groups/"):
            for host in (
                "evil.example",
                f"evil.example:{client.base_url.port}",
                "127.0.0.1.evil.example",
                "[",
                "",
            ):
                assert client.get(path, headers={"host": host}).status_code in (400, 421), host
        for host in ("localhost:1", "127.0.0.1", "[::1]:9000", "shop.localhost"):
            assert client.get("/", headers={"host": host}).status_code == 421, host
        for name in ("localhost", "127.0.0.1", "[::1]", "shop.localhost"):
            host = f"{name}:{client.base_url.port}"
            assert client.get("/", headers={"host": host}).status_code == 303, host
        for sent in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil.example"}, {"origin": "null"}):  # fmt: skip
            assert client.post("/groups/", headers=sent).status_code == 403, sent
            assert client.put("/api/0/organizations/acme/issues/", headers=sent).status_code == 403, sent
