"""decide: what a pass over a link does, from ours, theirs, and what both sides last agreed on. Asks nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tasks_pipeline.config.integrations import Closed, Tracker

OPEN, CLOSED = "open", "closed"
NOT_PLANNED = ("not_planned", "duplicate")
"""Why an issue was closed though nothing was fixed."""
DUPLICATE = "duplicate"
"""Why an issue is closed beside another one of its group, and what `settled` of such a link is."""
OURS = ("unresolved", "regressed", "resolved", "resolved_in_next_release", "ignored", "discarded")
"""Words of our side: a group's status, with a resolution that waits for a release apart."""


@dataclass(frozen=True, slots=True)
class Ours:
    """Our side of a link.

    `status`: one of OURS, of the group that the link belongs to now. `settled`: what that was when a difference was last
    left as it is, or DUPLICATE; empty when none is left. `other_groups`: the same of further groups that the issue belongs to.
    `events_since_closed`: of the group, since the issue was closed; asked for at the first agreement alone. `moved`: the group
    that the link belongs to is another one than at the last pass: it was `merged`, or `unmerged` again.
    """

    status: str
    settled: str = ""
    other_groups: Sequence[str] = ()
    events_since_closed: int = 0
    moved: Literal["", "merged", "unmerged"] = ""


@dataclass(frozen=True, slots=True)
class Theirs:
    """Their side of a link: the issue as a read shows it.

    `reason` of a closed one: completed, not_planned, duplicate or empty. `moved_to`: the issue that goes on in its place.
    `other_links`: open or closed, of the other issues of the group whose state is pulled and that are still there. `tried`: what
    a write of ours wanted to make of it whose end is not known, or that our own account was seen to make of it; empty: none.
    `beside`: open or closed, of another issue of the group in the same tracker that is no duplicate itself; empty: there is none.
    """

    state: str
    reason: str = ""
    moved_to: str = ""
    other_links: Sequence[str] = ()
    tried: str = ""
    beside: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do. `to`: open or closed of a push, one of OURS (resolved, resolved_in_next_release, ignored, unresolved) of a
    pull, an external id to follow, `assignee` of a hold that is not about open and closed. `reason`: why a push closes, completed, not_planned or duplicate. `agreed` and `settled` are what the link
    holds once it is done; None: as before. `instead`: what a create or comment stands for. `why`: for people."""

    do: Literal["nothing", "push", "pull", "create", "comment", "hold", "follow"]
    to: str = ""
    reason: str = ""
    agreed: str | None = None
    settled: str | None = None
    why: str = ""
    instead: str = ""


def projection(status: str, closed: Closed) -> str | None:
    """Open or closed, as a word of OURS wants an issue to be; None where it says nothing."""
    if status in ("unresolved", "regressed"):
        return OPEN
    return None if _how_closed(status, closed) == "keep" else CLOSED


def decide(
    ours: Ours,
    theirs: Theirs,
    agreed: str | None,
    settings: Tracker,
    *,
    link: str = "linked",
    take: str | None = None,
    turns: int = 0,
) -> Decision:
    """What a pass does about open and closed.

    Who differs from `agreed` has changed. A difference that settings leave as it is stays so until one side changes again: that
    is what `settled` is for. `link`: the state of the link. `take`: whose side is right when nothing was ever agreed on. `turns`: how
    often the link changed direction within the flap window.
    """
    if link != "linked":
        return Decision("nothing", why=f"the link is {link}")
    if ours.status == "discarded":
        return Decision("nothing", why="events of the group are discarded")
    if theirs.moved_to:
        return Decision("follow", theirs.moved_to, why="it goes on elsewhere, which is no fix")
    found = _compared(ours, theirs, agreed, settings, take)
    if found.do != "nothing" and turns > settings.flap_limit:
        return Decision("hold", why="flapping")
    return found


def _compared(
    ours: Ours, theirs: Theirs, agreed: str | None, settings: Tracker, take: str | None
) -> Decision:
    duplicate = _duplicate(ours, theirs, settings)
    if duplicate is not None:
        return duplicate
    mine = projection(ours.status, settings.closed)
    if mine is None:
        return _agreed(theirs.state, why=f"a group that is {_in_words(ours.status)} says nothing there")
    if mine == theirs.state:
        return _agreed(mine)
    if ours.moved == "unmerged":
        return _push(mine, ours, theirs, settings)
    if agreed is None:
        return _first(mine, ours, theirs, settings, take)
    if ours.moved == "merged":
        ours = replace(ours, settled=ours.status)
    if theirs.tried == theirs.state:
        agreed = theirs.state
    if theirs.state != agreed:
        return _pull(ours, theirs, settings)
    if _changed(mine, ours, agreed, settings.closed):
        return _push(mine, ours, theirs, settings)
    return Decision("nothing", agreed=agreed, settled=ours.settled, why="left as it is")


def _duplicate(ours: Ours, theirs: Theirs, settings: Tracker) -> Decision | None:
    """What `merge_policy` makes of an issue whose group was merged into one with an open issue; None: it is as any other.

    Closed by us it stays so, whatever becomes of the group, until somebody reopens it, the other one goes or the merge is undone.
    """
    if settings.merge_policy != "close_as_duplicate" or not theirs.beside or ours.moved == "unmerged":
        return None
    if theirs.state == CLOSED:
        by_us = ours.settled == DUPLICATE or (ours.moved == "merged" and theirs.tried == CLOSED)
        why = "closed as a duplicate"
        return Decision("nothing", agreed=CLOSED, settled=DUPLICATE, why=why) if by_us else None
    needed = any(projection(other, settings.closed) == OPEN for other in ours.other_groups)
    if ours.moved != "merged" or theirs.beside != OPEN or needed:
        return None
    if settings.sync.status not in ("both", "push"):
        return None
    return Decision("push", CLOSED, DUPLICATE, CLOSED, DUPLICATE, why="merged into a group with an issue")


def _changed(mine: str, ours: Ours, agreed: str, closed: Closed) -> bool:
    """Whether our side changed since it was agreed with theirs, or since a difference was left as it is."""
    if not ours.settled:
        return mine != agreed
    came_back = ours.status == "regressed" != ours.settled
    return came_back or mine != projection(ours.settled, closed)


def _first(mine: str, ours: Ours, theirs: Theirs, settings: Tracker, take: str | None) -> Decision:
    """The first agreement: as somebody said, else theirs if it is closed and nothing came since, else ours."""
    quiet = theirs.state == CLOSED and not ours.events_since_closed
    if (take or ("theirs" if quiet else "ours")) == "theirs":
        return _pull(ours, theirs, settings)
    # Nothing came back just now: what regressions do does not apply.
    status = "unresolved" if ours.status == "regressed" else ours.status
    found = _push(mine, replace(ours, status=status), theirs, settings)
    return replace(found, agreed=theirs.state) if found.do == "nothing" else found


def _pull(ours: Ours, theirs: Theirs, settings: Tracker) -> Decision:
    left = _left(ours, theirs)
    if settings.sync.status not in ("both", "pull"):
        return replace(left, why=f"sync.status is {settings.sync.status}")
    if theirs.state == OPEN:
        if ours.status == "ignored":
            return replace(left, why="reopened there, and the group stays ignored")
        if settings.on_reopen == "nothing":
            return replace(left, why="on_reopen is nothing")
        return Decision("pull", "unresolved", agreed=OPEN, settled="", why="reopened there")
    if OPEN in theirs.other_links:
        return replace(left, why="another issue of the group is open")
    if theirs.reason in NOT_PLANNED:
        to = {"resolve": "resolved", "ignore": "ignored"}.get(settings.on_not_planned, "")
        why = f"closed there as {_in_words(theirs.reason)}"
    else:
        to = {"resolve": "resolved", "resolve_in_next_release": "resolved_in_next_release"}.get(
            settings.on_close, ""
        )
        why = "closed there"
    if not to:
        return replace(left, why=f"{why}, which does nothing here")
    return Decision("pull", to, agreed=CLOSED, settled="", why=why)


def _push(mine: str, ours: Ours, theirs: Theirs, settings: Tracker) -> Decision:
    stays = Decision("nothing", agreed=theirs.state, settled="")
    if settings.sync.status not in ("both", "push"):
        return replace(stays, why=f"sync.status is {settings.sync.status}")
    if mine == CLOSED:
        if any(projection(other, settings.closed) == OPEN for other in ours.other_groups):
            return replace(stays, why="another group of the issue is open")
        how = _how_closed(ours.status, settings.closed)
        reason = "not_planned" if how == "close_not_planned" else "completed"
        return Decision("push", CLOSED, reason, CLOSED, "", why=_in_words(ours.status))
    if ours.status != "regressed" or settings.on_regression == "reopen":
        return Decision("push", OPEN, agreed=OPEN, settled="", why=_in_words(ours.status))
    left = _left(ours, theirs)
    match settings.on_regression:
        case "comment":
            return replace(left, do="comment", instead="reopen", why="it came back")
        case "new_issue":
            return replace(left, do="create", instead="reopen", why="it came back")
    return replace(left, why="it came back, and on_regression is nothing")


def _agreed(state: str, why: str = "") -> Decision:
    return Decision("nothing", agreed=state, settled="", why=why)


def _left(ours: Ours, theirs: Theirs) -> Decision:
    """The two differ, and that is left as it is until one of them changes."""
    return Decision("nothing", agreed=theirs.state, settled=ours.status)


def _how_closed(status: str, closed: Closed) -> str:
    match status:
        case "resolved":
            return closed.when_resolved
        case "resolved_in_next_release":
            return closed.when_resolved_in_next_release
        case "ignored":
            return closed.when_ignored
    return "keep"


def _in_words(word: str) -> str:
    return word.replace("_", " ")
