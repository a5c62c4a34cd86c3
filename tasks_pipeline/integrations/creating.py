"""Issues that groups are to have: made once, and looked for where the answer was lost; or those that are there, linked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, select

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.groups.decisions import AUTOMATIC
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.integrations.outcomes import HELD_SECONDS, MOST_ATTEMPTS, retry_seconds
from tasks_pipeline.integrations.twins import settle_twin
from tasks_pipeline.integrations.work import PAUSE_SECONDS, Work
from tasks_pipeline.links.intents import DEAD, DONE, DROPPED, Claimed, finish, note_sending, put_back
from tasks_pipeline.links.making import adopt, link_existing, project_of, tracker_for
from tasks_pipeline.links.rows import CREATING, UNLINKED, Link, group_of_links, read_link, update_link
from tasks_pipeline.links.wording import draft_of, storm_draft, told_of, told_of_many
from tasks_pipeline.storage.state.tables import groups, integration_states, issue_intents, issue_links
from tasks_pipeline.stores import Stores
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.issue import Draft, Issue
from tasks_pipeline.trackers.provider import Provider

LOOKS = (5.0, 30.0, 120.0, 600.0)
"""Seconds after a lost answer at which its marker is looked for."""
BEFORE_SENT = timedelta(seconds=120)
"""The look begins so long before the call, by their clock."""
CLOCK_UNKNOWN = timedelta(days=1)
"""The same while their clock was never seen."""
FAILED_LOOK_SECONDS = 30.0
COUNTED_WITHIN = timedelta(hours=1)
_WAITS = (Do.RATE_LIMITED, Do.AUTH_FAILED, Do.MISCONFIGURED, Do.HELD, Do.GONE, Do.MAYBE_GONE)
"""Answers that say nothing about this issue: it waits, and no attempt is used up."""
_NOT_MADE = (Do.RETRY, Do.UNREACHABLE)
_GIVEN_UP = (Do.DEAD, Do.BUG)
_lake = threading.Lock()
"""One at a time: integrations have threads of their own, and the lake's connection is not shared."""


def make_issue(work: Work, claimed: Claimed) -> None:
    """Make the issue that an intent to create is about, or look whether an earlier attempt made it.

    It is sent once. Where the end is not known, its marker is looked for at LOOKS before it is sent again, with the same one. Raises
    what says that the whole integration cannot be asked, after the intent was put back.
    """
    now = datetime.now(UTC)
    tracker = work.tracker(claimed.tracker)
    with work.state.write() as connection:
        link = read_link(connection, claimed.link_id, lock=True)
        if link is None or (link.state != CREATING and not claimed.unknown) or link.external_id is not None:
            finish(connection, claimed, DONE if link and link.external_id else DROPPED, now=now)
            return
        if tracker is None:
            later = now + timedelta(seconds=HELD_SECONDS)
            said = "its tracker is not configured"
            put_back(
                connection, claimed, later, said, counted=False, unknown=claimed.unknown, looks=claimed.looks
            )
            update_link(connection, link.id, error=said)
            return
    if claimed.unknown and not _looked(work, claimed, link, tracker):
        return
    _send(work, claimed, tracker)


# ── looking for what may have been made


def _looked(work: Work, claimed: Claimed, link: Link, tracker: Tracker) -> bool:
    """Look for the marker. True when nothing was found by the last look, and it is to be sent again."""
    now = datetime.now(UTC)
    lost_at = datetime.fromisoformat(claimed.data["lost_at"]) if "lost_at" in claimed.data else now
    try:
        found = work.provider.find_marker(tracker, claimed.marker, _looked_since(work, claimed, now))
    except TrackerError as error:
        verdict = error.verdict
        seconds = max(verdict.wait, FAILED_LOOK_SECONDS)
        _look_later(
            work,
            claimed,
            now + timedelta(seconds=seconds),
            f"looking for it: {error}",
            claimed.looks,
            lost_at,
        )
        raise
    if found is not None:
        _made(work, claimed, found, note="", how="adopted")
        return False
    looks = claimed.looks + 1
    if looks < len(LOOKS):
        at = max(now, lost_at + timedelta(seconds=LOOKS[looks]))
        _look_later(work, claimed, at, "it is not known whether it was made: looked for", looks, lost_at)
        return False
    if link.state == CREATING:
        return True
    with work.state.write() as connection:  # unlinked meanwhile, and never made
        finish(connection, claimed, DROPPED, now=now, reason="it was unlinked")
    return False


