"""The ASGI application: one request from head to answer, its lifespan, health, and what happens every second."""

from __future__ import annotations

import asyncio
import logging
import shutil
from functools import partial
from typing import TYPE_CHECKING

from tasks_pipeline.asgi import Message, Receive, Scope, Send
from tasks_pipeline.home import Home
from tasks_pipeline.receiver.accounts import Accounts
from tasks_pipeline.receiver.answers import PREFLIGHT, Answer, Refused, json_answer
from tasks_pipeline.receiver.commit import GroupCommit
from tasks_pipeline.receiver.endpoints import Endpoint, Endpoints, Route, find_route
from tasks_pipeline.receiver.forwarding import Forwarding, is_forwarded
from tasks_pipeline.receiver.intake import Intake
from tasks_pipeline.receiver.prometheus import CONTENT_TYPE, Metrics
from tasks_pipeline.receiver.quotas import Quotas
from tasks_pipeline.receiver.request import MAX_HEADERS, BodyMemory, ClientGone, Limits, Request
from tasks_pipeline.receiver.unsubscribing import Unsubscribing
from tasks_pipeline.service.address import is_within
from tasks_pipeline.storage.spool.interface import Spool
from tasks_pipeline.storage.spool.open import open_spool

if TYPE_CHECKING:
    from tasks_pipeline.watch.prometheus import PipelineMetrics

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 1.0
SLOW_ROUNDS = 2
"""Housekeeping rounds between two writings of refusals, and between two looks at the free disk."""
OPEN_SECONDS = 10.0
"""How long the start waits for the spool before requests are taken (and answered 503) without it."""


