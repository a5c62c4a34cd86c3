"""Polls: what changed in a tracker since the cursor, in bounded steps; and once a day a full pass over all of its links.

A cursor moves once all that lies before it was passed over, or marked to be looked at: whoever is killed in between reads it again.
Times of cursors are theirs, never ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.looking import NOT_THERE, Page, ask_later, look, pass_page
from tasks_pipeline.integrations.missing import missed
from tasks_pipeline.integrations.twins import turned_up
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.comments import has_comments
from tasks_pipeline.links.rows import HELD, LINKED, Link, read_links
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import issue_links, tracker_cursors
from tasks_pipeline.trackers.answers import TrackerError
from tasks_pipeline.trackers.issue import Comment, Cursor, Issue

log = logging.getLogger(__name__)

FULL_PASS = timedelta(days=1)
TRIED_AGAIN = timedelta(minutes=15)
"""So long after a step of it failed a full pass goes on."""
AT_ONCE = 500
"""Links of one step of a full pass."""
COMMENTS_AT_ONCE = 20
"""Of those, so many whose comments are read too: one that was edited or deleted may leave no other trace."""


@dataclass(frozen=True, slots=True)
class Polled:
    """How far a tracker was read."""

    cursor: Cursor
    polled_at: datetime | None = None
    full_pass_at: datetime | None = None
    full_pass_after: int | None = None

    def due_at(self, tracker: Tracker) -> datetime | None:
        """When its next poll is due; None: at once."""
        return None if self.polled_at is None else self.polled_at + timedelta(seconds=tracker.poll_seconds)

    def is_full_pass_due(self, now: datetime) -> bool:
        """Whether all links are to be looked at, or are just being."""
        return self.full_pass_at is None or now - self.full_pass_at >= FULL_PASS


def cursors(connection: Connection) -> dict[str, Polled]:
    """By tracker: how far it was read."""
    return {
        row.tracker: Polled(
            Cursor(row.since, row.seen, row.etag), row.polled_at, row.full_pass_at, row.full_pass_after
        )
        for row in connection.execute(select(tracker_cursors))
    }


def polled(connection: Connection, tracker: str) -> Polled:
    """How far one tracker was read."""
    row = connection.execute(select(tracker_cursors).where(tracker_cursors.c.tracker == tracker)).first()
    if row is None:
        return Polled(Cursor())
    return Polled(Cursor(row.since, row.seen, row.etag), row.polled_at, row.full_pass_at, row.full_pass_after)


def save(state: StateDatabase, connection: Connection, tracker: str, **columns: Any) -> None:
    """Change columns of a tracker's cursor."""
    first = {"tracker": tracker, "seen": {}, "etag": "", **columns}
    insert = state.insert(tracker_cursors).values(**first)
    connection.execute(insert.on_conflict_do_update(index_elements=[tracker_cursors.c.tracker], set_=columns))


def has_links(connection: Connection, tracker: str) -> bool:
    """Whether a tracker has issues that are kept in step."""
    c = issue_links.c
    query = select(c.id).where(c.tracker == tracker, c.state.in_((LINKED, HELD))).limit(1)
    return connection.execute(query).first() is not None


def poll(work: Work, tracker: Tracker) -> bool:
    """One step of reading what changed; True when there is more at once. Raises TrackerError when it could not be read: then it is
    read when the next poll is due."""
    now = datetime.now(UTC)
    with work.state.read() as connection:
        before = polled(connection, tracker.name)
    try:
        changes = work.provider.changed(tracker, before.cursor)
    except Exception:
        with work.state.write() as connection:
            save(work.state, connection, tracker.name, polled_at=now)
        raise
    work.report.count(tracker.name, "polls")
    work.lists_comments[tracker.name] = changes.comments is not None
    turned_up(work, tracker, changes.issues)
    _pass_or_ask(work, tracker, Page(_newest(changes.issues), changes.comments), now)
    cursor = changes.cursor
    columns = {"since": cursor.since, "seen": dict(cursor.seen), "etag": cursor.etag[:200]}
    if not changes.more:
        columns["polled_at"] = now
    with work.state.write() as connection:
        save(work.state, connection, tracker.name, **columns)
    return changes.more


def full_pass(work: Work, tracker: Tracker) -> bool:
    """One step of looking at all links, from where the last one came to; True when there is more. Raises TrackerError."""
    now = datetime.now(UTC)
    with work.state.read() as connection:
        after = polled(connection, tracker.name).full_pass_after or 0
        links = _next_links(connection, tracker.name, after)
        talked = has_comments(connection, [link.id for link in links]) if links else set()
    ids = sorted({link.external_id for link in links if link.external_id})
    found: Mapping[str, Issue | None] = work.provider.by_ids(tracker, ids) if ids else {}
    comments: Mapping[str, Sequence[Comment]] | None = {} if work.lists_comments.get(tracker.name) else None
    issues = [issue for issue in found.values() if issue is not None]
    _pass_or_ask(work, tracker, Page(issues, comments), now)
    there = {key for key, issue in found.items() if issue is not None}
    for link in links:
        issue = found.get(link.external_id or "")
        if link.external_id not in found:
            continue  # nobody knows
        if issue is None:
            missed(work, tracker, link.id, NOT_THERE)
        elif issue.external_id != link.external_id:  # it moved
            look(work, tracker, link)
    if tracker.sync.comments in ("both", "pull"):
        for link in [each for each in links if each.id in talked and each.external_id in there][
            :COMMENTS_AT_ONCE
        ]:
            look(work, tracker, link, comments=True)
    more = len(links) == AT_ONCE
    columns = {"full_pass_after": links[-1].id} if more else {"full_pass_after": None, "full_pass_at": now}
    with work.state.write() as connection:
        save(work.state, connection, tracker.name, **columns)
    return more


def begin_full_pass(state: StateDatabase, tracker: str) -> None:
    """Have all links of a tracker looked at, from the first one on."""
    with state.write() as connection:
        save(state, connection, tracker, full_pass_after=None, full_pass_at=None, polled_at=None)


def put_off_full_pass(state: StateDatabase, tracker: str, now: datetime) -> None:
    """A step of a full pass failed: it goes on from there after a while."""
    with state.write() as connection:
        save(state, connection, tracker, full_pass_at=now - FULL_PASS + TRIED_AGAIN)


def _pass_or_ask(work: Work, tracker: Tracker, page: Page, now: datetime) -> None:
    """Pass over a page; where that fails as a whole, its links are looked at one by one."""
    try:
        pass_page(work, tracker, page)
    except TrackerError:
        ask_later(work, tracker, page.ids, now)
        raise
    except Exception:
        log.exception("a page of %s", tracker.name)
        work.fail(tracker.name, "a page could not be passed over: its issues are looked at one by one")
        ask_later(work, tracker, page.ids, now)


def _next_links(connection: Connection, tracker: str, after: int) -> list[Link]:
    c = issue_links.c
    query = select(c.id).where(c.tracker == tracker, c.state.in_((LINKED, HELD)), c.id > after)
    ids = list(connection.execute(query.order_by(c.id).limit(AT_ONCE)).scalars())
    return sorted(read_links(connection, ids).values(), key=lambda link: link.id)


def _newest(issues: Any) -> list[Issue]:
    """Each issue once, as the last row shows it."""
    return list({issue.external_id: issue for issue in issues}.values())
