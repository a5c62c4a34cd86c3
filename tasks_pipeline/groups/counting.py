"""Counters of groups: the events of a batch added to them, and what that changes about a group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, String, and_, bindparam, func, select, update

from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.groups.decisions import lifecycle, lifecycle_columns, log_action
from tasks_pipeline.groups.lifecycle import Seen, Status, after_events
from tasks_pipeline.protocol.release import why_no_release
from tasks_pipeline.releases.known import order_dates
from tasks_pipeline.releases.versions import is_newer
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import group_days, group_values, groups
from tasks_pipeline.storage.state.wanted import wanted

VALUE_KINDS = ("user", "release", "environment")
VALUE_LENGTH = 200
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


@dataclass(slots=True)
class GroupCounts:
    """What some events add to their group within a day."""

    times_seen: int = 0
    first_seen: datetime = _LAST_MOMENT
    last_seen: datetime = _FIRST_MOMENT
    values: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    newest: Mapping[str, Any] = field(default_factory=dict)

    def add(
        self, timestamp: datetime, values: Iterable[tuple[str, str | None]], shown: Mapping[str, Any]
    ) -> None:
        """Count an event; `shown` is what people see of it (title, culprit, level, metadata)."""
        self.times_seen += 1
        self.first_seen = min(self.first_seen, timestamp)
        if timestamp >= self.last_seen:
            self.last_seen, self.newest = timestamp, shown
        for kind, value in values:
            if value:
                self.values[kind, value[:VALUE_LENGTH]] += 1

    def update(self, other: GroupCounts) -> None:
        """Count the events that another one counted, of a group that is part of this one now."""
        self.times_seen += other.times_seen
        self.first_seen = min(self.first_seen, other.first_seen)
        if other.last_seen >= self.last_seen:
            self.last_seen, self.newest = other.last_seen, other.newest
        for value, n in other.values.items():
            self.values[value] += n


def count_events(
    state: StateDatabase, connection: Connection, day: date, counts: Mapping[int, GroupCounts]
) -> list[GroupChange]:
    """Add the events of a batch to their groups, and let them change the groups' status. Gives the groups that are new,
    back, or not ignored any more."""
    if not counts:
        return []
    changes: list[GroupChange] = []
    new_users = _count_values(state, connection, day, counts)
    _count_days(state, connection, day, counts)
    # One order for all, so that two batches never wait for each other in a circle; and few statements: with one for
    # each group they cost a batch of hundreds of events more than its rows do.
    for chunk in chunks(sorted(counts)):
        # key_share: other batches may go on attaching keys to the group; waiting for them could be a circle.
        locked = select(groups).where(groups.c.id.in_(chunk)).order_by(groups.c.id)
        rows = connection.execute(locked.with_for_update(key_share=True)).all()
        counted = [
            _counted(connection, row, counts[group_id], new_users[group_id])
            for group_id, row in zip(chunk, rows, strict=True)
        ]
        connection.execute(update(groups).where(groups.c.id == bindparam("group")), counted)
        changes += filter(None, map(_change, rows, counted))
    return changes


def _change(before: Row[Any], after: Mapping[str, Any]) -> GroupChange | None:
    """What counting events made of a group: nothing for most."""
    if before.times_seen == 0 and before.last_seen is None:
        kind, key = "new_group", ""
    elif after["status"] == before.status:
        return None
    else:
        kind = "regression" if after["status"] == Status.REGRESSED else "unignored"
        key = after["status_changed_at"].isoformat()
    changed = {
        "regression": f"It is back: it was resolved{f' in {before.resolved_in_release}' if before.resolved_in_release else ''}.",
        "unignored": "It was ignored until now.",
    }
    facts = {name: getattr(before, name) for name in ("platform", "type", "assignee", "short_id")}
    facts |= {name: after[name] for name in ("title", "culprit", "level", "times_seen", "users")}
    facts |= {name: after[name].isoformat() for name in ("first_seen", "last_seen")}
    facts |= {"category": "error", "changed": changed.get(kind, "")}
    return GroupChange(kind, before.project_id, before.id, key, after["last_seen"], facts)


def _counted(connection: Connection, row: Row[Any], counted: GroupCounts, new_users: int) -> dict[str, Any]:
    """The new values of a group's row, whose id is `group`."""
    before = lifecycle(row)
    seen = Seen(
        newest=counted.last_seen,
        times_seen=row.times_seen + counted.times_seen,
        users=row.users + new_users,
        newer_release=_came_back(connection, row.project_id, before.resolved_in_release, counted),
    )
    life = after_events(before, seen)
    if life != before:
        action = "regress" if life.status is Status.REGRESSED else "unignore"
        log_action(connection, row.project_id, row.id, action)
    newest = row.last_seen is None or counted.last_seen >= row.last_seen
    shown = {name: getattr(row, name) for name in ("title", "culprit", "level", "metadata")}
    return {
        "group": row.id,
        "times_seen": seen.times_seen,
        "users": seen.users,
        "first_seen": min(filter(None, (row.first_seen, counted.first_seen))),
        "last_seen": counted.last_seen if newest else row.last_seen,
        **shown,
        **(counted.newest if newest else {}),
        **lifecycle_columns(life),
    }


