"""Addresses that lead elsewhere: the start, events by their id, and those that clients of Sentry make up."""

from __future__ import annotations

from starlette.responses import Response

from tasks_pipeline.pages.answers import go
from tasks_pipeline.pages.view import View


def start(view: View) -> Response:
    """The list of groups."""
    return go("/groups/")


PAGES = ()
