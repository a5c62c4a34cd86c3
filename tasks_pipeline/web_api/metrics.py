"""`metrics/data`: figures of sessions under the names of metrics. What they are is answered by sessions.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tasks_pipeline.web_api import sessions
from tasks_pipeline.web_api.calls import ApiError, Call, answer

FIELDS = {
    "session.all": "sum(session)",
    "session.all_user": "count_unique(user)",
    "session.crash_free_rate": "crash_free_rate(session)",
    "session.crash_free_user_rate": "crash_free_rate(user)",
    "session.crash_rate": "crash_rate(session)",
    "session.crash_user_rate": "crash_rate(user)",
    "sum(sentry.sessions.session)": "sum(session)",
    "count_unique(sentry.sessions.user)": "count_unique(user)",
}
_PASSED = (
    "statsPeriod",
    "start",
    "end",
    "interval",
    "project",
    "environment",
    "query",
    "per_page",
    "groupBy",
)


def data(call: Call) -> Response:
    """The figures; without series unless `includeSeries=1`."""
    named = [each for each in dict.fromkeys(call.query.getlist("field")) if each]
    for name in named or [""]:
        if name not in FIELDS:
            raise ApiError(400, f"field: {name[:80]!r} is none; allowed are {', '.join(FIELDS)}")
    asked = [(name, value) for name in _PASSED for value in call.query.getlist(name) if value]
    asked += [("field", FIELDS[name]) for name in named]
    if order := call.query.get("orderBy"):
        name = order.removeprefix("-")
        asked.append(("orderBy", f"{'-' if order.startswith('-') else ''}{FIELDS.get(name, name)}"))
    asked.append(("includeSeries", "1" if call.query.get("includeSeries", "0") == "1" else "0"))
    request = Request({**call.request.scope, "query_string": urlencode(asked).encode()})
    found: dict[str, Any] = msgspec.json.decode(bytes(sessions.sessions(replace(call, request=request)).body))
    names = {FIELDS[name]: name for name in named}
    for group in found.get("groups", ()):
        group["by"] = {key: "" if value is None else value for key, value in group["by"].items()}
        for part in ("totals", "series"):
            group[part] = {names.get(key, key): value for key, value in (group.get(part) or {}).items()}
    return answer(found | {"meta": [{"name": name, "type": "number"} for name in named]})
