"""Groups as clients know them, who call them issues: one shape, whoever answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import func, select

from tasks_pipeline.config import Project
from tasks_pipeline.reading.filtered import OfFilter
from tasks_pipeline.reading.group_numbers import days_of, hours_of
from tasks_pipeline.reading.keys import NEW_FOR
from tasks_pipeline.service.links import links
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups, issue_comments
from tasks_pipeline.web_api.calls import Call
from tasks_pipeline.web_api.people import assignee_json

Group = Mapping[str, Any]
_PRIORITIES = {"fatal": "high", "error": "high", "warning": "medium"}
_STATUSES = {"regressed": "unresolved"}
"""What clients have no word for."""
_CONSTANT: Mapping[str, Any] = {
    "shareId": None, "logger": None, "isPublic": False, "isBookmarked": False, "isSubscribed": False, "subscriptionDetails": None,
    "hasSeen": True, "annotations": [], "seenBy": [], "participants": [], "pluginActions": [], "pluginIssues": [], "pluginContexts": [],
    "issueType": "error", "issueCategory": "error", "priorityLockedAt": None, "seerFixabilityScore": None, "seerAutofixLastTriggered": None,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Besides:
    """What the rows of groups do not hold: events and users of groups that were merged into them and whose events have not moved yet, numbers
    of comments, series of events."""

    merged: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    comments: Mapping[int, int] = field(default_factory=dict)
    stats: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)


def issues_json(
    call: Call,
    shown: Sequence[Group],
    of_filter: Mapping[int, OfFilter] | None = None,
    stats: Collection[str] = ("24h",),
) -> list[dict[str, Any]]:
    """Issues of groups. `of_filter`: what of each a query is about, whose figures stand in the issue then. `stats`: 24h, 14d."""
    ids = [group["id"] for group in shown]
    besides = Besides(_merged(call, ids), _comments(call, ids), _stats(call, ids, stats))
    where, projects = links(call.services.home, call.config), {p.id: p for p in call.config.projects}
    return [
        _issue(call, group, projects.get(group["project_id"]), (of_filter or {}).get(group["id"]), besides)
        | {"permalink": where.group(group["short_id"])}
        for group in shown
    ]


def _issue(
    call: Call, group: Group, project: Project | None, of_filter: OfFilter | None, besides: Besides
) -> dict[str, Any]:
    more, users = besides.merged.get(group["id"], (0, 0))
    times_seen = of_filter.times_seen if of_filter else group["times_seen"] + more
    metadata = dict(group["metadata"] or {})
    found = {
        "id": str(group["id"]),
        "shortId": group["short_id"],
        "title": group["title"],
        "culprit": group["culprit"] or "",
        "level": group["level"],
        "type": group["type"],
        "platform": group["platform"],
        "metadata": {"title": group["title"], **metadata},
        "status": _STATUSES.get(group["status"], str(group["status"])),
        "substatus": substatus(group, call.asked.now),
        "statusDetails": status_details(group),
        "count": str(times_seen),
        "userCount": of_filter.users if of_filter else group["users"] + users,
        "firstSeen": of_filter.first_seen if of_filter else group["first_seen"],
        "lastSeen": of_filter.last_seen if of_filter else group["last_seen"],
        "project": _project(group, project),
        "assignedTo": assignee_json(call.config, group["assignee"]),
        "priority": _PRIORITIES.get(group["level"], "low"),
        "isUnhandled": bool(group.get("unhandled")),
        "numComments": besides.comments.get(group["id"], 0),
        **_CONSTANT,
    }
    if of_filter is not None:
        found["lifetime"] = {
            "count": str(group["times_seen"]),
            "userCount": group["users"],
            "firstSeen": group["first_seen"],
            "lastSeen": group["last_seen"],
        }
    stats = besides.stats.get(group["id"])
    return found | ({"stats": stats} if stats is not None else {})


def _project(group: Group, project: Project | None) -> dict[str, Any]:
    return {
        "id": str(group["project_id"]),
        "slug": group["project"],
        "name": (project.name if project else "") or group["project"],
        "platform": project.platform if project else "other",
    }


def substatus(group: Group, now: datetime) -> str | None:
    """The finer word for a status."""
    match str(group["status"]):
        case "regressed":
            return "regressed"
        case "unresolved":
            is_new = group["first_seen"] is not None and group["first_seen"] >= now - NEW_FOR
            return "new" if is_new else "ongoing"
        case "ignored":
            until = (
                group["ignored_until"],
                group["ignored_until_times_seen"],
                group["ignored_until_users"],
            )
            return "archived_forever" if until == (None, None, None) else "archived_until_condition_met"
    return None


def status_details(group: Group) -> dict[str, Any]:
    """What ends a status. Numbers of events and users are those that are left."""
    found: dict[str, Any] = {}
    if group["status"] == "ignored":
        found = {
            "ignoreUntil": group["ignored_until"],
            "ignoreCount": _left(group["ignored_until_times_seen"], group["times_seen"]),
            "ignoreUserCount": _left(group["ignored_until_users"], group["users"]),
        }
    elif group["status"] == "resolved":
        match group["resolution"]:
            case "in_release":
                found = {"inRelease": group["resolved_in_release"]}
            case "next_release":
                found = {"inNextRelease": True}
            case "in_commit":
                found = {"inCommit": {"id": group["resolved_in_commit"]}}
    return {name: value for name, value in found.items() if value is not None}


def _left(until: int | None, seen: int) -> int | None:
    return None if until is None else max(0, until - seen)


def _merged(call: Call, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Events and users of groups that are part of these, while their events have not moved."""
    g, found = groups.c, dict[int, tuple[int, int]]()
    sums = func.sum(g.times_seen), func.sum(g.users)
    with call.services.state.read() as connection:
        for some in chunks(sorted(ids)):
            query = select(g.merged_into, *sums).where(g.merged_into.in_(some), g.times_seen > 0)
            rows = connection.execute(query.group_by(g.merged_into)).tuples()
            found |= {target: (int(events), int(users)) for target, events, users in rows if target is not None}  # fmt: skip
    return found


