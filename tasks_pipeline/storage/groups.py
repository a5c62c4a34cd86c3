"""Groups in the state database: keys to groups, counters per day, and what people read of them."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, delete, func, select, tuple_, update

from tasks_pipeline.alerts.changes import GroupChange
from tasks_pipeline.groups.lifecycle import Seen, Status, after_events
from tasks_pipeline.groups.releases import is_newer
from tasks_pipeline.groups.short_id import format_short_id
from tasks_pipeline.storage.algorithms import in_transition
from tasks_pipeline.storage.arrivals import Wanted, announce_again, last_arrival
from tasks_pipeline.storage.batches import COUNTS, outside_open_ranges
from tasks_pipeline.storage.decisions import (
    first_seen_releases,
    lifecycle,
    lifecycle_columns,
    log_action,
)
from tasks_pipeline.storage.state import StateDatabase, chunks
from tasks_pipeline.storage.tables import (
    batches,
    group_days,
    group_hashes,
    group_values,
    groups,
    projects,
    replacements,
)

if TYPE_CHECKING:  # the lake's libraries take half a second to import, and most readers of groups need none
    from tasks_pipeline.storage.lake import Lake

VALUE_KINDS = ("user", "release", "environment")
VALUE_LENGTH = 200
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewGroup:
    """What a group is created with: what its first event says."""

    project_id: int
    keys: tuple[str, ...]
    title: str
    culprit: str
    level: str
    platform: str
    type: str
    metadata: Mapping[str, str]
    algorithm: str
    transition_days: int = 0
    """For how many days after the first use of the algorithm `previous_keys` are asked for."""
    previous_keys: Callable[[], tuple[str, ...]] = tuple
    """The keys of the event by the former algorithm."""
    explanation: Callable[[], Mapping[str, Any] | None] = dict
    """Why the event is grouped as it is."""


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


def assign_groups(
    state: StateDatabase, connection: Connection, wanted: Sequence[NewGroup], slugs: Mapping[int, str]
) -> list[int]:
    """The group id of each event: the group of its first known key, else a new one. New keys are attached to it.

    Where none is known and the project has changed its algorithm not long ago, the group is looked for by the former keys.
    Runs in the caller's transaction. Of several transactions at once only one makes new keys; the primary key of
    group_hashes guards it.
    """
    known = _known_keys(connection, wanted)
    if any((event.project_id, key) not in known for event in wanted for key in event.keys):
        state.serialise(connection, "group_hashes")
        known = _known_keys(connection, wanted)
    changed = _changed_projects(state, connection, wanted, known)
    result: list[int] = []
    for event in wanted:
        hits = (known.get((event.project_id, key)) for key in event.keys)
        group_id = next((g for g in hits if g is not None), None)
        if group_id is None and event.project_id in changed:
            group_id = former_group(connection, event)
        if group_id is None:
            group_id = create_group(state, connection, event, slugs[event.project_id])
        missing = [key for key in event.keys if (event.project_id, key) not in known]
        if missing:
            _attach(connection, event.project_id, missing, group_id)
            known.update({(event.project_id, key): group_id for key in missing})
        result.append(group_id)
    return result


def _changed_projects(
    state: StateDatabase,
    connection: Connection,
    wanted: Sequence[NewGroup],
    known: Mapping[tuple[int, str], int],
) -> set[int]:
    """Projects in which events of no known key may belong to a group of the former algorithm."""
    new = [event for event in wanted if not any((event.project_id, key) in known for key in event.keys)]
    present = {event.project_id: (event.algorithm, event.transition_days) for event in new}
    return in_transition(state, connection, present) if present else set()


def former_group(connection: Connection, event: NewGroup) -> int | None:
    """The group that knows the event by its keys of the former algorithm."""
    keys = [(event.project_id, key) for key in event.previous_keys()]
    known = known_keys(connection, keys)
    return next((known[key] for key in keys if key in known), None)


def _known_keys(connection: Connection, wanted: Sequence[NewGroup]) -> dict[tuple[int, str], int]:
    return known_keys(connection, ((event.project_id, key) for event in wanted for key in event.keys))


def known_keys(connection: Connection, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
    """The group of each (project id, key) that belongs to one."""
    by_project: dict[int, set[str]] = defaultdict(set)
    for project_id, key in keys:
        by_project[project_id].add(key)
    known: dict[tuple[int, str], int] = {}
    for project_id, of_project in by_project.items():
        for chunk in chunks(sorted(of_project)):
            rows = connection.execute(
                select(group_hashes.c.key, group_hashes.c.group_id).where(
                    group_hashes.c.project_id == project_id, group_hashes.c.key.in_(chunk)
                )
            )
            known.update({(project_id, row.key): row.group_id for row in rows})
    return known


def _attach(connection: Connection, project_id: int, keys: Sequence[str], group_id: int) -> None:
    now = datetime.now(UTC)
    rows = [{"project_id": project_id, "key": key, "group_id": group_id, "created_at": now} for key in keys]
    connection.execute(group_hashes.insert(), rows)


def create_group(state: StateDatabase, connection: Connection, event: NewGroup, slug: str) -> int:
    """Make a group with the next short id of its project, without keys; gives its id. In the caller's transaction."""
    insert = state.insert(projects).values(id=event.project_id, slug=slug, last_short_id=1)
    short_id = connection.execute(
        insert.on_conflict_do_update(
            index_elements=[projects.c.id],
            set_={"last_short_id": projects.c.last_short_id + 1, "slug": slug},
        ).returning(projects.c.last_short_id)
    ).scalar_one()
    return int(
        connection.execute(
            groups.insert()
            .values(
                project_id=event.project_id,
                short_id=short_id,
                title=event.title,
                culprit=event.culprit,
                level=event.level,
                platform=event.platform,
                type=event.type,
                metadata=dict(event.metadata),
                algorithm=event.algorithm,
                explanation=event.explanation() or None,
                created_at=datetime.now(UTC),
            )
            .returning(groups.c.id)
        ).scalar_one()
    )


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

    An event without a release cannot tell, and is none.
    """
    if resolved_in is None:
        return False
    found = [value for kind, value in counted.values if kind == "release"]
    first_seen = first_seen_releases(connection, project_id, [resolved_in, *found])
    return any(is_newer(release, resolved_in, first_seen) for release in found)


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
    insert = state.insert(group_days)
    least, most = (func.min, func.max) if state.is_sqlite else (func.least, func.greatest)
    added = insert.on_conflict_do_update(
        index_elements=[group_days.c.group_id, group_days.c.day],
        set_={
            "times_seen": group_days.c.times_seen + insert.excluded.times_seen,
            "first_seen": least(group_days.c.first_seen, insert.excluded.first_seen),
            "last_seen": most(group_days.c.last_seen, insert.excluded.last_seen),
        },
    )
    connection.execute(added, rows)


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
        insert = state.insert(group_values)
        added = insert.on_conflict_do_update(
            index_elements=list(group_values.primary_key.columns),
            set_={"times_seen": group_values.c.times_seen + insert.excluded.times_seen},
        )
        connection.execute(added, rows)
    return new_users


def _known_users(connection: Connection, users: Sequence[tuple[int, str]]) -> dict[int, int]:
    """How many of the users, given with their group, were seen in it before; by group."""
    known = func.count(func.distinct(group_values.c.value)).label("known")
    rows = connection.execute(
        select(group_values.c.group_id, known)
        .where(
            group_values.c.kind == "user", tuple_(group_values.c.group_id, group_values.c.value).in_(users)
        )
        .group_by(group_values.c.group_id)
    )
    return {row.group_id: row.known for row in rows}


def open_replacement(state: StateDatabase, day: date, arrival: int) -> str:
    """Note that a day is about to be replaced in the lake. The caller holds the lake's lock.

    `arrival` is the newest of symbol_arrivals before the new rows were computed.
    """
    replacement_id = uuid.uuid4().hex
    with state.write() as connection:
        connection.execute(
            replacements.insert().values(
                id=replacement_id, day=day, arrival=arrival, started_at=datetime.now(UTC)
            )
        )
    return replacement_id


def finish_replacements(state: StateDatabase, lake: Lake) -> list[date]:
    """Derive the counters of replaced days from the lake, for every replacement that is open. Gives the days.

    The caller holds the lake's lock. Derived, not added up: so doing it again after a crash changes nothing.
    """
    with state.read() as connection:
        rows = connection.execute(
            select(replacements.c.day, func.min(replacements.c.arrival))
            .where(replacements.c.done_at.is_(None))
            .group_by(replacements.c.day)
            .order_by(replacements.c.day)
        )
        opened = [(day, arrival) for day, arrival in rows]
    for day, arrival in opened:
        with state.write() as connection:
            _derive_day(state, connection, lake, day)
            if last_arrival(connection) > (arrival or 0):
                announce_again(state, connection, arrival or 0, _missed_symbols(lake, day))
            connection.execute(
                update(replacements)
                .where(replacements.c.day == day, replacements.c.done_at.is_(None))
                .values(done_at=datetime.now(UTC))
            )
    return [day for day, _ in opened]


def _missed_symbols(lake: Lake, day: date) -> set[Wanted]:
    rows = lake.query(
        "SELECT DISTINCT project_id, unnest(missing_symbols) AS key FROM lake.events WHERE day = ?", [day]
    )
    return {(row["project_id"], row["key"]) for row in rows}


def _derive_day(state: StateDatabase, connection: Connection, lake: Lake, day: date) -> None:
    before = set(connection.execute(select(group_days.c.group_id).where(group_days.c.day == day)).scalars())
    connection.execute(delete(group_days).where(group_days.c.day == day))
    connection.execute(delete(group_values).where(group_values.c.day == day))
    # Counters of batches that are not done come when they are.
    done = f"day = DATE '{day.isoformat()}' AND {outside_open_ranges(connection, day)}"
    for chunk in chunks(lake_days(lake, done)):
        connection.execute(group_days.insert(), list(chunk))
    for chunk in chunks(lake_values(lake, done)):
        connection.execute(group_values.insert(), list(chunk))
    _derive_batches(connection, lake, day)
    newest = lake_newest(lake, done)
    for group_id in sorted(before | newest.keys()):
        derive_group(connection, group_id, newest.get(group_id))


def lake_days(lake: Lake, where: str) -> list[dict[str, Any]]:
    """Rows of group_days from the events that meet a condition."""
    return lake.query(
        "SELECT group_id, day, count(*) AS times_seen, min(timestamp) AS first_seen, max(timestamp) AS last_seen "
        f"FROM lake.events WHERE {where} GROUP BY group_id, day ORDER BY group_id, day"
    )


def lake_newest(lake: Lake, where: str) -> dict[int, dict[str, Any]]:
    """What people see of the newest event of each group, its `timestamp` and its place."""
    rows = lake.query(
        "SELECT group_id, max(timestamp) AS timestamp, arg_max({'title': title, 'culprit': culprit, 'level': level, "
        "'type': exception_type, 'value': exception_value, 'day': day, 'part': part, 'position': position, "
        "'item': item}, (timestamp, day, part, position, item)) AS shown "
        f"FROM lake.events WHERE {where} GROUP BY group_id"
    )
    return {row["group_id"]: {"timestamp": row["timestamp"], **row["shown"]} for row in rows}


def lake_values(lake: Lake, where: str) -> list[dict[str, Any]]:
    """Rows of group_values from the events that meet a condition."""
    parts = " UNION ALL ".join(
        f"SELECT group_id, '{kind}' AS kind, {column}[:{VALUE_LENGTH}] AS value, day FROM lake.events "
        f"WHERE coalesce({column}, '') <> '' AND {where}"
        for kind, column in zip(VALUE_KINDS, ("user_key", "release", "environment"), strict=True)
    )
    return lake.query(
        f"SELECT group_id, kind, value, day, count(*) AS times_seen FROM ({parts}) GROUP BY ALL ORDER BY ALL"
    )


def _derive_batches(connection: Connection, lake: Lake, day: date) -> None:
    """Counts per batch: its outcome rows carry the first position of its range."""
    rows = lake.query(
        "SELECT part, position, outcome, sum(quantity)::BIGINT AS quantity FROM lake.outcomes WHERE day = ? "
        "AND outcome IN ('stored', 'duplicate', 'filtered', 'discarded', 'invalid') GROUP BY ALL",
        [day],
    )
    counts: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts[row["part"], row["position"]][row["outcome"]] = row["quantity"]
    for (part, position), found in counts.items():
        values = {name: found.get(name, 0) for name in COUNTS}
        connection.execute(
            update(batches)
            .where(
                batches.c.day == day,
                batches.c.part == part,
                batches.c.first_position == position,
                batches.c.status == "done",
            )
            .values(items=sum(values.values()), **values)
        )


def derive_group(connection: Connection, group_id: int, newest: Mapping[str, Any] | None) -> None:
    """Counters from the group's days; what people see of it from `newest`, if no other day has a newer event."""
    days = connection.execute(
        select(
            func.coalesce(func.sum(group_days.c.times_seen), 0).label("times_seen"),
            func.min(group_days.c.first_seen).label("first_seen"),
            func.max(group_days.c.last_seen).label("last_seen"),
        ).where(group_days.c.group_id == group_id)
    ).one()
    users = connection.execute(
        select(func.count(func.distinct(group_values.c.value))).where(
            group_values.c.group_id == group_id, group_values.c.kind == "user"
        )
    ).scalar_one()
    values = {**days._mapping, "users": users}
    if newest is not None and newest["timestamp"] == days.last_seen:
        values |= {name: newest[name] for name in ("title", "culprit", "level")}
        known = connection.execute(select(groups.c.metadata).where(groups.c.id == group_id)).scalar_one()
        values["metadata"] = known | {n: newest[n] for n in ("type", "value") if newest[n] is not None}
    connection.execute(update(groups).where(groups.c.id == group_id).values(values))


