"""Lists of issues, under the organisation and under a project, and changing many."""

from __future__ import annotations

from datetime import timedelta

from starlette.responses import Response

from tasks_pipeline.reading.cursors import Cursor, parse_cursor
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.group_list import (
    MOST,
    GroupQuery,
    asks_events,
    list_groups,
    matching_groups,
    place_behind,
)
from tasks_pipeline.reading.tree import EVERYTHING, Filter, Node, both
from tasks_pipeline.web_api import etags
from tasks_pipeline.web_api.calls import PER_PAGE, ApiError, Call, answer
from tasks_pipeline.web_api.filters import NARROWING, OPEN, Asking, asking, check_parameters, period_of
from tasks_pipeline.web_api.issue_change import change, parse_change
from tasks_pipeline.web_api.issue_json import issues_json, stats_names
from tasks_pipeline.web_api.issue_named import group_ids
from tasks_pipeline.web_api.paging import Place, page_answer, size_asked

SORTS = {
    "date": "last_seen", "new": "first_seen", "freq": "events", "user": "users",
    "priority": "last_seen", "trends": "last_seen", "inbox": "last_seen", "recommended": "last_seen",
}  # fmt: skip
"""Our order for each of theirs; those that need what we do not compute are by date."""
UNSAID = timedelta(days=14)
"""Of so long events are asked where a filter needs them and no time is given."""
_FIRST = ("0:0:0", "0:0:1")
"""What clients send for the first page."""


def list_issues(call: Call) -> Response:
    """A page of the issues that a query finds; `is:unresolved` where none is given."""
    check_parameters(call, NARROWING | {"shortId", "shortIdLookup"})
    if (unchanged := etags.not_modified(call)) is not None:
        return unchanged
    wanted = _wanted(call)
    found = list_groups(call.asked, call.lake, wanted)
    here = call.query.get("cursor", "")
    before = Place(str(found.newer) if found.newer else here, found.newer is not None)
    # Who follows the address though nothing is there has to come to an empty page.
    behind = Place(str(place_behind(found, wanted.sort) or here), found.older is not None)
    shown = issues_json(call, found.groups, found.of_filter, stats_names(call))
    return page_answer(call, shown, before, behind, etags.headers(call))


def change_many(call: Call) -> Response:
    """Change issues: those of `id`, else those that `query` and `status` find. Answers with the change."""
    ids = _chosen(call)
    wanted = parse_change(call)
    return answer(change(call, ids, wanted) if ids else {})


def discard_many(call: Call) -> Response:
    """Discard the issues of `id`: their events go, and those that come are dropped."""
    change(call, _named(call) or _refuse_none(), parse_change(call, '{"discard": true}'))
    return Response(status_code=204, media_type="application/json")


def _wanted(call: Call) -> GroupQuery:
    asked = asking(call, OPEN, period=_period(call))
    sort = call.query.get("sort") or "date"
    if sort not in SORTS:
        raise ApiError(400, f"sort: {sort[:40]!r} is none; allowed are {', '.join(SORTS)}")
    limit = size_asked(call, "limit", MOST) or size_asked(call, "per_page") or PER_PAGE
    tree, period = _within(call, asked)
    return GroupQuery(tree, SORTS[sort], _cursor(call), limit, period)


def _period(call: Call) -> Period | None:
    """At a project's list `statsPeriod` is that of `stats`."""
    if "project" in call.params and not (call.query.get("start") or call.query.get("end")):
        return None
    return period_of(call)


def _within(call: Call, asked: Asking) -> tuple[Node, Period | None]:
    """The tree, and the time in which events are asked. Where none need be asked, the groups that were seen then."""
    period = asked.period
    if asks_events(asked.tree, period):
        now = call.asked.now
        return asked.tree, period or Period(now - UNSAID, now + timedelta(minutes=1))
    if period is None:
        return asked.tree, None
    seen = (
        Filter("lastSeen", ((period.since.isoformat(),),), ">="),
        Filter("firstSeen", ((period.until.isoformat(),),), "<"),
    )
    return both(asked.tree, *seen), period


def _cursor(call: Call) -> Cursor | None:
    text = call.query.get("cursor", "")
    return None if text in ("", *_FIRST) else parse_cursor(text)


def _chosen(call: Call) -> list[int]:
    """The ids of the groups that a change is about. Raises ApiError and QueryError."""
    if ids := _named(call):
        return ids
    check_parameters(call, NARROWING | {"status", "id"})
    if "query" not in call.query and "status" not in call.query and "project" not in call.params:
        _refuse_none()
    status = call.query.get("status", "")
    asked = asking(call, "", period=_period(call))
    narrowed = both(asked.tree, Filter("is", ((status,),)) if status else EVERYTHING)
    tree, period = _within(call, Asking(narrowed, asked.period))
    return matching_groups(call.asked, call.lake, tree, period)


def _named(call: Call) -> list[int]:
    return group_ids(call, call.query.getlist("id"))


def _refuse_none() -> list[int]:
    raise ApiError(400, "id: name the issues to change, or find them by query")
