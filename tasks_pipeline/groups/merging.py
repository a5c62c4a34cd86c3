"""Merging, unmerging and discarding groups: who owns which keys. Stored events follow by a regrouping."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, select, update

from tasks_pipeline.groups.assign import NewGroup, create_group
from tasks_pipeline.groups.decisions import (
    AUTOMATIC,
    MERGED,
    DecisionError,
    cluster,
    lifecycle_columns,
    locked_groups,
    log_action,
    merged_targets,
    status_of,
)
from tasks_pipeline.groups.lifecycle import Status, discard, reopen
from tasks_pipeline.groups.regrouping import open_regrouping
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_actions, group_hashes, groups, similar_groups

KEYS_SHOWN = 1000


def merge_groups(
    state: StateDatabase,
    target_id: int,
    other_ids: Sequence[int],
    actor: str = AUTOMATIC,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Make groups part of another: it takes over their keys, and with them their events; its status and assignee stay.

    `data` is logged with it. Raises DecisionError.
    """
    with state.write() as connection:
        # Nobody attaches keys meanwhile, and regroupings become visible in the order of their ids.
        state.serialise(connection, "group_hashes")
        rows = {row.id: row for row in locked_groups(connection, [target_id, *other_ids])}
        target, others = rows.pop(target_id), list(rows.values())
        _check_merge(target, others)
        for other in others:
            keys = _keys_of(connection, [other.id])
            _move_keys(connection, target.project_id, keys, target_id)
            connection.execute(update(groups).where(groups.c.id == other.id).values(merged_into=target_id))
            said = {"into": target_id, "keys": keys, **(data or {})}
            log_action(state, connection, other.project_id, other.id, "merge", said, actor, status=MERGED)
            _note_pair(state, connection, target, other.id, "merged")
        said = {"from": [other.id for other in others], **(data or {})}
        log_action(state, connection, target.project_id, target_id, "merge", said, actor)
        open_regrouping(connection, target.project_id, [target_id, *rows], "merge")


def _check_merge(target: Row[Any], others: Sequence[Row[Any]]) -> None:
    if not others:
        raise DecisionError("these are one group already")
    for row in (target, *others):
        if row.merged_into is not None:
            raise DecisionError("one of them is part of another group already")
        if row.status == Status.DISCARDED:
            raise DecisionError("the events of one of them are discarded")
        if row.project_id != target.project_id:
            raise DecisionError("they belong to different projects")


def unmerge_group(state: StateDatabase, group_id: int, actor: str = AUTOMATIC) -> int:
    """Make a merged group one of its own again, with every key that came from it; gives the group it was part of.

    Keys that appeared since belong to where they appeared. Raises DecisionError.
    """
    with state.write() as connection:
        state.serialise(connection, "group_hashes")
        target_id = merged_targets(connection, [group_id]).get(group_id)
        if target_id is None:
            raise DecisionError("it is not merged into another group")
        brought = _brought_keys(connection, group_id)
        keys = [key for key in _keys_of(connection, [target_id]) if key in brought]
        rows = {row.id: row for row in locked_groups(connection, [target_id, group_id])}
        _part(state, connection, rows[target_id], group_id, keys, actor, rows[group_id].status)
    return target_id


def split_group(
    state: StateDatabase, group_id: int, keys: Collection[str], slug: str, actor: str = AUTOMATIC
) -> int:
    """Give some keys of a group, and their events, to a new group; gives its id. Raises DecisionError."""
    with state.write() as connection:
        state.serialise(connection, "group_hashes")
        (row,) = locked_groups(connection, [group_id])
        owned = set(_keys_of(connection, [group_id]))
        if unknown := sorted(set(keys) - owned):
            raise DecisionError(f"it has no key {unknown[0][:64]!r}")
        if not keys or owned == set(keys):
            raise DecisionError("some of its keys have to go and some to stay")
        new = NewGroup(
            project_id=row.project_id,
            keys=tuple(sorted(keys)),
            title=row.title,
            culprit=row.culprit,
            level=row.level,
            platform=row.platform,
            type=row.type,
            metadata=row.metadata,
            algorithm=row.algorithm,
        )
        new_id = create_group(state, connection, new, slug)
        _part(state, connection, row, new_id, sorted(keys), actor, Status.UNRESOLVED)
    return new_id


def _part(
    state: StateDatabase,
    connection: Connection,
    from_row: Row[Any],
    group_id: int,
    keys: Sequence[str],
    actor: str,
    status: str,
) -> None:
    """Give keys to a group that was part of another, whose own status is that, and remember that the two are not the same."""
    _move_keys(connection, from_row.project_id, keys, group_id)
    connection.execute(update(groups).where(groups.c.id == group_id).values(merged_into=None))
    project_id = from_row.project_id
    said = {"from": from_row.id, "keys": list(keys)}
    log_action(state, connection, project_id, group_id, "unmerge", said, actor, status=str(status))
    left = {"into": group_id, "keys": list(keys)}
    log_action(state, connection, project_id, from_row.id, "unmerge", left, actor)
    _note_pair(state, connection, from_row, group_id, "rejected")
    open_regrouping(connection, project_id, [from_row.id, group_id], "unmerge")


