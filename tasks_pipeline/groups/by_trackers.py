"""Decisions that come from an issue of a tracker: made in the transaction in which both sides agree on them, and logged with the issue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from tasks_pipeline.groups.decisions import (
    Change,
    DecisionError,
    assign_in,
    decide_in,
    in_release_after_newest,
    log_action,
)
from tasks_pipeline.groups.lifecycle import Lifecycle, Status, ignore, reopen, resolve
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups

Pulled = Literal["resolved", "resolved_in_next_release", "ignored", "unresolved"]
"""What a group becomes by what was done to its issue."""
NOTED = "issue"
"""The action of an entry that tells of an issue and changes nothing: `what` in its data says it."""
_ACTIONS = {"resolved": "resolve", "resolved_in_next_release": "resolve", "ignored": "ignore", "unresolved": "unresolve"}  # fmt: skip
_ARE_SO = {
    "resolved": (Status.RESOLVED, Status.DISCARDED),
    "resolved_in_next_release": (Status.RESOLVED, Status.DISCARDED),
    "ignored": (Status.IGNORED, Status.DISCARDED),
    "unresolved": (Status.UNRESOLVED, Status.REGRESSED, Status.IGNORED, Status.DISCARDED),
}
"""Statuses that such a decision leaves as they are: what is ignored stays so when its issue is reopened."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The issue that a decision comes from, as people are shown it, and who did it there: a member's address, or TRACKER:LOGIN."""

    actor: str
    key: str
    url: str

    @property
    def data(self) -> dict[str, Any]:
        """What the log says of it."""
        return {"issue": self.url, "issue_key": self.key}


def decide_by_issue(
    state: StateDatabase, connection: Connection, group_ids: Sequence[int], to: Pulled, origin: Origin
) -> list[int]:
    """Make groups what was decided about their issue, in the caller's transaction, which holds no row yet. Gives those that it
    changed: others are so already, or discarded, or stay ignored.

    The time of the decision is now and not when the issue was closed: nobody who closed it knew the events since then.
    """
    state.serialise(connection, "group_hashes")
    c = groups.c
    rows = connection.execute(select(c.id, c.status).where(c.id.in_(group_ids)).order_by(c.id)).all()
    wanted = [row.id for row in rows if row.status not in _ARE_SO[to]]
    decide_in(state, connection, wanted, origin.actor, _ACTIONS[to], _change(to, origin.data))
    return wanted


def assign_by_issue(
    state: StateDatabase,
    connection: Connection,
    group_ids: Sequence[int],
    assignee: str | None,
    origin: Origin,
) -> None:
    """Give groups to whoever the issue is assigned to, in the caller's transaction, which holds no row yet."""
    assign_in(state, connection, group_ids, origin.actor, assignee, origin.data)


def note_of_issue(
    state: StateDatabase, connection: Connection, group_ids: Sequence[int], what: str, origin: Origin
) -> None:
    """Say in the log of groups what became of their issue, where it changes nothing here."""
    c = groups.c
    for row in connection.execute(select(c.id, c.project_id).where(c.id.in_(group_ids)).order_by(c.id)).all():
        said = origin.data | {"what": what[:500]}
        log_action(state, connection, row.project_id, row.id, NOTED, said, origin.actor)


def _change(to: Pulled, said: Mapping[str, Any]) -> Change:
    def change(connection: Connection, row: Row[Any], at: datetime) -> tuple[Lifecycle, dict[str, Any]]:
        if to == "resolved_in_next_release":
            with suppress(DecisionError):  # no release is known: it is resolved all the same
                life, more = in_release_after_newest(connection, row, at)
                return life, {**more, **said}
        lives = {"ignored": ignore, "unresolved": reopen}
        return lives.get(to, resolve)(at), dict(said)

    return change
