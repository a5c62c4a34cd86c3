"""Comments both ways: those of a group are written into its issues, those of its issues are taken over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select, update

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.comment_texts import joined, text_of
from tasks_pipeline.integrations.missing import missed
from tasks_pipeline.integrations.outcomes import LOOK_AGAIN_SECONDS, put_off
from tasks_pipeline.integrations.passing import origin_of
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links.comments import (
    changed_copies,
    copy_of,
    hash_of,
    is_ours,
    marker_of,
    note_copy,
    sharing,
    take_edit,
    take_theirs,
    text_of_copy,
    wanted_copies,
)
from tasks_pipeline.links.intents import (
    DONE,
    DROPPED,
    SENDING,
    UNFINISHED,
    Claimed,
    NewIntent,
    finish,
    note_sending,
    put_back,
    put_intents,
)
from tasks_pipeline.links.rows import HELD, LINKED, UNLINKED, Link, read_link, update_link
from tasks_pipeline.links.seen import issue_of
from tasks_pipeline.links.views import View
from tasks_pipeline.storage.state.tables import issue_intents
from tasks_pipeline.trackers.answers import Do, TrackerError
from tasks_pipeline.trackers.issue import Comment, Issue

LOOKS_SECONDS = (5.0, 30.0, 120.0)
"""A comment whose end is not known is looked for so long after each other, before it is sent again."""
MOST_TAKEN = 1000
_KINDS = ("comment", "edit", "delete")
_WAYS_IN, _WAYS_OUT = ("both", "pull"), ("both", "push")


def put_comments(work: Work, connection: Connection, view: View, tracker: Tracker, now: datetime) -> int:
    """Put what an issue lacks of the comments of ours on its way, in the transaction of a pass. Gives how many."""
    link = view.link
    if tracker.sync.comments not in _WAYS_OUT or link.external_id is None:
        return 0
    intents = [
        NewIntent(
            key=f"comment:{each.comment_id}:{link.id}:{each.version}"
            + (":delete" if each.kind == "delete" else ""),
            link_id=link.id,
            integration=link.integration,
            tracker=link.tracker,
            kind=each.kind,
            not_before=now,
            marker=marker_of(each.comment_id, each.version),
            data={"comment": each.comment_id},
        )
        for each in wanted_copies(connection, link.id)
    ]
    put_intents(work.state, connection, intents)
    return len(intents)


def take_comments(
    work: Work, connection: Connection, view: View, tracker: Tracker, found: Sequence[Comment], *, whole: bool
) -> None:
    """Take over what was written, changed or deleted in an issue, in the transaction of a pass."""
    link = view.link
    if tracker.sync.comments not in _WAYS_IN:
        return
    by_id = {each.external_id: each for each in found}
    whole = whole and len(found) < MOST_TAKEN
    wanted = [each for each in found if _may_be_copied(work, tracker, each)]
    done = take_theirs(
        work.state, connection, link, view.group.id, wanted, whole=whole,
        actor=lambda author: origin_of(view, tracker, work, author).actor,
    )  # fmt: skip
    for row, there in changed_copies(connection, link.id, by_id, whole=whole):
        if there is None:
            note_copy(connection, row.id, link.id, deleted_at=datetime.now(UTC))
        elif not take_edit(connection, row, link.id, there):
            update_link(
                connection, link.id, note=f"comment {row.id} was edited on both sides: each keeps its own"
            )
    if any(done.values()):
        work.report.count(tracker.name, "comments_taken", sum(done.values()))
        said = ", ".join(f"{many} {what}" for what, many in done.items() if many)
        work.report.move(tracker.name, link.shown_key, f"comments here: {said}", link.url)


def comments_of_issue(work: Work, tracker: Tracker, issue: Issue) -> Sequence[Comment] | None:
    """All comments of an issue where they are taken over and can be read; None where not. Raises TrackerError."""
    if tracker.sync.comments not in _WAYS_IN or issue.unread:
        return None
    return issue.comments if issue.comments is not None else work.provider.comments(tracker, issue)


def send_comment(work: Work, claimed: Claimed) -> None:
    """Write, change or delete a comment there that was claimed, if it is still wanted. Raises nothing of what an answer says."""
    tracker, now = work.tracker(claimed.tracker), datetime.now(UTC)
    with work.state.read() as connection:
        link = read_link(connection, claimed.link_id)
        ready = tracker is not None and link is not None and link.external_id is not None
        allowed = ready and link is not None and (link.state in (LINKED, HELD) or _is_goodbye(link, claimed))
    if tracker is None or link is None or not allowed:
        _end(work, claimed, DROPPED, "the link is none any more")
        return
    try:
        if claimed.kind == "comment":
            _write(work, claimed, tracker, link, now)
        else:
            _rewrite(work, claimed, tracker, link)
    except TrackerError as error:
        _refused(work, claimed, tracker, link, error)


def _write(work: Work, claimed: Claimed, tracker: Tracker, link: Link, now: datetime) -> None:
    issue = issue_of(link)
    marker = claimed.marker or marker_of(f"i{claimed.id}", 1)
    if claimed.unknown:
        found = work.provider.comments(tracker, issue)
        there = next((c for c in found if is_ours(c, marker) and work.is_us(c.author)), None)
        if there is not None:
            _written(work, claimed, tracker, link, there, _sent_with(claimed))
            return
        if claimed.looks + 1 < len(LOOKS_SECONDS):
            again = now + timedelta(seconds=LOOKS_SECONDS[claimed.looks + 1])
            _put_back(work, claimed, again, "it is looked for", unknown=True, looks=claimed.looks + 1)
            return
    with work.state.read() as connection:
        text, together, wait = text_of(work, connection, claimed, tracker, link, now)
    if wait > 0:
        _put_back(
            work,
            claimed,
            now + timedelta(seconds=wait),
            "as many comments as it may have in an hour",
            counted=False,
        )
        return
    if not text:
        _end(work, claimed, DONE, "there is nothing to say any more")
        return
    if not note_sending(work.state, claimed, now, **{"with": together}):
        return
    made = work.provider.comment(tracker, issue, text, marker)
    _written(work, claimed, tracker, link, made, together)


def _rewrite(work: Work, claimed: Claimed, tracker: Tracker, link: Link) -> None:
    """Change a copy, or remove it. One that stands for several comments keeps those that are left."""
    comment_id = claimed.data["comment"]
    with work.state.read() as connection:
        copy = copy_of(connection, comment_id, link.id)
        if copy is None or copy.external_id is None or copy.copy_deleted is not None:
            shared = []
        else:
            shared = sharing(connection, link.id, copy.external_id)
        text = joined(work, tracker, [row for row in shared if row.deleted is None])
    if copy is None or not shared:
        _end(work, claimed, DROPPED, "it is not there any more")
        return
    issue, now = issue_of(link), datetime.now(UTC)
    marker = marker_of(shared[0].id, copy.version)
    there: Comment | None = None
    if text:
        there = work.provider.edit_comment(tracker, issue, copy.external_id, text, marker)
    else:
        work.provider.delete_comment(tracker, issue, copy.external_id)
    with work.state.write() as connection:
        if not finish(connection, claimed, DONE, now=now):
            return
        for row in shared:
            gone = {"deleted_at": now} if row.deleted is not None or there is None else {}
            note_copy(
                connection,
                row.id,
                link.id,
                agreed_version=row.version,
                agreed_hash=_hash(there, shared),
                **gone,
            )
    work.report.count(tracker.name, "comments_sent")
    work.report.move(
        tracker.name,
        link.shown_key,
        "a comment changed there" if text else "a comment deleted there",
        link.url,
    )


def _written(
    work: Work,
    claimed: Claimed,
    tracker: Tracker,
    link: Link,
    there: Comment,
    together: Sequence[Sequence[int]],
) -> None:
    """Record that a comment is there, which stands for these (number, version) of ours."""
    now = datetime.now(UTC)
    with work.state.write() as connection:
        if not finish(connection, claimed, DONE, now=now):
            return
        for comment_id, version in together:
            note_copy(
                connection, comment_id, link.id, external_id=there.external_id, agreed_version=version,
                agreed_hash=_hash(there, together),
            )  # fmt: skip
        others = [number for number, _ in together if number != claimed.data.get("comment")]
        if others:
            _end_others(connection, link.id, others, now)
    work.report.count(tracker.name, "comments_sent", max(1, len(together)))
    work.report.move(tracker.name, link.shown_key, "commented there", link.url)


def _version(claimed: Claimed) -> int:
    return int(claimed.marker.rpartition(":")[2] or 1)


def _sent_with(claimed: Claimed) -> Sequence[Sequence[int]]:
    """What an attempt of unknown end was to write: (number, version) of each comment."""
    own = claimed.data.get("comment")
    found: Sequence[Sequence[int]] = claimed.data.get("with") or ([(own, _version(claimed))] if own else [])
    return found


def _hash(there: Comment | None, together: Sequence[Any]) -> str:
    """What a copy is known by; one that stands for several is nobody's to edit there."""
    return hash_of(text_of_copy(there.body)) if there is not None and there.body and len(together) < 2 else ""


