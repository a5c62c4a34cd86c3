"""What happened to an issue: its log and comments as clients know them, writing a comment, and what users wrote."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec
from sqlalchemy import select
from starlette.responses import Response

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.groups.decisions import actions_of
from tasks_pipeline.links.comments import add_comment, comments_of
from tasks_pipeline.storage.state.tables import group_days
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.issue_named import named_group
from tasks_pipeline.web_api.paging import sliced_page
from tasks_pipeline.web_api.people import actor_json, assignee_json

LISTED = 1000
_KINDS = {
    "resolve": "set_resolved", "unresolve": "set_unresolved", "ignore": "set_ignored", "assign": "assigned", "unassign": "unassigned",
    "merge": "merge", "unmerge": "unmerge_source", "regress": "set_regression", "unignore": "set_unresolved", "comment": "note",
    "discard": "set_ignored", "keep": "set_unresolved",
}  # fmt: skip
"""Their word for each of our actions; others are left out, since clients know no word for them."""
REPORT_DAYS = 14


class Note(msgspec.Struct, frozen=True):
    """A comment as it is sent."""

    text: str


def list_activities(call: Call) -> Response:
    """The log of an issue, comments included, newest first."""
    return answer({"activity": activity_of(call, named_group(call)["id"], LISTED)})


def list_notes(call: Call) -> Response:
    """Comments of an issue, newest first."""
    return sliced_page(call, _notes(call, named_group(call)["id"])[::-1])


def write_note(call: Call) -> Response:
    """Comment on an issue, in the caller's name. Raises ApiError and CommentError."""
    group, note = named_group(call), call.parse(Note)
    if not _may_write(call.viewer):
        raise ApiError(403, "it takes the role member")
    number = add_comment(call.services.state, group["id"], call.viewer.actor, note.text)
    (found,) = [each for each in _notes(call, group["id"]) if each["id"] == str(number)]
    return answer(found, 201)


def list_user_reports(call: Call) -> Response:
    """What users wrote about events of an issue, newest first."""
    return sliced_page(call, user_reports_of(call, named_group(call)))


def activity_of(call: Call, group_id: int, limit: int) -> list[dict[str, Any]]:
    """The newest entries of a group's log as clients know them, newest first."""
    notes = {each["id"]: each for each in _notes(call, group_id)}
    found = []
    for entry in actions_of(call.services.state, group_id, limit):
        kind = _KINDS.get(entry["action"])
        if kind == "note":
            if note := notes.get(str(entry["data"].get("comment"))):
                found.append(note)
        elif kind is not None:
            found.append(
                {
                    "id": str(entry["id"]),
                    "type": _in_release(kind, entry["data"]),
                    "user": actor_json(call.config, entry["actor"]),
                    "data": _data(call, entry["action"], entry["data"]),
                    "dateCreated": entry["at"],
                }
            )
    return found


def _in_release(kind: str, data: Mapping[str, Any]) -> str:
    if kind != "set_resolved":
        return kind
    if "in_release_after" in data or "release" in data:
        return "set_resolved_in_release"
    return "set_resolved_in_commit" if "commit" in data else kind


def _data(call: Call, action: str, data: Mapping[str, Any]) -> dict[str, Any]:
    match action:
        case "assign":
            somebody = assignee_json(call.config, data.get("assignee")) or {}
            return {
                "assignee": somebody.get("id"),
                "assigneeType": somebody.get("type"),
                "assigneeEmail": somebody.get("email"),
            }
        case "resolve" if "release" in data:
            return {"version": data["release"]}
        case "resolve" if "in_release_after" in data:
            return {"version": "", "current_release_version": data["in_release_after"]}
        case "resolve" if "commit" in data:
            return {"commit": data["commit"]}
        case "regress":
            return {"version": data.get("release")}
        case "ignore":
            names = {"until": "ignoreUntil", "more_events": "ignoreCount", "more_users": "ignoreUserCount"}
            return {names[k]: v for k, v in data.items() if k in names}
        case "merge":
            return {"issues": [{"id": str(each)} for each in data.get("from", ())]}
    return {}


def _notes(call: Call, group_id: int) -> list[dict[str, Any]]:
    """The newest comments, the oldest of them first."""
    with call.services.state.read() as connection:
        rows = comments_of(connection, group_id)
    return [
        {
            "id": str(row["id"]),
            "type": "note",
            "user": actor_json(call.config, row["author"]),
            "data": {"text": row["body"]},
            "dateCreated": row["at"],
        }
        for row in rows
    ]


def _may_write(viewer: Viewer) -> bool:
    return viewer.may("member")


def user_reports_of(call: Call, group: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What users wrote about events of the group's newest days, newest first."""
    d = group_days.c
    with call.services.state.read() as connection:
        query = select(d.day).where(d.group_id == group["id"]).order_by(d.day.desc()).limit(REPORT_DAYS)
        days = list(connection.execute(query).scalars())
    rows = _reports(call, group["project_id"], min(days)) if days else []
    if not rows:
        return []
    found = call.lake.query(
        "SELECT event_id FROM lake.events WHERE day BETWEEN ? AND ? AND project_id = ? AND group_id = ? "
        "AND event_id IN (SELECT unnest(?::VARCHAR[]))",
        [
            min(days),
            max(days),
            group["project_id"],
            group["id"],
            [row["associated_event_id"] for row in rows],
        ],
    )
    of_group = {row["event_id"] for row in found}
    return [_report_json(row) for row in rows if row["associated_event_id"] in of_group]


def _reports(call: Call, project_id: int, since: date) -> list[dict[str, Any]]:
    """Few projects have any: so what they are about is asked apart."""
    return call.lake.query(
        "SELECT event_id, associated_event_id, name, email, message, received_at FROM lake.user_reports WHERE day >= ? AND project_id = ? "
        f"AND associated_event_id IS NOT NULL ORDER BY received_at DESC LIMIT {LISTED}",
        [since, project_id],
    )


def _report_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["event_id"] or row["associated_event_id"],
        "eventID": row["associated_event_id"],
        "name": row["name"],
        "email": row["email"],
        "comments": row["message"],
        "dateCreated": row["received_at"],
        "user": None,
        "event": {"id": row["associated_event_id"], "eventID": row["associated_event_id"]},
        "issue": None,
    }
