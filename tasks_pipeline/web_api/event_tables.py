"""Questions about all events, by fields and figures of them: tables."""

from __future__ import annotations

from starlette.responses import Response

from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.datasets import is_kept

EMPTY = {"data": [], "meta": {"fields": {}, "units": {}}}


def table(call: Call) -> Response:
    """Rows of fields."""
    if not is_kept(call):
        return answer(EMPTY)
    raise ApiError(400, "dataset: questions about fields of errors are not answered yet")
