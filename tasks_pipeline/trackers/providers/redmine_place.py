"""What keeps issues of a Redmine project from being made or changed: its settings, rights of our user, and fields that are required."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.calls import Calls
from tasks_pipeline.trackers.providers.redmine_shapes import (
    ACTIVE,
    CustomField,
    Project,
    Role,
    User,
    by_name,
    custom_fields,
    listed,
)
from tasks_pipeline.trackers.shapes import part, rows

NEEDED = {
    "view_issues": "view issues",
    "add_issues": "add issues",
    "edit_issues": "edit issues",
    "add_issue_notes": "add notes",
}
"""Permissions that a role of our user has to have, and how Redmine's page of roles calls them."""


def problems(tracker: Tracker, project: Project, wrong_statuses: Sequence[str]) -> Iterator[str]:
    """What is wrong with a project, in words of what to do. `wrong_statuses`: names of the settings that no status has."""
    name = tracker.project
    if project.status != ACTIVE:
        yield f"project {name} is closed or archived"
    if project.enabled_modules is not None and not by_name(project.enabled_modules, "issue_tracking"):
        yield f"issue tracking is switched off in project {name}"
    known = project.trackers
    if tracker.tracker is not None and known is not None and not by_name(known, tracker.tracker):
        yield f'project {name} has no tracker "{tracker.tracker}"; it has: {listed(known)}'
    if wrong_statuses:
        yield f"there is no status {', '.join(wrong_statuses)}: set statuses of the tracker"


def missing_rights(calls: Calls, name: str, project: Project, user: User) -> str:
    """Permissions that no role of the user has. Of somebody who is no member they cannot be read."""
    roles = [one for member in user.memberships if member.project.id == project.id for one in member.roles]
    if user.admin or not roles:
        return ""
    given: set[str] = set()
    for number in {one.id for one in roles}:
        reply = calls.ask("GET", f"/roles/{number}.json", kind="check", call="check")
        given |= set(reply.shaped(Role, part(reply, "role")).permissions)
        if given >= NEEDED.keys():
            return ""
    lacking = ", ".join(words for right, words in NEEDED.items() if right not in given)
    return f"in project {name} the user {user.login} ({listed(roles)}) may not: {lacking}; an administrator can allow it"


def missing_fields(calls: Calls, tracker: Tracker, project: Project) -> Iterator[str]:
    """Required fields of the project that the settings give no value. Only administrators may ask which ones are required."""
    ours = {field.id for field in project.issue_custom_fields}
    if not ours:
        return
    try:
        reply = calls.ask("GET", "/custom_fields.json", kind="check", call="check")
    except TrackerError as error:
        if error.verdict.do is Do.HELD:
            return
        raise
    given = {field.get("id") for field in custom_fields(tracker.fields)} | {tracker.marker_field}
    for field in rows(reply, CustomField, "custom_fields"):
        if not field.is_required or field.default_value or field.id in given or field.id not in ours:
            continue
        if tracker.tracker is None or not field.trackers or by_name(field.trackers, tracker.tracker):
            yield f"{field.name} (custom field {field.id})"
