"""A group with one of its events: what failed where, what was around it, and the way to the events before and behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response, StreamingResponse

from tasks_pipeline.groups.lists import find_group
from tasks_pipeline.groups.short_id import MOST_DIGITS, ShortIdError, parse_short_id
from tasks_pipeline.pages import charts, event_text
from tasks_pipeline.pages.acts import told_of
from tasks_pipeline.pages.answers import HEADERS, Refused, go, no_such
from tasks_pipeline.pages.event_shape import Shape, shape_event
from tasks_pipeline.pages.event_values import web_link
from tasks_pipeline.pages.search import assignees_of, narrowed
from tasks_pipeline.pages.shown import status_told
from tasks_pipeline.pages.view import View
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.reading.around import Around, Stored, around, stored_by
from tasks_pipeline.reading.beside import beside
from tasks_pipeline.reading.events import (
    EventQuery,
    Neighbours,
    event_at_end,
    find_row,
    neighbours,
    payload_of,
    recommended_event,
)
from tasks_pipeline.reading.group_numbers import hours_of, values_of
from tasks_pipeline.service.links import links
from tasks_pipeline.service.running import running_service
from tasks_pipeline.storage.blobs import BlobMissing, BlobStore

HOURS = 14 * 24
ENDS = ("latest", "oldest")
"""Names of events that are the first or the last of those that are asked for."""
FACTS = "_tasks_pipeline"
VIEWS = {"frames": ("ours", "all", "sent"), "order": ("crash", "call")}
"""How stack traces can be shown; the first is meant where nobody chose."""
_PIECE = 256 * 1024
_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


class Elsewhere(Exception):
    """The page is at another address."""

    def __init__(self, address: str) -> None:
        self.address = address


@dataclass(frozen=True, slots=True)
class Bar:
    """An hour of the histogram that has events: where it stands, how high it is, what it says."""

    x: int
    height: int
    told: str
    address: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of a group and what lies around it."""

    row: Mapping[str, Any]
    payload: Mapping[str, Any] | None
    shape: Shape | None
    near: Neighbours
    around: Around
    stored: Stored
    ui_url: str


def named(view: View) -> dict[str, Any]:
    """The group that the path names. Raises Refused, and Elsewhere for one that is part of another or is called otherwise."""
    name = view.param("name")
    group = _find(view, name)
    if group is None or not view.asked.may_see(group["project_id"]):
        raise no_such("group")
    if group["merged_into"] is not None:
        target = find_group(view.reading.state, view.asked.slugs, group_id=group["merged_into"])
        if target is not None:
            raise Elsewhere(view.address(path_of(target) + _rest(view)))
    if name != group["short_id"]:
        raise Elsewhere(view.address(path_of(group) + _rest(view)))
    return group


def _find(view: View, name: str) -> dict[str, Any] | None:
    if name.isascii() and name.isdecimal() and len(name) < 19:
        return find_group(view.reading.state, view.asked.slugs, group_id=int(name))
    if len(name) > 80 or len(name.rpartition("-")[2]) > MOST_DIGITS:
        return None
    try:
        slug, number = parse_short_id(name)
    except ShortIdError:
        return None
    return (
        None if number >= 2**63 else find_group(view.reading.state, view.asked.slugs, short_id=(slug, number))
    )


def _rest(view: View) -> str:
    """The path behind the name of the group."""
    return view.path.removeprefix("/groups/").partition("/")[2]


def path_of(group: Mapping[str, Any]) -> str:
    """Where a group is."""
    return f"/groups/{quote(group['short_id'], safe='')}/"


def newest(view: View) -> Response:
    """The group with its newest event."""
    return _page(view, "latest")


def with_event(view: View) -> Response:
    """The group with an event that the address names; as text, Markdown or JSON where it ends so."""
    name, dot, form = view.param("event").rpartition(".")
    if not dot:
        return _page(view, view.param("event"))
    if form not in ("txt", "md", "json"):
        raise no_such("event")
    return _as_text(view, name, form)


