"""Moves: stored events that were processed again and belong to another group now, since symbols came late or rules changed.

Keys stay where they are, unlike those of a merge: with the former rules, or without the symbols, events go on belonging to
the group they were in. But whoever looks for a group that lost all its events is led to where they went, and what people
decided goes along. That a group leads somewhere is stored nowhere: it follows from the log, and ends with the next event.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from tasks_pipeline.groups.decisions import (
    AUTOMATIC,
    lifecycle,
    lifecycle_columns,
    locked_groups,
    log_action,
    merged_targets,
)
from tasks_pipeline.groups.known_releases import known_releases
from tasks_pipeline.groups.lifecycle import Lifecycle, Seen, Status, after_events
from tasks_pipeline.groups.regressions import KnownReleases, can_tell, regression
from tasks_pipeline.groups.similar import rejected_between
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_actions, group_values, groups

Moves = Mapping[tuple[int, int], int]
"""(group that events were in, group that they are in now) to how many."""

HOPS = 10  # from group to group; more is a circle of groups without events


@dataclass(frozen=True, slots=True)
class Gone:
    """Where all events of a group went, and how many that were."""

    target: int
    events: int


def note_moves(state: StateDatabase, moves: Moves) -> None:
    """Note in the logs of groups that events go from one to another. To be called before those are swapped in the lake: a
    process that dies in between has noted what did not happen, and whoever does it again notes it twice."""
    if not moves:
        return
    with state.write() as connection:
        ids = {group_id for pair in moves for group_id in pair}
        merged, project_of = merged_targets(connection, ids), _projects(connection, ids)
        now = datetime.now(UTC)
        rows = [
            {"project_id": project_of[of], "group_id": of, "action": "move", "data": data, "actor": AUTOMATIC, "at": now}
            for (former, latter), events in sorted(moves.items())
            if former != merged.get(latter, latter)  # else a merge is about to bring them back
            for of, data in ((former, {"into": latter, "events": events}), (latter, {"from": former, "events": events}))
        ]  # fmt: skip
        for chunk in chunks(rows):
            connection.execute(group_actions.insert(), list(chunk))


def _projects(connection: Connection, group_ids: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for chunk in chunks(sorted(group_ids)):
        query = select(groups.c.id, groups.c.project_id).where(groups.c.id.in_(chunk))
        found |= {row.id: row.project_id for row in connection.execute(query)}
    return found


def leads_to(connection: Connection, group_ids: Iterable[int]) -> dict[int, int]:
    """The group that each of these lives on in, for those that do: they were merged, or all their events moved to one other."""
    reached = {group_id: group_id for group_id in group_ids}
    for _ in range(HOPS):
        at = set(reached.values())
        further = {group_id: gone.target for group_id, gone in _gone(connection, at).items()}
        further |= merged_targets(connection, at)
        if not further:
            break
        reached = {group_id: further.get(now, now) for group_id, now in reached.items()}
    return {group_id: now for group_id, now in reached.items() if now != group_id}


def _gone(connection: Connection, group_ids: Collection[int]) -> dict[int, Gone]:
    """Groups without an event whose events all moved to one other since the last ones came by a move."""
    went: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for chunk in chunks(sorted(group_ids)):
        moved = (
            select(group_actions.c.group_id, group_actions.c.data)
            .join(groups, groups.c.id == group_actions.c.group_id)
            .where(
                group_actions.c.group_id.in_(chunk),
                group_actions.c.action == "move",
                groups.c.times_seen == 0,
                groups.c.merged_into.is_(None),
                groups.c.status != Status.DISCARDED,
            )
            .order_by(group_actions.c.id)
        )
        for group_id, data in connection.execute(moved):
            if "into" in data:
                went[group_id].append((data["into"], data["events"]))
            else:
                went[group_id].clear()
    merged = merged_targets(connection, {target for moves in went.values() for target, _ in moves})
    found: dict[int, Gone] = {}
    for group_id, moves in went.items():
        targets = {merged.get(target, target) for target, _ in moves}
        if len(targets) == 1:
            found[group_id] = Gone(targets.pop(), sum(events for _, events in moves))
    return found


def carry_decisions(connection: Connection, group_ids: Collection[int]) -> None:
    """These groups, which have events, get what people decided about groups that lost all theirs to them.

    One that somebody decided about already keeps its own. So does one that several came to which are not of one mind. What
    was taken apart by somebody stays so. Doing it again changes nothing. In the caller's transaction, which holds
    `group_hashes`.
    """
    gone = _gone(connection, _came_from(connection, group_ids))
    rows = {row.id: row for row in locked_groups(connection, {*gone, *(w.target for w in gone.values())})}
    coming: dict[int, list[int]] = defaultdict(list)
    for group_id, where in sorted(gone.items()):
        coming[where.target].append(group_id)
    for target_id, former in coming.items():
        if not any(rows[group_id].status_changed_at or rows[group_id].assignee for group_id in former):
            continue
        if target_id not in group_ids:
            continue
        kin = [g for g in former if not rejected_between(connection, [g], [target_id])]
        _carry(connection, rows[target_id], [rows[g] for g in kin], sum(gone[g].events for g in kin))


def _came_from(connection: Connection, group_ids: Collection[int]) -> set[int]:
    """Groups that events of these groups came from."""
    return {data["from"] for data in _data_of(connection, group_ids, "move") if "from" in data}


def _data_of(connection: Connection, group_ids: Collection[int], *actions: str) -> Iterator[dict[str, Any]]:
    """What the logs of groups hold of some actions."""
    for chunk in chunks(sorted(group_ids)):
        query = select(group_actions.c.data).where(
            group_actions.c.group_id.in_(chunk), group_actions.c.action.in_(actions)
        )
        yield from connection.execute(query).scalars()


def _carry(connection: Connection, target: Row[Any], former: Sequence[Row[Any]], events: int) -> None:
    """Give a group the status and the assignee of those that it took `events` events from."""
    values: dict[str, Any] = {}
    life = _decided(former) if target.status_changed_at is None else None
    if life is not None and target.last_seen is not None:
        values |= lifecycle_columns(_counted_on(connection, life, target, events))
    assignees = {row.assignee for row in former if row.assignee is not None}
    if len(assignees) == 1 and not _was_assigned(connection, target):
        values["assignee"] = assignees.pop()
    if not values:
        return
    connection.execute(update(groups).where(groups.c.id == target.id).values(**values))
    what = [name for name in ("status", "assignee") if name in values]
    said = {"from": [row.id for row in former], "what": what}
    log_action(connection, target.project_id, target.id, "inherit", said)


def _was_assigned(connection: Connection, group: Row[Any]) -> bool:
    """Whether a group is somebody's, or was given to somebody, or to nobody, before."""
    before = _data_of(connection, [group.id], "assign", "unassign", "inherit")
    return group.assignee is not None or next(before, None) is not None


