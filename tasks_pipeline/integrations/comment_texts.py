"""What is written into an issue as a comment: one of ours, several that had to wait, or a notice; and when there may be one more."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, func, select

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.comments import copy_of
from tasks_pipeline.links.intents import DONE, WAITING, Claimed
from tasks_pipeline.links.notices import notice_text
from tasks_pipeline.links.rows import Link, group_of_links
from tasks_pipeline.storage.state.tables import groups, issue_intents
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.markup import neutral

COLLAPSED = 50
"""So many comments at most are collapsed into one."""


def text_of(
    work: Work, connection: Connection, claimed: Claimed, tracker: Tracker, link: Link, now: datetime
) -> tuple[str, list[tuple[int, int]], float]:
    """What is to be written, the comments (number, version) that it stands for, and how many seconds it has to wait for the limit of its issue."""
    wait = _wait(connection, tracker, link, now)
    if wait > 0:
        return "", [], wait
    if claimed.data.get("notice"):
        return _notice(work, connection, claimed, link), [], 0.0
    rows = [copy_of(connection, claimed.data["comment"], link.id)]
    if _was_limited(connection, link, now, tracker):
        rows += [copy_of(connection, each, link.id) for each in _waiting_comments(connection, link, claimed)]
    wanted = [row for row in rows if row is not None and row.deleted is None and row.external_id is None]
    return joined(work, tracker, wanted), [(row.id, row.version) for row in wanted], 0.0


def joined(work: Work, tracker: Tracker, rows: Sequence[Row[Any]]) -> str:
    """Comments as one text that is harmless there, each with who wrote it."""
    if not rows:
        return ""
    most = (work.provider.body_length - 500) // len(rows)
    strong = "**" if work.provider.markup in ("github", "gitlab") else ""
    parts = []
    for row in rows:
        member = work.stores.config.member(row.author)
        name = clean((member.name if member else "") or row.author, 200)
        head = f"{strong}{neutral(name, work.provider.markup)}{strong} wrote in Tasks Pipeline:"
        # Cut before it is made harmless: a cut behind that could undo it.
        body = neutral(row.body, work.provider.markup, max(most - len(head) - 10, 1))
        parts.append(f"{head}\n\n{body}")
    return "\n\n---\n\n".join(parts)


def _notice(work: Work, connection: Connection, claimed: Claimed, link: Link) -> str:
    group_id = group_of_links(connection, [link])[link.id]
    columns = (groups.c.id, groups.c.times_seen, groups.c.last_release)
    group = connection.execute(select(*columns).where(groups.c.id == group_id)).first()
    if group is None:
        return ""
    short_id = short_ids(work.state, work.stores.slugs, [group_id])[group_id]
    return notice_text(claimed.data, group, short_id, partial(neutral, markup=work.provider.markup))


def _sent_since(connection: Connection, link: Link, since: datetime) -> tuple[int, datetime | None]:
    c = issue_intents.c
    query = select(func.count(), func.min(c.ended_at, type_=issue_intents.c.ended_at.type)).where(
        c.link_id == link.id, c.kind == "comment", c.status == DONE, c.ended_at > since
    )
    many, first = connection.execute(query).one()
    return int(many), first


def _wait(connection: Connection, tracker: Tracker, link: Link, now: datetime) -> float:
    """Seconds until an issue may have one more comment."""
    many, first = _sent_since(connection, link, now - timedelta(hours=1))
    if many < tracker.comments_per_hour or first is None:
        return 0.0
    return max(1.0, (first + timedelta(hours=1) - now).total_seconds())


def _was_limited(connection: Connection, link: Link, now: datetime, tracker: Tracker) -> bool:
    """Whether comments of an issue had to wait: then what waits goes into one."""
    many, _ = _sent_since(connection, link, now - timedelta(hours=1, minutes=5))
    return many + 1 >= tracker.comments_per_hour


def _waiting_comments(connection: Connection, link: Link, claimed: Claimed) -> list[int]:
    c = issue_intents.c
    query = select(c.data).where(
        c.link_id == link.id, c.kind == "comment", c.status == WAITING, c.id != claimed.id
    )
    found = [
        data.get("comment") for data in connection.execute(query.order_by(c.id).limit(COLLAPSED)).scalars()
    ]
    return [each for each in found if each is not None]
