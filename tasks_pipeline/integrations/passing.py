"""One pass over a link: ours, theirs and what was agreed are compared, and what follows is done here or put on its way there, in one
transaction. Events, polls and commands only say which link to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.config.integrations import Tracker
from tasks_pipeline.groups.by_trackers import Origin, assign_by_issue, decide_by_issue, note_of_issue
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.integrations.attributing import later
from tasks_pipeline.integrations.telling import tell
from tasks_pipeline.integrations.work import Work
from tasks_pipeline.links import turns
from tasks_pipeline.links.agree import Decision
from tasks_pipeline.links.assignees import Assigned
from tasks_pipeline.links.intents import NewIntent, put_intents
from tasks_pipeline.links.making import LinkError, put_notice, request_by_rule
from tasks_pipeline.links.notices import MERGED, put_regression
from tasks_pipeline.links.rows import HELD, LINKED, Link, links_of_issues, read_link, update_link
from tasks_pipeline.links.seen import looked
from tasks_pipeline.links.turns import STATE, forgiven, was_told, with_turns
from tasks_pipeline.links.views import FLAPPING, Judged, View, judge, views
from tasks_pipeline.texts import clean
from tasks_pipeline.trackers.issue import Issue, Person

HELD_FOR = timedelta(hours=1)
"""After so long a link is tried again that is held for what its tracker refused."""
ASSIGNEE, COMMENTS = "assignee:", "comments:"
"""What a part of a link's note is about that comes and goes."""
RARELY = timedelta(hours=6)
"""After so long an issue is read whole again whose comments were too long for that."""


@dataclass(frozen=True, slots=True)
class Passed:
    """What a pass came to: its view and decision (None: the link is none any more), and the issue to follow, if any."""

    view: View | None
    judged: Judged | None
    follow: str = ""


def settle(
    work: Work,
    connection: Connection,
    link_id: int,
    issue: Issue | None,
    now: datetime,
    *,
    sending: str = "",
) -> Passed:
    """Pass over a link in a transaction that holds no row yet. `issue`: as a read just showed it, None: as at the last look.
    `sending`: the kind of change that is about to be made there by whoever asks, so none of that kind is put on its way."""
    state = work.state
    state.serialise(connection, "group_hashes")
    read_link(connection, link_id, lock=True)  # whoever asks for a look meanwhile is not overwritten
    view = views(connection, [link_id]).get(link_id)
    tracker = work.tracker(view.link.tracker) if view is not None else None
    if view is None or tracker is None or view.link.state not in (LINKED, HELD):
        return Passed(view, None)
    if view.link.integration != tracker.integration:  # the tracker has another one by now
        update_link(connection, link_id, integration=tracker.integration)
        view = replace(view, link=replace(view.link, integration=tracker.integration))
    skew = work.skew(connection)
    judged = judge(
        view, issue, work.stores.config, tracker, work.accounts, now, skew=skew, sending=bool(sending)
    )
    assigned, said = later(connection, view, judged.assignee, issue, skew)
    judged = replace(judged, assignee=assigned)
    columns = looked(issue, view.link, now) if issue is not None else {}
    if view.link.look_at is not None and view.link.look_at <= now and judged.link == LINKED:
        columns["look_at"] = None
    if judged.link == LINKED and view.link.state == HELD:
        columns |= _released(view, judged)
    step = _Step(work, connection, view, tracker, issue, now, sending)
    columns |= step.state(judged.state) | step.assignee(assigned, said)
    pulled = [STATE] * (judged.state.do == "pull") + [turns.ASSIGNEE] * (assigned.do == "pull")
    if pulled:
        columns["turns"] = with_turns(view.link, tracker, now, *pulled)
    if issue is not None and (issue.unread or issue.comments is not None):
        columns |= _unread(str(columns.get("note", view.link.note)), issue, now)
    columns |= {"error": "", "verdict": f"{judged.state.do} {judged.state.to}".strip()[:32]}
    update_link(connection, link_id, **columns)
    if issue is not None and view.tried == issue.state:  # a write whose answer was lost
        agreed = {"agreed_state": view.tried, "agreed_at": now, "settled": ""}
        agree_with_others(connection, view.link, issue, agreed, now)
    return Passed(view, judged, judged.state.to if judged.state.do == "follow" else "")


def _unread(note: str, issue: Issue, now: datetime) -> dict[str, Any]:
    """Columns that say whether the comments of an issue can be read. Open, closed and assigned are kept in step all the same."""
    if not issue.unread:
        return {"note": with_note(note, COMMENTS, "")}
    said = f"{COMMENTS} they cannot be read, so none is carried: {issue.unread}"
    return {"note": with_note(note, COMMENTS, said), "look_at": now + RARELY}


def is_unread(link: Link, now: datetime) -> bool:
    """Whether the comments of an issue were too long to be read, a while ago."""
    return COMMENTS in link.note and link.look_at is not None and link.look_at > now


