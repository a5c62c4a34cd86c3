"""Events: of a group, of a project, one by its id, and the newest, the oldest and the one to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from tasks_pipeline.groups.merging import keys_of_group
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.reading.events import (
    EventPlace,
    EventQuery,
    Neighbours,
    event_at_end,
    find_row,
    list_events,
    neighbours,
    parse_place,
    payloads_of,
    place_of,
    recommended_event,
)
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.event_json import event_json, listed_event
from tasks_pipeline.web_api.filters import NARROWING, asking, check_parameters, period_of
from tasks_pipeline.web_api.issue_named import named_group
from tasks_pipeline.web_api.paging import Place, page_answer, page_size, size_asked

SORTS = ("-timestamp", "timestamp")
_FIRST = ("", "0:0:0", "0:0:1")


def list_of_group(call: Call) -> Response:
    """Events of a group that a query finds, the newest first; `full=true` whole ones."""
    group = named_group(call)
    check_parameters(call, NARROWING | {"full", "sample", "dataset"})
    return _page(call, group["id"])


def list_of_project(call: Call) -> Response:
    """Events of a project, the newest first."""
    check_parameters(call, NARROWING | {"full", "sample", "dataset"})
    return _page(call, None)


def show_of_group(call: Call) -> Response:
    """An event of a group: by its id, or latest, oldest, recommended; among those of `environment` and `query`."""
    group, name = named_group(call), call.params["event"]
    wanted = EventQuery(group["id"], asking(call, "", period=None).tree, period_of(call))
    around: Neighbours | None = None
    if name == "recommended":
        row = recommended_event(call.asked, call.lake, wanted)
    elif name in ("latest", "oldest"):
        row, around = event_at_end(call.asked, call.lake, wanted, oldest=name == "oldest")
    else:
        row = _of_group(call, group, name)
    if row is None:
        raise ApiError(404, f"there is no event {name[:80]!r} of this issue")
    return answer(event_object(call, row, wanted, around))


def show_of_project(call: Call) -> Response:
    """An event of a project by its id."""
    row = find_row(call.asked, call.lake, call.params["event"], call.project().id)
    if row is None:
        raise ApiError(404, f"there is no event {call.params['event'][:80]!r} in this project")
    return answer(event_object(call, row, EventQuery(row["group_id"])))


def event_object(
    call: Call, row: Mapping[str, Any], wanted: EventQuery | None = None, around: Neighbours | None = None
) -> dict[str, Any]:
    """A whole event; with those beside it (`around` where they are known) where a query says among which. Raises ApiError (404) when
    it is gone."""
    whole = _whole(call, [row])
    if not whole:
        raise ApiError(404, f"the event {row['event_id']} is not stored any more")
    found = whole[0]
    if wanted is not None and "adjacentEvents" not in call.query.getlist("collapse"):
        around = around or neighbours(call.asked, call.lake, wanted, row)
        found["nextEventID"] = around.newer["event_id"] if around.newer else None
        found["previousEventID"] = around.older["event_id"] if around.older else None
    return found


def _of_group(call: Call, group: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    if parse_event_id(name) is None:
        raise ApiError(
            404, f"{name[:80]!r} is no event; allowed are 32 hex digits, latest, oldest, recommended"
        )
    row = find_row(call.asked, call.lake, name, group["project_id"])
    return row if row is not None and row["group_id"] == group["id"] else None


def _page(call: Call, group_id: int | None) -> Response:
    asked = asking(call, "", period=period_of(call))
    sort = call.query.get("sort") or SORTS[0]
    if sort not in SORTS:
        raise ApiError(400, f"sort: {sort[:40]!r} is none; allowed are {', '.join(SORTS)}")
    limit = size_asked(call, "limit") or page_size(call)
    wanted = EventQuery(group_id, asked.tree, asked.period, _cursor(call), limit, oldest=sort == "timestamp")
    found = list_events(call.asked, call.lake, wanted)
    here = call.query.get("cursor", "")
    before = Place(str(found.newer or here), found.newer is not None)
    last = place_of(found.events[-1]) if found.events else here
    behind = Place(str(last), found.older is not None)
    whole = call.query.get("full", "").lower() in ("1", "true")
    shown = (
        _whole(call, found.events) if whole else [listed_event(row, call.asked.slugs) for row in found.events]
    )
    return page_answer(call, shown, before, behind)


def _cursor(call: Call) -> EventPlace | None:
    text = call.query.get("cursor", "")
    return None if text in _FIRST else parse_place(text)


def _whole(call: Call, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Whole events of rows; those that are gone meanwhile are left out."""
    payloads = payloads_of(call.asked, call.lake, rows)
    keys: dict[int, list[str]] = {}
    found = []
    for row in rows:
        payload = payloads.get((row["day"], row["part"], row["position"], row["item"]))
        if payload is None:
            continue
        group_id = row["group_id"]
        if group_id not in keys:
            keys[group_id] = [each["key"] for each in keys_of_group(call.services.state, group_id)[:20]]
        event = decode_json(payload)
        found.append(event_json(row, event, call.asked.slugs, size=len(payload), keys=keys[group_id]))
    return found
