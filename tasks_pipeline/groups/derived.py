"""Counters of groups derived from the lake again, after a day was replaced or events changed their group.

What the lake holds and what was counted is read outside of any transaction that writes, and only what differs is
written, in small ones: nobody else counts events meanwhile, since the caller holds the lake's lock. A process that dies
in between leaves groups that are right and groups that are not yet, and whoever derives again comes to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    not_,
    null,
    select,
    update,
)

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import GroupCreated
from tasks_pipeline.groups.counting import VALUE_KINDS, VALUE_LENGTH
from tasks_pipeline.groups.days import GroupReleases, place_text, releases_of_days, shown_since
from tasks_pipeline.groups.hours import lake_hours
from tasks_pipeline.protocol.release import SEARCH_WORD
from tasks_pipeline.storage.lake.asked import Asked
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.day_changes import Reason, note_day_changes
from tasks_pipeline.storage.state.removals import removed_days
from tasks_pipeline.storage.state.tables import group_days, group_hours, group_values, groups

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake

T = TypeVar("T")
Newest = Mapping[str, Any]
GroupDay = tuple[int, date]
"""A group and a day of receipt."""
WRITTEN_ROWS = 10_000  # in one transaction: a tenth of a second of everybody's time
EVENTS_LOOKED_AT = 50_000  # of groups that are compared together: their users are in memory
GROUPS_LOOKED_AT = 500


def lake_days(lake: Lake, where: str) -> list[dict[str, Any]]:
    """Rows of group_days from the events that meet a condition."""
    # In structs, since what is NULL would be passed over: an event without a release may be the earliest.
    place, order = "'part': part, 'position': position, 'item': item", "(timestamp, part, position, item)"
    # As counted, words that can be no release are none; of those this one alone can be that of an event.
    is_one = f"coalesce(release, '') <> '' AND lower(release) <> '{SEARCH_WORD}'"
    release = f"CASE WHEN {is_one} THEN release[:{VALUE_LENGTH}] END"
    rows = lake.query(
        "SELECT group_id, day, count(*) AS times_seen, min(timestamp) AS first_seen, max(timestamp) AS last_seen, "
        f"arg_min({{{place}, 'release': {release}}}, {order}) AS first, "
        f"arg_max({{{place}, 'release': {release}, 'at': timestamp}}, {order}) "
        f"FILTER ({is_one}) AS last "
        f"FROM lake.events WHERE {where} GROUP BY group_id, day ORDER BY group_id, day"
    )
    return [_day_row(row) for row in rows]


def _day_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row of group_days, whose first and last event are structs in the lake's."""
    first, last = row.pop("first"), row.pop("last")
    return row | {
        "first_release": first["release"],
        "first_place": _place(first),
        "last_release": last and last["release"],
        "last_release_at": last and last["at"],
        "last_release_place": last and _place(last),
    }


def _place(event: Mapping[str, Any]) -> str:
    return place_text((event["part"], event["position"], event["item"]))


def lake_newest(lake: Asked, where: str) -> dict[int, dict[str, Any]]:
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


def derive_counters(
    state: StateDatabase,
    lake: Lake,
    where: str,
    why: Reason,
    *,
    day: date | None = None,
    group_ids: Collection[int] | None = None,
    metadata_of: Callable[[Lake, Newest], Mapping[str, Any] | None] | None = None,
) -> set[int]:
    """Make the counters of groups, and what people see of them, follow from the events that meet a condition.

    Of one `day`, or of all; of these groups, or of all that the day has or had. `metadata_of` gives the metadata of a
    group from its newest event; without it type and value are taken over. Gives the groups that were looked at. Days of which
    retention took events keep what was counted of them. The caller holds the lake's lock. `why` is noted for days whose figures of groups change by it beside those of events: see `shown_since`.
    """
    scoped = where if group_ids is None else f"{where} AND {_among(group_ids)}"
    days = {(row["group_id"], row["day"]): row for row in lake_days(lake, scoped)}
    with state.read() as connection:
        counted = _counted_days(connection, day, group_ids)
        kept = _kept_days(connection, {*days, *counted})
    days = {key: row for key, row in days.items() if key not in kept}
    counted = {key: row for key, row in counted.items() if key not in kept}
    events: dict[int, int] = dict.fromkeys((group_id for group_id, _ in counted), 0)
    events |= dict.fromkeys(group_ids or (), 0)
    for (group_id, _), row in days.items():
        events[group_id] = events.get(group_id, 0) + row["times_seen"]
    for some in _together(events):
        of_these = frozenset(some)
        _derive(
            state,
            lake,
            f"{where} AND {_among(some)}",
            why,
            day,
            some,
            {key: row for key, row in days.items() if key[0] in of_these},
            {key: row for key, row in counted.items() if key[0] in of_these},
            {key for key in kept if key[0] in of_these},
            metadata_of,
        )
    return set(events)


