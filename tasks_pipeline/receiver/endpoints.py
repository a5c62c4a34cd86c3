"""The endpoints that carry error data: which path leads to which, and what each takes and answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from tasks_pipeline.protocol import forms
from tasks_pipeline.protocol.auth import AuthError, Credentials, parse_dsn
from tasks_pipeline.protocol.bounds import MAX_EVENTS
from tasks_pipeline.protocol.envelope import Envelope, parse_envelope
from tasks_pipeline.protocol.ids import dashed, parse_event_id
from tasks_pipeline.receiver.accounts import Account
from tasks_pipeline.receiver.answers import GIF, Answer, Refused, json_answer
from tasks_pipeline.receiver.dialog import dialog_script
from tasks_pipeline.receiver.intake import Accepted, Intake
from tasks_pipeline.receiver.prometheus import Metrics
from tasks_pipeline.receiver.request import Request

ENVELOPE_TYPE = "application/x-sentry-envelope"

_PROJECT = re.compile(r"/api/([0-9]{1,18})/(envelope|store|security|csp-report|minidump)/?")
_CRON = re.compile(r"/api/([0-9]{1,18})/cron/([^/]{1,200})(?:/([^/]+))?/?")
_ATTACHMENTS = re.compile(r"/api/([0-9]{1,18})/events/([^/]+)/attachments/?")
_FIXED = {
    "/api/store": "store",
    "/api/embed/error-page": "error-page",
    "/health/live": "live",
    "/health/ready": "ready",
    "/metrics": "metrics",
}


@dataclass(frozen=True, slots=True)
class Route:
    """Where a path leads: an endpoint's name, and what the path holds beside it. `detail` is a slug, event id or token."""

    endpoint: str
    project_id: int | None = None
    detail: str = ""
    key: str | None = None


