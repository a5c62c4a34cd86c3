"""Servers of HTTP: a socket, uvicorn with bounds on slow and endless requests, signals. What is answered belongs to the receiver and `web`."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from asyncio import TimerHandle, Transport
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tasks_pipeline.asgi import Receive, Scope, Send

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 4096
MAX_HEAD_BYTES = 64 * 1024
MAX_PIPELINED = 100
HEAD_SECONDS = 15.0
"""How long a new connection, or a request that began, may take to the end of its head."""
BODY_SECONDS = 120.0
"""How long a body may take from the head to its end."""
SILENT_SECONDS = 15.0
"""How long a client may be silent within a request."""
KEEP_ALIVE_SECONDS = 65
SHUTDOWN_SECONDS = 10
_CLOSING = b"\r\ncontent-length: 0\r\nconnection: close\r\naccess-control-allow-origin: *\r\n\r\n"


class _WholeAnswer:
    """The transport of one request's answer: keeps the head back until the body comes, and sends both with one system call."""

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head: bytes | None = None

    def write(self, data: bytes) -> None:
        if not self._cycle.response_started:  # 100 Continue
            self._transport.write(data)
        elif self._head is None:
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        if self._head:
            self._transport.write(self._head)
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with what it lacks: bounds on the head of a request, and on the time a request takes.

    A request that comes in one piece costs no timer.
    """

    _timer: TimerHandle | None = None
    _deadline = 0.0
    _head_bytes = 0
    _in_head = True
    _unfinished = True

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_more()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up(b"431 Request Header Fields Too Large")
        elif len(self.pipeline) > MAX_PIPELINED:
            self.transport.close()
        elif self._unfinished or self.cycle.response_complete:  # blank lines before a head begin no request
            self._expect_more()
        else:
            self._stop_timer()

    def on_message_begin(self) -> None:
        self._in_head = self._unfinished = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()
        if self.scope["method"] != "HEAD":  # which has no body to wait for
            self.cycle.transport = _WholeAnswer(self.cycle)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        self._unfinished = False
        super().on_message_complete()

    def _expect_more(self) -> None:
        """Close the connection when the rest does not come in time."""
        now = self.loop.time()
        if self._timer is None:
            self._deadline = now + (HEAD_SECONDS if self._in_head else BODY_SECONDS)
        else:
            self._timer.cancel()
        when = min(now + SILENT_SECONDS, self._deadline)
        self._timer = self.loop.call_at(when, self._give_up, b"408 Request Timeout")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self, status: bytes) -> None:
        """Answer, unless an answer to an earlier request or to this one is under way, and close."""
        if self.cycle is None or (
            self.cycle.response_complete if self._in_head else not self.cycle.response_started
        ):
            self.transport.write(b"HTTP/1.1 " + status + _CLOSING)
        self.transport.close()


class Application(Protocol):
    """What is served. `is_stopping`: whether it is told to end, and so is not ready."""

    is_stopping: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of the application."""
        ...


class Server(uvicorn.Server):
    """uvicorn's server that says when it is ready, and returns after a signal instead of dying of it: so many seconds later, in which
    it is not ready and takes what comes; at once after a second one."""

    def __init__(
        self, config: uvicorn.Config, app: Application, on_ready: Callable[[], None], drain_seconds: float
    ) -> None:
        super().__init__(config)
        self._app = app
        self._on_ready = on_ready
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end. A signal handler of the loop."""
        if self._app.is_stopping or not self._drain_seconds:
            super().handle_exit(sig, frame)
            return
        self._app.is_stopping = True
        log.info("told to stop: not ready from now on, ends in %g s", self._drain_seconds)
        asyncio.get_running_loop().call_later(self._drain_seconds, super().handle_exit, sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for number in signals:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)


def make_server(
    app: Application,
    host: str,
    port: int,
    on_ready: Callable[[str], None] | None = None,
    drain_seconds: float = 0,
) -> tuple[Server, socket.socket]:
    """A server that is not running yet, and its listening socket. Raises OSError for the address."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level="error",  # what strangers send wrong is counted, not logged
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    url = _base_url(host, listener.getsockname()[1])

    def ready() -> None:
        log.info("listening at %s", url)
        if on_ready is not None:
            on_ready(url)

    return Server(config, app, ready, drain_seconds), listener


def serve(
    app: Application,
    host: str,
    port: int,
    on_ready: Callable[[str], None] | None = None,
    drain_seconds: float = 0,
) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are finished and the application has ended before it returns.

    For `drain_seconds` after the signal it is not ready and takes what comes. Port 0 takes a free one. `on_ready` gets the base URL
    (http://host:port) once requests are taken. Raises OSError when the address cannot be used.
    """
    server, listener = make_server(app, host, port, on_ready, drain_seconds)
    with listener:
        server.run(sockets=[listener])


def _base_url(host: str, port: int) -> str:
    """A URL that reaches the socket from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
