"""Changes of an issue's state and assignee, made there. An intent says that ours changed, and no value: what is to be is looked up right
before the call, so that what was undone meanwhile is not sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.integrations.attributing import with_who
from tasks_pipeline.integrations.missing import missed
from tasks_pipeline.integrations.outcomes import put_off
from tasks_pipeline.integrations.passing import (
    ASSIGNEE,
    HELD_FOR,
    Passed,
    agree_with_others,
    hold,
    pass_over,
    with_note,
)
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links import turns
from tasks_pipeline.links.intents import DONE, DROPPED, Claimed, finish, note_sending
from tasks_pipeline.links.rows import LINKED, Link, read_link, update_link
from tasks_pipeline.links.seen import REFUSED, issue_of, looked
from tasks_pipeline.links.turns import STATE, with_turns
from tasks_pipeline.links.views import View, views
from tasks_pipeline.trackers.answers import TrackerError
from tasks_pipeline.trackers.issue import Issue, IssueState

FRESH = timedelta(seconds=10)
"""A look that is older is done again before anything is changed there."""


def send_change(work: Work, claimed: Claimed) -> None:
    """Make a change of state or assignee that was claimed, if it is still wanted. Raises nothing of what an answer says."""
    tracker = work.tracker(claimed.tracker)
    with work.state.read() as connection:
        link = read_link(connection, claimed.link_id)
    if tracker is None or link is None or link.external_id is None:
        _end(work, claimed, DROPPED, "there is no such link any more")
        return
    tried = str(claimed.data.get("tried") or "")
    try:
        issue = fresh(work, tracker, link, force=bool(claimed.data.get("tried")))
        passed = pass_over(work, link.id, issue, sending=claimed.kind)
        if passed.view is None or passed.judged is None:
            _end(work, claimed, DROPPED, "the link is none any more")
            return
        with work.state.read() as connection:
            now_seen = read_link(connection, link.id)
        assert now_seen is not None
        seen = issue or issue_of(now_seen)
        tried = passed.judged.state.to if passed.judged.state.do == "push" else tried
        if claimed.kind == "state":
            _send_state(work, claimed, tracker, passed, seen)
        else:
            _send_assignee(work, claimed, tracker, passed, seen)
    except TrackerError as error:
        _refused(work, claimed, tracker, link, error, tried)


def fresh(work: Work, tracker: Tracker, link: Link, *, force: bool = False) -> Issue | None:
    """The issue of a link as it is now; None when the last look still tells. Raises TrackerError."""
    now = datetime.now(UTC)
    if not force and link.last_looked_at is not None and now - link.last_looked_at < FRESH:
        return None
    work.report.count(tracker.name, "looks")
    assert link.external_id is not None
    issue = work.provider.read(tracker, link.external_id, link.etag)
    if issue is not None:
        return with_who(work, tracker, link, issue)
    with work.state.write() as connection:
        update_link(connection, link.id, last_looked_at=now, missing_since=None)
    return None


def _send_state(work: Work, claimed: Claimed, tracker: Tracker, passed: Passed, seen: Issue) -> None:
    assert passed.view is not None
    assert passed.judged is not None
    decision = passed.judged.state
    if decision.do != "push":
        _end(
            work,
            claimed,
            DONE if decision.do == "nothing" else DROPPED,
            decision.why or "there is nothing to do any more",
        )
        return
    to = IssueState(decision.to)
    if not note_sending(work.state, claimed, datetime.now(UTC), tried=str(to)):
        return
    answer = work.provider.set_state(tracker, seen, to, decision.reason)
    now = datetime.now(UTC)
    with work.state.write() as connection:
        link = read_link(connection, claimed.link_id, lock=True)
        if link is None or not finish(connection, claimed, DONE, now=now):
            return
        columns = looked(answer, link, now)
        if answer.state == to:
            agreed = {"agreed_state": str(to), "agreed_at": now, "settled": ""}
            agree_with_others(connection, link, answer, agreed, now)
            columns |= agreed | {
                "settled": decision.settled or "", "agreed_group": passed.view.group.id, "turns": with_turns(link, tracker, now, STATE),
                "state": LINKED, "held": "",
            }  # fmt: skip
            work.report.count(tracker.name, "pushed")
            work.report.move(tracker.name, link.shown_key, f"{to} there: {decision.why}", link.url)
        else:
            why = f"it was not {'closed' if to is IssueState.CLOSED else 'reopened'}, and nobody says why"
            columns |= hold(work, connection, passed.view, why, now, now + HELD_FOR)
        update_link(connection, link.id, **columns)


def _send_assignee(work: Work, claimed: Claimed, tracker: Tracker, passed: Passed, seen: Issue) -> None:
    assert passed.view is not None
    assert passed.judged is not None
    assigned = passed.judged.assignee
    if assigned.do != "push":
        _end(work, claimed, DONE, "there is nothing to do any more")
        return
    if not note_sending(work.state, claimed, datetime.now(UTC), tried=assigned.to or "nobody"):
        return
    answer = work.provider.assign(tracker, seen, assigned.to or None)
    now, login = datetime.now(UTC), assigned.to.casefold()
    taken = (
        any(person.login.casefold() == login for person in answer.assignees)
        if login
        else not answer.assignees
    )
    with work.state.write() as connection:
        link = read_link(connection, claimed.link_id, lock=True)
        if link is None or not finish(connection, claimed, DONE, now=now):
            return
        columns = looked(answer, link, now)
        if taken:
            columns |= {
                "agreed_assignee": assigned.agreed, "agreed_at": now, "turns": with_turns(link, tracker, now, turns.ASSIGNEE),
            }  # fmt: skip
            columns["theirs"].pop(REFUSED, None)
            work.report.count(tracker.name, "pushed")
            work.report.move(
                tracker.name, link.shown_key, f"assigned there to {assigned.to or 'nobody'}", link.url
            )
        else:
            columns["theirs"][REFUSED] = passed.view.group.assignee or ""
            columns["note"] = with_note(
                link.note, ASSIGNEE, f"assignee: not taken there ({assigned.to or 'nobody'})"
            )
        update_link(connection, link.id, **columns)


def _refused(
    work: Work, claimed: Claimed, tracker: Tracker, link: Link, error: TrackerError, tried: str
) -> None:
    """Record an attempt that failed, and what it means for the link."""
    verdict, now = error.verdict, datetime.now(UTC)
    work.pause(verdict)
    work.fail(tracker.name, f"{link.shown_key}: {error}")
    with work.state.write() as connection:
        work.state.serialise(connection, "group_hashes")
        outcome = put_off(connection, claimed, verdict, now, tried)
        view = views(connection, [link.id]).get(link.id)
        if view is not None:
            update_link(
                connection, link.id, **_columns(work, connection, claimed, view, outcome, str(error), now)
            )
    if outcome == "gone":
        missed(work, tracker, link.id, verdict)


def _columns(
    work: Work, connection: Connection, claimed: Claimed, view: View, outcome: str, said: str, now: datetime
) -> dict[str, Any]:
    link = view.link
    columns: dict[str, Any] = {"error": said[:1000]}
    if outcome == "again":
        columns |= {"etag": "", "last_looked_at": None}
    if outcome in ("held", "dead"):
        if claimed.kind == "assignee":
            note = with_note(link.note, ASSIGNEE, f"assignee: not taken there: {said}")
            return columns | {"theirs": {**link.theirs, REFUSED: view.group.assignee or ""}, "note": note}
        columns |= hold(work, connection, view, said, now, now + HELD_FOR)
    return columns


def _end(work: Work, claimed: Claimed, status: str, reason: str) -> None:
    with work.state.write() as connection:
        finish(connection, claimed, status, now=datetime.now(UTC), reason=reason)
