"""Replacements: days of the lake that were stored anew, and the counters that follow from what they hold now."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select, update

from tasks_pipeline.groups.derived import derive_group, lake_days, lake_newest, lake_values
from tasks_pipeline.storage.ledger.batches import COUNTS, outside_open_ranges
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import batches, group_days, group_values, replacements
from tasks_pipeline.uploads.arrivals import Wanted, announce_again, last_arrival

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