def _decided(former: Sequence[Row[Any]]) -> Lifecycle | None:
    """The newest decision about groups; None where nobody decided about one of them, or they differ."""
    if not former or any(row.status_changed_at is None for row in former):
        return None
    if len({row.status for row in former}) > 1:
        return None
    return lifecycle(max(former, key=lambda row: row.status_changed_at))


def _counted_on(connection: Connection, life: Lifecycle, target: Row[Any], events: int) -> Lifecycle:
    """A decision as it is of a group that has events of its own: those count for no limit, but may have ended it."""
    own = max(0, target.times_seen - events)
    times_seen, users = life.ignored_until_times_seen, life.ignored_until_users
    life = replace(
        life,
        ignored_until_times_seen=None if times_seen is None else times_seen + own,
        ignored_until_users=None if users is None else users + (target.users if own else 0),
    )
    back = bool(own) and _is_back(connection, life, target)
    return after_events(life, Seen(target.last_seen, target.times_seen, target.users, in_fixed_release=back))


def _is_back(connection: Connection, life: Lifecycle, target: Row[Any]) -> bool:
    """Whether a group has events of a release in which it should be fixed. Those that came may be among them: then it is rather
    seen again than hidden while it goes on."""
    if life.status is not Status.RESOLVED:
        return False
    of_group = group_values.c.group_id == target.id, group_values.c.kind == "release"
    named = connection.execute(select(group_values.c.value).where(*of_group).distinct()).scalars()
    found = [name for name in named if can_tell(name)]
    known = known_releases(connection, [(target.project_id, life)], {target.project_id: found})
    of_project = known.get(target.project_id, KnownReleases())
    return regression(life, target.last_seen, target.last_release, found, of_project) is not None
