"""A group with one of its events."""

from __future__ import annotations

from starlette.responses import Response

from tasks_pipeline.pages.view import View


def newest(view: View) -> Response:
    """With its newest event."""
    raise NotImplementedError
