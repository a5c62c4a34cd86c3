"""Arrivals of symbols: what became available for symbolication, in order, and whom it reached too late.

A day with stored events that missed what arrived has a *debt*: it goes when its events were processed again, and whoever
looks for work finds it until then, whatever becomes of the runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, update

from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import SymbolsHealed
from tasks_pipeline.storage.ledger.failures import wait_after
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import symbol_arrivals, symbol_debts

if TYPE_CHECKING:  # its libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake

MATCHED_AT_ONCE = 2000
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


@dataclass(frozen=True, slots=True)
class SymbolDebt:
    """Symbols that arrived behind `after`, through `through`, are owed to a day; so many attempts were made."""

    day: date
    after: int
    through: int
    attempts: int


def match_arrivals(state: StateDatabase, lake: Lake, now: datetime) -> int:
    """Note the days whose events missed what arrived and was not looked at yet; gives how many arrivals were."""
    a = symbol_arrivals.c
    query = (
        select(a.id, a.project_id, a.key).where(a.matched_at.is_(None)).order_by(a.id).limit(MATCHED_AT_ONCE)
    )
    with state.read() as connection:
        found = connection.execute(query).all()
    if not found:
        return 0
    days = days_that_missed(lake, {(row.project_id, row.key) for row in found})
    with state.write() as connection:
        for day in days:
            _owe(connection, day, found[0].id - 1, found[-1].id)
        for chunk in chunks([row.id for row in found]):
            connection.execute(update(symbol_arrivals).where(a.id.in_(chunk)).values(matched_at=now))
    return len(found)


def _owe(connection: Connection, day: date, after: int, through: int) -> None:
    """Add to the debt of a day. What is new makes an attempt worthwhile, however often it failed."""
    d = symbol_debts.c
    known = connection.execute(select(d.after, d.through).where(d.day == day).with_for_update()).first()
    values = {"after": after, "through": through, "attempts": 0, "not_before": None}
    if known is None:
        connection.execute(symbol_debts.insert().values(day=day, **values))
        return
    values |= {"after": min(after, known.after), "through": max(through, known.through)}
    connection.execute(update(symbol_debts).where(d.day == day).values(values))


def debts_due(state: StateDatabase, now: datetime) -> list[SymbolDebt]:
    """What is owed and may be tried now, oldest day first."""
    d = symbol_debts.c
    query = select(d.day, d.after, d.through, d.attempts).where(
        d.not_before.is_(None) | (d.not_before <= now)
    )
    with state.read() as connection:
        return [SymbolDebt(*row) for row in connection.execute(query.order_by(d.day))]


def note_attempts(state: StateDatabase, debts: Iterable[SymbolDebt], now: datetime) -> None:
    """Note that runs are about to try; should they fail, or never start, the next attempt has to wait."""
    with state.write() as connection:
        for debt in debts:
            attempts = debt.attempts + 1
            connection.execute(
                update(symbol_debts)
                .where(symbol_debts.c.day == debt.day)
                .values(attempts=attempts, not_before=now + wait_after(attempts))
            )


def pay_debt(
    state: StateDatabase, day: date, after: int, through: int, *, events: int = 0, moved: int = 0
) -> None:
    """Note that a day's events were processed with all symbols that arrived behind `after`, through `through`.

    Of a debt that has grown meanwhile the rest stays. `events` that were processed, and `moved` to another group, are what
    is told of it.
    """
    d = symbol_debts.c
    of_day = (d.day == day) & (d.after >= after)
    with state.write() as connection:
        connection.execute(delete(symbol_debts).where(of_day, d.through <= through))
        rest = {"after": through, "attempts": 0, "not_before": None}
        connection.execute(update(symbol_debts).where(of_day, d.after < through).values(rest))
        if events:
            healed = SymbolsHealed(day=day.isoformat(), through=through, events=events, moved=moved)
            record(state, connection, healed, at=datetime.now(UTC))


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