def _looked_since(work: Work, claimed: Claimed, now: datetime) -> datetime:
    """By their clock, since when what we made may be there."""
    if claimed.data.get("clock") == "unknown":
        return (claimed.sent_at or now) - CLOCK_UNKNOWN
    return (claimed.sent_at or now - CLOCK_UNKNOWN) - BEFORE_SENT


def _look_later(work: Work, claimed: Claimed, at: datetime, said: str, looks: int, lost_at: datetime) -> None:
    with work.state.write() as connection:
        put_back(
            connection,
            claimed,
            at,
            said,
            counted=False,
            unknown=True,
            looks=looks,
            lost_at=lost_at.isoformat(),
        )


# ── sending


def _send(work: Work, claimed: Claimed, tracker: Tracker) -> None:
    now = datetime.now(UTC)
    with work.state.write() as connection:
        link = read_link(connection, claimed.link_id, lock=True)
        if link is None or link.state != CREATING:
            finish(connection, claimed, DROPPED, now=now, reason="it is not wanted any more")
            return
        wanted = _group_ids(connection, link)
        if link.actor == AUTOMATIC and not wanted:
            finish(connection, claimed, DROPPED, now=now, reason="no group of it is open any more")
            update_link(
                connection, link.id, state=UNLINKED, unlinked_at=now, note="not made: the group is not open"
            )
            return
        free_at = _free_at(connection, link, tracker, now)
        if free_at is not None:
            said = f"max_new_issues_per_hour of {tracker.name} is {tracker.max_new_issues_per_hour}"
            put_back(connection, claimed, free_at, said, counted=False)
            update_link(connection, link.id, note=said)
            return
        skew = _skew(work, connection)
    with _lake:
        draft = _draft(work, claimed, tracker, wanted)
    if draft is None:
        with work.state.write() as connection:
            finish(connection, claimed, DROPPED, now=now, reason="its group is not there any more")
        return
    # By the clock that is behind: what their header Date says need not be what they date issues by.
    by_them = now + timedelta(seconds=min(0.0, skew or 0.0))
    clock = "known" if skew is not None else "unknown"
    sent = int(claimed.data.get("sent", 0)) + 1
    noted = note_sending(work.state, claimed, by_them, clock=clock, sent=sent)
    if noted is None:
        return  # somebody else has it by now
    claimed = noted
    try:
        issue = work.provider.create(tracker, draft)
    except TrackerError as error:
        _failed(work, claimed, error.verdict)
        raise
    except Exception:
        # Whatever it was, it came after the request may have been made.
        _failed(work, claimed, Verdict(Do.UNKNOWN, said="its answer could not be read, a mistake of ours"))
        raise
    _made(work, claimed, issue, note=partial(draft, issue), how="created")


def _group_ids(connection: Connection, link: Link) -> list[int]:
    """Groups that an issue is made for and that are open: that of the link, and those that wait to share its issue. Of a link that
    a person asked for, whatever its group is."""
    c = issue_links.c
    shared = connection.execute(select(c.id).where(c.with_link == link.id, c.state == CREATING)).scalars()
    links = [
        link, *(found for other in shared.all() if (found := read_link(connection, other)) is not None)
    ]  # fmt: skip
    owners = list(dict.fromkeys(group_of_links(connection, links).values()))
    if link.actor != AUTOMATIC:
        return owners
    g = groups.c
    is_open = g.status.in_((Status.UNRESOLVED, Status.REGRESSED))
    return sorted(connection.execute(select(g.id).where(g.id.in_(owners), is_open)).scalars())


def _free_at(connection: Connection, link: Link, tracker: Tracker, now: datetime) -> datetime | None:
    """When a further issue may be made that nobody asked for by hand; None when at once."""
    if link.actor != AUTOMATIC:
        return None
    c = issue_intents.c
    made = (
        select(c.ended_at)
        .join(issue_links, issue_links.c.id == c.link_id)
        .where(
            c.ended_at > now - COUNTED_WITHIN, c.tracker == tracker.name, c.kind == "create", c.status == DONE,
            issue_links.c.actor == AUTOMATIC,
        )
        .order_by(c.ended_at.desc())
        .offset(tracker.max_new_issues_per_hour - 1)
        .limit(1)
    )  # fmt: skip
    oldest = connection.execute(made).scalar()
    return None if oldest is None else oldest + COUNTED_WITHIN


def _skew(work: Work, connection: Connection) -> float | None:
    """Seconds that their clock is ahead of ours; None while it was never seen."""
    c = integration_states.c
    query = select(c.clock_skew_seconds).where(c.integration == work.integration.name, c.tracker == "")
    return connection.execute(query).scalar()