def find_route(method: str, path: str) -> Route:
    """The route of a path. A POST outside /api/ and /unsubscribe/ is a tunnel, whatever its path; the endpoint `none` is nothing."""
    if match := _PROJECT.fullmatch(path):
        name = "security" if match[2] == "csp-report" else match[2]
        return Route(name, int(match[1]))
    if fixed := _FIXED.get(path.rstrip("/")):
        return Route(fixed)
    folder, _, token = path.lstrip("/").partition("/")
    if folder == "unsubscribe":
        return Route("unsubscribe", detail=token.rstrip("/"))
    if match := _CRON.fullmatch(path):
        return Route("cron", int(match[1]), match[2], match[3])
    if match := _ATTACHMENTS.fullmatch(path):
        return Route("attachments", int(match[1]), match[2])
    return Route("tunnel" if method == "POST" and not path.startswith("/api/") else "none")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler, the methods it takes, and the data category that its requests count as when they are invalid."""

    handler: Callable[[Request, Route], Awaitable[Answer]]
    methods: tuple[str, ...] = ("POST",)
    category: str = "default"


class Endpoints:
    """Handlers by name. Each returns an Answer or raises Refused."""

    def __init__(self, intake: Intake, metrics: Metrics) -> None:
        self._intake = intake
        self._metrics = metrics
        self.by_name: dict[str, Endpoint] = {
            "envelope": Endpoint(self._envelope),
            "tunnel": Endpoint(self._envelope),
            "store": Endpoint(self._store, ("POST", "GET"), "error"),
            "security": Endpoint(self._security, category="security"),
            "minidump": Endpoint(self._minidump, category="error"),
            "cron": Endpoint(self._cron, ("POST", "GET"), "monitor"),
            "attachments": Endpoint(self._attachments, category="attachment"),
            "error-page": Endpoint(self._error_page, ("POST", "GET"), "feedback"),
        }

    async def _envelope(self, request: Request, route: Route) -> Answer:
        """The `dsn` in the envelope is a form of authentication too; other forms are looked at before the body."""
        intake = self._intake
        credentials = intake.credentials(request)
        if credentials is not None:
            intake.account(request, credentials, None, route.project_id)
        body, encoding = await intake.body(request), request.encoding
        make = partial(parse_envelope, max_items=intake.settings.max_items, max_events=MAX_EVENTS)
        envelope = await intake.open(body, encoding, make)
        account = intake.account(request, credentials, envelope.headers.get("dsn"), route.project_id)
        client = credentials.client if credentials else None
        accepted = await intake.accept(request, account, client, envelope, body, encoding)
        return _with_id(200, accepted)

    async def _store(self, request: Request, route: Route) -> Answer:
        if request.content_type == ENVELOPE_TYPE:
            return await self._envelope(request, route)
        credentials, account = self._authenticate(request, route)
        make = partial(forms.store_envelope, max_event_bytes=self._intake.settings.max_event_bytes)
        if request.method == "GET":
            data = request.query.get("sentry_data", "")
            if not data.startswith("{"):
                data = data.replace(" ", "+")  # base64 whose plus signs were not quoted
            form = await self._intake.open(data.encode("utf-8", "replace"), "", make)
            accepted = await self._intake.accept_form(request, account, credentials.client, form)
            return Answer(200, GIF, "image/gif", accepted.headers)
        return _with_id(200, await self._accept_body(request, route, make))

    async def _security(self, request: Request, route: Route) -> Answer:
        self._authenticate(request, route)
        if request.content_type not in forms.SECURITY_TYPES:
            raise Refused(415, "content_type", "the content type is not one of a security report")
        make = partial(
            forms.security_envelope,
            query=request.query,
            max_event_bytes=self._intake.settings.max_event_bytes,
        )
        return _with_id(201, await self._accept_body(request, route, make))

    async def _minidump(self, request: Request, route: Route) -> Answer:
        make = partial(
            forms.minidump_envelope,
            content_type=request.header(b"content-type") or "",
            max_parts=self._intake.settings.max_items,
            max_event_bytes=self._intake.settings.max_event_bytes,
        )
        accepted = await self._accept_body(request, route, make)
        return Answer(200, dashed(accepted.event_id or "").encode(), "text/plain", accepted.headers)

    async def _attachments(self, request: Request, route: Route) -> Answer:
        event_id = parse_event_id(route.detail)
        if event_id is None:
            raise Refused(404, "not_found", "the event id is not valid")
        make = partial(
            forms.attachments_envelope,
            content_type=request.header(b"content-type") or "",
            event_id=event_id,
            max_parts=self._intake.settings.max_items,
        )
        return _with_id(200, await self._accept_body(request, route, make))

    async def _cron(self, request: Request, route: Route) -> Answer:
        """Never 429: the scripts that call this do not know what to do with it."""
        try:
            accepted = await self._accept_body(
                request, route, lambda body: forms.check_in_envelope(route.detail, request.query, body)
            )
        except Refused as refused:
            if refused.status != 429:
                raise
            self._metrics.refused(refused.reason)
            return json_answer(202, {})
        return json_answer(202, {}, accepted.headers)

    async def _error_page(self, request: Request, route: Route) -> Answer:
        """The dialog's script (GET), and the report that the dialog sends (POST)."""
        event_id = parse_event_id(request.query.get("eventId"))
        try:
            dsn = parse_dsn(request.query.get("dsn"))
        except AuthError as error:
            raise Refused(400, "invalid_query", error.reason) from error
        credentials = Credentials(dsn.public_key, dsn.project_id)
        account = self._intake.account(request, credentials, None, dsn.project_id)
        if event_id is None:
            raise Refused(400, "invalid_query", "eventId is not valid")
        if request.method == "GET":
            return Answer(200, dialog_script(request.query), "text/javascript; charset=utf-8")
        make = partial(forms.user_report_envelope, event_id)
        return _with_id(200, await self._accept(request, account, None, make))

    def _authenticate(self, request: Request, route: Route) -> tuple[Credentials, Account]:
        credentials = self._intake.credentials(request, route.key)
        if credentials is None:
            raise Refused(403, "no_auth", "no authentication: no sentry_key was sent")
        return credentials, self._intake.account(request, credentials, None, route.project_id)

    async def _accept_body(
        self, request: Request, route: Route, make: Callable[[bytes], Envelope]
    ) -> Accepted:
        credentials, account = self._authenticate(request, route)
        return await self._accept(request, account, credentials.client, make)

    async def _accept(
        self, request: Request, account: Account, client: str | None, make: Callable[[bytes], Envelope]
    ) -> Accepted:
        """Accept the envelope that `make` makes of the plain body."""
        form = await self._intake.open(await self._intake.body(request), request.encoding, make)
        return await self._intake.accept_form(request, account, client, form)


def _with_id(status: int, accepted: Accepted) -> Answer:
    body: Mapping[str, str] = {"id": accepted.event_id} if accepted.event_id else {}
    return json_answer(status, body, accepted.headers)
