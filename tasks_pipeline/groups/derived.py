"""Counters of groups and batches derived from the lake again, after a day was replaced or events changed their group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, update

from tasks_pipeline.groups.counting import VALUE_KINDS, VALUE_LENGTH
from tasks_pipeline.storage.state.tables import group_days, group_values, groups

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake


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