def keep_apart(state: StateDatabase, group_ids: Sequence[int], other_id: int, actor: str = AUTOMATIC) -> None:
    """Say that groups that look like another are not the same: they are never proposed, or merged by themselves. Raises
    DecisionError."""
    with state.write() as connection:
        state.serialise(connection, "group_hashes")
        rows = {row.id: row for row in locked_groups(connection, [*group_ids, other_id])}
        if other_id not in rows or other_id in group_ids:
            raise DecisionError("there is no other group")
        if len({row.project_id for row in rows.values()}) > 1:
            raise DecisionError("they belong to different projects")
        for group_id in sorted(set(group_ids) & set(rows)):
            project_id = rows[group_id].project_id
            _note_pair(state, connection, rows[group_id], other_id, "rejected")
            for one, other in ((group_id, other_id), (other_id, group_id)):
                log_action(state, connection, project_id, one, "apart", {"into": other}, actor)


def discard_groups(state: StateDatabase, group_ids: Sequence[int], actor: str = AUTOMATIC) -> None:
    """Remove the events of groups, and drop those that come: they are counted as discarded. Raises DecisionError."""
    with state.write() as connection:
        state.serialise(connection, "group_hashes")
        for row in locked_groups(connection, group_ids):
            if row.status == Status.DISCARDED:
                raise DecisionError("its events are discarded already")
            columns = lifecycle_columns(discard(datetime.now(UTC)))
            connection.execute(update(groups).where(groups.c.id == row.id).values(**columns))
            said = {"events": row.times_seen}
            status = status_of(row, Status.DISCARDED)
            log_action(
                state, connection, row.project_id, row.id, "discard", said, actor, before=row, status=status
            )
            open_regrouping(connection, row.project_id, [row.id], "discard")


def keep_groups(state: StateDatabase, group_ids: Sequence[int], actor: str = AUTOMATIC) -> None:
    """Keep the events of discarded groups again, from now on. Raises DecisionError."""
    with state.write() as connection:
        state.serialise(connection, "group_hashes")
        for row in locked_groups(connection, group_ids):
            if row.status != Status.DISCARDED:
                raise DecisionError("its events are not discarded")
            columns = lifecycle_columns(reopen(datetime.now(UTC)))
            connection.execute(update(groups).where(groups.c.id == row.id).values(**columns))
            status = status_of(row, Status.UNRESOLVED)
            log_action(
                state, connection, row.project_id, row.id, "keep", {}, actor, before=row, status=status
            )


def keys_of_group(state: StateDatabase, group_id: int) -> list[dict[str, Any]]:
    """The keys of a group, oldest first: key, created_at, and in `origin` the merged group that it came from or None."""
    with state.read() as connection:
        origins: dict[str, int] = {}
        for merged in sorted(cluster(connection, group_id) - {group_id}):
            origins.update(dict.fromkeys(_brought_keys(connection, merged), merged))
        rows = connection.execute(
            select(group_hashes.c.key, group_hashes.c.created_at)
            .where(group_hashes.c.group_id == group_id)
            .order_by(group_hashes.c.created_at, group_hashes.c.key)
            .limit(KEYS_SHOWN)
        )
        return [{**row._mapping, "origin": origins.get(row.key)} for row in rows]


def _brought_keys(connection: Connection, group_id: int) -> set[str]:
    """The keys a group had when it was merged last."""
    data = connection.execute(
        select(group_actions.c.data)
        .where(group_actions.c.group_id == group_id, group_actions.c.action == "merge")
        .order_by(group_actions.c.id.desc())
    ).scalars()
    return next((set(said["keys"]) for said in data if "into" in said), set())


def _keys_of(connection: Connection, group_ids: Sequence[int]) -> list[str]:
    query = select(group_hashes.c.key).where(group_hashes.c.group_id.in_(group_ids))
    return list(connection.execute(query.order_by(group_hashes.c.key)).scalars())


def _move_keys(connection: Connection, project_id: int, keys: Sequence[str], group_id: int) -> None:
    for chunk in chunks(keys):
        connection.execute(
            update(group_hashes)
            .where(group_hashes.c.project_id == project_id, group_hashes.c.key.in_(chunk))
            .values(group_id=group_id)
        )


def _note_pair(
    state: StateDatabase, connection: Connection, row: Row[Any], other_id: int, status: str
) -> None:
    """What people made of two groups; a rejected pair is never proposed or merged by itself again."""
    older, newer = sorted((row.id, other_id))
    insert = state.insert(similar_groups)
    pair = {"group_id": older, "other_id": newer, "project_id": row.project_id}
    noted = insert.on_conflict_do_update(
        index_elements=list(similar_groups.primary_key.columns), set_={"status": status}
    )
    connection.execute(noted, [{**pair, "score": 0.0, "status": status, "found_at": datetime.now(UTC)}])
