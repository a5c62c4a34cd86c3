"""The door: before any page it is found out who asks; who is nobody is sent to the login, and what a form of theirs changes needs its token."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tasks_pipeline.access.sessions import is_csrf
from tasks_pipeline.asgi import Message, Receive, Scope, Send
from tasks_pipeline.pages.answers import go
from tasks_pipeline.pages.app import MOST_FIELDS, MOST_POSTED, Pages
from tasks_pipeline.pages.view import view_of
from tasks_pipeline.reading.stores import Reading
from tasks_pipeline.web.clients import Client, header
from tasks_pipeline.web.guard import SAFE
from tasks_pipeline.web.identity import Identity, identify
from tasks_pipeline.web.login.routes import Login

OPEN = ("/login/", "/invitations/", "/assets/", "/auth/check/")
"""What nobody has to be known for: nothing of it acts in the name of a session."""
_FORM = "application/x-www-form-urlencoded"


class Door:
    """The ASGI application: the pages, and before them the logins. Stores are the caller's."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._pages = Pages(reading, Login(reading).pages())

    async def __call__(self, scope: Scope, receive: Receive, send: Send, client: Client) -> None:
        """Serve one HTTP request of a client."""
        found = await run_in_threadpool(
            identify, scope, client, self._reading.config(), self._reading.state, datetime.now(UTC)
        )
        scope["viewer"], scope["csrf"] = found.viewer, found.csrf
        scope["client_address"] = client.address
        path = scope["path"] if scope["path"].endswith("/") else f"{scope['path']}/"
        if path.startswith(OPEN):
            await self._pages(scope, receive, send)
        elif not found.is_known:
            await self._say(scope, receive, send, *self._turned_away(Request(scope)))
        elif found.cookie and scope["method"] not in SAFE:
            held = await _held(receive)
            if held is not None and _is_of_session(scope, held, found):
                await self._pages(scope, _again(held, receive), send)
            else:
                said = "This form is of another login, or too old. Go back, load the page again, and send it once more."
                await self._say(scope, receive, send, 403, said)
        else:
            await self._pages(scope, receive, send)

    def _turned_away(self, request: Request) -> tuple[int, str]:
        """Nobody asks: what to say, or with 303 where to."""
        ways = self._reading.config().web.login
        if not ways:
            return 403, (
                "Pages are for the machine that they run on. Set web.login in the configuration to let members in from elsewhere."
            )
        if "password" not in ways and "oidc" not in ways:
            return 401, "The proxy before these pages does not name a member."
        if request.method in SAFE and "text/html" in request.headers.get("accept", ""):
            back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            return 303, f"/login/?return={quote(back, safe='')}"
        return 401, "Log in first."

    async def _say(self, scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
        answer = (
            go(text) if status == 303 else await run_in_threadpool(self._sorry, Request(scope), status, text)
        )
        await answer(scope, receive, send)

    def _sorry(self, request: Request, status: int, message: str) -> Response:
        return view_of(request, self._reading, {}).page("sorry.html", status, status=status, message=message)


async def _held(receive: Receive) -> bytes | None:
    """The body of a form; None when it is larger than any form of ours, or does not come whole."""
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MOST_POSTED:
            return None
        more = message.get("more_body", False)
    return b"".join(pieces)


def _is_of_session(scope: Scope, body: bytes, found: Identity) -> bool:
    """Whether the form, or a header of a script, has the token of the session."""
    if said := header(scope, b"x-csrf"):
        return is_csrf(found.cookie, said)
    if header(scope, b"content-type").partition(";")[0].strip().lower() != _FORM:
        return False
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return False
    return is_csrf(found.cookie, fields.get("csrf", [""])[-1])


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that begins with a body that was read."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Message:
        return waiting.pop() if waiting else await receive()

    return receiving
