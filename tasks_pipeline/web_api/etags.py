"""ETags of what pollers ask again and again: they change when anything was stored or decided, and every full minute, since lists are of
times that pass."""

from __future__ import annotations

import hashlib

from sqlalchemy import func, select
from starlette.responses import Response

from tasks_pipeline.storage.state.tables import batches, group_actions, regroupings
from tasks_pipeline.web_api.calls import Call


def headers(call: Call) -> dict[str, str]:
    """The headers of an answer as of now."""
    return {"etag": _etag(call), "cache-control": "private, no-cache"}


def not_modified(call: Call) -> Response | None:
    """304 where the caller has what there is."""
    if (known := call.headers.get("if-none-match")) is None:
        return None
    etag = _etag(call)
    fresh = {each.strip().removeprefix("W/") for each in known.split(",")}
    return Response(status_code=304, headers=headers(call)) if etag.removeprefix("W/") in fresh else None


def _etag(call: Call) -> str:
    opened = select(func.count()).where(batches.c.status == "open").scalar_subquery()
    moving = select(func.count()).where(regroupings.c.done_at.is_(None)).scalar_subquery()
    newest = (
        select(func.max(table.c.id)).scalar_subquery() for table in (batches, group_actions, regroupings)
    )
    with call.services.state.read() as connection:
        state = tuple(connection.execute(select(opened, moving, *newest)).one())
    minute = call.asked.now.replace(second=0, microsecond=0)
    seen = None if call.asked.projects is None else sorted(call.asked.projects)
    said = repr((state, minute, seen, call.asked.me, call.request.scope["path"], call.request.url.query))
    return f'W/"{hashlib.blake2b(said.encode(), digest_size=12).hexdigest()}"'
