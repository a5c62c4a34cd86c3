"""Facts on their way to the lake: what waits, what a batch takes, and what is done. Going there is in `analytics/`.

A row waits while it has `data`. A batch is the rows that have its number in `stored_in`, and that number is the first of theirs:
so it is chosen once, whoever dies, and a row that becomes visible later with a smaller number is of another batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, func, null, select, update

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.tables import analytics_dead, analytics_outbox

DEAD = 0
"""Batch of rows that could not be stored."""
COUNTED = 10_000

_o = analytics_outbox.c
_WAITS = _o.data.is_not(None)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Facts that are not in the lake yet: how many, COUNTED at most, and since when the first is recorded."""

    count: int
    oldest: datetime | None


def waiting_facts(connection: Connection) -> Waiting:
    """What waits. Asked by a schedule: a look into the index of what waits."""
    first = connection.execute(select(_o.at).where(_WAITS).order_by(_o.stored_in, _o.id).limit(1)).scalar()
    if first is None:
        return Waiting(0, None)
    some = select(_o.id).where(_WAITS).limit(COUNTED).subquery()
    return Waiting(int(connection.execute(select(func.count()).select_from(some)).scalar_one()), first)


@dataclass(frozen=True, slots=True)
class FactBatch:
    """Rows that go to the lake together; `again`: an earlier process had taken them, and may have stored them."""

    number: int
    rows: Sequence[Mapping[str, Any]]
    again: bool


def take_batch(state: StateDatabase, limit: int) -> FactBatch | None:
    """The batch that was left open, or the next rows that wait as one; None when nothing waits. One process at a time."""
    with state.write() as connection:
        opened = select(_o.stored_in).where(_WAITS, _o.stored_in.is_not(None))
        number = connection.execute(opened.order_by(_o.stored_in).limit(1)).scalar()
        again = number is not None
        if number is None:
            number = _claim(connection, limit)
        if number is None:
            return None
        rows = connection.execute(
            select(analytics_outbox).where(_WAITS, _o.stored_in == number).order_by(_o.id)
        ).mappings()
        return FactBatch(number, [dict(row) for row in rows], again)


def _claim(connection: Connection, limit: int) -> int | None:
    waits = _WAITS, _o.stored_in.is_(None)
    ids: list[int] = list(
        connection.execute(select(_o.id).where(*waits).order_by(_o.id).limit(limit)).scalars()
    )
    if not ids:
        return None
    these = update(analytics_outbox).where(*waits, _o.id.between(ids[0], ids[-1]))
    connection.execute(these.values(stored_in=ids[0]))
    return ids[0]


def finish_batch(
    state: StateDatabase,
    batch: FactBatch,
    dead: Collection[Mapping[str, Any]],
    days: Iterable[date],
    now: datetime,
) -> None:
    """Note that the rows of a batch are in the lake, apart from the `dead` (rows of the outbox, with an `error`), whose days'
    figures have changed by that."""
    with state.write() as connection:
        if dead:
            rows = [
                {"type": row["type"], "data": row["data"], "error": row["error"], "at": now} for row in dead
            ]
            connection.execute(analytics_dead.insert(), rows)
            for some in chunks([row["id"] for row in dead]):
                buried = update(analytics_outbox).where(_o.id.in_(some))
                connection.execute(buried.values(data=null(), stored_in=DEAD))
        done = update(analytics_outbox).where(_WAITS, _o.stored_in == batch.number)
        connection.execute(done.values(data=null()))
        note_day_changes(state, connection, days, "facts", now)


def stored_by_batch(connection: Connection, begin: datetime, end: datetime) -> dict[int, int]:
    """How many facts of a span of time each batch took to the lake."""
    of_span = _o.at >= begin, _o.at < end, _o.data.is_(None), _o.stored_in != DEAD
    query = select(_o.stored_in, func.count()).where(*of_span).group_by(_o.stored_in)
    return {int(batch): int(count) for batch, count in connection.execute(query)}


def open_batches(connection: Connection) -> set[int]:
    """Batches that were taken and are not done: the lake may have them."""
    query = select(_o.stored_in).where(_WAITS, _o.stored_in.is_not(None)).distinct()
    return {int(batch) for batch in connection.execute(query).scalars()}


def newest_waiting(
    connection: Connection, *, types: Sequence[str], project_id: int | None, since: datetime, limit: int
) -> list[dict[str, Any]]:
    """Facts that wait, newest first, for people who list facts; no `types`: of all."""
    query = select(analytics_outbox).where(_WAITS, _o.at >= since)
    if types:
        query = query.where(_o.type.in_(types))
    if project_id is not None:
        query = query.where(_o.project_id == project_id)
    rows = connection.execute(query.order_by(_o.at.desc(), _o.id.desc()).limit(limit))
    return [dict(row._mapping) for row in rows]
