"""Tables and series of all events: fields, figures grouped by fields, and how many there were in each stretch of a period."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tasks_pipeline.groups.lists import short_ids
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.events import EventQuery, events_condition
from tasks_pipeline.reading.events_where import Sql, joined
from tasks_pipeline.reading.fields import Field, NoSuchField
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.lake import ReadLake
from tasks_pipeline.reading.tree import Node

MOST_FIELDS, MOST_POINTS, MOST_GROUPS = 30, 10_000, 20
_AHEAD = timedelta(minutes=1)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TableQuery:
    """What a table is asked: of which events, which fields, in which order (fields, whether descending), which rows of it."""

    tree: Node
    period: Period
    fields: Sequence[Field]
    order: Sequence[tuple[Field, bool]] = ()
    limit: int = 50
    offset: int = 0


def read_table(asked: Asked, lake: ReadLake, wanted: TableQuery) -> list[Row]:
    """Rows by names of fields. With a figure among them, the others are what it is grouped by. Raises QueryError and NoSuchField."""
    if len(wanted.fields) > MOST_FIELDS:
        raise NoSuchField(f"at most {MOST_FIELDS} fields can be asked for")
    where = _where(asked, wanted.tree, wanted.period)
    grouped = any(field.of_many for field in (*wanted.fields, *(field for field, _ in wanted.order)))
    selected = [
        Sql(f'{field.sql.text} AS "c{n}"', field.sql.parameters) for n, field in enumerate(wanted.fields)
    ]
    by = [str(n) for n, field in enumerate(wanted.fields, 1) if not field.of_many]
    order = _order(wanted, grouped)
    parts = [
        Sql("SELECT"), _listed(selected), Sql("FROM lake.events WHERE"), where,
        Sql(f"GROUP BY {', '.join(by)}" if grouped and by else ""),
        Sql("ORDER BY"), order, Sql("LIMIT ? OFFSET ?", (wanted.limit, wanted.offset)),
    ]  # fmt: skip
    rows = lake.query(" ".join(part.text for part in parts), [p for part in parts for p in part.parameters])
    return _shown(asked, wanted.fields, rows)


def _order(wanted: TableQuery, grouped: bool) -> Sql:
    found = []
    for field, descending in wanted.order:
        if grouped and not field.of_many and field not in wanted.fields:
            raise NoSuchField(f"sort: {field.name} is not among the fields")
        found.append(
            Sql(f"{field.sql.text} {'DESC' if descending else 'ASC'} NULLS LAST", field.sql.parameters)
        )
    if not grouped:
        found += [Sql("timestamp DESC"), Sql("event_id DESC")]
    else:  # of equals what happened last; so that pages hide nothing
        found += [
            Sql("max(timestamp) DESC"),
            *(Sql(f"{n}") for n, field in enumerate(wanted.fields, 1) if not field.of_many),
        ]
    return _listed(found)


def _listed(parts: Sequence[Sql]) -> Sql:
    return Sql(", ".join(part.text for part in parts), tuple(p for part in parts for p in part.parameters))


def _where(asked: Asked, tree: Node, period: Period) -> Sql:
    condition = events_condition(asked, EventQuery(tree=tree, period=period), upwards=False)
    return joined((Sql("day >= ?", ((period.since - _AHEAD).date(),)), condition), " AND ")


def _shown(asked: Asked, fields: Sequence[Field], rows: Sequence[Row]) -> list[Row]:
    named: Mapping[int, str] = {}
    for n, field in enumerate(fields):
        if field.shown == "issue":
            named = short_ids(asked.state, asked.slugs, {row[f"c{n}"] for row in rows})

    def shown(field: Field, value: Any) -> Any:
        match field.shown:
            case "issue":
                return named.get(value, "")
            case "project":
                return asked.slugs.get(value, str(value))
            case "unhandled":
                return value is False
        return value

    return [{field.name: shown(field, row[f"c{n}"]) for n, field in enumerate(fields)} for row in rows]


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """What a series is asked: figures, of stretches of `every`; by fields, of the `most` values with the most events."""

    tree: Node
    period: Period
    figures: Sequence[Field]
    every: timedelta
    by: Sequence[Field] = ()
    most: int = 5


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of each stretch, in the order in which they were asked for; `by`: the values of the fields."""

    by: tuple[Any, ...]
    values: Sequence[Sequence[Any]]


