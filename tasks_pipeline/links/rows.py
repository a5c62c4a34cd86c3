"""Links between groups and issues: rows of issue_links, read and changed. Nothing is decided here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from sqlalchemy import Connection, Row, or_, select, update

from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.groups.lifecycle import Resolution, Status
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups, issue_links
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.issue import Issue

CREATING, LINKED, HELD, GONE, UNLINKED = "creating", "linked", "held", "gone", "unlinked"
LIVE = (CREATING, LINKED, HELD)
"""States of links that are there: an issue belongs to the group, or is about to."""
AT_ONCE = 500
_cleaned = lru_cache(maxsize=2048)(clean)
_TO_COME = (Resolution.NEXT_RELEASE, Resolution.IN_COMMIT)


@dataclass(frozen=True, slots=True)
class Link:
    """A row of issue_links. `group_id` is the group that it was made for: see `group_of_links` for the one it belongs to now.

    `theirs` is what the last look showed, `turns` when it changed direction (ISO 8601, within the flap window)."""

    id: int
    project_id: int
    group_id: int
    integration: str
    tracker: str
    external_id: str | None
    shown_key: str
    url: str
    title: str
    state: str
    origin: str
    rule: str
    actor: str
    marker: str
    with_link: int | None
    take: str | None
    agreed_state: str | None
    agreed_assignee: str | None
    settled: str
    agreed_group: int | None
    agreed_at: datetime | None
    theirs: Mapping[str, Any]
    their_updated_at: datetime | None
    etag: str
    last_looked_at: datetime | None
    look_at: datetime | None
    turns: Sequence[str]
    missing_since: datetime | None
    held: str
    note: str
    error: str
    verdict: str
    created_at: datetime
    unlinked_at: datetime | None

    def moved(self, group_id: int) -> Literal["", "merged", "unmerged"]:
        """What became of its group since the last pass, when it belongs to this one now."""
        if group_id == (self.agreed_group or self.group_id):
            return ""
        return "unmerged" if group_id == self.group_id else "merged"


_NAMES = tuple(field.name for field in fields(Link))
_COLUMNS = tuple(issue_links.c[name] for name in _NAMES)
_links = select(*_COLUMNS)


def _link(row: Row[Any]) -> Link:
    return Link(*row)


def read_link(connection: Connection, link_id: int, *, lock: bool = False) -> Link | None:
    """A link by its number; None when there is none. With `lock` nobody else changes it until the transaction ends."""
    query = _links.where(issue_links.c.id == link_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else _link(row)


def read_links(connection: Connection, link_ids: Iterable[int]) -> dict[int, Link]:
    """Links by their numbers; those that are not there are missing."""
    found: dict[int, Link] = {}
    for chunk in chunks(sorted(set(link_ids))):
        for row in connection.execute(_links.where(issue_links.c.id.in_(chunk))):
            found[row.id] = _link(row)
    return found


def links_of_groups(connection: Connection, group_ids: Iterable[int]) -> dict[int, list[Link]]:
    """Links of groups and of all that were merged into them, whatever their state, oldest first. Groups without links are missing."""
    owner = {group_id: group_id for group_id in group_ids}
    new = dict(owner)
    while new:
        found: dict[int, int] = {}
        for chunk in chunks(sorted(new)):
            query = select(groups.c.id, groups.c.merged_into).where(groups.c.merged_into.in_(chunk))
            found.update({row.id: new[row.merged_into] for row in connection.execute(query)})
        new = {part: of for part, of in found.items() if part not in owner}
        owner.update(new)
    links: dict[int, list[Link]] = defaultdict(list)
    for chunk in chunks(sorted(owner)):
        for row in connection.execute(_links.where(issue_links.c.group_id.in_(chunk))):
            links[owner[row.group_id]].append(_link(row))
    return {group_id: sorted(of, key=lambda link: link.id) for group_id, of in links.items()}


def links_of_issues(
    connection: Connection, tracker: str, external_ids: Iterable[str]
) -> dict[str, list[Link]]:
    """Links to issues of a tracker, whatever their state, oldest first. Issues without links are missing."""
    found: dict[str, list[Link]] = defaultdict(list)
    for chunk in chunks(sorted(set(external_ids))):
        query = _links.where(issue_links.c.tracker == tracker, issue_links.c.external_id.in_(chunk))
        for row in connection.execute(query.order_by(issue_links.c.id)):
            found[row.external_id].append(_link(row))
    return dict(found)


def links_with_markers(connection: Connection, markers: Iterable[str]) -> dict[str, Link]:
    """Links by their markers, whatever their state; markers that are of none are missing."""
    found: dict[str, Link] = {}
    for chunk in chunks(sorted(set(markers))):
        for row in connection.execute(_links.where(issue_links.c.marker.in_(chunk))):
            found[row.marker] = _link(row)
    return found


def links_to_look_at(connection: Connection, tracker: str, now: datetime, limit: int = AT_ONCE) -> list[Link]:
    """Links of a tracker that something asks to be looked at, who waits for longest first."""
    c = issue_links.c
    query = _links.where(c.look_at.is_not(None), c.tracker == tracker, c.look_at <= now)
    return [_link(row) for row in connection.execute(query.order_by(c.look_at, c.id).limit(limit))]


def ask_for_looks(connection: Connection, link_ids: Iterable[int], at: datetime) -> None:
    """Have links looked at from a moment on; what is asked for sooner stays."""
    c = issue_links.c
    for chunk in chunks(sorted(set(link_ids))):
        later = or_(c.look_at.is_(None), c.look_at > at)
        connection.execute(update(issue_links).where(c.id.in_(chunk), later).values(look_at=at))


def group_of_links(connection: Connection, links: Iterable[Link]) -> dict[int, int]:
    """By link: the group that it belongs to now."""
    links = list(links)
    targets = merged_targets(connection, {link.group_id for link in links})
    return {link.id: targets.get(link.group_id, link.group_id) for link in links}


def our_word(row: Row[Any]) -> str:
    """What a group is, in the words of `links.agree.OURS`; of a row with `status` and `resolution`."""
    if row.status == Status.RESOLVED and row.resolution in _TO_COME:
        return "resolved_in_next_release"
    return str(row.status)


def made_safe(text: str, limit: int) -> str:
    """A text of a stranger as it is stored. A page of issues is compared and then written: each of their texts is cleaned once. What is cut
    off anyway is not remembered."""
    return _cleaned(text[: limit * 4 + 100], limit)


def theirs_of(issue: Issue) -> dict[str, Any]:
    """What a link keeps of an issue in `theirs`: bounded and made safe, whoever read it, and of people the logins alone."""
    return {
        "state": str(issue.state),
        "reason": made_safe(issue.reason, 50),
        "status": made_safe(issue.status, 200),
        "assignees": [made_safe(person.login, 200) for person in issue.assignees[:20]],
        "moved_to": made_safe(issue.moved_to, 300),
        "locked": issue.locked,
        "closed_at": issue.closed_at.isoformat() if issue.closed_at else None,
    }


def columns_of(issue: Issue) -> dict[str, Any]:
    """Columns of a link that say what its issue is, as a read shows it; an address that is none to open is left out."""
    url = made_safe(issue.url, 2000)
    return {
        "external_id": issue.external_id[:200],
        "shown_key": made_safe(issue.key, 300),
        "url": url if url.startswith(("https://", "http://")) else "",
        "title": made_safe(issue.title, 500),
        "theirs": theirs_of(issue),
        "their_updated_at": issue.updated_at,
        "etag": issue.etag if len(issue.etag) <= 200 else "",
    }


def update_link(connection: Connection, link_id: int, **columns: Any) -> None:
    """Change columns of a link."""
    connection.execute(update(issue_links).where(issue_links.c.id == link_id).values(**columns))