def _came_back(
    connection: Connection, project_id: int, resolved_in: str | None, counted: GroupCounts
) -> bool:
    """Whether one of the counted events is of a release after the one the group was resolved in.

    An event without a release, or with a word that can be none, cannot tell, and is none.
    """
    if resolved_in is None:
        return False
    found = [value for kind, value in counted.values if kind == "release" and why_no_release(value) is None]
    dates = order_dates(connection, project_id, [resolved_in, *found])
    return any(is_newer(release, resolved_in, dates) for release in found)


def _count_days(
    state: StateDatabase, connection: Connection, day: date, counts: Mapping[int, GroupCounts]
) -> None:
    rows = [
        {
            "group_id": group_id,
            "day": day,
            "times_seen": c.times_seen,
            "first_seen": c.first_seen,
            "last_seen": c.last_seen,
        }
        for group_id, c in sorted(counts.items())
    ]
    state.put(connection, _added_days, rows)


def _added_days(state: StateDatabase) -> Any:
    insert = state.insert(group_days)
    least, most = (func.min, func.max) if state.is_sqlite else (func.least, func.greatest)
    return insert.on_conflict_do_update(
        index_elements=[group_days.c.group_id, group_days.c.day],
        set_={
            "times_seen": group_days.c.times_seen + insert.excluded.times_seen,
            "first_seen": least(group_days.c.first_seen, insert.excluded.first_seen),
            "last_seen": most(group_days.c.last_seen, insert.excluded.last_seen),
        },
    )


def _count_values(
    state: StateDatabase, connection: Connection, day: date, counts: Mapping[int, GroupCounts]
) -> Counter[int]:
    """Add values per group and day; gives how many users of each group were never seen in it before."""
    new_users = Counter[int]()
    rows: list[dict[str, Any]] = []
    for group_id, counted in sorted(counts.items()):
        rows += [
            {"group_id": group_id, "kind": kind, "value": value, "day": day, "times_seen": n}
            for (kind, value), n in sorted(counted.values.items())
        ]
    users = [(row["group_id"], row["value"]) for row in rows if row["kind"] == "user"]
    new_users.update(group_id for group_id, _ in users)
    for chunk in chunks(users):
        new_users.subtract(_known_users(connection, chunk))
    if rows:
        state.put(connection, _added_values, rows)
    return new_users


def _added_values(state: StateDatabase) -> Any:
    insert = state.insert(group_values)
    return insert.on_conflict_do_update(
        index_elements=list(group_values.primary_key.columns),
        set_={"times_seen": group_values.c.times_seen + insert.excluded.times_seen},
    )


def _known_users(connection: Connection, users: Sequence[tuple[int, str]]) -> dict[int, int]:
    """How many of the users, given with their group, were seen in it before; by group."""
    w = wanted(connection, users, group_id=BigInteger(), value=String())
    known = func.count(func.distinct(group_values.c.value)).label("known")
    rows = connection.execute(
        select(group_values.c.group_id, known)
        .join_from(
            w,
            group_values,
            and_(
                group_values.c.group_id == w.c.group_id,
                group_values.c.kind == "user",
                group_values.c.value == w.c.value,
            ),
        )
        .group_by(group_values.c.group_id)
    )
    return {row.group_id: row.known for row in rows}
