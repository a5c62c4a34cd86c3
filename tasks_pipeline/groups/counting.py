"""Counters of groups: the events of a batch added to them, and what that changes about a group."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, String, and_, bindparam, case, func, select, update

from tasks_pipeline.groups.changes import GroupChange
from tasks_pipeline.groups.days import GroupReleases, Place, place_text, releases_of_days, shown_since
from tasks_pipeline.groups.decisions import Action, lifecycle, lifecycle_columns, log_actions, status_of
from tasks_pipeline.groups.hours import count_hours, full_hour
from tasks_pipeline.groups.known_releases import ended_resolution, known_releases
from tasks_pipeline.groups.lifecycle import Seen, Status, after_events, is_about_time
from tasks_pipeline.groups.regressions import (
    KnownReleases,
    can_tell,
    regression,
    told_regression,
)
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.tables import group_days, group_values, groups
from tasks_pipeline.storage.state.wanted import wanted

VALUE_KINDS = ("user", "release", "environment")
VALUE_LENGTH = 200
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_NOWHERE: Place = ("", 0, 0)


@dataclass(slots=True)
class GroupCounts:
    """What some events add to their group within a day.

    `first` is the time and the place of the earliest, `first_release` its release; `last_release_of` those of the newest that
    has a release.
    """

    times_seen: int = 0
    first: tuple[datetime, Place] = (_LAST_MOMENT, _NOWHERE)
    last_seen: datetime = _FIRST_MOMENT
    first_release: str | None = None
    last_release: str | None = None
    last_release_of: tuple[datetime, Place] = (_FIRST_MOMENT, _NOWHERE)
    values: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    hours: dict[datetime, int] = field(default_factory=lambda: defaultdict(int))
    newest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first_seen(self) -> datetime:
        """When the earliest of them happened."""
        return self.first[0]

    @property
    def newest_release(self) -> str | None:
        """The release of the newest of them, when that has one."""
        return self.last_release if self.last_release_of[0] == self.last_seen else None

    @property
    def releases(self) -> list[str]:
        """Releases of them that can tell which is the newer."""
        return [value for kind, value in self.values if kind == "release" and can_tell(value)]

    def add(
        self,
        timestamp: datetime,
        place: Place,
        values: Iterable[tuple[str, str | None]],
        shown: Mapping[str, Any],
    ) -> None:
        """Count an event; `shown` is what people see of it (title, culprit, level, metadata)."""
        self.times_seen += 1
        self.hours[full_hour(timestamp)] += 1
        if timestamp >= self.last_seen:
            self.last_seen, self.newest = timestamp, shown
        release = None
        for kind, value in values:
            if value:
                value = value[:VALUE_LENGTH]
                self.values[kind, value] += 1
                if kind == "release" and can_tell(value):
                    release = value
        of_event = timestamp, place
        if of_event < self.first:
            self.first, self.first_release = of_event, release
        if release is not None and of_event > self.last_release_of:
            self.last_release_of, self.last_release = of_event, release

    def update(self, other: GroupCounts) -> None:
        """Count the events that another one counted, of a group that is part of this one now."""
        self.times_seen += other.times_seen
        if other.last_seen >= self.last_seen:
            self.last_seen, self.newest = other.last_seen, other.newest
        if other.first < self.first:
            self.first, self.first_release = other.first, other.first_release
        if other.last_release_of > self.last_release_of:
            self.last_release_of, self.last_release = other.last_release_of, other.last_release
        for value, n in other.values.items():
            self.values[value] += n
        for hour, n in other.hours.items():
            self.hours[hour] += n


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
    count_hours(state, connection, day, {group_id: counted.hours for group_id, counted in counts.items()})
    # One order for all, so that two batches never wait for each other in a circle; and few statements: with one for
    # each group they cost a batch of hundreds of events more than its rows do.
    for chunk in chunks(sorted(counts)):
        # key_share: other batches may go on attaching keys to the group; waiting for them could be a circle.
        locked = select(groups).where(groups.c.id.in_(chunk)).order_by(groups.c.id)
        rows = connection.execute(locked.with_for_update(key_share=True)).all()
        regressed = _regressions(connection, rows, counts)
        counted = [_counted(row, counts[row.id], new_users[row.id], regressed.get(row.id)) for row in rows]
        log_actions(state, connection, _actions(rows, counted, regressed))
        _decide_by_place(connection, rows, counted, counts)
        for row, values in zip(rows, counted, strict=True):  # suspects are those of the first release
            values["suspects_at"] = row.suspects_at if values["first_release"] == row.first_release else None
        for decided in (False, True):  # the columns of decisions are many, and rarely change
            if some := [values for values in counted if ("status" in values) is decided]:
                connection.execute(update(groups).where(groups.c.id == bindparam("group")), some)
        changes += filter(None, (_change(*each, regressed) for each in zip(rows, counted, strict=True)))
        back = [row.id for row in rows if row.times_seen == 0 and row.created_at.date() != day]
        note_day_changes(state, connection, shown_since(connection, back), "batch", datetime.now(UTC))
    return changes


def _regressions(
    connection: Connection, rows: Sequence[Row[Any]], counts: Mapping[int, GroupCounts]
) -> dict[int, dict[str, Any]]:
    """By group, for those that events bring back: what logs and messages hold of it. Nothing is asked unless a group is
    resolved in a release or a commit, or is back."""
    resolved = [(row, lifecycle(row)) for row in rows if row.status == Status.RESOLVED]
    if not resolved:
        return {}
    by_release = [(row, life) for row, life in resolved if not is_about_time(life)]
    found: dict[int, set[str]] = defaultdict(set)
    for row, _ in by_release:
        found[row.project_id].update(counts[row.id].releases)
    known = known_releases(connection, [(row.project_id, life) for row, life in by_release], found)
    back: dict[int, dict[str, Any]] = {}
    for row, life in resolved:
        counted, of_project = counts[row.id], known.get(row.project_id, KnownReleases())
        how = regression(life, counted.last_seen, counted.newest_release, counted.releases, of_project)
        if how is not None:
            at = {} if life.changed_at is None else {"resolved_at": life.changed_at.isoformat()}
            back[row.id] = how.facts | at | ended_resolution(connection, row.id)
    return back


def _actions(
    rows: Sequence[Row[Any]],
    counted: Sequence[Mapping[str, Any]],
    regressed: Mapping[int, Mapping[str, Any]],
) -> list[Action]:
    """What logs hold of groups that events brought back."""
    found = []
    for row, values in zip(rows, counted, strict=True):
        if "status" in values:
            action = "regress" if values["status"] == Status.REGRESSED else "unignore"
            said, status = regressed.get(row.id, {}), status_of(row, values["status"])
            found.append(Action(row.project_id, row.id, action, said, before=row, status=status))
    return found


def _change(
    before: Row[Any], after: Mapping[str, Any], regressed: Mapping[int, Mapping[str, Any]]
) -> GroupChange | None:
    """What counting events made of a group: nothing for most."""
    told: dict[str, Any] = {"changed": ""}
    if before.times_seen == 0 and before.last_seen is None:
        kind, key = "new_group", ""
    elif "status" not in after:
        return None
    elif after["status"] == Status.REGRESSED:
        kind, key, back = "regression", after["status_changed_at"].isoformat(), regressed.get(before.id, {})
        said = told_regression(back)
        told = {"changed": f"{said[0].upper()}{said[1:]}.", "regression": dict(back)}
    else:
        kind, key = "unignored", after["status_changed_at"].isoformat()
        told = {"changed": "It was ignored until now."}
    facts = {name: getattr(before, name) for name in ("platform", "type", "assignee", "short_id")}
    facts |= {name: after[name] for name in ("title", "culprit", "level", "times_seen", "users")}
    facts |= {name: after[name].isoformat() for name in ("first_seen", "last_seen")}
    facts |= {"category": "error", **told}
    return GroupChange(kind, before.project_id, before.id, key, after["last_seen"], facts)


def _counted(
    row: Row[Any],
    counted: GroupCounts,
    new_users: int,
    regressed: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The new values of a group's row, whose id is `group`; those of its lifecycle only where that changes."""
    before = lifecycle(row)
    seen = Seen(
        newest=counted.last_seen,
        times_seen=row.times_seen + counted.times_seen,
        users=row.users + new_users,
        in_fixed_release=regressed is not None,
    )
    life = after_events(before, seen)
    newest = row.last_seen is None or counted.last_seen >= row.last_seen
    shown = {name: getattr(row, name) for name in ("title", "culprit", "level", "metadata")}
    return {
        "group": row.id,
        "times_seen": seen.times_seen,
        "users": seen.users,
        "first_seen": min(filter(None, (row.first_seen, counted.first_seen))),
        "last_seen": counted.last_seen if newest else row.last_seen,
        **_releases(row, counted).columns,
        **shown,
        **(counted.newest if newest else {}),
        **(lifecycle_columns(life) if life != before else {}),
    }


