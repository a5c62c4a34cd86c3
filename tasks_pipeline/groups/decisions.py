"""Decisions about groups: what people say of them, and the log of it that is only ever appended to.

A decision changes columns of `groups` that nothing computes, so storing a day again leaves it as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from tasks_pipeline.groups.lifecycle import Lifecycle, Status, ignore, reopen, resolve
from tasks_pipeline.protocol.release import parse_release
from tasks_pipeline.releases.known import latest_release, order_dates
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_actions, group_values, groups

AUTOMATIC = "tasks-pipeline"  # the actor of what events and rules decide
_ASSIGNEE = re.compile(r"team:[a-z0-9][a-z0-9_-]{0,49}|[^\s@]{1,64}@[^\s@]{1,130}")
_Change = Callable[[Connection, Row[Any], datetime], tuple[Lifecycle, dict[str, Any]]]


class DecisionError(ValueError):
    """What was decided cannot be done; the message says why, for people."""


def log_action(
    connection: Connection,
    project_id: int,
    group_id: int,
    action: str,
    data: Mapping[str, Any] | None = None,
    actor: str = AUTOMATIC,
) -> None:
    """Append to the log. Actions: resolve, unresolve, ignore, assign, unassign, merge, unmerge, discard, keep; by
    events: regress, unignore; where events are processed again: move, inherit."""
    row = {"project_id": project_id, "group_id": group_id, "action": action, "data": dict(data or {})}
    connection.execute(group_actions.insert().values(**row, actor=actor[:200], at=datetime.now(UTC)))


def actions_of(state: StateDatabase, group_id: int, limit: int = 100) -> list[dict[str, Any]]:
    """The newest entries of a group's log, newest first: at, actor, action, data."""
    columns = group_actions.c
    with state.read() as connection:
        rows = connection.execute(
            select(columns.at, columns.actor, columns.action, columns.data)
            .where(columns.group_id == group_id)
            .order_by(columns.id.desc())
            .limit(limit)
        )
        return [dict(row._mapping) for row in rows]


def resolve_groups(
    state: StateDatabase, group_ids: Sequence[int], actor: str, *, in_next_release: bool = False
) -> list[dict[str, Any]]:
    """Say that groups are fixed, now or in the next release. Gives what was logged of each.

    The next release is the one after the latest of the project now; where the group was seen in packages of their own
    (`web@1.0`), after the latest of those. Raises DecisionError when none is known.
    """

    def change(connection: Connection, row: Row[Any], at: datetime) -> tuple[Lifecycle, dict[str, Any]]:
        if not in_next_release:
            return resolve(at), {}
        release = _newest_known(connection, row)
        return resolve(at, release), {"in_release_after": release}

    return _decide(state, group_ids, actor, "resolve", change)


def resolve_in_release(
    state: StateDatabase,
    connection: Connection,
    group_ids: Sequence[int],
    actor: str,
    version: str,
    *,
    data: Mapping[str, Any] | None = None,
) -> list[int]:
    """Say in the caller's transaction that groups are fixed in a release; `data` is logged with it. Gives those that were
    not resolved already; discarded ones stay."""
    state.serialise(connection, "group_hashes")
    at, resolved = datetime.now(UTC), []
    for row in locked_groups(connection, group_ids):
        if row.status in (Status.RESOLVED, Status.DISCARDED):
            continue
        columns = lifecycle_columns(resolve(at, version)) | {
            "resolution": "in_release",
            "resolved_release_date": order_dates(connection, row.project_id, [version]).get(version),
            "resolved_in_commit": None,
        }
        connection.execute(update(groups).where(groups.c.id == row.id).values(**columns))
        log_action(connection, row.project_id, row.id, "resolve", {"release": version, **(data or {})}, actor)
        resolved.append(int(row.id))
    return resolved


def unresolve_groups(state: StateDatabase, group_ids: Sequence[int], actor: str) -> list[dict[str, Any]]:
    """Say that groups are not fixed, or are to be seen again."""
    return _decide(state, group_ids, actor, "unresolve", lambda _connection, _row, at: (reopen(at), {}))


def ignore_groups(
    state: StateDatabase,
    group_ids: Sequence[int],
    actor: str,
    *,
    until: datetime | None = None,
    more_events: int | None = None,
    more_users: int | None = None,
) -> list[dict[str, Any]]:
    """Say that groups are not to be seen: for good, until a time, until so many events or users more."""

    def change(_connection: Connection, row: Row[Any], at: datetime) -> tuple[Lifecycle, dict[str, Any]]:
        times_seen = None if more_events is None else row.times_seen + more_events
        users = None if more_users is None else row.users + more_users
        said = {
            "until": until.isoformat() if until else None,
            "more_events": more_events,
            "more_users": more_users,
        }
        life = ignore(at, until, times_seen, users)
        return life, {name: value for name, value in said.items() if value is not None}

    return _decide(state, group_ids, actor, "ignore", change)


