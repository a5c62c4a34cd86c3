"""The endpoints of the Web API and how a call gets to one: raw path, token, scope, body, thread, answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.disk import Room
from tasks_pipeline.uploads.assembling import Assembling
from tasks_pipeline.uploads.chunks import ChunkStore
from tasks_pipeline.web_api import (
    PREFIX,
    accounts,
    commits,
    deploys,
    monitors,
    release_reading,
    releases,
    sessions,
    uploads,
)
from tasks_pipeline.web_api.calls import ApiError, Call, Services, answer
from tasks_pipeline.web_api.health_reading import HealthReading

log = logging.getLogger(__name__)

MAX_JSON_BYTES = 16 * 1024 * 1024
BODIES_AT_ONCE = 32
"""Calls with a whole body in memory; others wait for their turn."""

Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler of calls and the scope that their token needs; none when any token will do.

    A plain function runs in a thread and finds the JSON body in the call; a coroutine reads its body itself.
    """

    method: str
    path: str
    handler: Handler
    scope: str | None


_RELEASES = "/organizations/{org}/releases/"
_PROJECT_RELEASES = "/projects/{org}/{project}/releases/"
ENDPOINTS = (
    Endpoint("GET", "/", accounts.info, None),
    Endpoint("GET", "/organizations/", accounts.organizations, "org:read"),
    Endpoint("GET", "/organizations/{org}/projects/", accounts.projects, "project:read"),
    Endpoint("GET", "/organizations/{org}/repos/", commits.repositories, "org:read"),
    Endpoint("GET", "/organizations/{org}/monitors/", monitors.list_monitors, "org:read"),
    Endpoint("GET", "/organizations/{org}/sessions/", sessions.sessions, "project:read"),
    Endpoint("GET", "/organizations/{org}/chunk-upload/", uploads.options, "project:releases"),
    Endpoint("POST", "/organizations/{org}/chunk-upload/", uploads.receive_chunks, "project:releases"),
    Endpoint(
        "POST", "/organizations/{org}/artifactbundle/assemble/", uploads.assemble_bundle, "project:releases"
    ),
    Endpoint(
        "POST", "/projects/{org}/{project}/files/difs/assemble/", uploads.assemble_debug_files, "project:releases"
    ),
    Endpoint("GET", "/projects/{org}/{project}/files/dsyms/", uploads.list_files, "project:read"),
    Endpoint("POST", "/projects/{org}/{project}/files/dsyms/", uploads.receive_zip, "project:releases"),
    Endpoint(
        "GET", f"{_RELEASES}{{version}}/previous-with-commits/", releases.previous_with_commits, "project:read"
    ),
    *(
        Endpoint(method, f"{base}{rest}", handler, scope)
        for base in (_RELEASES, _PROJECT_RELEASES)
        for method, rest, handler, scope in (
            ("GET", "", release_reading.list_all, "project:read"),
            ("POST", "", releases.create, "project:releases"),
            ("GET", "{version}/", release_reading.show, "project:read"),
            ("PUT", "{version}/", releases.change, "project:releases"),
            ("DELETE", "{version}/", releases.delete, "project:releases"),
            ("GET", "{version}/commits/", release_reading.list_commits, "project:read"),
            ("GET", "{version}/commitfiles/", release_reading.list_files, "project:read"),
            ("GET", "{version}/deploys/", release_reading.list_deploys, "project:read"),
            ("POST", "{version}/deploys/", deploys.deploy, "project:releases"),
        )
    ),
)  # fmt: skip


class App:
    """The Web API on open stores, which stay open. Raises OSError when uploads cannot be taken."""

    def __init__(self, reading: Reading) -> None:
        self._config = config = reading.config
        self._bodies = asyncio.Semaphore(BODIES_AT_ONCE)
        home, state, blobs = reading.home, reading.state, BlobStore(reading.home.blobs_url)
        chunks = ChunkStore(state, home.chunks_url)

        def room() -> Room | None:
            return None if home.data_url else Room(home.root, lambda: config().receiver.min_free_disk_bytes)

        assembling = Assembling(state, blobs, chunks, lambda: config().uploads, room)
        self._services = Services(reading, home, state, blobs, chunks, assembling, room, HealthReading(home))
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
        self._services.health.close()

    def _endpoint(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                with recorded_by("web_api"):
                    return await self._serve(endpoint, request)
            except ApiError as error:
                return error.answer()
            except ClientDisconnect:
                return answer({"detail": "the client has gone"}, 400)
            except (SQLAlchemyError, OSError):
                log.exception("a store failed at %s %s", endpoint.method, endpoint.path)
                return answer({"detail": "storage failed; try again"}, 503)
            except Exception:
                log.exception("no answer for %s %s", endpoint.method, endpoint.path)
                return answer({"detail": "internal error"}, 500)

        return serve

    async def _serve(self, endpoint: Endpoint, request: Request) -> Response:
        token = await run_in_threadpool(self._authenticate, request)
        if endpoint.scope is not None and endpoint.scope not in token.scopes:
            raise ApiError(403, f"the token lacks the scope {endpoint.scope}")
        params = {name: unquote(value) for name, value in request.path_params.items()}
        handler: Any = endpoint.handler
        if iscoroutinefunction(handler):
            call = Call(self._services, self._config(), token, params, request)
            call.check_organisation()
            return await handler(call)  # type: ignore[no-any-return]
        async with self._bodies:
            body = await _body(request)
            call = Call(self._services, self._config(), token, params, request, body)
            call.check_organisation()
            return await run_in_threadpool(handler, call)

    def _authenticate(self, request: Request) -> Token:
        """The token of a request. Raises ApiError (401)."""
        scheme, _, text = request.headers.get("authorization", "").partition(" ")
        token = (
            find_token(self._services.state, self._config(), text.strip())
            if scheme.lower() == "bearer"
            else None
        )
        if token is None:
            detail = "the token is not valid; `tasks-pipeline token create` makes one"
            raise ApiError(401, detail, {"www-authenticate": "Bearer"})
        return token


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
