"""Who did it there, and who came later: asked for where an issue changed, and no sooner."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.assignees import Assigned
from tasks_pipeline.links.rows import Link, theirs_of
from tasks_pipeline.links.views import View
from tasks_pipeline.storage.state.tables import UtcDateTime, group_actions
from tasks_pipeline.trackers.issue import Issue

AT_ONCE = timedelta(seconds=5)
"""What lies closer to each other than that came at the same time: clocks differ."""


def with_who(work: Work, tracker: Tracker, link: Link, issue: Issue) -> Issue:
    """An issue whose state or assignee is another one than at the last look, with who changed it. Raises TrackerError."""
    before, now = link.theirs, theirs_of(issue)
    state = now["state"] != before.get("state", now["state"]) and issue.changed_by is None
    assignee = now["assignees"] != before.get("assignees", now["assignees"]) and issue.assigned_by is None
    if not state and not assignee:
        return issue
    return work.provider.attributed(tracker, issue, state=state, assignee=assignee)


def later(
    connection: Connection, view: View, assigned: Assigned, issue: Issue | None, skew: float
) -> tuple[Assigned, str]:
    """Of both sides that gave it to others whoever came later, and what the log says of that. `skew`: seconds that their clock is ahead
    of ours. Ours stays where nobody knows, or it was at the same time."""
    if assigned.otherwise is None:
        return assigned, ""
    ours = _assigned_at(connection, view)
    theirs = issue.assigned_at - timedelta(seconds=skew) if issue is not None and issue.assigned_at else None
    if ours is None or theirs is None or abs(theirs - ours) <= AT_ONCE:
        return assigned, "given to others on both sides: ours stays, since nobody knows which came later"
    if theirs > ours:
        return assigned.otherwise, "given to others on both sides: theirs came later"
    return assigned, "given to others on both sides: ours stays, which came later"


def _assigned_at(connection: Connection, view: View) -> datetime | None:
    """When the group was given to somebody last, or taken from them."""
    c = group_actions.c
    query = select(func.max(c.at, type_=UtcDateTime())).where(
        c.group_id == view.group.id, c.action.in_(("assign", "unassign"))
    )
    found: datetime | None = connection.execute(query).scalar()
    return found
