"""The list of groups: what a search finds, a page at a time, with what people want to know of each before they open it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from tasks_pipeline.pages import charts
from tasks_pipeline.pages.acts import told_of
from tasks_pipeline.pages.answers import HEADERS, Refused
from tasks_pipeline.pages.search import PERIODS, SORTS, Search, assignees_of, checked_search, search_of
from tasks_pipeline.pages.shown import status_told
from tasks_pipeline.pages.tables import csv_answer
from tasks_pipeline.pages.view import View
from tasks_pipeline.reading.as_sql import groups_as_sql
from tasks_pipeline.reading.cursors import CursorError, microseconds, parse_cursor
from tasks_pipeline.reading.filtered import OfFilter
from tasks_pipeline.reading.group_list import (
    GroupPage,
    GroupQuery,
    asks_events,
    groups_by_id,
    list_groups,
    matching_groups,
    status_counts,
)
from tasks_pipeline.reading.group_numbers import hours_of, known_environments, seen_with
from tasks_pipeline.reading.keys import KEYS, STATUSES
from tasks_pipeline.reading.parse import QueryError, unknown_keys
from tasks_pipeline.reading.tree import leaves

PAGE = 50
TABS = (
    ("Unresolved", "is:unresolved", ("unresolved", "regressed")),
    ("Regressed", "is:regressed", ("regressed",)),
    ("Ignored", "is:ignored", ("ignored",)),
    ("Resolved", "is:resolved", ("resolved",)),
    ("All", "", ("unresolved", "regressed", "ignored", "resolved")),
)
SAVED = (
    ("mine", "is:unresolved assigned:me"),
    ("new today", "is:unresolved is:new"),
    ("in the newest release", "is:unresolved release:latest"),
    ("without owner", "is:unresolved is:unassigned"),
)
_STATUS = re.compile(r"(?:^|(?<=\s))!?is:[A-Za-z]+(?=\s|$)\s*")


@dataclass(frozen=True, slots=True)
class Tab:
    """States of groups to choose from, and how many there are."""

    name: str
    address: str
    count: int | None
    current: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """A row: a group, what of it the search is about, its last day, and what it was seen with."""

    group: Mapping[str, Any]
    of_filter: OfFilter | None
    path: str
    told: str
    environments: Sequence[str]
    more_environments: int
    release: str
    more_releases: int


def groups(view: View) -> Response:
    """The page."""
    search = search_of(view)
    mistake, found, counts = search.mistake, GroupPage([], {}), dict[str, int]()
    try:
        if mistake is None:
            found = _found(view, search)
            counts = status_counts(view.asked, view.reading.lake, search.tree, search.period)
    except QueryError as error:
        mistake = error
    except CursorError as error:
        mistake = QueryError(f"{error}: begin with the first page", 0)
    rows = rows_of(view, found)
    start = int(from_) if (from_ := view.arg("from")).isdecimal() and len(from_) < 9 else 1
    tabs = _tabs(view, search, None if mistake else counts)
    visible = view.asked.project_ids()
    saved = (*SAVED, *((each.name, each.query) for each in view.config.web.searches))
    return view.page(
        "list.html", 400 if mistake else 200,
        search=search, mistake=mistake, rows=rows, tabs=tabs, start=start, told=told_of(view), charts=charts,
        total=next((tab.count for tab in tabs if tab.current), None),
        hours=hours_of(view.asked, [row.group["id"] for row in rows]),
        unknown=[] if mistake else unknown_keys(leaves(search.tree)),
        newer=None if found.newer is None else view.address(cursor=str(found.newer), **{"from": str(max(1, start - PAGE))}),
        older=None if found.older is None else view.address(cursor=str(found.older), **{"from": str(start + PAGE)}),
        news=_news_address(view, search, found), sorts=SORTS, assignees=assignees_of(view), releases=[],
        saved=[(name, view.link("/groups/", query=text), text == search.text) for name, text in saved],
        projects=[(view.asked.slugs[p], view.asked.slugs[p] in view.args("project")) for p in visible],
        environments=_environments(view), periods=PERIODS, period_name=search.period_name, period_asked=view.arg("period"),
        keys=sorted(KEYS), statuses=STATUSES,
    )  # fmt: skip


def _news_address(view: View, search: Search, found: GroupPage) -> str:
    """Where a script asks whether more came: on the first page of the newest groups, where that costs a look into the state database."""
    plain = (
        search.sort == "last_seen" and not view.arg("cursor") and not asks_events(search.tree, search.period)
    )
    if not plain or not found.groups:
        return ""
    return view.address("/groups/news/", than=str(microseconds(found.groups[0]["last_seen"])))


def news(view: View) -> Response:
    """How many groups of a search have events that came since its first page was made; at most as many as a page has."""
    search = checked_search(view)
    than = view.arg("than")
    if not than.isdecimal() or len(than) > 18 or asks_events(search.tree, search.period):
        raise Refused(400, "This asks for nothing.")
    page = list_groups(view.asked, None, GroupQuery(search.tree, "last_seen", None, PAGE, search.period))
    number = sum(microseconds(group["last_seen"]) > int(than) for group in page.groups)
    return JSONResponse({"new": number}, 200, dict(HEADERS))


def _found(view: View, search: Search) -> GroupPage:
    cursor = parse_cursor(view.arg("cursor")) if view.arg("cursor") else None
    wanted = GroupQuery(search.tree, search.sort, cursor, PAGE, search.period)
    return list_groups(view.asked, view.reading.lake, wanted)


def rows_of(view: View, found: GroupPage) -> list[Shown]:
    """The rows of a page."""
    ids = [group["id"] for group in found.groups]
    environments, releases = (seen_with(view.asked, ids, kind) for kind in ("environment", "release"))
    return [
        _row(view, group, found.of_filter.get(group["id"]), environments[group["id"]], releases[group["id"]])
        for group in found.groups
    ]


def _row(
    view: View,
    group: Mapping[str, Any],
    of_filter: OfFilter | None,
    environments: Sequence[str],
    releases: Sequence[str],
) -> Shown:
    release = group["last_release"] or ""
    return Shown(
        group, of_filter, f"/groups/{group['short_id']}/", status_told(group),
        environments[:3], max(0, len(environments) - 3), release, len(set(releases) - {release}),
    )  # fmt: skip


def _tabs(view: View, search: Search, counts: Mapping[str, int] | None) -> list[Tab]:
    rest = _STATUS.sub("", search.text).strip()
    said = [name.strip().lower() for name in _STATUS.findall(search.text)]
    tabs = []
    for name, query, statuses in TABS:
        count = None if counts is None else sum(counts.get(status, 0) for status in statuses)
        current = said == ([query] if query else [])
        text = f"{query} {rest}".strip()
        tabs.append(
            Tab(name, view.address("/groups/", query=text, cursor=None, **{"from": None}), count, current)
        )
    return tabs


def _environments(view: View) -> list[tuple[str, bool]]:
    chosen = view.args("environment")
    return [(name, name in chosen) for name in dict.fromkeys([*known_environments(view.asked), *chosen])]


CSV_COLUMNS = (
    "short_id", "project", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen", "assignee",
    "first_release", "last_release",
)  # fmt: skip


def as_csv(view: View) -> Response:
    """All that the search finds, as a table for other programs, in the order in which they were made."""
    search = checked_search(view)
    ids = matching_groups(view.asked, view.reading.lake, search.tree, search.period)

    def rows() -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(ids), 500):
            yield from groups_by_id(view.asked, ids[start : start + 500]).values()

    return csv_answer("groups.csv", CSV_COLUMNS, rows())


def as_sql(view: View) -> Response:
    """The statement that gives what the search finds."""
    search = checked_search(view)
    statement = groups_as_sql(view.asked, search.tree, search.sort, search.period)
    return view.page(
        "sql.html", statement=statement, back=view.address("/groups/"), csv=view.address("/groups/groups.csv")
    )
