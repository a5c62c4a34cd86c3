"""The ASGI application of the web process: guard, then the Web API below /api/0, health, metrics, and pages elsewhere.

Its stores are opened by the first request that needs them: it starts without the databases, and answers 503 until they are there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tasks_pipeline.asgi import Message, Receive, Scope, Send
from tasks_pipeline.config import Config
from tasks_pipeline.home import Home
from tasks_pipeline.reading.lake_reader import LakeReader
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.clients import Client, client_of
from tasks_pipeline.web.guard import refusal
from tasks_pipeline.web.login.door import Door
from tasks_pipeline.web.metrics import CONTENT_TYPE, Metrics
from tasks_pipeline.web_api import PREFIX
from tasks_pipeline.web_api.app import App

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 60.0
CACHE_KIB = 4_096
"""Of each of its connections to the state database, where that is SQLite."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """Stores and what is served from them."""

    reading: Reading
    api: App
    door: Door

    def close(self) -> None:
        self.api.close()
        self.reading.close()


class Web:
    """The ASGI callable. Raises ConfigError when the configuration is broken at the start."""

    def __init__(self, home: Home, *, exposed: bool = False) -> None:
        self._home, self._exposed = home, exposed
        self._metrics = Metrics()
        self._opening: asyncio.Lock | None = None
        self._opened: _Opened | None = None
        self.is_stopping = False
        self.config()

    def config(self) -> Config:
        """The configuration in force."""
        return self._home.config_in_force().config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of the application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        config = self.config()
        client = client_of(scope, config.web)
        send = self._metrics.timed(_part_of(path), send)
        if path in ("/health/live", "/health/ready", "/metrics"):
            await self._own(path, client, send)
        elif refused := refusal(scope, client, config, exposed=self._exposed):
            await answer_json(send, refused.status, {"detail": refused.detail})
        elif (opened := self._opened or await self._open()) is None:
            await answer_json(send, 503, {"detail": "the database does not answer"})
        elif path == PREFIX or path.startswith(f"{PREFIX}/"):
            await opened.api(scope, receive, send)
        else:
            await opened.door(scope, receive, send, client)

    async def _own(self, path: str, client: Client, send: Send) -> None:
        """Health and metrics of this process, for whoever asks it itself: a receiver answers these paths for its own."""
        public = self.config().receiver.metrics == "public"
        if path == "/metrics" and not (client.is_local or public):
            await answer_json(send, 403, {"detail": "metrics are for this machine alone (receiver.metrics)"})
        elif path == "/metrics":
            await _answer(send, 200, self._metrics.text(), CONTENT_TYPE.encode())
        elif path == "/health/ready" and (self.is_stopping or (self._opened or await self._open()) is None):
            detail = "stopping" if self.is_stopping else "the database does not answer"
            await answer_json(send, 503, {"detail": detail})
        else:
            await answer_json(send, 200, {"status": "ok"})

    async def _open(self) -> _Opened | None:
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if self._opened is None:
                try:
                    self._opened = await asyncio.to_thread(_opened, self._home, self.config)
                except Exception:
                    log.exception("the stores cannot be opened")
            return self._opened

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        housekeeping = asyncio.create_task(self._housekeeping())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        housekeeping.cancel()
        await asyncio.wait([housekeeping])
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)
        await send({"type": "lifespan.shutdown.complete"})

    async def _housekeeping(self) -> None:
        """Every minute: let go of a lake that nobody asks."""
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            if self._opened is not None:
                await asyncio.to_thread(self._opened.reading.lake.rest)


def _opened(home: Home, config: Callable[[], Config]) -> _Opened:
    """Raises SQLAlchemyError and OSError."""
    state = StateDatabase(home, cache_kib=CACHE_KIB)
    reading = Reading(home, state, LakeReader(home, state), config)
    try:
        return _Opened(reading, App(reading), Door(reading))
    except BaseException:
        reading.close()
        raise


def _part_of(path: str) -> str:
    if path.startswith(f"{PREFIX}/"):
        return "api"
    return "own" if path in ("/health/live", "/health/ready", "/metrics") else "pages"


async def answer_json(send: Send, status: int, value: object) -> None:
    """An answer in JSON."""
    await _answer(send, status, msgspec.json.encode(value), b"application/json")


async def _answer(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    headers: list[Any] = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def create_web(home: Home, *, exposed: bool = False) -> Web:
    """The ASGI application of an installation; `exposed`: it is reached at other addresses than loopback. Raises ConfigError."""
    return Web(home, exposed=exposed)