def _draft(work: Work, claimed: Claimed, tracker: Tracker, group_ids: Sequence[int]) -> Draft | None:
    storm = claimed.data.get("storm")
    if storm and len(group_ids) > 1:
        draft = storm_draft(
            told_of_many(work.stores, group_ids), str(claimed.data.get("rule") or ""), tracker, work.provider,
            marker=claimed.marker,
        )  # fmt: skip
    else:
        told = told_of(work.stores, group_ids[0]) if group_ids else None
        if told is None:
            return None
        folder = work.stores.config.notifications.templates_dir
        draft = draft_of(told, tracker, work.provider, marker=claimed.marker, templates_dir=folder)
    return without(draft, claimed.data.get("without") or ())


def without(draft: Draft, fields: Sequence[str]) -> Draft:
    """A draft without fields that were refused: ours (labels, assignee) or those of the configuration."""
    gone = {name.casefold() for name in fields}
    kept = {name: value for name, value in draft.fields.items() if name.casefold() not in gone}
    labels = () if "labels" in gone else draft.labels
    assignee = None if gone & {"assignee", "assignees"} else draft.assignee
    return Draft(draft.title, draft.body, draft.marker, labels, kept, assignee)


def partial(draft: Draft, issue: Issue) -> str:
    """What was asked for and is not there, of what trackers leave out without a word: `partial: labels`."""
    have = {label.casefold() for label in issue.labels}
    missing = ["labels"] if any(label.casefold() not in have for label in draft.labels) else []
    if draft.assignee and draft.assignee not in [person.login for person in issue.assignees]:
        missing.append("assignee")
    return f"partial: {', '.join(missing)}" if missing else ""


def _made(work: Work, claimed: Claimed, issue: Issue, *, note: str, how: str) -> None:
    now = datetime.now(UTC)
    with work.state.write() as connection:
        link = read_link(connection, claimed.link_id, lock=True)
        if link is None or not finish(connection, claimed, DONE, now=now, reason=how):
            return
        if link.external_id in (None, issue.external_id):
            adopt(work.state, connection, link, issue, note=note, now=now)
    if link.external_id not in (None, issue.external_id):
        settle_twin(work, link, issue)
        return
    work.report.count(claimed.tracker, how)
    work.report.move(claimed.tracker, issue.key, f"{how}: {issue.title}"[:200], issue.url)


def _failed(work: Work, claimed: Claimed, verdict: Verdict) -> None:
    """What becomes of an intent whose call gave no issue."""
    now, said = datetime.now(UTC), verdict.said or str(verdict.do)
    with work.state.write() as connection:
        link = read_link(connection, claimed.link_id, lock=True)
        if link is None:
            return
        ended = claimed.attempts >= MOST_ATTEMPTS
        if verdict.do in _WAITS:
            seconds = verdict.wait or (
                PAUSE_SECONDS if verdict.do in (Do.AUTH_FAILED, Do.RATE_LIMITED) else HELD_SECONDS
            )
            put_back(connection, claimed, now + timedelta(seconds=seconds), said, counted=False)
        elif verdict.then and verdict.fields and not claimed.data.get("without"):
            put_back(connection, claimed, now, said, without=list(verdict.fields)[:20])
        elif verdict.do in _GIVEN_UP or (ended and verdict.do in _NOT_MADE):
            named = f" ({', '.join(verdict.fields)})" if verdict.fields else ""
            said = clean(f"{said}{named}", 1000)
            finish(connection, claimed, DEAD, now=now, reason=said, not_made=True)
        elif verdict.do in _NOT_MADE:
            seconds = max(verdict.wait, retry_seconds(claimed.attempts))
            put_back(connection, claimed, now + timedelta(seconds=seconds), said)
        else:  # unknown, and whatever else says nothing certain
            at = now + timedelta(seconds=LOOKS[0])
            put_back(connection, claimed, at, said, unknown=True, looks=0, lost_at=now.isoformat())
        update_link(connection, link.id, error=said[:1000])


# ── issues that are there already


def link_issue(
    stores: Stores,
    provider: Provider,
    group_id: int,
    tracker: str,
    reference: str,
    *,
    actor: str,
    take: str | None = None,
) -> Link:
    """Link a group to the issue that somebody names by address, key or number; it is read first, and a comment there is to say so.

    Raises LinkError (or the ValueError of a reference that names none) and TrackerError.
    """
    with stores.state.read() as connection:
        place = tracker_for(stores.config, tracker, project_of(connection, group_id))
    issue = provider.find(place, reference)
    with stores.state.write() as connection:
        return link_existing(
            stores.state, connection, stores.config, group_id, tracker, issue, actor=actor, take=take
        )
