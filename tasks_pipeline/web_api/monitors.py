"""Monitors, as sentry-cli lists them."""

from __future__ import annotations

from sqlalchemy import select
from starlette.responses import Response

from tasks_pipeline.storage.state.tables import monitors
from tasks_pipeline.web_api.calls import Call, answer

LISTED = 1000


def list_monitors(call: Call) -> Response:
    """Cron monitors of all projects."""
    query = select(monitors).where(monitors.c.type == "cron").order_by(monitors.c.slug).limit(LISTED)
    with call.services.state.read() as connection:
        rows = list(connection.execute(query))
    return answer(
        [{"id": str(r.id), "slug": r.slug, "name": r.name or r.slug, "status": r.status} for r in rows]
    )