def _end_others(connection: Connection, link_id: int, comment_ids: Sequence[int], now: datetime) -> None:
    """What waited and went along with another is done; it counts as no comment of its own."""
    c = issue_intents.c
    query = select(c.id, c.data).where(
        c.link_id == link_id, c.kind == "comment", c.status.in_(UNFINISHED), c.status != SENDING
    )
    ids = [row.id for row in connection.execute(query) if row.data.get("comment") in comment_ids]
    reason = "it went along with another, since there were too many"
    connection.execute(
        update(issue_intents).where(c.id.in_(ids)).values(status=DROPPED, ended_at=now, reason=reason)
    )


def _may_be_copied(work: Work, tracker: Tracker, comment: Comment) -> bool:
    """Whether a comment there is somebody's word to everybody: not ours, not a bot's, not private, and not empty."""
    if comment.private or is_ours(comment) or not comment.body.strip():
        return False
    author = comment.author
    if author is None:
        return True
    return not (author.is_bot and tracker.ignore_bots) and author.login.casefold() != work.us()


def _is_goodbye(link: Link, claimed: Claimed) -> bool:
    return link.state == UNLINKED and claimed.data.get("notice") == "unlinked"


def _refused(work: Work, claimed: Claimed, tracker: Tracker, link: Link, error: TrackerError) -> None:
    verdict, now = error.verdict, datetime.now(UTC)
    work.pause(verdict)
    work.fail(tracker.name, f"{link.shown_key}: {error}")
    if error.is_too_long:  # whether it is there cannot be read: to write it again might double it
        verdict = replace(verdict, do=Do.DEAD)
    if claimed.kind == "comment" and verdict.do in (Do.UNKNOWN, Do.LOOK_AGAIN, Do.READ_IT):
        again = now + timedelta(seconds=verdict.wait or LOOK_AGAIN_SECONDS)
        _put_back(work, claimed, again, str(error), unknown=True)
        return
    if (
        claimed.kind == "comment"
        and claimed.unknown
        and verdict.do in (Do.RETRY, Do.UNREACHABLE, Do.RATE_LIMITED)
    ):
        again = now + timedelta(seconds=max(verdict.wait, LOOKS_SECONDS[1]))
        _put_back(work, claimed, again, str(error), unknown=True, looks=claimed.looks)
        return
    with work.state.write() as connection:
        outcome = put_off(connection, claimed, verdict, now)
        if outcome in ("held", "dead") and claimed.data.get("comment"):
            _give_up(connection, claimed, link, str(error), now)
        update_link(connection, link.id, error=str(error)[:1000])
    if outcome == "gone":
        missed(work, tracker, link.id, verdict)


def _give_up(connection: Connection, claimed: Claimed, link: Link, why: str, now: datetime) -> None:
    """A change of a comment is not taken there: it is not tried again until the comment changes once more."""
    if claimed.kind == "delete":
        note_copy(connection, claimed.data["comment"], link.id, deleted_at=now)
    else:
        note_copy(connection, claimed.data["comment"], link.id, agreed_version=_version(claimed))
    update_link(connection, link.id, note=f"a comment is not carried: {why}"[:1000])


def _put_back(
    work: Work,
    claimed: Claimed,
    not_before: datetime,
    why: str,
    *,
    counted: bool = True,
    unknown: bool = False,
    looks: int = 0,
) -> None:
    with work.state.write() as connection:
        put_back(connection, claimed, not_before, why, counted=counted, unknown=unknown, looks=looks)


def _end(work: Work, claimed: Claimed, status: str, reason: str) -> None:
    with work.state.write() as connection:
        finish(connection, claimed, status, now=datetime.now(UTC), reason=reason)
