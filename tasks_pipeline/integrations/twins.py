"""Issues that turn up with a marker of ours: one that we made and whose answer was lost is adopted, and of two one is closed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.intents import DONE, UNFINISHED, unfinished
from tasks_pipeline.links.making import adopt
from tasks_pipeline.links.rows import (
    Link,
    columns_of,
    links_of_issues,
    links_with_markers,
    read_link,
    update_link,
)
from tasks_pipeline.storage.state.tables import issue_intents
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.issue import Issue, IssueState
from tasks_pipeline.trackers.markers import marker_in

_LAST_NUMBER = re.compile("[0-9]{1,18}")


def turned_up(work: Work, tracker: Tracker, issues: Iterable[Issue]) -> None:
    """Issues were seen. One that has a marker of ours and that no link has may be one that we made and whose answer was lost: it is
    adopted, or it is settled that there are two."""
    marked = [(marker, issue) for issue in issues if (marker := marker_in(issue.body)) is not None]
    if not marked:
        return
    with work.state.read() as connection:
        known = links_with_markers(connection, [marker for marker, _ in marked])
    for marker, issue in marked:
        link = known.get(marker)
        if link is None or link.tracker != tracker.name or link.external_id == issue.external_id:
            continue
        if work.is_us(issue.author):  # everybody there can read a marker, and write it
            _turned_up(work, tracker, link.id, issue)


def _turned_up(work: Work, tracker: Tracker, link_id: int, issue: Issue) -> bool:
    """True when it was one of ours."""
    now = datetime.now(UTC)
    with work.state.write() as connection:
        link = read_link(connection, link_id, lock=True)
        if link is None or link.external_id == issue.external_id:
            return link is not None
        intents = unfinished(connection, [link.id], ("create",))
        if link.external_id is None:
            if not any(row.sent_at is not None for row in intents):
                return False  # nothing of it was ever sent: who wrote the marker there copied it
            adopt(work.state, connection, link, issue, now=now)
            c = issue_intents.c
            connection.execute(
                update(issue_intents)
                .where(c.link_id == link.id, c.kind == "create", c.status.in_(UNFINISHED))
                .values(status=DONE, ended_at=now, claimed_by=None, lease_until=None, reason="it turned up")
            )
            work.report.count(tracker.name, "adopted")
            return True
        if not _sent_again(connection, link):
            return False  # a copy by hand
    settle_twin(work, link, issue)
    return True


def _sent_again(connection: Connection, link: Link) -> bool:
    c = issue_intents.c
    query = select(c.data).where(c.link_id == link.id, c.kind == "create")
    return any(int((data or {}).get("sent", 0)) > 1 for data in connection.execute(query).scalars())


def settle_twin(work: Work, link: Link, other: Issue) -> None:
    """Two issues have the marker of a link. The lower number is kept; the other is closed as its duplicate, with a comment that
    says so."""
    tracker = work.tracker(link.tracker)
    if tracker is None or link.external_id is None:
        return
    mine = _still_there(work, tracker, link.external_id)
    kept, twin = sorted((mine, other), key=_number) if mine is not None else (other, None)
    if kept is other:
        with work.state.write() as connection:
            _switch(connection, link, kept)
    if twin is not None and twin.state is IssueState.OPEN:
        said = f"This is a duplicate of {kept.url or kept.key}: the answer when it was made was lost, and it was made twice."
        work.provider.comment(tracker, twin, said, f"twin:{link.marker}")
        work.provider.set_state(tracker, twin, IssueState.CLOSED, "duplicate")
        work.report.count(link.tracker, "twins")
        work.report.move(link.tracker, twin.key, f"closed as a twin of {kept.key}", twin.url)


def _still_there(work: Work, tracker: Tracker, external_id: str) -> Issue | None:
    try:
        return work.provider.read(tracker, external_id)
    except TrackerError as error:
        if error.verdict.do in (Do.GONE, Do.MAYBE_GONE):
            return None
        raise


def _number(issue: Issue) -> int:
    """The number of an issue, by which the older of two is known."""
    return int(_LAST_NUMBER.findall(issue.external_id)[-1])


def _switch(connection: Connection, link: Link, issue: Issue) -> None:
    """Have all links that share an issue of ours go on with its twin; not those whose groups have that already."""
    tracker, old = link.tracker, link.external_id or ""
    there = {
        each.group_id
        for each in links_of_issues(connection, tracker, [issue.external_id]).get(issue.external_id, ())
    }
    for each in links_of_issues(connection, tracker, [old]).get(old, ()):
        if each.origin == "created" and each.group_id not in there:
            update_link(connection, each.id, **columns_of(issue), look_at=datetime.now(UTC))
