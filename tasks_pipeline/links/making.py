"""Links that people and rules make and end: an issue is asked for, one that is there is linked, a link is ended.

The link and what has to be done there are written in one transaction; calls are made by whoever empties the outbox.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, exists, select, text

from tasks_pipeline.config import Config
from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.config.projects import project_name
from tasks_pipeline.groups.decisions import AUTOMATIC, log_action, merged_targets
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.links.agree import CLOSED, OPEN
from tasks_pipeline.links.intents import NewIntent, drop_intents, put_intents
from tasks_pipeline.links.rows import (
    CREATING,
    GONE,
    LINKED,
    LIVE,
    UNLINKED,
    Link,
    columns_of,
    group_of_links,
    links_of_groups,
    read_link,
    update_link,
)
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups, issue_intents, issue_links
from tasks_pipeline.trackers.issue import Issue

NOTICES = ("linked", "unlinked", "merged", "unmerged", "duplicate", "regression")
"""What comments of ours say that nobody wrote: `notice` in the data of an intent to comment."""


class LinkError(ValueError):
    """What was asked for cannot be done; the message says why, and what can, for people."""


def request_issue(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    group_id: int,
    tracker: str,
    *,
    actor: str,
    rule: str = "",
    now: datetime | None = None,
) -> Link:
    """Ask for an issue of a group, or of the group that it is part of, in the caller's transaction. Raises LinkError.

    The link is `creating` until the issue is there. A group may have further links; one more while one is being made in the same
    tracker it may not.
    """
    now = now or datetime.now(UTC)
    row = _group(connection, group_id)
    place = tracker_for(config, tracker, row.project_id)
    _not_discarded(row)
    made = _insert(state, connection, place, row, now, {"actor": actor, "rule": rule})
    if made is None:
        raise LinkError(f"an issue of it is being made in {place.name} already")
    _intend(state, connection, made, now)
    return made


def request_by_rule(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    group_id: int,
    tracker: str,
    *,
    rule: str,
    storm: Mapping[str, Any] | None = None,
    now: datetime,
) -> Link | None:
    """What an alert rule asks for when it fires, in the transaction of its alert (or a pass, without a rule, when a group came back): an
    issue, unless one is there. Gives the new link.

    With an open issue in the tracker nothing is done; where all of them are closed or gone, only `on_regression: new_issue` asks for
    another. In a storm (`since`, `until`) one issue is made at its end for all its groups. Raises LinkError.
    """
    row = _group(connection, group_id)
    place = tracker_for(config, tracker, row.project_id)
    if row.status == Status.DISCARDED or not wants_new(connection, row.id, place):
        return None
    if storm is None:
        made = _insert(state, connection, place, row, now, {"actor": AUTOMATIC, "rule": rule})
        if made is not None:
            _intend(state, connection, made, now, rule=rule)
        return made
    key = f"storm:{row.project_id}:{place.name}:{storm['since']}:{rule}"[:200]
    found = select(issue_intents.c.link_id).where(issue_intents.c.key == key)
    first = connection.execute(found).scalar()
    leader = None if first is None else read_link(connection, first, lock=True)
    shared = leader is not None and leader.state in LIVE
    with_link = first if shared else None
    made = _insert(
        state, connection, place, row, now, {"actor": AUTOMATIC, "rule": rule, "with_link": with_link}
    )
    if made is None:
        return None
    if first is None:
        until = datetime.fromisoformat(storm["until"])
        _intend(state, connection, made, max(now, until), key=key, rule=rule, storm=dict(storm))
    elif leader is None or not shared:  # what the storm had in common was unlinked
        _intend(state, connection, made, now, rule=rule)
    elif leader.external_id is not None:
        _share(state, connection, leader, made, now)
    return read_link(connection, made.id)


def wants_new(connection: Connection, group_id: int, tracker: Tracker) -> bool:
    """Whether a group is to have a new issue in a tracker that nobody asked for by hand."""
    links = links_of_groups(connection, [group_id]).get(group_id, [])
    mine = [link for link in links if link.tracker == tracker.name and link.state in (*LIVE, GONE)]
    if any(is_open(link) for link in mine):
        return False
    return not mine or tracker.on_regression == "new_issue"


def is_open(link: Link) -> bool:
    """Whether there is an open issue behind a link, as far as is known, or one is being made."""
    return link.state in LIVE and (link.theirs.get("state") or link.agreed_state) != CLOSED


def link_existing(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    group_id: int,
    tracker: str,
    issue: Issue,
    *,
    actor: str,
    take: str | None = None,
    now: datetime | None = None,
) -> Link:
    """Link a group to an issue as a read showed it, in the caller's transaction; a comment there is to say so. Raises LinkError.

    `take`: ours or theirs, who is right where they differ; else the rule of the first agreement.
    """
    now = now or datetime.now(UTC)
    row = _group(connection, group_id)
    place = tracker_for(config, tracker, row.project_id)
    _not_discarded(row)
    if issue.is_pull_request:
        raise LinkError(f"{issue.key} is a pull request; allowed are issues")
    of_group = links_of_groups(connection, [row.id]).get(row.id, [])
    same = [link for link in of_group if (link.tracker, link.external_id) == (place.name, issue.external_id)]
    if any(link.state in LIVE for link in same):
        raise LinkError(f"it is linked to {issue.key} already")
    known = next((link for link in same if link.group_id == row.id), None)
    values = {
        **columns_of(issue), "state": LINKED, "origin": "linked", "take": take, "actor": actor[:200], "agreed_state": None,
        "agreed_assignee": None, "settled": "", "agreed_group": row.id, "look_at": now, "turns": [], "held": "", "note": "",
        "error": "", "verdict": "", "missing_since": None, "unlinked_at": None, "last_looked_at": now,
    }  # fmt: skip
    if known is None:
        made = _insert(state, connection, place, row, now, values)
        assert made is not None  # only links that are being made are unique by their group
        link_id = made.id
    else:
        link_id = known.id
        update_link(connection, link_id, **values)
    log_action(state, connection, row.project_id, row.id, "link", _said(place.name, issue), actor)
    link = read_link(connection, link_id)
    assert link is not None
    put_notice(state, connection, link, "linked", now)
    return link


def adopt(
    state: StateDatabase, connection: Connection, link: Link, issue: Issue, *, note: str = "", now: datetime
) -> None:
    """The issue of a link that was being made is there: so it is linked, and with it what waited to share its issue.

    One that was unlinked meanwhile stays so, and remembers what was made.
    """
    if link.state != CREATING:
        update_link(connection, link.id, **columns_of(issue))
        return
    group_id = group_of_links(connection, [link])[link.id]
    values = {**columns_of(issue), "state": LINKED, "error": "", "note": note, "with_link": None}
    agreed = {
        "agreed_state": OPEN,
        "agreed_group": group_id,
        "agreed_at": now,
        "look_at": now,
        "last_looked_at": now,
    }
    update_link(connection, link.id, **values, **agreed)
    _log_made(state, connection, link, group_id, issue)
    made = read_link(connection, link.id)
    assert made is not None
    waiting = select(issue_links.c.id).where(
        issue_links.c.with_link == link.id, issue_links.c.state == CREATING
    )
    for other_id in connection.execute(waiting.order_by(issue_links.c.id)).scalars().all():
        other = read_link(connection, other_id)
        assert other is not None
        _share(state, connection, made, other, now)


def unlink(
    state: StateDatabase,
    connection: Connection,
    config: Config,
    link: Link,
    *,
    actor: str,
    now: datetime | None = None,
) -> None:
    """End a link: nothing is carried any more. Its row and its marker stay, so that nothing adopts its issue. Raises LinkError."""
    now = now or datetime.now(UTC)
    if link.state not in (*LIVE, GONE):
        raise LinkError("it is unlinked already")
    drop_intents(connection, [link.id], now, "it was unlinked")
    update_link(
        connection, link.id, state=UNLINKED, unlinked_at=now, look_at=None, held="", error="", with_link=None
    )
    promote_orphans(state, connection, now)
    said = {"tracker": link.tracker, "key": link.shown_key, "issue": link.url}
    group_id = group_of_links(connection, [link])[link.id]
    log_action(state, connection, link.project_id, group_id, "unlink", said, actor)
    tracker = config.tracker(link.tracker)
    if tracker is not None and tracker.comment_on_unlink and link.state in (LINKED, "held"):
        put_notice(state, connection, link, "unlinked", now)


def put_notice(
    state: StateDatabase,
    connection: Connection,
    link: Link,
    notice: str,
    now: datetime,
    *,
    once: str = "",
    **data: Any,
) -> None:
    """Have a comment of ours written to an issue, see NOTICES; `once` (else the moment) makes it once."""
    key = f"notice:{notice}:{link.id}:{once or now.isoformat()}"[:200]
    intent = NewIntent(
        key=key,
        link_id=link.id,
        integration=link.integration,
        tracker=link.tracker,
        kind="comment",
        not_before=now,
        marker=new_marker(),
        data={"notice": notice, **data},
    )
    put_intents(state, connection, [intent])


def promote_orphans(state: StateDatabase, connection: Connection, now: datetime) -> int:
    """Links that wait to share the issue of one that will not be made any more (it was unlinked, or deleted) get issues of their own.
    Gives how many."""
    leader = issue_links.alias()
    there = exists().where(
        leader.c.id == issue_links.c.with_link, leader.c.state.in_(LIVE), leader.c.with_link.is_(None)
    )
    c = issue_links.c
    query = select(c.id).where(c.with_link.is_not(None), c.state == CREATING, ~there)
    found = connection.execute(query.order_by(c.id).limit(1000)).scalars().all()
    for link_id in found:
        update_link(connection, link_id, with_link=None)
        link = read_link(connection, link_id)
        assert link is not None
        _intend(state, connection, link, now, rule=link.rule)
    return len(found)


def tracker_for(config: Config, name: str, project_id: int) -> Tracker:
    """The tracker of this name, for a project's groups. Raises LinkError."""
    tracker = config.tracker(name)
    if tracker is None:
        known = ", ".join(each.name for each in config.trackers) or "none"
        raise LinkError(f"{name[:100]!r} is no tracker; there are: {known}")
    slug = project_name({project.id: project.slug for project in config.projects}, project_id)
    if tracker.projects and slug not in tracker.projects:
        raise LinkError(
            f"tracker {name} is not for project {slug}; its projects: {', '.join(tracker.projects)}"
        )
    return tracker