def _page(view: View, name: str) -> Response:
    group = named(view)
    wanted = events_wanted(view, group)
    near: Neighbours | None = None
    if name in ENDS:
        row, near = event_at_end(view.asked, view.reading.lake, wanted, oldest=name == "oldest")
    else:
        row = event_named(view, group, wanted, name)
    seen = None if row is None else _seen(view, wanted, row, near)
    answer = view.page(
        "event.html", **head_of(view, group), tab="event", seen=seen, charts=charts, asked_event=name, filtered=_filtered(view),
        order=_chosen(view, "order"), frames=_chosen(view, "frames"), beside=beside(view.asked, group), web_link=web_link,
        facts=[] if seen is None else facts_of(view, seen), base=path_of(group),
    )  # fmt: skip
    for kept in VIEWS:
        if view.arg(kept) in VIEWS[kept]:
            answer.set_cookie(
                kept, view.arg(kept), 365 * 86_400, path="/groups/", httponly=True, samesite="lax"
            )
    return answer


def _chosen(view: View, name: str) -> str:
    """How stack traces are shown: as the address says, else as this person chose last."""
    said = view.arg(name) or view.request.cookies.get(name, "")
    return said if said in VIEWS[name] else VIEWS[name][0]


def _filtered(view: View) -> bool:
    return any(view.arg(name) for name in ("query", "environment", "period", "hour"))


def events_wanted(view: View, group: Mapping[str, Any]) -> EventQuery:
    """The events of a group that the address asks for. Raises QueryError."""
    tree, period = narrowed(view)
    return EventQuery(group["id"], tree, period)


def event_named(view: View, group: Mapping[str, Any], wanted: EventQuery, name: str) -> dict[str, Any] | None:
    """The row of an event: by its id, or what latest, oldest and recommended mean. None for a group without any. Raises Refused."""
    lake = view.reading.lake
    if name in ENDS:
        return event_at_end(view.asked, lake, wanted, oldest=name == "oldest")[0]
    if name == "recommended":
        return recommended_event(view.asked, lake, wanted)
    if parse_event_id(name) is None:
        raise no_such("event")
    row = find_row(view.asked, lake, name, group["project_id"])
    if row is None:
        raise no_such("event")
    if row["group_id"] != group["id"]:
        other = find_group(view.reading.state, view.asked.slugs, group_id=row["group_id"])
        if other is None:
            raise no_such("event")
        raise Elsewhere(view.address(f"{path_of(other)}events/{row['event_id']}/"))
    return row


def _seen(view: View, wanted: EventQuery, row: dict[str, Any], near: Neighbours | None) -> Seen:
    lake = view.reading.lake
    payload = payload_of(view.asked, lake, row)
    shape = None if payload is None else shape_event(payload, as_sent=_chosen(view, "frames") == "sent")
    service = running_service(view.reading.home)
    return Seen(
        row,
        payload,
        shape,
        near or neighbours(view.asked, lake, wanted, row),
        around(lake, row),
        stored_by(view.asked, row),
        view.config.notifications.ui_url or (service.ui_url if service else ""),
    )


def facts_of(view: View, seen: Seen) -> list[tuple[str, str]]:
    """What is known of an event in a word each."""
    row = seen.row
    named_facts = [
        (name.replace("_", " "), row[name])
        for name in ("environment", "release", "dist", "transaction", "server_name", "logger")
    ]
    named_facts += [
        ("user", row["user_email"] or row["user_id"] or row["user_key"]),
        ("trace", row["trace_id"]),
    ]
    named_facts.append(("sdk", f"{row['sdk_name']} {row['sdk_version'] or ''}" if row["sdk_name"] else None))
    return [(name, str(value)) for name, value in named_facts if value not in (None, "")]


def head_of(view: View, group: Mapping[str, Any]) -> dict[str, Any]:
    """What every page of a group begins with."""
    state = view.reading.state
    hours = hours_of(view.asked, [group["id"]], HOURS)[group["id"]]
    seen_in = {kind: values_of(view.asked, group["id"], kind, 5) for kind in ("environment", "release")}
    return {
        "group": group, "path": path_of(group), "told": told_of(view), "status": status_told(group) or "unresolved",
        "assignees": assignees_of(view), "releases": [value for value, _ in seen_in["release"].most],
        "bars": _bars(view, group, hours), "lately": sum(n for _, n in hours), "most": max((n for _, n in hours), default=0),
        "seen_in": seen_in, "hours": HOURS, "first_hour": hours[0][0], "last_hour": hours[-1][0] + timedelta(hours=1),
        "comments": comments_count(state, group["id"]),
    }  # fmt: skip


