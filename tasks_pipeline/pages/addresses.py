"""Addresses that lead elsewhere: the start, events by their id, and those that clients of Sentry make up."""

from __future__ import annotations

import re

from starlette.responses import Response

from tasks_pipeline.groups.lists import find_group
from tasks_pipeline.pages.answers import go, no_such
from tasks_pipeline.pages.group import path_of
from tasks_pipeline.pages.search import PERIODS
from tasks_pipeline.pages.view import Page, View
from tasks_pipeline.reading.events import find_row

_DAYS = re.compile(r"([0-9]{1,4})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


def start(view: View) -> Response:
    """The list of groups."""
    return go("/groups/")


def event(view: View) -> Response:
    """An event by its id, wherever it is."""
    return _to_event(view, view.param("event"))


def _to_event(view: View, event_id: str, project: str = "") -> Response:
    number = (
        next((p for p, slug in view.asked.slugs.items() if project in (slug, str(p))), None)
        if project
        else None
    )
    if project and number is None:
        raise no_such("project")
    row = find_row(view.asked, view.reading.lake, event_id, number)
    group = (
        None if row is None else find_group(view.reading.state, view.asked.slugs, group_id=row["group_id"])
    )
    if row is None or group is None or not view.asked.may_see(group["project_id"]):
        raise no_such("event")
    return go(f"{path_of(group)}events/{row['event_id']}/", 302)


def issues(view: View) -> Response:
    """A search, as clients write it: projects by their number, the period as they call it."""
    arguments = {name: view.arg(name) for name in ("query", "sort") if name in view.request.query_params}
    slugs = [
        view.asked.slugs.get(int(each), each) if each.isdecimal() and len(each) < 19 else each
        for each in view.args("project")
    ]
    if slugs and slugs != ["-1"]:
        arguments["project"] = slugs[0]
    if view.args("environment"):
        arguments["environment"] = view.args("environment")[0]
    arguments["sort"] = {"date": "last_seen", "new": "first_seen", "freq": "events", "user": "users"}.get(
        arguments.get("sort", ""), ""
    )
    arguments["period"] = _period(view.arg("statsPeriod"))
    query = arguments.pop("query", None)
    address = view.link("/groups/", **arguments)
    if query is None:
        return go(address, 302)
    joint = "&" if "?" in address else "?"
    return go(f"{address}{joint}{view.link('', query=query)[1:] or 'query='}", 302)


def _period(text: str) -> str:
    """The shortest of our periods that holds theirs."""
    match = _DAYS.fullmatch(text)
    if match is None:
        return ""
    hours = int(match[1]) * _HOURS[match[2]]
    return next((name for name, (_, days) in PERIODS.items() if days * 24 >= hours), "all")


def issue(view: View) -> Response:
    """A group, by number or short id, with an event where one is named."""
    name, event_id = view.param("issue"), view.request.path_params.get("event")
    return go(
        view.address(f"/groups/{_segment(name)}/{f'events/{_segment(str(event_id))}/' if event_id else ''}"),
        302,
    )


def discover(view: View) -> Response:
    """`project:event`, as Grafana links to events."""
    project, colon, event_id = view.param("place").partition(":")
    return _to_event(view, event_id, project) if colon else go("/groups/", 302)


def release(view: View) -> Response:
    """A release."""
    return go(view.link("/groups/", query=f'release:"{_quotable(view.param("version"))}"'), 302)


def _quotable(text: str) -> str:
    return re.sub(r'([\\"*])', r"\\\1", text)


def _segment(text: str) -> str:
    """A name in a path of ours; what is none leads to a page that says so."""
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", text) else "none"


PAGES = (
    Page("GET", "/", start),
    Page("GET", "/events/{event}/", event),
    Page("GET", "/issues/", issues),
    Page("GET", "/issues/{issue}/", issue),
    Page("GET", "/issues/{issue}/events/{event}/", issue),
    Page("GET", "/organizations/{org}/", start),
    Page("GET", "/organizations/{org}/issues/", issues),
    Page("GET", "/organizations/{org}/issues/{issue}/", issue),
    Page("GET", "/organizations/{org}/issues/{issue}/events/{event}/", issue),
    Page("GET", "/organizations/{org}/projects/{project}/events/{event}/", event),
    Page("GET", "/organizations/{org}/discover/{place}/", discover),
    Page("GET", "/organizations/{org}/explore/discover/homepage/", issues),
    Page("GET", "/organizations/{org}/releases/{version}/", release),
)