def _released(view: View, judged: Judged) -> dict[str, Any]:
    """Columns of a held link that is given another try. Until a push came through it stays held, so that one that is refused again is
    told no second time."""
    if view.link.held == FLAPPING:
        return {"state": LINKED, "held": "", "turns": forgiven(view.link)}
    return {} if judged.state.do == "push" else {"state": LINKED, "held": ""}


def agree_with_others(
    connection: Connection, link: Link, issue: Issue, agreed: dict[str, Any], now: datetime
) -> None:
    """What we made of an issue is agreed on with all groups that it belongs to: none of them is to take it for somebody's word."""
    if link.external_id is None:
        return
    for other in links_of_issues(connection, link.tracker, [link.external_id]).get(link.external_id, ()):
        if other.id != link.id and other.state in (LINKED, HELD):
            update_link(connection, other.id, **looked(issue, other, now), **agreed)


def hold(
    work: Work,
    connection: Connection,
    view: View,
    why: str,
    now: datetime,
    until: datetime,
    *,
    told: bool = False,
) -> dict[str, Any]:
    """Columns of a link that waits until then, or until its issue changes; said on the group, once, unless it was `told`."""
    link = view.link
    if not told and not (link.state == HELD and link.held == why):
        note_of_issue(
            work.state, connection, [view.group.id], f"is not kept in step: {why}", _origin(view, "")
        )
        work.report.count(link.tracker, "held")
        work.report.move(link.tracker, link.shown_key, f"held: {why}", link.url)
    return {"state": HELD, "held": why[:1000], "look_at": until}


def origin_of(view: View, tracker: Tracker, work: Work, person: Person | None) -> Origin:
    """The issue as where a decision comes from, by whoever made it there; by the tracker, where that does not say who."""
    who = clean(person.login or person.name, 200) if person else ""
    actor = f"{tracker.name}:{who}" if who else tracker.name
    known = work.accounts.assignee(person) if person else None
    if known and "@" in known:
        actor = known
    return _origin(view, actor)


def _origin(view: View, actor: str) -> Origin:
    link = view.link
    return Origin(actor or f"{link.tracker}:tasks-pipeline", link.shown_key, link.url)


