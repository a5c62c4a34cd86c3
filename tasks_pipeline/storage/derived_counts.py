"""Counters of groups and batches derived from the lake again, after a day was replaced or events changed their group."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, update

from tasks_pipeline.storage.arrivals import Wanted, announce_again, last_arrival
from tasks_pipeline.storage.group_counts import VALUE_KINDS, VALUE_LENGTH
from tasks_pipeline.storage.ledger.batches import COUNTS, outside_open_ranges
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import batches, group_days, group_values, groups, replacements

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake


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