def comments_count(state: Any, group_id: int) -> int:
    """How many comments a group has, as far as they are shown."""
    from tasks_pipeline.links.comments import comments_of

    with state.read() as connection:
        return len(comments_of(connection, group_id))


def _bars(view: View, group: Mapping[str, Any], hours: Sequence[tuple[datetime, int]]) -> list[Bar]:
    """By the square root: an hour with one event is seen beside one with thousands."""
    top = math.sqrt(max((n for _, n in hours), default=0) or 1)
    return [
        Bar(
            x,
            max(3, round(math.sqrt(n) / top * 48)),
            f"{at:%Y-%m-%d %H:%M} UTC: {n:,}",
            view.link(f"{path_of(group)}events/", hour=f"{at:%Y-%m-%dT%H}"),
        )
        for x, (at, n) in enumerate(hours)
        if n
    ]


def _as_text(view: View, name: str, form: str) -> Response:
    group = named(view)
    row = event_named(view, group, events_wanted(view, group), name)
    payload = None if row is None else payload_of(view.asked, view.reading.lake, row)
    if row is None or payload is None:
        raise no_such("event")
    if form == "json":
        facts = {
            k: row[k]
            for k in (
                "project_id",
                "group_id",
                "day",
                "part",
                "position",
                "item",
                "received_at",
                "title",
                "culprit",
            )
        }
        body = msgspec.json.format(
            msgspec.json.encode(payload | {FACTS: facts | {"short_id": group["short_id"]}}), indent=2
        )
        return Response(body, 200, dict(HEADERS), "application/json")
    shape = shape_event(payload)
    if form == "txt":
        return Response(
            event_text.plain(shape).encode("utf-8", "replace"),
            200,
            dict(HEADERS),
            "text/plain; charset=utf-8",
        )
    facts_told = [("group", group["short_id"]), ("happened", f"{row['timestamp']:%Y-%m-%d %H:%M:%S} UTC")]
    facts_told += [
        (n, str(row[n])) for n in ("level", "environment", "release", "transaction", "server_name") if row[n]
    ]
    link = links(view.reading.home, view.config).event(group["short_id"], row["event_id"])
    text = event_text.markdown(shape, str(row["title"]), facts_told, link)
    return Response(text.encode("utf-8", "replace"), 200, dict(HEADERS), "text/markdown; charset=utf-8")


def attachment(view: View) -> Response:
    """A file that came with an event, to be kept; pictures may be looked at, whatever they are called."""
    group = named(view)
    row = find_row(view.asked, view.reading.lake, view.param("event"), group["project_id"])
    number = view.param("number")
    files = [] if row is None else around(view.reading.lake, row).attachments
    if not number.isdecimal() or len(number) > 4 or int(number) >= len(files):
        raise no_such("attachment")
    found = files[int(number)]
    blobs = BlobStore(view.reading.home.blobs_url)
    try:
        file = blobs.open(found["digest"])
    except BlobMissing:
        raise Refused(
            410, "This file is gone: attachments are kept for a shorter time than events."
        ) from None
    first = file.read(_PIECE)
    picture = next((kind for begin, kind in _PICTURES.items() if first.startswith(begin)), "")
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        picture = "image/webp"
    inline = bool(picture) and view.arg("look") == "1"
    headers = {
        **HEADERS,
        "content-security-policy": "sandbox; default-src 'none'",
        "content-disposition": "inline"
        if inline
        else f"attachment; filename*=UTF-8''{quote(found['name'] or 'attachment', safe='')}",
    }

    def pieces() -> Any:
        with file:
            piece = first
            while piece:
                yield piece
                piece = file.read(_PIECE)

    return StreamingResponse(pieces(), 200, headers, picture if inline else "application/octet-stream")


def elsewhere(error: Elsewhere) -> Response:
    """The redirect for good."""
    return go(error.address, 301)