def _releases(row: Row[Any], counted: GroupCounts) -> GroupReleases:
    """The first and the last release of a group with the events that were counted, unless their places decide."""
    first, last, last_at = row.first_release, row.last_release, row.last_release_at
    if row.first_seen is None or counted.first_seen < row.first_seen:
        first = counted.first_release
    at = counted.last_release_of[0]
    if counted.last_release is not None and (last_at is None or at > last_at):
        last, last_at = counted.last_release, at
    return GroupReleases(first, last, last_at)


def _decide_by_place(
    connection: Connection,
    rows: Sequence[Row[Any]],
    values: Sequence[dict[str, Any]],
    counts: Mapping[int, GroupCounts],
) -> None:
    """Where an event that was counted happened in the same moment as the first or the last known one, and is of another
    release, their places decide: the days, which are counted already, know them. That is rare."""
    tied = []
    for row in rows:
        counted = counts[row.id]
        first = counted.first_seen == row.first_seen and counted.first_release != row.first_release
        last = counted.last_release_of[0] == row.last_release_at and counted.last_release != row.last_release
        if first or last:
            tied.append(row.id)
    if tied:
        found = releases_of_days(connection, tied)
        for each in values:
            if each["group"] in found:
                each |= found[each["group"]].columns


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
            "first_release": c.first_release,
            "first_place": place_text(c.first[1]),
            "last_release": c.last_release,
            "last_release_at": None if c.last_release is None else c.last_release_of[0],
            "last_release_place": None if c.last_release is None else place_text(c.last_release_of[1]),
        }
        for group_id, c in sorted(counts.items())
    ]
    state.put(connection, _added_days, rows)


def _added_days(state: StateDatabase) -> Any:
    insert = state.insert(group_days)
    old, new = group_days.c, insert.excluded
    least, most = (func.min, func.max) if state.is_sqlite else (func.least, func.greatest)
    earlier = (new.first_seen < old.first_seen) | (
        (new.first_seen == old.first_seen) & (new.first_place < old.first_place)
    )
    later = (
        old.last_release_at.is_(None)
        | (new.last_release_at > old.last_release_at)
        | ((new.last_release_at == old.last_release_at) & (new.last_release_place > old.last_release_place))
    )
    # Without a place a day waits for processing/catch_up.py to learn from the lake what its releases are.
    place = case((old.first_place.is_not(None) & earlier, new.first_place), else_=old.first_place)
    last = ("last_release", "last_release_at", "last_release_place")
    return insert.on_conflict_do_update(
        index_elements=[old.group_id, old.day],
        set_={
            "times_seen": old.times_seen + new.times_seen,
            "first_seen": least(old.first_seen, new.first_seen),
            "last_seen": most(old.last_seen, new.last_seen),
            "first_release": case((earlier, new.first_release), else_=old.first_release),
            "first_place": place,
            **{name: case((later, new[name]), else_=old[name]) for name in last},
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
