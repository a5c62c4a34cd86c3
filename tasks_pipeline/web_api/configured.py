"""What clients would change of what stands in the configuration file: refused, with where it is changed."""

from __future__ import annotations

from starlette.responses import Response

from tasks_pipeline.web_api.calls import ApiError, Call


def refuse(call: Call) -> Response:
    """Raises ApiError (409)."""
    raise ApiError(
        409,
        "projects, keys, teams and rules stand in the configuration file (tasks_pipeline.yaml): change them there",
    )
