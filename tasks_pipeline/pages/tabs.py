"""Tabs of a group: its events, its tags, what looks like it and is part of it, and what was decided and said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from tasks_pipeline.acting.comments import change_comment, comment, remove_comment
from tasks_pipeline.groups.decisions import actions_of, merged_groups
from tasks_pipeline.groups.similar import proposed_pairs
from tasks_pipeline.links.comments import comments_of
from tasks_pipeline.pages.answers import Refused, go, no_such
from tasks_pipeline.pages.group import events_wanted, head_of, named, path_of
from tasks_pipeline.pages.search import PERIODS
from tasks_pipeline.pages.tables import csv_answer
from tasks_pipeline.pages.view import View
from tasks_pipeline.reading.as_sql import events_as_sql
from tasks_pipeline.reading.events import EventPage, EventQuery, list_events, parse_place
from tasks_pipeline.reading.group_list import groups_by_id
from tasks_pipeline.reading.group_numbers import known_environments
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.reading.tags import SAMPLE, SAMPLE_DAYS, tags_of
from tasks_pipeline.reading.told import told

PAGE = 50
AT_ONCE = 1_000
"""Events that are read for a CSV at once."""
LOGGED = 200
CSV_COLUMNS = (
    "event_id", "timestamp", "received_at", "level", "title", "culprit", "environment", "release", "dist", "user_key", "transaction",
    "server_name", "logger", "exception_type", "exception_value", "handled", "sdk_name", "sdk_version", "trace_id",
)  # fmt: skip


def events(view: View) -> Response:
    """The events of a group that the address asks for, a page at a time."""
    group = named(view)
    mistake, found = None, EventPage([])
    try:
        wanted = events_wanted(view, group)
        cursor = parse_place(view.arg("cursor")) if view.arg("cursor") else None
        asks = EventQuery(
            wanted.group_id, wanted.tree, wanted.period, cursor, PAGE, view.arg("order") == "oldest"
        )
        found = list_events(view.asked, view.reading.lake, asks)
    except QueryError as error:
        mistake = error
    known = known_environments(view.asked)
    return view.page(
        "events.html", 400 if mistake else 200, **head_of(view, group), tab="events", events=found.events, mistake=mistake,
        newer=None if found.newer is None else view.address(cursor=str(found.newer)),
        older=None if found.older is None else view.address(cursor=str(found.older)),
        periods=PERIODS, environments=[(name, name in view.args("environment")) for name in known], text=view.arg("query"),
        kept={name: view.arg(name) for name in ("query", "environment", "period", "hour")},
    )  # fmt: skip


def events_csv(view: View) -> Response:
    """All of them as a table for other programs, the newest first."""
    group = named(view)
    wanted = events_wanted(view, group)

    def rows() -> Iterator[Mapping[str, Any]]:
        cursor = None
        while True:
            page = list_events(
                view.asked,
                view.reading.lake,
                EventQuery(wanted.group_id, wanted.tree, wanted.period, cursor, AT_ONCE),
            )
            yield from page.events
            cursor = page.older
            if cursor is None:
                return

    return csv_answer(f"{group['short_id']}-events.csv", CSV_COLUMNS, rows())


def events_sql(view: View) -> Response:
    """The statement that gives them."""
    group = named(view)
    base = f"{path_of(group)}events/"
    statement = events_as_sql(view.asked, events_wanted(view, group))
    return view.page(
        "sql.html", statement=statement, back=view.address(base), csv=view.address(f"{base}events.csv")
    )


def tags(view: View) -> Response:
    """The tags of its newest events."""
    group = named(view)
    found = tags_of(view.asked, view.reading.lake, events_wanted(view, group))
    return view.page(
        "tags.html",
        **head_of(view, group),
        tab="tags",
        found=found,
        key=None,
        sample=SAMPLE,
        days=SAMPLE_DAYS,
        quoted=_quoted,
    )


def tag(view: View) -> Response:
    """All values of a tag."""
    group, key = named(view), view.param("key")
    as_csv = key.endswith(".csv")
    key = key.removesuffix(".csv")
    found = tags_of(view.asked, view.reading.lake, events_wanted(view, group))
    one = next((each for each in found.tags if each.key == key), None)
    if one is None:
        raise no_such("tag")
    if as_csv:
        columns = ("value", "count", "first_seen", "last_seen")
        rows = ({name: getattr(value, name) for name in columns} for value in one.values)
        return csv_answer("tag.csv", columns, rows)
    return view.page(
        "tags.html",
        **head_of(view, group),
        tab="tags",
        found=found,
        key=one,
        sample=SAMPLE,
        days=SAMPLE_DAYS,
        quoted=_quoted,
    )


def _quoted(text: str) -> str:
    """A tag as a part of a path."""
    return quote(text.encode("utf-8", "replace"), safe="")


def similar(view: View) -> Response:
    """What looks like it, and what is part of it."""
    group = named(view)
    state = view.reading.state
    pairs = proposed_pairs(state, group_id=group["id"])
    merged = merged_groups(state, group["id"])
    others = {older if newer == group["id"] else newer: score for older, newer, score in pairs[:100]}
    rows = groups_by_id(view.asked, [*others, *merged])
    return view.page(
        "similar.html", **head_of(view, group), tab="similar",
        alike=[(rows[n], score) for n, score in others.items() if n in rows],
        merged=[rows[n] for n in merged if n in rows],
    )  # fmt: skip


def activity(view: View) -> Response:
    """What was decided, and what people said, the newest first."""
    group = named(view)
    state = view.reading.state
    entries = told(state, view.asked.slugs, actions_of(state, group["id"], LOGGED))
    with state.read() as connection:
        said = comments_of(connection, group["id"])
    shown = [
        {"at": each["at"], "actor": each["actor"], "text": each["text"], "comment": None}
        for each in entries
        if "comment" not in each["action"]
    ]
    shown += [{"at": each["at"], "actor": each["author"], "text": "", "comment": each} for each in said]
    shown.sort(key=lambda each: each["at"], reverse=True)
    return view.page(
        "activity.html", **head_of(view, group), tab="activity", entries=shown, full=len(entries) == LOGGED
    )


def say(view: View) -> Response:
    """Write, change or delete a comment, and back to what was said."""
    group = named(view)
    state, number = view.reading.state, view.posted("comment")
    if number:
        if not number.isdecimal() or len(number) > 18:
            raise Refused(400, "This is no comment.")
        if view.posted("do") == "delete":
            remove_comment(state, view.viewer, int(number))
        else:
            change_comment(state, view.viewer, int(number), view.posted("text"))
    else:
        comment(state, view.viewer, group["id"], view.posted("text"))
    return go(f"{path_of(group)}activity/")
