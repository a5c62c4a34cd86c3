"""Telling: alert rules hear what became of groups, monitors of their check-ins, in the transaction that counts a batch: once.

What may fail here, and what that costs:

- looking for suspect commits of a new group: those alone;
- a rule that raises for a change: that rule and change (alerts/evaluate.py);
- a change or a check-in that raises otherwise (a number that is no time, a text no database takes): that one alone. It is
  undone by a savepoint, counted, logged, and told by the probe `passed_over`; its rows in the lake stay;
- a database or a disk that is away, a deadlock: the batch, which stays open and is done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from tasks_pipeline.alerts.conditions import tags_of
from tasks_pipeline.alerts.evaluate import fire_changes
from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.monitors.check_ins import apply_check_ins
from tasks_pipeline.monitors.incidents import LOCKS
from tasks_pipeline.processing.settle import Settled
from tasks_pipeline.shipping.suspects import Failed, suspect_new_groups
from tasks_pipeline.storage.lake.events import place_of
from tasks_pipeline.storage.state.passed_over import each_alone, note_passed_over
from tasks_pipeline.stores import Stores


def locks_of(settled: Settled) -> tuple[str, ...]:
    """The locks that telling may need, to be taken at the beginning of its transaction. A check-in may open an incident."""
    if settled.check_ins:
        return LOCKS
    return ("alerts",) if settled.groups else ()


def tell(
    stores: Stores, connection: Connection, changes: Sequence[GroupChange], settled: Settled, now: datetime
) -> None:
    """Tell rules of changes and monitors of check-ins; whatever raises for one of them costs that one alone."""
    state, config = stores.state, stores.config
    told = _with_suspects(stores, connection, [_with_events(c, settled) for c in changes], settled, now)
    _, untold = each_alone(connection, told, lambda some: fire_changes(state, connection, config, some, now))
    failures = [
        (f"{change.kind} of group {change.group_id} of project {change.project_id}", error)
        for change, error in untold
    ]
    note_passed_over(state, connection, "changes of groups", failures, now)
    apply_check_ins(state, connection, config, settled.check_ins, now)


def _with_suspects(
    stores: Stores, connection: Connection, changes: list[GroupChange], settled: Settled, now: datetime
) -> list[GroupChange]:
    """Find the suspect commits of new groups, before anybody is told of them; changes of groups that are given to the author of
    one say so."""
    failed = [
        _failed(change, settled)
        for change in changes
        if change.kind == "new_group" and change.group_id in settled.suspected and change.events
    ]
    if not failed:
        return changes
    state, config = stores.state, stores.config
    assigned, untold = each_alone(
        connection, failed, lambda some: suspect_new_groups(state, connection, config, some, now)
    )
    failures = [(f"suspects of group {event.group_id}", error) for event, error in untold]
    note_passed_over(state, connection, "suspect commits", failures, now)
    to = {group_id: mail for some in assigned for group_id, mail in some.items()}
    return [
        replace(change, facts={**change.facts, "assignee": to[change.group_id]})
        if change.group_id in to
        else change
        for change in changes
    ]


def _failed(change: GroupChange, settled: Settled) -> Failed:
    """A new group by its earliest event, whose release is the one that it was first seen in."""
    earliest = min(change.events, key=lambda row: (row["timestamp"], *place_of(row)))
    return Failed(
        change.group_id, change.project_id, earliest.get("release"), change.at, settled.suspected[change.group_id],
        {name: change.facts.get(name) for name in ("paths", "url", "tags")},
    )  # fmt: skip


def _with_events(change: GroupChange, settled: Settled) -> GroupChange:
    """A change with the events that rules look at and, for projects with owners of paths, what is known of the first one."""
    events = settled.candidates.get(change.group_id, ())
    owned = settled.owned.get(change.group_id)
    if not events or owned is None:
        return replace(change, events=events)
    return replace(change, events=events, facts={**change.facts, **owned, "tags": tags_of(events[0])})