def stretches(period: Period, every: timedelta) -> list[datetime]:
    """When the stretches of a period begin, whole ones since 1970. Raises NoSuchField when they are too many."""
    seconds = int(every.total_seconds())
    first = int(period.since.timestamp()) // seconds * seconds
    count = -(-(period.until.timestamp() - first) // seconds)
    if count > MOST_POINTS:
        raise NoSuchField(f"these are {count:,.0f} intervals, {MOST_POINTS:,} are allowed: take a longer one")
    begin = datetime.fromtimestamp(first, period.since.tzinfo)
    return [begin + n * every for n in range(int(count))]


def read_series(asked: Asked, lake: ReadLake, wanted: SeriesQuery) -> list[Series]:
    """Series, of what most events are of first; without `by` the one of all. Raises QueryError and NoSuchField."""
    begins = stretches(wanted.period, wanted.every)
    where = _where(asked, wanted.tree, wanted.period)
    keys = _top(lake, where, wanted) if wanted.by else [()]
    seconds = int(wanted.every.total_seconds())
    selected = [
        Sql(f"(epoch(timestamp)::BIGINT // {seconds}) * {seconds} AS stretch"),
        *(Sql(f'{field.sql.text} AS "b{n}"', field.sql.parameters) for n, field in enumerate(wanted.by)),
        *(Sql(f'{field.sql.text} AS "f{n}"', field.sql.parameters) for n, field in enumerate(wanted.figures)),
    ]
    grouping = ", ".join(str(n) for n in range(1, len(wanted.by) + 2))
    parts = [
        Sql("SELECT"),
        _listed(selected),
        Sql("FROM lake.events WHERE"),
        where,
        Sql(f"GROUP BY {grouping}"),
    ]
    rows = lake.query(" ".join(part.text for part in parts), [p for part in parts for p in part.parameters])
    found: dict[tuple[Any, ...], dict[int, list[Any]]] = {key: {} for key in keys}
    for row in rows:
        key = tuple(row[f"b{n}"] for n in range(len(wanted.by)))
        if key in found:
            found[key][row["stretch"]] = [row[f"f{n}"] for n in range(len(wanted.figures))]
    nothing = [0 if field.kind != "date" else None for field in wanted.figures]
    return [
        Series(
            _named(asked, wanted.by, key),
            [found[key].get(int(begin.timestamp()), nothing) for begin in begins],
        )
        for key in keys
    ]


def _top(lake: ReadLake, where: Sql, wanted: SeriesQuery) -> list[tuple[Any, ...]]:
    columns = _listed(
        [Sql(f'{field.sql.text} AS "b{n}"', field.sql.parameters) for n, field in enumerate(wanted.by)]
    )
    numbers = ", ".join(str(n) for n in range(1, len(wanted.by) + 1))
    rows = lake.query(
        f"SELECT {columns.text} FROM lake.events WHERE {where.text} GROUP BY {numbers} ORDER BY count(*) DESC, {numbers} LIMIT ?",
        [*columns.parameters, *where.parameters, min(wanted.most, MOST_GROUPS)],
    )
    return [tuple(row[f"b{n}"] for n in range(len(wanted.by))) for row in rows]


def _named(asked: Asked, by: Sequence[Field], key: tuple[Any, ...]) -> tuple[Any, ...]:
    (row,) = _shown(asked, by, [{f"c{n}": value for n, value in enumerate(key)}])
    return tuple(row[field.name] for field in by)