def project_of(connection: Connection, group_id: int) -> int:
    """The number of the project that a group belongs to. Raises LinkError."""
    return int(_group(connection, group_id).project_id)


def new_marker() -> str:
    """A text that names one thing of ours there, and nothing else."""
    return secrets.token_hex(12)


def _group(connection: Connection, group_id: int) -> Row[Any]:
    """The row of the group that this one is, or is part of. Not locked: rules ask while they hold what batches wait for."""
    group_id = merged_targets(connection, [group_id]).get(group_id, group_id)
    columns = (groups.c.id, groups.c.project_id, groups.c.status)
    row = connection.execute(select(*columns).where(groups.c.id == group_id)).first()
    if row is None:
        raise LinkError("there is no such group any more")
    return row


def _not_discarded(row: Row[Any]) -> None:
    if row.status == Status.DISCARDED:
        raise LinkError("its events are discarded; `groups keep` first")


def _insert(
    state: StateDatabase,
    connection: Connection,
    tracker: Tracker,
    row: Row[Any],
    now: datetime,
    values: Mapping[str, Any],
) -> Link | None:
    """A new link of a group. None when one is being made there already: an index sees to it, whoever asks at the same time."""
    columns = {
        "project_id": row.project_id, "group_id": row.id, "integration": tracker.integration, "tracker": tracker.name,
        "state": CREATING, "origin": "created", "marker": new_marker(), "theirs": {}, "turns": [], "created_at": now,
        **values,
    }  # fmt: skip
    if isinstance(columns.get("actor"), str):
        columns["actor"] = columns["actor"][:200]
    insert = state.insert(issue_links).on_conflict_do_nothing(
        index_elements=[issue_links.c.group_id, issue_links.c.tracker], index_where=text("state = 'creating'")
    )
    made = connection.execute(insert.values(**columns).returning(issue_links.c.id)).scalar()
    return None if made is None else read_link(connection, made)


