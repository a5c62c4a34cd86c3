"""Groups of events that come back from an archive: those that are gone are made again as they were, others go on as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select, text

from tasks_pipeline.groups.decisions import merged_targets
from tasks_pipeline.groups.lifecycle import Status
from tasks_pipeline.storage.state.database import SCHEMA, StateDatabase, chunks
from tasks_pipeline.storage.state.tables import (
    group_days,
    group_explanations,
    group_hashes,
    group_signatures,
    groups,
    projects,
)

Row = Mapping[str, Any]


@dataclass(slots=True)
class OldGroups:
    """Rows of groups of one project as they were, by table."""

    project_id: int
    slug: str
    groups: dict[int, Row] = field(default_factory=dict)
    keys: dict[int, list[Row]] = field(default_factory=dict)
    days: dict[int, list[Row]] = field(default_factory=dict)
    explanations: dict[int, Row] = field(default_factory=dict)
    signatures: dict[int, Row] = field(default_factory=dict)


@dataclass(slots=True)
class Back:
    """What became of groups: the one that events of each belong to now, None where they stay away since it was discarded. `made` are
    those that were made again, `renumbered` of these with another number and short id, since theirs was taken; `joined` belong to another
    group, which has their keys now or which they were merged into."""

    target: dict[int, int | None] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)
    renumbered: list[int] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)


def bring_back(state: StateDatabase, old: OldGroups) -> Back:
    """Find the group that events of each of these belong to now, and make those again that are gone, some hundred in a transaction.
    Doing it again finds what was made."""
    back = Back()
    for some in chunks(sorted(old.groups)):
        with state.write() as connection:
            state.serialise(connection, "group_hashes")
            _bring_back(state, connection, old, some, back)
    return back


def _bring_back(
    state: StateDatabase, connection: Connection, old: OldGroups, group_ids: Sequence[int], back: Back
) -> None:
    there = {row.id: row for row in connection.execute(select(groups).where(groups.c.id.in_(group_ids)))}
    keys = dict(_owners(connection, old, group_ids))
    for group_id in group_ids:
        row = old.groups[group_id]
        found = there.get(group_id)
        if found is not None and (found.project_id, found.short_id) == (row["project_id"], row["short_id"]):
            back.target[group_id] = group_id
            continue
        owners = [keys[each["key"]] for each in old.keys.get(group_id, ()) if each["key"] in keys]
        if owners:
            back.target[group_id] = owners[0]
            back.joined.append(group_id)
            continue
        made = _make(state, connection, old, group_id, taken=found is not None)
        keys |= {each["key"]: made for each in old.keys.get(group_id, ())}
        back.target[group_id] = made
        back.made.append(group_id)
        if made != group_id:
            back.renumbered.append(group_id)
    _follow(connection, group_ids, back)


def _owners(connection: Connection, old: OldGroups, group_ids: Sequence[int]) -> Iterator[tuple[str, int]]:
    """The groups that have keys of these now."""
    wanted = sorted({each["key"] for group_id in group_ids for each in old.keys.get(group_id, ())})
    for some in chunks(wanted):
        query = select(group_hashes.c.key, group_hashes.c.group_id).where(
            group_hashes.c.project_id == old.project_id, group_hashes.c.key.in_(some)
        )
        yield from connection.execute(query).tuples()


def _follow(connection: Connection, group_ids: Sequence[int], back: Back) -> None:
    """Have events of groups that were merged go to what those are part of now, and of discarded ones nowhere."""
    reached = {target for group_id in group_ids if (target := back.target[group_id]) is not None}
    merged = merged_targets(connection, reached)
    finally_ = {merged.get(target, target) for target in reached}
    query = select(groups.c.id).where(groups.c.id.in_(finally_), groups.c.status == Status.DISCARDED)
    discarded = set(connection.execute(query).scalars())
    for group_id in group_ids:
        target = back.target[group_id]
        if target is None:
            continue
        if target in merged and group_id not in back.joined:
            back.joined.append(group_id)
        target = merged.get(target, target)
        back.target[group_id] = None if target in discarded else target


def _make(state: StateDatabase, connection: Connection, old: OldGroups, group_id: int, *, taken: bool) -> int:
    """Make a group again, with what belongs to it; gives its number."""
    row = {**old.groups[group_id], "merged_into": None}
    same_short = select(groups.c.id).where(
        groups.c.project_id == old.project_id, groups.c.short_id == row["short_id"]
    )
    if taken or connection.execute(same_short).first() is not None:
        del row["id"]
        last = select(projects.c.last_short_id).where(projects.c.id == old.project_id)
        row["short_id"] = (connection.execute(last).scalar() or 0) + 1
    made = int(connection.execute(groups.insert().values(**row).returning(groups.c.id)).scalar_one())
    _number_on(state, connection, old, made, row["short_id"])
    for table, rows in (
        (group_hashes, old.keys.get(group_id, ())),
        (group_days, old.days.get(group_id, ())),
        (group_explanations, [old.explanations[group_id]] if group_id in old.explanations else ()),
        (group_signatures, [old.signatures[group_id]] if group_id in old.signatures else ()),
    ):
        if rows:
            connection.execute(table.insert(), [{**each, "group_id": made} for each in rows])
    return made


def _number_on(
    state: StateDatabase, connection: Connection, old: OldGroups, group_id: int, short_id: int
) -> None:
    """Have new groups numbered behind one that was made with a number of its own."""
    insert = state.insert(projects).values(id=old.project_id, slug=old.slug, last_short_id=short_id)
    greatest = func.max if state.is_sqlite else func.greatest
    further = {"last_short_id": greatest(projects.c.last_short_id, short_id)}
    connection.execute(insert.on_conflict_do_update(index_elements=[projects.c.id], set_=further))
    if not state.is_sqlite:
        sequence = f"pg_get_serial_sequence('{SCHEMA}.groups', 'id')"
        connection.execute(
            text(f"SELECT setval({sequence}, greatest(:id, nextval({sequence})))"), {"id": group_id}
        )
