"""The pages as an ASGI application: which address is answered by what, in a thread; and what is said where nothing can be shown."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import parse_qs, unquote

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router

from tasks_pipeline.access.viewer import ANONYMOUS
from tasks_pipeline.acting.together import NotAllowed
from tasks_pipeline.asgi import Receive, Scope, Send
from tasks_pipeline.facts.origin import recorded_by
from tasks_pipeline.groups.decisions import DecisionError
from tasks_pipeline.links.comments import CommentError
from tasks_pipeline.pages import (
    acts,
    addresses,
    alerts,
    assets,
    group,
    installation,
    monitors,
    recompute,
    releases,
    tabs,
    why,
)
from tasks_pipeline.pages import list as listing
from tasks_pipeline.pages.answers import Refused
from tasks_pipeline.pages.view import Page, view_of
from tasks_pipeline.reading.cursors import CursorError
from tasks_pipeline.reading.lake_reader import LakeBusy, LakeTooSlow
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.reading.stores import Reading

log = logging.getLogger(__name__)

MOST_POSTED = 4 * 1024 * 1024
"""Bytes of a form: a comment, or the numbers of a page of groups."""
MOST_OF_STRANGERS = 32 * 1024
"""Of a form of who is not known: an address, and a password twice at most."""
MOST_FIELDS = 20_000


PAGES = (
    Page("GET", "/groups/", listing.groups),
    Page("GET", "/groups/groups.csv/", listing.as_csv),
    Page("GET", "/groups/sql/", listing.as_sql),
    Page("GET", "/groups/news/", listing.news),
    Page("POST", "/groups/act/", acts.act_on),
    Page("POST", "/groups/undo/", acts.undo_it),
    Page("GET", "/groups/{name}/", group.newest),
    Page("GET", "/groups/{name}/events/", tabs.events),
    Page("GET", "/groups/{name}/events/events.csv/", tabs.events_csv),
    Page("GET", "/groups/{name}/events/sql/", tabs.events_sql),
    Page("GET", "/groups/{name}/events/{event}/", group.with_event),
    Page("GET", "/groups/{name}/events/{event}/attachments/{number}/", group.attachment),
    Page("GET", "/groups/{name}/tags/", tabs.tags),
    Page("GET", "/groups/{name}/tags/{key}/", tabs.tag),
    Page("GET", "/groups/{name}/why/", why.why),
    Page("POST", "/groups/{name}/why/", why.why),
    Page("GET", "/groups/{name}/similar/", tabs.similar),
    Page("GET", "/groups/{name}/activity/", tabs.activity),
    Page("POST", "/groups/{name}/activity/", tabs.say),
    Page("POST", "/pipeline/{day}/again/", recompute.start),
    Page("GET", "/pipeline/backfills/{id}/", recompute.progress),
    *releases.PAGES,
    *monitors.PAGES,
    *alerts.PAGES,
    *installation.PAGES,
    *addresses.PAGES,
)


class Pages:
    """The ASGI application, with `more` pages of others. Stores are the caller's to open and close; whoever asks stands in
    `scope["viewer"]`."""

    def __init__(self, reading: Reading, more: Sequence[Page] = ()) -> None:
        self._reading = reading
        routes = [Route(page.path, self._endpoint(page), methods=[page.method]) for page in (*more, *PAGES)]
        routes.append(Route(f"{assets.PREFIX}{{name}}/", assets.serve))
        self._router = Router(routes, redirect_slashes=False, default=self._nothing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request. A name with a slash stays one segment, since the path is taken as it was sent."""
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        path = path if path.endswith("/") else f"{path}/"
        await self._router({**scope, "path": path, "root_path": ""}, receive, send)

    async def _nothing(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await run_in_threadpool(
            self._sorry, Request(scope, receive), 404, "There is no page at this address."
        )
        await answer(scope, receive, send)

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            try:
                form = await _form(request) if page.method == "POST" else {}
                return await run_in_threadpool(self._answer, page, request, form)
            except ClientDisconnect:
                return Response(status_code=400)
            except Refused as error:
                return await run_in_threadpool(self._sorry, request, error.status, str(error))

        return serve

    def _answer(self, page: Page, request: Request, form: Mapping[str, list[str]]) -> Response:
        request.scope["path_params"] = {k: unquote(v) for k, v in request.path_params.items()}
        try:
            with recorded_by("web_api"):
                answer: Response = page.handler(view_of(request, self._reading, form))
                return answer
        except Refused as error:
            return self._sorry(request, error.status, str(error))
        except group.Elsewhere as error:
            return group.elsewhere(error)
        except QueryError as error:
            return self._sorry(
                request, 400, f"What is asked has a mistake at character {error.at + 1}: {error}."
            )
        except CursorError as error:
            return self._sorry(request, 400, f"This page of the list is not there: {error}.")
        except NotAllowed as error:
            return self._sorry(request, 403, f"This is not allowed: {error}.")
        except (DecisionError, CommentError) as error:
            return self._sorry(request, 409, f"This cannot be done: {error}.")
        except LakeBusy:
            return self._sorry(
                request, 503, "Too many look for something in the lake just now. Try again in a moment."
            )
        except LakeTooSlow as error:
            return self._sorry(
                request, 504, f"This was not found in time: {error}. A shorter period is faster."
            )
        except (SQLAlchemyError, OSError):
            log.exception("a store failed at %s %s", page.method, page.path)
            return self._sorry(request, 503, "A store does not answer. Try again in a moment.")
        except Exception:
            log.exception("no page for %s %s", page.method, page.path)
            return self._sorry(request, 500, "Something went wrong here; the log of the service says what.")

    def _sorry(self, request: Request, status: int, message: str) -> Response:
        return view_of(request, self._reading, {}).page("sorry.html", status, status=status, message=message)


async def _form(request: Request) -> dict[str, list[str]]:
    """What a form sent. Raises Refused for what is no form of ours."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise Refused(415, "This is no form of ours.")
    most = MOST_OF_STRANGERS if request.scope.get("viewer") is ANONYMOUS else MOST_POSTED
    body, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > most:
            raise Refused(413, f"This form holds more than {most // 1024:,} KB.")
        body.append(piece)
    text = b"".join(body).decode("utf-8", "replace")
    try:
        return parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(413, f"This form has more than {MOST_FIELDS:,} fields.") from None