def _kept_days(connection: Connection, keys: Collection[GroupDay]) -> set[GroupDay]:
    """Those of the groups' days of which retention took events: they are not counted again from less."""
    if not keys:
        return set()
    days = [on for _, on in keys]
    removed = removed_days(connection, "events", min(days), max(days))
    among = sorted({group_id for group_id, on in keys if on in removed.projects})
    projects: dict[int, int] = {}
    for some in chunks(among):
        rows = connection.execute(select(groups.c.id, groups.c.project_id).where(groups.c.id.in_(some)))
        projects |= dict(rows.tuples().all())
    return {key for key in keys if key[0] in projects and removed.has(key[1], projects[key[0]])}


def _derive(
    state: StateDatabase,
    lake: Lake,
    where: str,
    why: Reason,
    day: date | None,
    group_ids: Sequence[int],
    days: Mapping[tuple[int, date], Mapping[str, Any]],
    counted: Mapping[tuple[int, date], Mapping[str, Any]],
    kept: Collection[GroupDay],
    metadata_of: Callable[[Lake, Newest], Mapping[str, Any] | None] | None,
) -> None:
    """Some groups: days come before values and hours and go after them, so that a day is known of as long as it has some."""
    apart = [
        _differences(state, table, rows, day, group_ids, kept)
        for table, rows in ((group_values, lake_values(lake, where)), (group_hours, lake_hours(lake, where)))
    ]
    newest = lake_newest(lake, where)
    metadata = (
        {group_id: metadata_of(lake, shown) for group_id, shown in newest.items()} if metadata_of else {}
    )
    _put(state, group_days, [dict(row) for key, row in days.items() if counted.get(key) != row])
    for each in apart:
        _put(state, each.table, each.wrong)
        _remove(state, each.table, each.stale)
    lost = sorted(counted.keys() - days.keys())
    gone = [{"group_id": group_id, "day": on} for group_id, on in lost]
    if day is None:  # whoever derives again names the same groups
        _remove(state, group_days, gone)
        gone = []
    with state.read() as connection:
        found = list(_totals(connection, group_ids, day, [group_id for group_id, _ in lost]))
        rows = [_totals_row(row, newest, metadata) for row in found]
        turned = [row for row in found if (row["times_seen"] == 0) != (row["was_seen"] == 0)]
        told_on = shown_since(connection, [row["id"] for row in turned])
    with state.write() as connection:
        # With the totals, or not at all: of a group that has no such day any more nobody would know that they are old.
        _delete(connection, group_days, gone)
        for shown in (True, False):
            if some := [row for row in rows if ("title" in row) is shown]:
                connection.execute(_new_totals, some)
        note_day_changes(state, connection, told_on, why, datetime.now(UTC))
        _record_created(state, connection, found, rows)


@dataclass(frozen=True, slots=True)
class _Differences:
    """Rows of a table that are to be as these, and keys of rows that are to go."""

    table: Table
    wrong: list[dict[str, Any]]
    stale: list[dict[str, Any]]