def _comments(call: Call, ids: Sequence[int]) -> dict[int, int]:
    c, found = issue_comments.c, dict[int, int]()
    with call.services.state.read() as connection:
        for some in chunks(sorted(ids)):
            query = select(c.group_id, func.count()).where(c.group_id.in_(some), c.deleted_at.is_(None))
            rows = connection.execute(query.group_by(c.group_id)).tuples()
            found |= {group_id: int(n) for group_id, n in rows}
    return found


def _stats(call: Call, ids: Sequence[int], wanted: Collection[str]) -> dict[int, dict[str, Any]]:
    """By group: `{"24h": [[seconds, events] …]}` and 14d, the oldest first."""
    found: dict[int, dict[str, Any]] = {group_id: {} for group_id in ids} if wanted else {}
    if "24h" in wanted:
        for group_id, hours in hours_of(call.asked, ids).items():
            found[group_id]["24h"] = [[int(hour.timestamp()), n] for hour, n in hours]
    if "14d" in wanted:
        for group_id, days in days_of(call.asked, ids).items():
            found[group_id]["14d"] = [[int(_midnight(day).timestamp()), n] for day, n in days]
    return found


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def stats_names(call: Call) -> tuple[str, ...]:
    """Which series a call asks for. `groupStatsPeriod`, at a project's list `statsPeriod`; `collapse=stats` none."""
    if "stats" in call.query.getlist("collapse"):
        return ()
    asked = call.query.get("statsPeriod" if "project" in call.params else "groupStatsPeriod")
    if asked == "":
        return ()
    if asked in (None, "auto"):
        return ("14d",) if _is_long(call) else ("24h",)
    return ("14d",) if asked == "14d" else ("24h",)


def _is_long(call: Call) -> bool:
    return "project" not in call.params and call.query.get("statsPeriod", "24h") not in (
        "24h",
        "1d",
        "1h",
        "12h",
    )