def _intend(
    state: StateDatabase,
    connection: Connection,
    link: Link,
    not_before: datetime,
    *,
    key: str = "",
    **data: Any,
) -> None:
    intent = NewIntent(
        key=key or f"create:{link.id}",
        link_id=link.id,
        integration=link.integration,
        tracker=link.tracker,
        kind="create",
        not_before=not_before,
        marker=link.marker,
        data={name: value for name, value in data.items() if value},
    )
    put_intents(state, connection, [intent])


def _share(state: StateDatabase, connection: Connection, leader: Link, link: Link, now: datetime) -> None:
    """Give a link that was waiting for it the issue of another; one that has it already is not wanted any more."""
    c = issue_links.c
    same = select(c.id).where(
        c.tracker == leader.tracker, c.external_id == leader.external_id, c.group_id == link.group_id
    )
    if connection.execute(same).first() is not None:
        update_link(connection, link.id, state=UNLINKED, unlinked_at=now, with_link=None)
        return
    copied = {
        name: getattr(leader, name)
        for name in ("external_id", "shown_key", "url", "title", "theirs", "their_updated_at", "etag")
    }
    group_id = group_of_links(connection, [link])[link.id]
    update_link(
        connection, link.id, **copied, state=LINKED, with_link=None, error="", agreed_state=OPEN,
        agreed_group=group_id, agreed_at=now, look_at=now, last_looked_at=leader.last_looked_at,
    )  # fmt: skip
    said = {"tracker": leader.tracker, "key": leader.shown_key, "issue": leader.url, "rule": link.rule}
    log_action(state, connection, link.project_id, group_id, "link", said, link.actor or AUTOMATIC)


def _log_made(state: StateDatabase, connection: Connection, link: Link, group_id: int, issue: Issue) -> None:
    said = {**_said(link.tracker, issue), "made": True, **({"rule": link.rule} if link.rule else {})}
    log_action(state, connection, link.project_id, group_id, "link", said, link.actor or AUTOMATIC)


def _said(tracker: str, issue: Issue) -> dict[str, Any]:
    shown = columns_of(issue)
    return {"tracker": tracker, "key": shown["shown_key"], "issue": shown["url"]}
