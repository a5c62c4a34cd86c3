"""Undoing: groups become again what they were before an action on them, unless somebody decided otherwise since."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.acting.together import AT_ONCE, NotAllowed
from tasks_pipeline.groups.decisions import DecisionError, locked_groups, log_action, status_of
from tasks_pipeline.groups.merging import unmerge_group
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import group_actions, groups

_TOKEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9a-f]{16})")
MOST_ENTRIES = 100_000
"""Of the log that are looked through: those written while it was done, by everybody. A token says how many, and anybody may write one."""
_MOMENTS = ("status_changed_at", "ignored_until", "resolved_release_date")
_LIFECYCLE = (
    "status", "status_changed_at", "ignored_until", "ignored_until_times_seen", "ignored_until_users", "resolution",
    "resolved_in_release", "resolved_release_date", "resolved_in_commit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Undone:
    """How many groups are again what they were, and how many somebody or something changed since, which stay."""

    groups: int
    changed_since: int


def undo(state: StateDatabase, viewer: Viewer, token: str) -> Undone:
    """Undo an action by what `act` gave for that. Raises NotAllowed, and DecisionError where there is nothing to undo."""
    match = _TOKEN.fullmatch(token)
    if not viewer.may("member"):
        raise NotAllowed("it takes the role member")
    if match is None:
        raise DecisionError("nothing was done that is called so")
    first, last = int(match[1]), int(match[2])
    if last - first > MOST_ENTRIES:
        raise DecisionError(f"it came to more than {MOST_ENTRIES:,} entries of the log: too many to undo")
    entries = _entries(state, first, last, match[3])
    if not entries or not all(viewer.may_see(entry.project_id) for entry in entries):
        raise DecisionError("nothing was done that is called so")
    done = 0
    for start in range(0, len(entries), AT_ONCE):
        done += _undone(state, viewer.actor, entries[start : start + AT_ONCE])
    return Undone(done, len(entries) - done)


def _entries(state: StateDatabase, first: int, last: int, together: str) -> list[Row[Any]]:
    """Entries of the log between two numbers that belong together, one of each group."""
    a = group_actions.c
    query = select(a.id, a.group_id, a.project_id, a.action, a.data).where(a.id > first, a.id <= last)
    with state.read() as connection:
        rows = connection.execute(query.order_by(a.id))
        return [
            row
            for row in rows
            if row.data.get("together") == together and not isinstance(row.data.get("from"), list)
        ]


def _undone(state: StateDatabase, actor: str, entries: Sequence[Row[Any]]) -> int:
    merged = [entry for entry in entries if entry.action == "merge"]
    done = sum(_taken_out(state, entry, actor) for entry in merged)
    by_group = {entry.group_id: entry for entry in entries if entry.action != "merge"}
    if not by_group:
        return done
    with state.write() as connection:
        state.serialise(connection, "group_hashes")  # as in groups/decisions.py
        for row in locked_groups(connection, by_group):
            entry = by_group[row.id]
            if not _is_last(connection, entry):
                continue
            _restore(state, connection, row, entry, actor)
            done += 1
    return done


def _taken_out(state: StateDatabase, entry: Row[Any], actor: str) -> bool:
    try:
        unmerge_group(state, entry.group_id, actor)
    except DecisionError:  # taken out by somebody since
        return False
    return True


def _is_last(connection: Connection, entry: Row[Any]) -> bool:
    """Whether nothing that it changed was changed since."""
    a = group_actions.c
    column = a.assignee if entry.action in ("assign", "unassign") else a.status
    newest = select(func.max(a.id)).where(a.group_id == entry.group_id, column.is_not(None))
    return bool(connection.execute(newest).scalar_one() == entry.id)


def _restore(
    state: StateDatabase, connection: Connection, row: Row[Any], entry: Row[Any], actor: str
) -> None:
    was: Mapping[str, Any] = entry.data.get("was") or {}
    said = {"of": entry.action, "entry": entry.id}
    if entry.action in ("assign", "unassign"):
        assignee = was.get("assignee")
        connection.execute(update(groups).where(groups.c.id == row.id).values(assignee=assignee))
        log_action(
            state,
            connection,
            row.project_id,
            row.id,
            "undo",
            said,
            actor,
            before=row,
            assignee=assignee or "",
        )
        return
    columns = {name: was.get(name) for name in _LIFECYCLE}
    columns |= {name: datetime.fromisoformat(was[name]) for name in _MOMENTS if was.get(name)}
    columns["status"] = was.get("status") or "unresolved"
    connection.execute(update(groups).where(groups.c.id == row.id).values(**columns))
    status = status_of(row, str(columns["status"]))
    log_action(state, connection, row.project_id, row.id, "undo", said, actor, before=row, status=status)
