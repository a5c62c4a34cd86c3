"""Arrivals of symbols: what became available for symbolication, in order, and whom it reached too late."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import symbol_arrivals

if TYPE_CHECKING:  # its libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake

Wanted = tuple[int, str]
"""(project id, key of symbolication/keys.py)."""


def announce(state: StateDatabase, connection: Connection, arrived: Iterable[Wanted]) -> None:
    """Note that files with these keys can be found from this transaction on.

    One transaction at a time from here to its end: whoever has seen a number has seen all smaller ones.
    """
    state.serialise(connection, "symbol_arrivals")
    now = datetime.now(UTC)
    rows = [{"project_id": project_id, "key": key, "at": now} for project_id, key in sorted(set(arrived))]
    for chunk in chunks(rows):
        connection.execute(symbol_arrivals.insert(), list(chunk))


def last_arrival(connection: Connection) -> int:
    """The number of the newest arrival, 0 before the first."""
    return int(connection.execute(select(func.coalesce(func.max(symbol_arrivals.c.id), 0))).scalar_one())


def arrivals(connection: Connection, after: int, through: int | None = None) -> set[Wanted]:
    """What arrived after one number, through another (default: all)."""
    query = select(symbol_arrivals.c.project_id, symbol_arrivals.c.key).where(symbol_arrivals.c.id > after)
    if through is not None:
        query = query.where(symbol_arrivals.c.id <= through)
    return {(row.project_id, row.key) for row in connection.execute(query)}


def announce_again(state: StateDatabase, connection: Connection, after: int, missed: Set[Wanted]) -> None:
    """Repeat arrivals that came while events which missed them were being processed.

    Whoever looked for such events before they were visible did not find them.
    """
    if missed and last_arrival(connection) > after:
        announce(state, connection, arrivals(connection, after) & missed)


def days_that_missed(lake: Lake, arrived: Set[Wanted]) -> list[date]:
    """Days with events that missed one of these, oldest first."""
    condition, parameters = missed_any(arrived)
    rows = lake.query(f"SELECT DISTINCT day FROM lake.events WHERE {condition} ORDER BY day", parameters)
    return [row["day"] for row in rows]


def missed_any(wanted: Set[Wanted]) -> tuple[str, list[Any]]:
    """A condition on rows of the lake's `events`, with its parameters: they missed one of these."""
    by_project: dict[int, list[str]] = {}
    for project_id, key in sorted(wanted):
        by_project.setdefault(project_id, []).append(key)
    either = " OR ".join("(project_id = ? AND list_has_any(missing_symbols, ?))" for _ in by_project)
    return f"({either or 'false'})", [value for pair in by_project.items() for value in pair]
