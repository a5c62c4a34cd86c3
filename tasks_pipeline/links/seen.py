"""What a look at an issue showed, as a link keeps it: written from an issue, and read back as one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tasks_pipeline.links.rows import Link, made_safe, theirs_of
from tasks_pipeline.trackers.issue import Issue, IssueState, Person

REFUSED = "assignee_refused"
"""Name of what `theirs` holds besides: whom of ours they did not take as assignee."""


def looked(issue: Issue, link: Link, now: datetime) -> dict[str, Any]:
    """Columns of a link after a look at its issue, whose time is ours."""
    kept = {REFUSED: link.theirs[REFUSED]} if REFUSED in link.theirs else {}
    return {
        "external_id": issue.external_id[:200],
        "shown_key": made_safe(issue.key, 300),
        "url": made_safe(issue.url, 2000),
        "title": made_safe(issue.title, 500),
        "theirs": theirs_of(issue) | kept,
        "their_updated_at": issue.updated_at,
        "etag": issue.etag if len(issue.etag) <= 200 else "",
        "last_looked_at": now,
        "missing_since": None,
    }


def is_the_same(issue: Issue, link: Link) -> bool:
    """Whether an issue is as the last look showed it."""
    kept = {name: value for name, value in link.theirs.items() if name != REFUSED}
    same_name = made_safe(issue.key, 300) == link.shown_key and made_safe(issue.title, 500) == link.title
    return same_name and issue.updated_at == link.their_updated_at and theirs_of(issue) == kept


def issue_of(link: Link) -> Issue:
    """The issue as the last look showed it; its text and labels were not kept, and of people the logins alone."""
    theirs = link.theirs
    return Issue(
        external_id=link.external_id or "",
        key=link.shown_key,
        url=link.url,
        title=link.title,
        state=IssueState(theirs.get("state") or "open"),
        reason=theirs.get("reason") or "",
        status=theirs.get("status") or "",
        assignees=tuple(Person(login) for login in theirs.get("assignees") or ()),
        updated_at=link.their_updated_at,
        closed_at=datetime.fromisoformat(theirs["closed_at"]) if theirs.get("closed_at") else None,
        moved_to=theirs.get("moved_to") or "",
        locked=bool(theirs.get("locked")),
        etag=link.etag,
    )
