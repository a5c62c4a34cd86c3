"""One action on many groups: those that may be seen, a few hundred in a transaction, with one id by which it is undone."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import func, select

from tasks_pipeline.access.viewer import Role, Viewer
from tasks_pipeline.groups.decisions import (
    DecisionError,
    assign_groups_to,
    ignore_groups,
    resolve_groups,
    unresolve_groups,
)
from tasks_pipeline.groups.merging import discard_groups, keep_apart, keep_groups, merge_groups, unmerge_group
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_actions, groups

Kind = Literal["resolve", "unresolve", "ignore", "assign", "merge", "unmerge", "apart", "discard", "keep"]
AT_ONCE = 200
"""Groups of one transaction: batches wait for it."""
NEEDS: Mapping[Kind, Role] = {"discard": "admin", "keep": "admin"}
"""The role of those that not every member may do."""


class NotAllowed(DecisionError):
    """Who asks may not do this, or may not see the group; the message says which."""


@dataclass(frozen=True, slots=True)
class Act:
    """What is to be done. Of those that say until when, one at most counts; `assignee` is None for nobody; merging makes the groups
    part of `into`, `apart` says that they are something else than `into`."""

    kind: Kind
    in_release: str | None = None
    in_next_release: bool = False
    until: datetime | None = None
    more_events: int | None = None
    more_users: int | None = None
    assignee: str | None = None
    into: int | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """To how many groups it was done, why not to others (by id), and what undoes it; empty for what cannot be undone."""

    kind: Kind
    groups: int
    refused: Mapping[int, str]
    undo: str = ""


def act(state: StateDatabase, viewer: Viewer, ids: Collection[int], wanted: Act) -> Done:
    """Do something to groups, in the name of a viewer. One that cannot be done costs itself. Raises NotAllowed."""
    if not viewer.may(NEEDS.get(wanted.kind, "member")):
        raise NotAllowed(f"it takes the role {NEEDS.get(wanted.kind, 'member')}")
    seen = _visible(state, viewer, [*ids, *([wanted.into] if wanted.into else [])])
    if len(seen) < len({*ids, *([wanted.into] if wanted.into else [])}):
        raise NotAllowed("a group is not there, or may not be seen")
    if wanted.kind == "merge":
        return _merged(state, viewer, ids, wanted)
    together, first = uuid.uuid4().hex[:16], last_action(state)
    do, done, refused = _doing(state, viewer.actor, wanted, together), 0, dict[int, str]()
    wanted_ids = sorted(set(ids))
    for start in range(0, len(wanted_ids), AT_ONCE):
        done += _each(do, wanted_ids[start : start + AT_ONCE], refused)
    undoable = done and wanted.kind in ("resolve", "unresolve", "ignore", "assign")
    undo = f"{first}-{last_action(state)}-{together}" if undoable else ""
    return Done(wanted.kind, done, refused, undo)


def _visible(state: StateDatabase, viewer: Viewer, ids: Collection[int]) -> set[int]:
    found = set[int]()
    with state.read() as connection:
        for some in chunks(sorted(set(ids))):
            rows = connection.execute(select(groups.c.id, groups.c.project_id).where(groups.c.id.in_(some)))
            found |= {row.id for row in rows if viewer.may_see(row.project_id)}
    return found


def last_action(state: StateDatabase) -> int:
    """The number of the newest entry of the log."""
    with state.read() as connection:
        return int(connection.execute(select(func.coalesce(func.max(group_actions.c.id), 0))).scalar_one())


def _each(do: Callable[[Sequence[int]], Any], ids: Sequence[int], refused: dict[int, str]) -> int:
    """All of them, or where that is refused one by one."""
    try:
        do(ids)
        return len(ids)
    except DecisionError as error:
        if len(ids) == 1:
            refused[ids[0]] = str(error)
            return 0
    return sum(_each(do, [group_id], refused) for group_id in ids)


def _doing(state: StateDatabase, actor: str, wanted: Act, together: str) -> Callable[[Sequence[int]], Any]:
    match wanted.kind:
        case "resolve":
            return lambda ids: resolve_groups(
                state, ids, actor, together=together,
                in_release=wanted.in_release, in_next_release=wanted.in_next_release,
            )  # fmt: skip
        case "unresolve":
            return lambda ids: unresolve_groups(state, ids, actor, together=together)
        case "ignore":
            return lambda ids: ignore_groups(
                state, ids, actor, together=together,
                until=wanted.until, more_events=wanted.more_events, more_users=wanted.more_users,
            )  # fmt: skip
        case "assign":
            return lambda ids: assign_groups_to(state, ids, actor, wanted.assignee, together=together)
        case "discard":
            return lambda ids: discard_groups(state, ids, actor)
        case "unmerge":
            return lambda ids: [unmerge_group(state, group_id, actor) for group_id in ids]
        case "apart":
            return lambda ids: keep_apart(state, ids, wanted.into or 0, actor)
    return lambda ids: keep_groups(state, ids, actor)


def _merged(state: StateDatabase, viewer: Viewer, ids: Collection[int], wanted: Act) -> Done:
    """Into the one that is named, else the oldest."""
    target = wanted.into or min(ids)
    others = sorted(set(ids) - {target})
    together, first = uuid.uuid4().hex[:16], last_action(state)
    merge_groups(state, target, others, viewer.actor, {"together": together})
    return Done("merge", len(others), {}, f"{first}-{last_action(state)}-{together}")