@dataclass(frozen=True, slots=True)
class _Step:
    """What is done about one link in the transaction of its pass."""

    work: Work
    connection: Connection
    view: View
    tracker: Tracker
    issue: Issue | None
    now: datetime
    sending: str

    def state(self, decision: Decision) -> dict[str, Any]:
        """Do what was decided about open and closed; gives columns of the link."""
        link, work, now = self.view.link, self.work, self.now
        self._merged()
        match decision.do:
            case "push":
                self._push("state", **({"reason": decision.reason} if decision.reason else {}))
                if decision.to == "open" and self.view.group.status == Status.REGRESSED:
                    put_regression(work.state, self.connection, link, self.tracker, now)
                return {}
            case "pull":
                self._pull(decision)
                return self._agreed(decision)
            case "comment":
                put_regression(work.state, self.connection, link, self.tracker, now)
                return self._agreed(decision)
            case "create":
                self._new_issue()
                return self._agreed(decision)
            case "hold":
                until = now + timedelta(minutes=self.tracker.flap_minutes)
                told = was_told(link, self.tracker, now)
                held = hold(work, self.connection, self.view, decision.why, now, until, told=told)
                return held | {"turns": with_turns(link, self.tracker, now, turns.TOLD)}
            case "nothing":
                self._noted(decision)
                return self._agreed(decision)
        return {}

    def assignee(self, assigned: Assigned, said: str) -> dict[str, Any]:
        """Do what was decided about the assignee, with what the log says of both sides; gives columns of the link."""
        link = self.view.link
        columns: dict[str, Any] = {"note": with_note(link.note, ASSIGNEE, assigned.note)}
        if assigned.do == "push":
            if self._push("assignee"):
                self._said(said)
            return columns
        if assigned.do == "pull":
            self._said(said)
            origin = origin_of(
                self.view, self.tracker, self.work, self.issue.assigned_by if self.issue else None
            )
            to = assigned.to or None
            assign_by_issue(self.work.state, self.connection, [self.view.group.id], to, origin)
            self.work.report.count(link.tracker, "pulled")
            self.work.report.move(
                link.tracker, link.shown_key, f"assigned here to {to or 'nobody'}", link.url
            )
        if assigned.agreed is not None and assigned.agreed != link.agreed_assignee:
            columns |= {"agreed_assignee": assigned.agreed, "agreed_at": self.now}
        return columns

    def _said(self, what: str) -> None:
        if what:
            group = [self.view.group.id]
            note_of_issue(self.work.state, self.connection, group, what, _origin(self.view, ""))

    def _push(self, kind: str, **data: Any) -> bool:
        """Have a change made there; it holds no value. False when one is on its way."""
        link = self.view.link
        if kind in self.view.on_its_way or self.sending == kind:
            return False
        key = f"{kind}:{link.id}:{int(self.now.timestamp() * 1e6)}"
        intent = NewIntent(
            key=key, link_id=link.id, integration=link.integration, tracker=link.tracker, kind=kind,
            not_before=self.now,
        )  # fmt: skip
        put_intents(self.work.state, self.connection, [intent])
        return True

    def _pull(self, decision: Decision) -> None:
        link, to = self.view.link, decision.to
        origin = origin_of(self.view, self.tracker, self.work, self.issue.changed_by if self.issue else None)
        decide_by_issue(self.work.state, self.connection, [self.view.group.id], to, origin)  # type: ignore[arg-type]
        self.work.report.count(link.tracker, "pulled")
        self.work.report.move(
            link.tracker, link.shown_key, f"{to.replace('_', ' ')} here: {decision.why}", link.url
        )

    def _agreed(self, decision: Decision) -> dict[str, Any]:
        link = self.view.link
        columns: dict[str, Any] = {}
        if link.agreed_group != self.view.group.id:
            columns["agreed_group"] = self.view.group.id
        if decision.settled is not None and decision.settled != link.settled:
            columns["settled"] = decision.settled
        if decision.agreed is not None and decision.agreed != link.agreed_state:
            columns |= {"agreed_state": decision.agreed, "agreed_at": self.now}
        return columns

    def _noted(self, decision: Decision) -> None:
        """An issue that was reopened says nothing to a group that is ignored; its log says that it was."""
        reopened = decision.agreed == "open" and self.view.link.agreed_state == "closed"
        if reopened and self.view.group.status == Status.IGNORED:
            origin = origin_of(
                self.view, self.tracker, self.work, self.issue.changed_by if self.issue else None
            )
            group = [self.view.group.id]
            note_of_issue(
                self.work.state, self.connection, group, "was reopened; the group stays ignored", origin
            )

    def _merged(self) -> None:
        """Once, that the group was merged into another."""
        link, group = self.view.link, self.view.group.id
        if link.moved(group) == "merged":
            put_notice(
                self.work.state, self.connection, link, MERGED, self.now, once=f"{group}:{link.agreed_group}"
            )

    def _new_issue(self) -> None:
        """The group came back, and is to have an issue of its own."""
        link = self.view.link
        try:
            made = request_by_rule(
                self.work.state, self.connection, self.work.stores.config, self.view.group.id, link.tracker,
                rule=link.rule, now=self.now,
            )  # fmt: skip
        except LinkError as error:
            self.work.fail(link.tracker, str(error))
            return
        if made is not None:
            self.work.report.move(
                link.tracker, link.shown_key, "a new issue is asked for: it came back", link.url
            )


def tell_held(work: Work, passed: Passed) -> None:
    """Tell operators of a link that is held since two robots fight over it: once for each fight, however often it is held. After the pass:
    alerts have a lock that comes before all rows."""
    view, judged = passed.view, passed.judged
    if view is None or judged is None or judged.state.do != "hold" or view.link.held == judged.state.why:
        return
    link, now = view.link, datetime.now(UTC)
    tracker = work.tracker(link.tracker)
    if tracker is None or was_told(link, tracker, now):
        return
    what, way = ("given to and fro", "assignee") if judged.state.to else ("opened and closed", "status")
    often = f"more than {tracker.flap_limit} times in {tracker.flap_minutes:g} minutes"
    with work.state.write() as connection:
        tell(
            work.state, connection, work.stores.config, now,
            integration=link.integration, key=f"held:{link.id}:{now.isoformat()}", thread=f"integration:held:{link.id}",
            title=f"{link.shown_key} is not kept in step: it was {what} {often}",
            detail="Two robots fight over it: one here, one there. It is tried again when as much time has passed.",
            what_to_do=f"Switch one of them off, or have the tracker carry that one way (sync.{way}: push or pull)",
            url=link.url,
        )  # fmt: skip


def pass_over(work: Work, link_id: int, issue: Issue | None, *, sending: str = "") -> Passed:
    """Pass over a link in a transaction of its own; an issue that goes on elsewhere is not followed."""
    with work.state.write() as connection:
        passed = settle(work, connection, link_id, issue, datetime.now(UTC), sending=sending)
    tell_held(work, passed)
    return passed


def with_note(note: str, about: str, said: str) -> str:
    """A link's note with the part about something (ASSIGNEE, COMMENTS) replaced; `said` begins with that."""
    parts: Sequence[str] = [part for part in note.split("; ") if part and not part.startswith(about)]
    return "; ".join([*parts, *([said.replace("; ", ", ")] if said else [])])[:1000]