def _differences(
    state: StateDatabase,
    table: Table,
    rows: Iterable[Mapping[str, Any]],
    day: date | None,
    group_ids: Sequence[int],
    kept: Collection[GroupDay],
) -> _Differences:
    """Between what was counted of groups and what events say, in a table of `times_seen` by group and day; other days than `kept` ones."""
    names = [column.name for column in table.primary_key.columns]
    right = {tuple(row[name] for name in names): row["times_seen"] for row in rows}
    with state.read() as connection:
        counted = dict(_counted_by_key(connection, table, day, group_ids))

    def differing(keys: Iterable[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
        for key in keys:
            named = dict(zip(names, key, strict=True))
            if (named["group_id"], named["day"]) not in kept:
                yield named

    wrong = differing(key for key, n in right.items() if counted.get(key) != n)
    return _Differences(
        table,
        [named | {"times_seen": right[tuple(named.values())]} for named in wrong],
        list(differing(sorted(counted.keys() - right.keys()))),
    )


def _record_created(
    state: StateDatabase,
    connection: Connection,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
) -> None:
    """Record groups that have their first events by this: what they were counted from is not at hand any more."""
    now = datetime.now(UTC)
    record_all(
        state,
        connection,
        [
            Happened(
                GroupCreated(
                    group=row["id"],
                    level=values.get("level", row["level"]),
                    platform=row["platform"],
                    release=row["releases"].first,
                ),
                now,
                row["project_id"],
            )
            for row, values in zip(before, after, strict=True)
            if not row["counted"] and values["last_seen"] is not None
        ],
    )


_other_first = groups.c.first_release.is_distinct_from(bindparam("first", type_=String))
_new_totals = (
    update(groups)
    .where(groups.c.id == bindparam("group"))
    # Suspects are those of the first release.
    .values(suspects_at=case((_other_first, null()), else_=groups.c.suspects_at))
)


def _totals_row(
    row: Mapping[str, Any], newest: Mapping[int, Newest], metadata: Mapping[int, Mapping[str, Any] | None]
) -> dict[str, Any]:
    """New values of a group's row, whose id is `group`; what people see of it, if no other day has a newer event."""
    group_id = row["id"]
    values = {"group": group_id, **{n: row[n] for n in ("times_seen", "users", "first_seen", "last_seen")}}
    values |= row["releases"].columns | {"first": row["releases"].first}
    shown = newest.get(group_id)
    if shown is None or (shown["timestamp"] != row["last_seen"] and group_id not in metadata):
        return values
    values |= {name: shown[name] for name in ("title", "culprit", "level")}
    taken_over = row["metadata"] | {n: shown[n] for n in ("type", "value") if shown[n] is not None}
    return values | {"metadata": metadata.get(group_id) or taken_over}


def _totals(
    connection: Connection, group_ids: Sequence[int], day: date | None, without: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """id, project_id, level, platform, metadata, times_seen, users, first_seen, last_seen and releases of groups, from what was
    counted of their days; of those in `without` the `day` is about to go. `was_seen` is their times_seen as it stands,
    `counted` whether events of them were counted before."""
    stays = not_(and_(group_days.c.day == day, group_days.c.group_id.in_(without)))
    releases = releases_of_days(connection, group_ids, stays)
    of_days = {
        row.group_id: row._mapping
        for row in connection.execute(
            select(
                group_days.c.group_id,
                func.sum(group_days.c.times_seen).label("times_seen"),
                func.min(group_days.c.first_seen).label("first_seen"),
                func.max(group_days.c.last_seen).label("last_seen"),
            )
            .where(
                group_days.c.group_id.in_(group_ids),
                stays,
            )
            .group_by(group_days.c.group_id)
        )
    }
    each = (
        select(group_values.c.group_id, group_values.c.value)
        .where(group_values.c.group_id.in_(group_ids), group_values.c.kind == "user")
        .distinct()
        .subquery()
    )
    counts = select(each.c.group_id, func.count()).group_by(each.c.group_id)
    users = {row[0]: int(row[1]) for row in connection.execute(counts)}
    shown = ("id", "project_id", "level", "platform", "metadata", "last_seen", "times_seen")
    columns = [groups.c[name] for name in shown]
    known = select(*columns).where(groups.c.id.in_(group_ids)).order_by(groups.c.id)
    for row in connection.execute(known):
        found = of_days.get(row.id)
        yield {
            "id": row.id,
            "project_id": row.project_id,
            "level": row.level,
            "platform": row.platform,
            "metadata": row.metadata,
            "counted": row.last_seen is not None,
            "was_seen": row.times_seen,
            "times_seen": int(found["times_seen"]) if found else 0,
            "users": users.get(row.id, 0),
            "first_seen": found["first_seen"] if found else None,
            "last_seen": found["last_seen"] if found else None,
            "releases": releases.get(row.id, GroupReleases()),
        }


def _counted_days(
    connection: Connection, day: date | None, group_ids: Collection[int] | None
) -> dict[tuple[int, date], Mapping[str, Any]]:
    found: dict[tuple[int, date], Mapping[str, Any]] = {}
    for condition in _scopes(group_days, day, group_ids):
        rows = connection.execute(select(group_days).where(condition))
        found |= {(row.group_id, row.day): dict(row._mapping) for row in rows}
    return found


def _counted_by_key(
    connection: Connection, table: Table, day: date | None, group_ids: Collection[int]
) -> Iterator[tuple[tuple[Any, ...], int]]:
    for condition in _scopes(table, day, group_ids):
        for *key, n in connection.execute(
            select(*table.primary_key.columns, table.c.times_seen).where(condition)
        ):
            yield tuple(key), n


def _scopes(
    table: Table, day: date | None, group_ids: Collection[int] | None
) -> Iterator[ColumnElement[bool]]:
    """Conditions that together mean a day, or all, of these groups, or of all."""
    of_day = [] if day is None else [table.c.day == day]
    if group_ids is None:
        yield and_(*of_day)
        return
    for some in chunks(sorted(group_ids)):
        yield and_(*of_day, table.c.group_id.in_(some))


def _put(state: StateDatabase, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    insert = state.insert(table)
    keys = list(table.primary_key.columns)
    others = {c.name: insert.excluded[c.name] for c in table.columns if not c.primary_key}
    put = insert.on_conflict_do_update(index_elements=keys, set_=others)
    for some in _pieces(rows, WRITTEN_ROWS):
        with state.write() as connection:
            connection.execute(put, some)


def _remove(state: StateDatabase, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    for some in _pieces(list(rows), WRITTEN_ROWS):
        with state.write() as connection:
            _delete(connection, table, some)


def _delete(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        named = and_(*(column == bindparam(f"old_{column.name}") for column in table.primary_key.columns))
        connection.execute(
            delete(table).where(named), [{f"old_{n}": value for n, value in row.items()} for row in rows]
        )


def _pieces(rows: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _together(events: Mapping[int, int]) -> Iterator[list[int]]:
    """Groups in order, as many at a time as have EVENTS_LOOKED_AT events; one that has more is alone."""
    some: list[int] = []
    size = 0
    for group_id, count in sorted(events.items()):
        if some and (size + count > EVENTS_LOOKED_AT or len(some) == GROUPS_LOOKED_AT):
            yield some
            some, size = [], 0
        some.append(group_id)
        size += count
    if some:
        yield some


def _among(group_ids: Iterable[int]) -> str:
    return f"group_id IN ({', '.join(str(int(group_id)) for group_id in sorted(group_ids)) or 'NULL'})"
