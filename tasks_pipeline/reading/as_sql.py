"""What lists show as statements for `tasks-pipeline sql`: over `state` and `lake`, with their values in them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.dialects import postgresql

from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.events import EventQuery, events_condition
from tasks_pipeline.reading.events_where import Sql, events_where, joined, of_event
from tasks_pipeline.reading.filtered import Period, group_ids, parts_of, period_where
from tasks_pipeline.reading.group_list import SORTS, asks_events
from tasks_pipeline.reading.groups_where import groups_where, shown_groups
from tasks_pipeline.reading.parse import QueryError
from tasks_pipeline.reading.tree import Node, positive
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups

COLUMNS = (
    "id", "project_id", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen", "assignee", "first_release",
    "last_release",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _AsInDuckDB:
    """In the place of the state database, for conditions without what only SQLite understands."""

    is_sqlite: bool = False


def groups_as_sql(asked: Asked, tree: Node, sort: str, period: Period | None) -> str:
    """The statement that gives the groups of a list, in its order. Raises QueryError."""
    if not asks_events(tree, period):
        return f"{_written(_groups(asked, tree).order_by(groups.c[SORTS[sort]].desc(), groups.c.id.desc()))};"
    if period is None:
        raise QueryError("this asks events: a period has to be given", 0)
    parts = parts_of(tree)
    with asked.state.read() as connection:
        condition = events_where(
            connection,
            asked,
            parts.of_events,
            of_event,
            lambda leaf: group_ids(connection, asked, positive(leaf)),
        )
    where = joined((period_where(asked, period), condition), " AND ")
    counted = (
        "  SELECT group_id, count(*) AS times_seen, approx_count_distinct(user_key) AS users,\n"
        "         min(timestamp) AS first_seen, max(timestamp) AS last_seen\n"
        f"  FROM lake.events\n  WHERE {literal_sql(where)}\n  GROUP BY group_id"
    )
    return (
        "SELECT g.id, g.project_id, g.title, f.times_seen, f.users, f.first_seen, f.last_seen, g.times_seen AS of_all\n"
        f"FROM (\n{counted}\n) f\nJOIN (\n  {_written(_groups(asked, parts.of_groups))}\n) g ON g.id = f.group_id\n"
        f"ORDER BY f.{SORTS[sort]} DESC, g.id DESC;"
    )


def events_as_sql(asked: Asked, wanted: EventQuery) -> str:
    """The statement that gives the events of a list. Raises QueryError."""
    where = literal_sql(events_condition(asked, replace(wanted, cursor=None), upwards=wanted.oldest))
    order = "ASC" if wanted.oldest else "DESC"
    return (
        "SELECT event_id, timestamp, received_at, level, title, environment, release, user_key, transaction, server_name, tags\n"
        f"FROM lake.events\nWHERE {where}\nORDER BY day {order}, timestamp {order}, event_id {order};"
    )


def _groups(asked: Asked, tree: Node) -> Select[Any]:
    plain = replace(asked, state=cast(StateDatabase, _AsInDuckDB()))
    with asked.state.read() as connection:
        conditions: list[ColumnElement[bool]] = [
            shown_groups(plain, tree),
            groups_where(connection, plain, tree),
        ]
    return select(*(groups.c[name] for name in COLUMNS)).where(*conditions)


def _written(query: Select[Any]) -> str:
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    dialect._backslash_escapes = False
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def literal_sql(condition: Sql) -> str:
    """A condition with its values in the place of their marks."""
    values = iter(condition.parameters)
    return re.sub(r"\?", lambda _: _literal(next(values)), condition.text)


def _literal(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case datetime():
            return f"TIMESTAMPTZ '{value.astimezone(UTC).isoformat()}'"
        case date():
            return f"DATE '{value.isoformat()}'"
        case list() | tuple():
            return f"[{', '.join(map(_literal, value))}]"
    return "'" + str(value).replace("'", "''") + "'"