class Receiver:
    """The ASGI callable. Raises ConfigError when the configuration is broken at the start."""

    def __init__(
        self, home: Home, spool: Spool | None, limits: Limits, quotas: Quotas, web_url: str | None
    ) -> None:
        self._home = home
        self._limits = limits
        self._memory = BodyMemory(limits.body_memory)
        self._metrics = Metrics()
        self._commit = GroupCommit((lambda: spool) if spool else partial(open_spool, home), self._metrics)
        accounts = Accounts(home)
        self._intake = Intake(accounts, quotas, self._commit, self._metrics)
        self._forwarding = Forwarding(web_url) if web_url else None
        self._unsubscribing = Unsubscribing(home, lambda: accounts.config)
        self._pipeline_metrics: PipelineMetrics | None = None
        self.is_stopping = False
        """Whether it is told to end: it takes what comes, and is not ready, so that a balancer lets go of it first."""
        self._endpoints = Endpoints(self._intake, self._metrics).by_name | {
            "live": Endpoint(self._live, ("GET", "HEAD")),
            "ready": Endpoint(self._ready, ("GET", "HEAD")),
            "metrics": Endpoint(self._metrics_page, ("GET", "HEAD")),
            "unsubscribe": Endpoint(self._unsubscribe, ("GET", "HEAD", "POST")),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of the application."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            request = Request(scope, receive, self._limits, self._memory)
            if self._forwarding is not None and is_forwarded(request.method, request.path):
                await self._forwarding(scope, receive, self._counted(send), *self._said_of(request))
            else:
                await self._http(request, send)

    def _said_of(self, request: Request) -> tuple[str | None, str | None]:
        """The address of a client as the web process is told it, and the header that names a member unless it is from a proxy that is
        believed. Whoever comes by a proxy that nobody said to trust is not taken for one on this machine."""
        trusted, web = self._intake.settings.trust_forwarded_for, self._intake.accounts.config.web
        peer = request.remote_addr(False)
        address = request.remote_addr(trusted) if trusted or not request.is_proxied() else None
        return address, None if is_within(peer, web.proxies) else web.trusted_user_header

    async def _http(self, request: Request, send: Send) -> None:
        route = find_route(request.method, request.path)
        try:
            answer = await self._answer(request, route)
        except Refused as refused:
            self._metrics.refused(refused.reason)
            answer = refused.answer()
        except ClientGone:
            self._metrics.refused("client_gone")
            return
        except Exception:
            log.exception("no answer for a request to the endpoint %s", route.endpoint)
            answer = Refused(500, "internal", "internal error").answer()
        finally:
            request.release()
        self._metrics.answered(route.endpoint, answer.status)
        await _send(answer, request, send)

    async def _answer(self, request: Request, route: Route) -> Answer:
        if request.method == "OPTIONS":
            return Answer(200, headers=PREFLIGHT)
        if request.header_count() > MAX_HEADERS:
            raise Refused(431, "too_many_headers", f"more than {MAX_HEADERS} headers")
        endpoint = self._endpoints.get(route.endpoint)
        if endpoint is None:
            raise Refused(404, "not_found", "there is nothing at this path")
        if request.method not in endpoint.methods:
            raise Refused(
                405, "method", "the method is not allowed here", {"allow": ", ".join(endpoint.methods)}
            )
        try:
            return await endpoint.handler(request, route)
        except Refused as refused:
            self._intake.count_refused(request, refused, endpoint.category)
            raise

    def _counted(self, send: Send) -> Send:
        """The same, with answers of the web process counted."""

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.answered("web", message["status"])
            await send(message)

        return counting

    async def _live(self, request: Request, route: Route) -> Answer:
        return json_answer(200, {"status": "ok"})

    async def _ready(self, request: Request, route: Route) -> Answer:
        problem = "not enough free disk" if self._intake.disk_full else self._commit.problem()
        if self.is_stopping:
            problem = "stopping"
        return json_answer(503, {"detail": problem}) if problem else json_answer(200, {"status": "ok"})

    async def _unsubscribe(self, request: Request, route: Route) -> Answer:
        return await self._unsubscribing.serve(request, route.detail)

    async def _metrics_page(self, request: Request, route: Route) -> Answer:
        if self._intake.settings.metrics == "loopback" and not request.is_local():
            raise Refused(403, "metrics", "metrics are for this machine alone (receiver.metrics)")
        self._metrics.body_bytes.set(self._memory.used)
        return Answer(200, self._metrics.text() + await asyncio.to_thread(self._pipeline_text), CONTENT_TYPE)

    def _pipeline_text(self) -> bytes:
        """Metrics of the pipeline. Its code and database are loaded by the first scrape: the receiver needs neither."""
        from tasks_pipeline.watch.prometheus import PipelineMetrics

        self._pipeline_metrics = self._pipeline_metrics or PipelineMetrics(self._home)
        return self._pipeline_metrics.text()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._look_at_disk()
        await self._commit.start(OPEN_SECONDS)
        housekeeping = asyncio.create_task(self._housekeeping())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        housekeeping.cancel()
        await asyncio.wait([housekeeping])
        await self._intake.flush_refusals()
        await self._commit.close()
        if self._forwarding is not None:
            await self._forwarding.close()
        self._unsubscribing.close()
        if self._pipeline_metrics is not None:
            self._pipeline_metrics.close()
        self._intake.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _housekeeping(self) -> None:
        """Every second: a changed configuration; every other: what was refused, and the free disk."""
        rounds = 0
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            rounds += 1
            try:
                await asyncio.to_thread(self._intake.accounts.reload_if_changed)
                if rounds % SLOW_ROUNDS == 0:
                    self._look_at_disk()
                    await self._intake.flush_refusals()
            except Exception:
                log.exception("housekeeping failed; it goes on")

    def _look_at_disk(self) -> None:
        """An embedded spool needs room below the home; elsewhere it is not ours to see."""
        free = shutil.disk_usage(self._home.root).free
        self._metrics.free_disk_bytes.set(free)
        full = self._home.embedded and free < self._intake.settings.min_free_disk_bytes
        if full and not self._intake.disk_full:
            log.error("only %d bytes of disk are free; requests are answered 503", free)
        self._intake.disk_full = full


async def _send(answer: Answer, request: Request, send: Send) -> None:
    """Send an answer. When the request's body has not come whole, the connection is closed a little later."""
    headers = answer.raw_headers()
    if not request.complete:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not request.complete})
    if not request.complete:
        await request.linger()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def create_app(
    home: Home,
    *,
    spool: Spool | None = None,
    limits: Limits | None = None,
    quotas: Quotas | None = None,
    web_url: str | None = None,
) -> Receiver:
    """The ASGI application of an installation.

    `spool` is the installation's own unless another is given; it is closed at the end of the lifespan either way. What
    is no ingestion goes to the web process at `web_url`.
    Raises ConfigError.
    """
    return Receiver(home, spool, limits or Limits(), quotas or Quotas(), web_url)
