"""Forwarding: what is no ingestion goes to the web process, streamed both ways, so that one address serves SDKs, people and clients.

The receiver reads nothing of it. Code and connections come with the first such request.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from tasks_pipeline.asgi import Receive, Scope, Send
from tasks_pipeline.receiver.endpoints import find_route
from tasks_pipeline.service.address import is_loopback, network_of

if TYPE_CHECKING:
    import httpcore

log = logging.getLogger(__name__)

API = "/api/0"
"""What lies below it is the Web API's: no project has the number 0."""
PAGES = frozenset(
    "account alerts dagster events groups invitations invite issues login logout members monitors notifications oidc organizations pipeline "
    "releases reports search settings static tokens uptime".split()
)
"""First folders of the addresses of pages. A POST to any other outside /api/ is a tunnel of envelopes."""
AT_ONCE = 64
"""Requests on their way; more are answered 503."""
OF_ONE_ADDRESS = 32
"""Of them: whoever sends many bodies slowly leaves places to others. Programs on this machine may have all."""
SECONDS = {"connect": 5.0, "pool": 0.0, "write": 60.0, "read": 300.0}
"""How long the web process may take: to accept, never for one of AT_ONCE places, for a piece of a body, until it answers and between two
pieces of that."""
_TOO_MANY, _SOON = "too many requests are on their way; try again", (b"retry-after", b"1")
_OF_ONE_CONNECTION = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade expect".split()
)
_SAID_BY_PROXIES = frozenset(
    b"forwarded via x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto x-real-ip".split()
)


def is_forwarded(method: str, path: str) -> bool:
    """Whether a request is for a page or the Web API, and so no ingestion."""
    if path.startswith("/api/"):
        return path.startswith(f"{API}/") or path == API
    if path.lstrip("/").partition("/")[0] in PAGES:
        return True
    return method in ("GET", "HEAD") and find_route(method, path).endpoint == "none"


class Forwarding:
    """The way to the web process at a base URL. Serves one event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._on_their_way = Counter[str]()
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, address: str | None, denied: str | None = None
    ) -> None:
        """Serve one HTTP request of a client at an address, without the header `denied`. Whoever sends or reads slowly waits for himself
        alone."""
        asker = "" if address is not None and is_loopback(address) else network_of(address or "")
        if asker and self._on_their_way[asker] >= OF_ONE_ADDRESS:
            await _refuse(send, 503, _TOO_MANY, _SOON)
            return
        self._on_their_way[asker] += 1
        try:
            await self._forward(scope, receive, send, address, denied)
        finally:
            self._on_their_way[asker] -= 1
            if not self._on_their_way[asker]:
                del self._on_their_way[asker]

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, address: str | None, denied: str | None
    ) -> None:
        import httpcore

        if self._pool is None:
            self._pool = httpcore.AsyncConnectionPool(
                max_connections=AT_ONCE, max_keepalive_connections=0, http1=True, http2=False
            )
        try:
            async with self._pool.stream(
                scope["method"],
                httpcore.URL(self._url.encode() + _target(scope)),
                headers=_headers(scope, address, denied),
                content=_body(scope, receive),
                extensions={"timeout": SECONDS},
            ) as answer:
                await _pass_on(answer, send)
        except _Gone:
            return
        except httpcore.PoolTimeout:
            await _refuse(send, 503, _TOO_MANY, _SOON)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            log.warning("the web process at %s does not answer: %r", self._url, error)
            await _refuse(send, 502, "pages and the Web API do not answer; try again", (b"retry-after", b"5"))

    async def close(self) -> None:
        """End all connections."""
        if self._pool is not None:
            await self._pool.aclose()


class _Gone(Exception):
    """One of the two sides has gone when half of it was said: there is nothing to answer."""


def _target(scope: Scope) -> bytes:
    query: bytes = scope["query_string"]
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    return b"%b?%b" % (path, query) if query else path


def _headers(scope: Scope, address: str | None, denied: str | None) -> list[tuple[bytes, bytes]]:
    """What was sent, without what is of one connection; what is said of whoever sent it comes from here alone."""
    named = {
        name.strip().lower()
        for key, value in scope["headers"]
        if key == b"connection"
        for name in value.split(b",")
    }
    dropped = _OF_ONE_CONNECTION | _SAID_BY_PROXIES | named | {(denied or "").lower().encode()}
    # The server leaves blanks behind a value, with which httpcore sends nothing: `Bearer `, say, of a variable that is not set.
    kept = [(key, value.strip(b" \t")) for key, value in scope["headers"] if key not in dropped]
    if any(key == b"transfer-encoding" for key, _ in scope["headers"]):
        kept.append((b"transfer-encoding", b"chunked"))
    said = [(b"x-forwarded-for", (address or "unknown").encode("ascii", "replace"))]
    if scope.get("server"):
        said.append((b"x-forwarded-port", b"%d" % scope["server"][1]))
    return [*kept, *said, (b"x-forwarded-proto", _scheme(scope))]


def _scheme(scope: Scope) -> bytes:
    scheme: str = scope.get("scheme", "http")
    return scheme.encode("ascii")


async def _body(scope: Scope, receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes. Raises _Gone when the client does."""
    names = {key for key, _ in scope["headers"]}
    more = bool(names & {b"content-length", b"transfer-encoding"})
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        if body := message.get("body", b""):
            yield body
        more = message.get("more_body", False)


async def _pass_on(answer: httpcore.Response, send: Send) -> None:
    """Raises what httpcore does until the head is sent, and _Gone after that."""
    import httpcore

    dropped = _OF_ONE_CONNECTION | {b"date"}  # the server says that itself
    headers = [(key.lower(), value) for key, value in answer.headers if key.lower() not in dropped]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    try:
        async for piece in answer.aiter_stream():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
        log.warning("the web process broke off an answer: %r", error)
        raise _Gone from error  # the server closes what was not sent to its end
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _refuse(send: Send, status: int, detail: str, *headers: tuple[bytes, bytes]) -> None:
    body = msgspec.json.encode({"detail": detail})
    known: list[Any] = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*known, *headers]})
    await send({"type": "http.response.body", "body": body})
