"""How a call gets to its endpoint: raw path, token, scope, limits, body, thread, answer."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any
from urllib.parse import unquote

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tasks_pipeline.access.tokens import Token, find_token
from tasks_pipeline.asgi import Receive, Scope, Send
from tasks_pipeline.facts.origin import recorded_by
from tasks_pipeline.reading.asked import asked_by
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.disk import Room
from tasks_pipeline.uploads.assembling import Assembling
from tasks_pipeline.uploads.chunks import ChunkStore
from tasks_pipeline.web_api import PREFIX, refusals
from tasks_pipeline.web_api.calls import ApiError, Call, Services, answer
from tasks_pipeline.web_api.endpoints import ENDPOINTS, UPLOADS, Endpoint, is_granted
from tasks_pipeline.web_api.limits import Limits

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 16 * 1024 * 1024
BODIES_AT_ONCE = 32
"""Calls with a whole body in memory; others wait for their turn."""
LARGE_BYTES, LARGE_AT_ONCE = 1024 * 1024, 2
"""Bodies above that size are looked into two at a time: 16 MB of `[],[],…` are 500 MB as Python has them."""


class App:
    """The Web API on open stores, which stay open. Raises OSError when uploads cannot be taken."""

    def __init__(self, reading: Reading) -> None:
        self._config = config = reading.config
        self._bodies = asyncio.Semaphore(BODIES_AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._limits = Limits()
        home, state, blobs = reading.home, reading.state, BlobStore(reading.home.blobs_url)
        chunks = ChunkStore(state, home.chunks_url)

        def room() -> Room | None:
            return None if home.data_url else Room(home.root, lambda: config().receiver.min_free_disk_bytes)

        assembling = Assembling(state, blobs, chunks, lambda: config().uploads, room)
        self._services = Services(reading, home, state, blobs, chunks, assembling, room)
        self._starlette = Starlette(
            routes=[Route(PREFIX + e.path, self._endpoint(e), methods=[e.method]) for e in ENDPOINTS],
            exception_handlers={HTTPException: _not_served},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request. Versions with slashes stay one segment, since the path is taken as it was sent."""
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.decode("latin-1")
        await self._starlette({**scope, "path": path if path.endswith("/") else f"{path}/"}, receive, send)

    def close(self) -> None:
        """End what is at work."""
        self._services.assembling.close()

    def _endpoint(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                with recorded_by("web_api"):
                    return await self._serve(endpoint, request)
            except ApiError as error:
                return error.answer()
            except ClientDisconnect:
                return answer({"detail": "the client has gone"}, 400)
            except refusals.EXPECTED as error:
                return refusals.of(error).answer()
            except (SQLAlchemyError, OSError):
                log.exception("a store failed at %s %s", endpoint.method, endpoint.path)
                return answer({"detail": "storage failed; try again"}, 503)
            except Exception:
                log.exception("no answer for %s %s", endpoint.method, endpoint.path)
                return answer({"detail": "internal error"}, 500)

        return serve

    async def _serve(self, endpoint: Endpoint, request: Request) -> Response:
        token = await run_in_threadpool(self._authenticate, request)
        if endpoint.scope is not None and not is_granted(endpoint.scope, token.scopes):
            raise ApiError(403, f"the token lacks the scope {endpoint.scope}")
        handler: Any = endpoint.handler
        if iscoroutinefunction(handler):
            return await handler(self._call(token, request))  # type: ignore[no-any-return]
        uploads = endpoint.scope == UPLOADS  # and releases: builds send them in bursts
        with nullcontext() if uploads else self._limits.one_of(token.id):
            async with self._bodies:
                call = self._call(token, request, await _body(request))
                async with self._large if len(call.body) > LARGE_BYTES else nullcontext():
                    return await run_in_threadpool(handler, call)

    def _call(self, token: Token, request: Request, body: bytes = b"") -> Call:
        """Raises ApiError (404) for another organisation."""
        params = {name: unquote(value) for name, value in request.path_params.items()}
        config, viewer = self._config(), token.viewer
        if viewer.projects is not None:
            seen = tuple(project for project in config.projects if viewer.may_see(project.id))
            config = config.model_copy(update={"projects": seen})
        asked = asked_by(self._services.state, config, viewer, datetime.now(UTC))
        call = Call(self._services, config, token, asked, params, request, body)
        call.check_organisation()
        return call

    def _authenticate(self, request: Request) -> Token:
        """The token of a request, as a bearer or as the user of Basic. Raises ApiError (401)."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        text = _user_of(text) if scheme.lower() == "basic" else text.strip()
        wanted = scheme.lower() in ("bearer", "basic")
        token = find_token(self._services.state, self._config(), text) if wanted else None
        if token is None:
            detail = "the token is not valid; `tasks-pipeline token create` makes one"
            raise ApiError(401, detail, {"www-authenticate": "Bearer"})
        return token


def _user_of(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
    except ValueError:
        return ""


async def _body(request: Request) -> bytes:
    """The whole body. Raises ApiError (413)."""
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_JSON_BYTES:
            raise ApiError(413, f"the body is larger than {MAX_JSON_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def _not_served(request: Request, error: Exception) -> Response:
    """No endpoint at this path (404), or none with this method (405)."""
    assert isinstance(error, HTTPException)
    detail = "there is nothing at this path" if error.status_code == 404 else error.detail
    return answer({"detail": detail}, error.status_code, error.headers)