def assign_groups_to(
    state: StateDatabase, group_ids: Sequence[int], actor: str, assignee: str | None
) -> list[dict[str, Any]]:
    """Say who takes care of groups: a member's address, `team:SLUG`, or nobody (None). Raises DecisionError."""
    if assignee is not None and not _ASSIGNEE.fullmatch(assignee):
        raise DecisionError(f"{assignee[:100]!r} is nobody; allowed are an e-mail address and team:SLUG")
    data = {} if assignee is None else {"assignee": assignee}
    with state.write() as connection:
        state.serialise(connection, "group_hashes")  # as in _decide
        for row in locked_groups(connection, group_ids):
            connection.execute(update(groups).where(groups.c.id == row.id).values(assignee=assignee))
            action = "unassign" if assignee is None else "assign"
            log_action(connection, row.project_id, row.id, action, data, actor)
    return [data for _ in group_ids]


def locked_groups(connection: Connection, group_ids: Iterable[int]) -> list[Row[Any]]:
    """Rows of groups, in the order of their ids, that nobody else changes until the transaction ends."""
    rows: list[Row[Any]] = []
    for chunk in chunks(sorted(set(group_ids))):
        # key_share: batches may go on attaching keys, see groups/counting.py
        query = select(groups).where(groups.c.id.in_(chunk)).order_by(groups.c.id)
        rows += connection.execute(query.with_for_update(key_share=True))
    return rows


def merged_targets(connection: Connection, group_ids: Iterable[int]) -> dict[int, int]:
    """The group that each of these is part of now, for those that were merged into another."""
    targets: dict[int, int] = {}
    for chunk in chunks(sorted(group_ids)):
        # All of them: asked for those that were merged, Postgres would go through all merged groups.
        rows = connection.execute(select(groups.c.id, groups.c.merged_into).where(groups.c.id.in_(chunk)))
        targets.update({row.id: row.merged_into for row in rows if row.merged_into is not None})
    if targets:  # the target may have been merged in its turn
        further = merged_targets(connection, set(targets.values()))
        targets = {group_id: further.get(target, target) for group_id, target in targets.items()}
    return targets


def merged_groups(state: StateDatabase, group_id: int) -> list[int]:
    """The groups that were merged into this one, and into those, oldest first."""
    with state.read() as connection:
        return sorted(cluster(connection, group_id) - {group_id})


def cluster(connection: Connection, group_id: int) -> set[int]:
    """A group and all that are part of it."""
    found, new = {group_id}, [group_id]
    while new:
        rows = connection.execute(select(groups.c.id).where(groups.c.merged_into.in_(new))).scalars()
        new = [row for row in rows if row not in found]
        found.update(new)
    return found


def discarded_groups(connection: Connection, group_ids: Iterable[int]) -> set[int]:
    """Which of these groups are discarded."""
    found: set[int] = set()
    for chunk in chunks(sorted(set(group_ids))):
        query = select(groups.c.id).where(groups.c.id.in_(chunk), groups.c.status == Status.DISCARDED)
        found.update(connection.execute(query).scalars())
    return found


def lifecycle(row: Row[Any]) -> Lifecycle:
    """The lifecycle in a row of groups."""
    return Lifecycle(
        Status(row.status),
        row.status_changed_at,
        row.ignored_until,
        row.ignored_until_times_seen,
        row.ignored_until_users,
        row.resolved_in_release,
    )


def lifecycle_columns(life: Lifecycle) -> dict[str, Any]:
    """The columns of groups that hold a lifecycle."""
    return {
        "status": str(life.status),
        "status_changed_at": life.changed_at,
        "ignored_until": life.ignored_until,
        "ignored_until_times_seen": life.ignored_until_times_seen,
        "ignored_until_users": life.ignored_until_users,
        "resolved_in_release": life.resolved_in_release,
    }


def _decide(
    state: StateDatabase, group_ids: Sequence[int], actor: str, action: str, change: _Change
) -> list[dict[str, Any]]:
    """Change the lifecycle of all groups, or of none when one of them is discarded. Gives what was logged, in order."""
    logged: dict[int, dict[str, Any]] = {}
    at = datetime.now(UTC)
    with state.write() as connection:
        # Monitors change groups one by one, in no order: with rows alone the two could wait for each other in a circle.
        state.serialise(connection, "group_hashes")
        for row in locked_groups(connection, group_ids):
            if row.status == Status.DISCARDED:
                raise DecisionError(
                    "its events are discarded; `tasks-pipeline groups discard --undo ID` ends that"
                )
            life, logged[row.id] = change(connection, row, at)
            connection.execute(update(groups).where(groups.c.id == row.id).values(**lifecycle_columns(life)))
            log_action(connection, row.project_id, row.id, action, logged[row.id], actor)
    return [logged[group_id] for group_id in group_ids]


def _newest_known(connection: Connection, row: Row[Any]) -> str:
    own = connection.execute(
        select(group_values.c.value)
        .where(group_values.c.group_id == row.id, group_values.c.kind == "release")
        .distinct()
    ).scalars()
    packages = {name.package for name in map(parse_release, own) if name.kind == "version"}
    found = latest_release(connection, row.project_id, packages) if packages else None
    found = found or latest_release(connection, row.project_id)
    if found is None:
        raise DecisionError("no release of the project is known, so there is no next one")
    return found.version
