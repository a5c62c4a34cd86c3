"""HTTP requests to addresses that others chose: judged, bounded in time and size, and careful with what they carry."""

from __future__ import annotations

import base64
import datetime as dt
import re
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpcore
import httpx

from tasks_pipeline.outbound.addresses import Network
from tasks_pipeline.outbound.deadline import Deadline
from tasks_pipeline.outbound.errors import NoAnswer, NotUsable, OutboundError, Unreachable
from tasks_pipeline.outbound.stream import Stream, connect

MAX_BODY = 1024 * 1024
KEEP_SECONDS = 5.0
HARMLESS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-type", "pragma", "user-agent"}
)
"""Headers that go along to another origin. Of every other one nobody knows that it is no secret."""
_OF_A_BODY = frozenset({"content-type", "content-length", "content-encoding", "transfer-encoding"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")


@dataclass(frozen=True, slots=True)
class Request:
    """A request to make. `seconds` is for all of it: name, connection, TLS, every redirect, and the last byte of the answer.

    `redirects` are followed, that many at most. Of the body `max_body` bytes are read (below `stream.ANSWER_BYTES`).
    `connect_seconds`: name, connection and TLS of each step may take no longer; all of `seconds` when None.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 10
    redirects: int = 0
    max_body: int = MAX_BODY
    agent: str = "tasks-pipeline"
    connect_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Names of headers are lower case; `truncated` says that the body has more than `body` holds.

    The body is as it was sent: no compression is asked for, and none undone. `certificate_expires` is None without TLS.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    seconds: float
    url: str
    certificate_expires: dt.datetime | None = None


class Client:
    """Makes requests. With `keep` a connection is kept for the next one, for a few seconds. No proxy of the environment is used."""

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        context: ssl.SSLContext | None = None,
        *,
        keep: bool = False,
    ) -> None:
        self._backend = _Backend(allowed)
        self._context, self._keep = context, keep
        self._pools: dict[bytes, httpcore.ConnectionPool] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: Request) -> Answer:
        """Make a request and follow its redirects, each judged anew. Raises OutboundError, of the kinds in `errors`.

        What the request carries goes to its own origin (scheme, host and port). To another one go harmless headers alone,
        and no body: a redirect that would take it there is not followed.
        """
        started = time.monotonic()
        deadline = Deadline(started + request.seconds)
        step = _first_step(request)
        for hop in range(request.redirects + 1):
            try:
                answer, target = self._once(request, step, deadline, started)
                if target is None:
                    return answer
                step = _next_step(step, answer.status, target)
            except OutboundError as error:
                if hop and isinstance(error, Unreachable | NotUsable):  # the first hop had its request
                    raise NoAnswer(f"after a redirect: {error}") from error
                raise
        raise NoAnswer(f"more than {request.redirects} redirects")

    def close(self) -> None:
        """Close the connections that were kept."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def _once(
        self, request: Request, step: _Step, deadline: Deadline, started: float
    ) -> tuple[Answer, str | None]:
        """The answer of one step, and where it leads when that is to be followed; the body of such a one is not read."""
        if deadline.over:
            raise Unreachable(f"timeout: nothing left of {request.seconds:g} s")
        try:
            pool = self._pool(step.url.raw_scheme)
            reached = deadline.at_most(request.connect_seconds)
            limits = {"connect": reached, "read": deadline, "write": deadline, "pool": request.seconds}
            url = httpcore.URL(
                scheme=step.url.raw_scheme,
                host=step.url.raw_host,
                port=step.url.port,
                target=step.url.raw_path,
            )
            with pool.stream(
                step.method, url, headers=list(step.headers.items()), content=step.body or None,
                extensions={"timeout": limits},
            ) as response:  # fmt: skip
                headers = _headers(response.headers)
                location = headers.get("location") if response.status in _REDIRECTS else None
                target = location or None if request.redirects else None
                expires = _certificate_expires(response.extensions.get("network_stream"))
                body = b"" if target else _body(response, request.max_body)
        except TimeoutError as error:
            raise NoAnswer(f"timeout: no whole answer within {request.seconds:g} s") from error
        except (httpcore.WriteTimeout, httpcore.PoolTimeout) as error:
            raise NoAnswer(f"timeout: it was not taken within {request.seconds:g} s") from error
        except httpcore.LocalProtocolError as error:  # its text may hold a header
            raise NotUsable("not a usable request: its method or a header cannot be sent") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        seconds = time.monotonic() - started
        shown = str(step.url.copy_with(userinfo=b""))
        kept, truncated = body[: request.max_body], len(body) > request.max_body
        return Answer(response.status, headers, kept, truncated, seconds, shown, expires), target

    def _pool(self, scheme: bytes) -> httpcore.ConnectionPool:
        with self._lock:
            pool = self._pools.get(scheme)
            if pool is None:
                # One for each scheme: reading the certificates that are trusted takes longer than a request without TLS.
                context = (self._context or ssl.create_default_context()) if scheme == b"https" else None
                pool = self._pools[scheme] = httpcore.ConnectionPool(
                    ssl_context=context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                    max_keepalive_connections=1 if self._keep else 0,
                    keepalive_expiry=KEEP_SECONDS,
                    network_backend=self._backend,
                )
            return pool


def ask(request: Request, allowed: Sequence[Network] = (), context: ssl.SSLContext | None = None) -> Answer:
    """Make one request, as `Client.ask` does."""
    with Client(allowed, context) as client:
        return client.ask(request)


# ── steps: a request is one, each redirect another


@dataclass(frozen=True, slots=True)
class _Step:
    url: httpx.URL
    method: str
    headers: Mapping[str, str]
    body: bytes


def _first_step(request: Request) -> _Step:
    url = _url(request.url)
    if not _NAME.fullmatch(request.method):
        raise NotUsable("not a usable request: its method is none")
    headers = {"User-Agent": request.agent, "Accept": "*/*", "Accept-Encoding": "identity"}
    for name, value in request.headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise NotUsable(f"not a usable request: the header {name[:50]!r} cannot be sent")
        headers = {n: v for n, v in headers.items() if n.lower() != name.lower()} | {name: value}
    if url.userinfo and not any(name.lower() == "authorization" for name in headers):
        pair = f"{url.username}:{url.password}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return _Step(url, request.method, headers, request.body)


def _next_step(step: _Step, status: int, target: str) -> _Step:
    """Where a redirect leads, with what may be carried there."""
    try:
        url = _url(str(step.url.join(target)))
    except (httpx.InvalidURL, ValueError) as error:
        raise NotUsable("it leads to what is no URL") from error
    method, headers, body = step.method, step.headers, step.body
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", b""
        headers = {name: value for name, value in headers.items() if name.lower() not in _OF_A_BODY}
    if _origin(url) != _origin(step.url):
        if body:
            raise NoAnswer(f"it leads to {url.host}, where its body would go along: not followed")
        headers = {name: value for name, value in headers.items() if name.lower() in HARMLESS}
    return _Step(url, method, headers, body)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _url(text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise NotUsable("not a usable URL") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise NotUsable("not an HTTP address")
    if url.port is not None and not 0 < url.port < 65_536:
        raise NotUsable(f"there is no port {url.port}")
    return url


# ── answers


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _body(response: httpcore.Response, most: int) -> bytes:
    """At most a piece more than `most` bytes."""
    body = bytearray()
    for piece in response.iter_stream():
        body += piece
        if len(body) > most:
            break
    return bytes(body)


def _certificate_expires(stream: Any) -> dt.datetime | None:
    tls = stream.get_extra_info("ssl_object") if stream is not None else None
    certificate = tls.getpeercert() if tls is not None else None
    if not certificate or "notAfter" not in certificate:
        return None
    return dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), dt.UTC)


# ── streams as httpcore wants them; each time limit that comes down is the Deadline of its request


class _Backend(httpcore.NetworkBackend):
    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        return _HttpStream(connect(host, port, _deadline(timeout), self._allowed), f"{host}:{port}")


class _HttpStream(httpcore.NetworkStream):
    def __init__(self, stream: Stream, name: str) -> None:
        self._stream, self._name = stream, name

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _deadline(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            self._stream.write(buffer, _deadline(timeout))
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except (
            OSError
        ) as error:  # httpcore reads the answer all the same: some answer before they have heard all
            raise httpcore.WriteError(str(error)) from error

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            self._stream.start_tls(ssl_context, server_hostname or "", _deadline(timeout))
        except OSError as error:
            self._stream.close()
            said = getattr(error, "verify_message", "") or error
            raise Unreachable(f"TLS: {self._name}: {said}") from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "ssl_object":
            return self._stream.tls
        return self._stream.stirs if info == "is_readable" else None

    def close(self) -> None:
        self._stream.close()


def _deadline(timeout: float | None) -> Deadline:
    assert isinstance(timeout, Deadline)
    return timeout
