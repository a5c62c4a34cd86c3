"""One issue: reading it, changing it, what it is known by, and finding it by the ids that people and clients have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from tasks_pipeline.groups.merging import keys_of_group
from tasks_pipeline.reading.events import EventQuery, find_row, read_events
from tasks_pipeline.reading.group_numbers import values_of
from tasks_pipeline.web_api import etags
from tasks_pipeline.web_api.activity import activity_of, user_reports_of
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.event_json import listed_event
from tasks_pipeline.web_api.events import event_object
from tasks_pipeline.web_api.issue_change import change, parse_change
from tasks_pipeline.web_api.issue_json import issues_json
from tasks_pipeline.web_api.issue_named import named_group
from tasks_pipeline.web_api.paging import sliced_page
from tasks_pipeline.web_api.release_reading import mentioned

ACTIVITIES = 100
"""Entries of the log that come with an issue."""


def show(call: Call) -> Response:
    """The issue."""
    if (unchanged := etags.not_modified(call)) is not None:
        return unchanged
    return answer(_whole(call, named_group(call)), headers=etags.headers(call))


def update(call: Call) -> Response:
    """Change it; answers with the whole of it."""
    group = named_group(call)
    change(call, [group["id"]], parse_change(call))
    return answer(_whole(call, named_group(call, str(group["id"]))))


def discard(call: Call) -> Response:
    """Discard it: its events go, and those that come are dropped."""
    change(call, [named_group(call)["id"]], parse_change(call, '{"discard": true}'))
    return answer({}, 202)


def by_short_id(call: Call) -> Response:
    """Which issue has a short id."""
    group = named_group(call)
    found = {
        "organizationSlug": call.config.organisation.slug,
        "projectSlug": group["project"],
        "groupId": str(group["id"]),
        "group": issues_json(call, [group])[0],
        "shortId": group["short_id"],
    }
    return answer(found)


def by_event_id(call: Call) -> Response:
    """Which issue an event belongs to, by the event's id."""
    row = find_row(call.asked, call.lake, call.params["event"])
    if row is None:
        raise ApiError(404, f"there is no event {call.params['event'][:80]!r} here")
    found = {
        "organizationSlug": call.config.organisation.slug,
        "projectSlug": call.asked.slugs[row["project_id"]],
        "groupId": str(row["group_id"]),
        "eventId": row["event_id"],
        "event": event_object(call, row),
    }
    return answer(found)


def hashes(call: Call) -> Response:
    """The keys by which events belong to it, with its newest event: which of them that has is not kept."""
    group = named_group(call)
    rows = read_events(call.asked, call.lake, EventQuery(group["id"]), 1, upwards=False)
    newest = listed_event(rows[0], call.asked.slugs) if rows else None
    found = keys_of_group(call.services.state, group["id"])
    return sliced_page(call, [{"id": row["key"], "latestEvent": newest, "mergedBySeer": False} for row in found])  # fmt: skip


def external_issues(call: Call) -> Response:
    """Issues in trackers are told elsewhere; none is one of an app of Sentry's."""
    named_group(call)
    return answer([])


def _whole(call: Call, group: Mapping[str, Any]) -> dict[str, Any]:
    """An issue with what lists leave out."""
    releases = [
        None if version is None else mentioned(call, group["project_id"], version)
        for version in (group["first_release"], group["last_release"])
    ]
    newest = read_events(call.asked, call.lake, EventQuery(group["id"]), 1, upwards=False)
    unhandled = bool(newest) and newest[0]["handled"] is False
    environments = values_of(call.asked, group["id"], "environment", 100)
    (found,) = issues_json(call, [{**group, "unhandled": unhandled}], stats=("24h", "14d"))
    found["stats"] = {
        "24h": found["stats"]["24h"],
        "14d": found["stats"]["14d"],
        "30d": found["stats"]["14d"],
    }
    return found | {
        "activity": activity_of(call, group["id"], ACTIVITIES),
        "tags": _tags(environments.most, environments.count, group),
        "firstRelease": releases[0],
        "lastRelease": releases[1],
        "userReportCount": len(user_reports_of(call, group)),
        "sentryAppIssues": [],
        "integrationIssues": [],
    }


def _tags(environments: list[tuple[str, int]], count: int, group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tags that every issue has: which others there are is asked for apart."""
    total = sum(n for _, n in environments)
    level = {"key": "level", "name": "Level", "totalValues": group["times_seen"], "uniqueValues": 1}
    return [{"key": "environment", "name": "Environment", "totalValues": total, "uniqueValues": count}, level]