def list_groups(
    state: StateDatabase,
    slugs: Mapping[int, str],
    *,
    project_id: int | None = None,
    status: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Groups as people see them, last seen first, without those that no event belongs to: empty or merged ones.

    Of discarded groups no events are kept; those are listed when they are asked for by their status.
    """
    seen = and_(groups.c.times_seen > 0, groups.c.merged_into.is_(None), groups.c.status != Status.DISCARDED)
    query = select(groups).where(groups.c.status == status if status == Status.DISCARDED else seen)
    if project_id is not None:
        query = query.where(groups.c.project_id == project_id)
    if status is not None:
        query = query.where(groups.c.status == status)
    return _shown(state, query.order_by(groups.c.last_seen.desc(), groups.c.id).limit(limit), slugs)


def find_group(
    state: StateDatabase,
    slugs: Mapping[int, str],
    *,
    group_id: int | None = None,
    short_id: tuple[str, int] | None = None,
) -> dict[str, Any] | None:
    """One group by id, or by (project slug, number); None when there is none."""
    query = select(groups)
    if group_id is not None:
        query = query.where(groups.c.id == group_id)
    elif short_id is not None:
        slug, number = short_id
        ids = [project_id for project_id, name in slugs.items() if name == slug]
        if not ids and slug.isdecimal():  # how a project is shown that is not configured any more
            ids = [int(slug)]
        query = query.where(groups.c.project_id.in_(ids), groups.c.short_id == number)
    found = _shown(state, query, slugs)
    return found[0] if found else None


def short_ids(state: StateDatabase, slugs: Mapping[int, str], group_ids: Iterable[int]) -> dict[int, str]:
    """The short id of each of these groups."""
    found: dict[int, str] = {}
    with state.read() as connection:
        for chunk in chunks(sorted(set(group_ids))):
            rows = connection.execute(
                select(groups.c.id, groups.c.project_id, groups.c.short_id).where(groups.c.id.in_(chunk))
            )
            found.update(
                {r.id: format_short_id(slugs.get(r.project_id, str(r.project_id)), r.short_id) for r in rows}
            )
    return found


def group_value_counts(
    state: StateDatabase, group_id: int, limit: int = 10
) -> dict[str, list[tuple[str, int]]]:
    """The most frequent users, releases and environments of a group, with their numbers of events."""
    total = func.sum(group_values.c.times_seen)
    result: dict[str, list[tuple[str, int]]] = {}
    with state.read() as connection:
        for kind in VALUE_KINDS:
            rows = connection.execute(
                select(group_values.c.value, total)
                .where(group_values.c.group_id == group_id, group_values.c.kind == kind)
                .group_by(group_values.c.value)
                .order_by(total.desc(), group_values.c.value)
                .limit(limit)
            )
            result[kind] = [(row[0], int(row[1])) for row in rows]
    return result


def group_explanation(state: StateDatabase, group_id: int) -> dict[str, Any] | None:
    """Why the first event of a group was grouped as it was; None for groups of before that was kept."""
    with state.read() as connection:
        query = select(groups.c.explanation).where(groups.c.id == group_id)
        explanation: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
    return explanation


def group_day_counts(state: StateDatabase, group_id: int) -> list[tuple[date, int]]:
    """Events per day of receipt, oldest first."""
    with state.read() as connection:
        rows = connection.execute(
            select(group_days.c.day, group_days.c.times_seen)
            .where(group_days.c.group_id == group_id)
            .order_by(group_days.c.day)
        )
        return [(row.day, row.times_seen) for row in rows]


def _shown(state: StateDatabase, query: Select[Any], slugs: Mapping[int, str]) -> list[dict[str, Any]]:
    with state.read() as connection:
        rows = connection.execute(query).all()
    shown = []
    for row in rows:
        slug = slugs.get(row.project_id, str(row.project_id))
        values = {
            "id": row.id,
            "short_id": format_short_id(slug, row.short_id),
            "project": slug,
            "title": row.title,
            "culprit": row.culprit,
            "level": row.level,
            "status": row.status,
            "times_seen": row.times_seen,
            "users": row.users,
            "first_seen": row.first_seen,
            "last_seen": row.last_seen,
            "platform": row.platform,
            "type": row.type,
            "metadata": row.metadata,
            "project_id": row.project_id,
            "status_changed_at": row.status_changed_at,
            "ignored_until": row.ignored_until,
            "ignored_until_times_seen": row.ignored_until_times_seen,
            "ignored_until_users": row.ignored_until_users,
            "resolved_in_release": row.resolved_in_release,
            "assignee": row.assignee,
            "merged_into": row.merged_into,
        }
        shown.append(values)
    return shown
