"""Replacements: days of the lake that were stored anew, and the counters that follow from what they hold now."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, select, text, update

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import TYPES, DayRecomputed, DayReprocessed
from tasks_pipeline.groups.derived import derive_counters
from tasks_pipeline.groups.moves import carry_decisions
from tasks_pipeline.releases.due import note_releases_changed
from tasks_pipeline.releases.figures import releases_of_day
from tasks_pipeline.releases.health_days import note_replaced
from tasks_pipeline.storage.lake.flush import flush_locked
from tasks_pipeline.storage.ledger.batches import COUNTS, outside_open_ranges
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.day_changes import Reason, note_day_changes
from tasks_pipeline.storage.state.tables import batches, replacements
from tasks_pipeline.uploads.arrivals import Wanted, announce_again, last_arrival

if TYPE_CHECKING:  # the lake's libraries take half a second to import
    from tasks_pipeline.storage.lake.lake import Lake


def open_replacement(
    state: StateDatabase,
    day: date,
    arrival: int,
    group_ids: Collection[int] | None = None,
    *,
    told: DayRecomputed | DayReprocessed | None = None,
    reason: Reason | None = "recomputed",
) -> str:
    """Note that a day is about to be replaced in the lake. The caller holds the lake's lock.

    `arrival` is the newest of symbol_arrivals before the new rows were computed. `group_ids`: all groups that the
    replaced rows or the new ones name; None where it may be any. `told` is recorded when its counters follow. `reason` is told to
    whoever computes figures of the day; None where the rows stay what they are.
    """
    replacement_id = uuid.uuid4().hex
    touched = None if group_ids is None else sorted(group_ids)
    fact = told and {"type": told.name, "data": told.values | {"replacement": replacement_id}}
    row = {
        "id": replacement_id,
        "day": day,
        "arrival": arrival,
        "group_ids": touched,
        "fact": fact,
        "reason": reason,
    }
    with state.write() as connection:
        connection.execute(replacements.insert().values(**row, started_at=datetime.now(UTC)))
    return replacement_id


@dataclass(slots=True)
class _Open:
    """What the open replacements of a day are about."""

    arrival: int
    group_ids: set[int] | None
    reasons: set[Reason] = field(default_factory=set)


def finish_replacements(state: StateDatabase, lake: Lake) -> list[date]:
    """Derive the counters of replaced days from the lake, for every replacement that is open. Gives the days.

    The caller holds the lake's lock. Derived, not added up: so doing it again after a crash changes nothing.
    """
    with state.read() as connection:
        opened = _opened(connection)
    if opened:
        flush_locked(state, lake)  # batches that go into the tail see from here on what is open, and wait
    for day, each in opened.items():
        _derive_day(state, lake, day, each)
    return list(opened)


def _opened(connection: Connection) -> dict[date, _Open]:
    columns = [replacements.c[name] for name in ("day", "arrival", "group_ids", "reason")]
    query = select(*columns).where(text("done_at IS NULL")).order_by(replacements.c.day)
    found: dict[date, _Open] = {}
    for day, arrival, group_ids, reason in connection.execute(query):
        touched = None if group_ids is None else set(group_ids)
        known = found.setdefault(day, _Open(arrival or 0, touched))
        known.arrival = min(known.arrival, arrival or 0)
        known.reasons.update([reason] if reason else [])
        both = known.group_ids is not None and touched is not None
        known.group_ids = (known.group_ids or set()) | (touched or set()) if both else None
    return found


def _derive_day(state: StateDatabase, lake: Lake, day: date, replaced: _Open) -> None:
    with state.read() as connection:
        # Counters of batches that are not done come when they are.
        of_done = f"day = DATE '{day.isoformat()}' AND {outside_open_ranges(connection, day)}"
        arrived = last_arrival(connection)
    # Symbols and rules make no other release of an event, a day that was stored again may.
    counted = releases_of_day(lake, day) if replaced.group_ids is None else set()
    why: Reason = "recomputed" if "recomputed" in replaced.reasons else "reprocessed"
    touched = derive_counters(state, lake, of_done, why, day=day, group_ids=replaced.group_ids)
    # Whoever announces symbols from here on finds the new rows.
    missed = _missed_symbols(lake, day) if arrived > replaced.arrival else set()
    counts: dict[tuple[str, int], dict[str, int]] = {}
    begun_on: set[date] | None = None  # the sessions are as they were
    if replaced.group_ids is None:
        counts, begun_on = _batch_counts(lake, day), _session_days(lake, day)
    now = datetime.now(UTC)
    with state.write() as connection:
        state.serialise(connection, "group_hashes")  # before any row, as whoever decides about groups
        carry_decisions(state, connection, touched)
        _set_batch_counts(connection, day, counts)
        announce_again(state, connection, replaced.arrival, missed)
        note_releases_changed(connection, counted, now)
        if begun_on is not None:
            note_replaced(state, connection, day, begun_on, now)
        told = connection.execute(
            update(replacements)
            .where(replacements.c.day == day, text("done_at IS NULL"))
            .values(done_at=now)
            .returning(replacements.c.fact)
        ).scalars()
        facts = [TYPES[fact["type"]].checked(fact["data"]) for fact in told if fact]
        record_all(state, connection, [Happened(fact, now) for fact in facts])
        for reason in sorted(replaced.reasons):
            note_day_changes(state, connection, [day], reason, now)


def _missed_symbols(lake: Lake, day: date) -> set[Wanted]:
    rows = lake.query(
        "SELECT DISTINCT project_id, unnest(missing_symbols) AS key FROM lake.events WHERE day = ?", [day]
    )
    return {(row["project_id"], row["key"]) for row in rows}


def _session_days(lake: Lake, day: date) -> set[date]:
    """Days on which the sessions began of which rows were received on a day."""
    rows = lake.query("SELECT DISTINCT started::DATE AS day FROM lake.sessions WHERE day = ?", [day])
    return {row["day"] for row in rows}


def _batch_counts(lake: Lake, day: date) -> dict[tuple[str, int], dict[str, int]]:
    """Items by outcome, by part and first position of a batch: its outcome rows carry that."""
    rows = lake.query(
        "SELECT part, position, outcome, sum(quantity)::BIGINT AS quantity FROM lake.outcomes WHERE day = ? "
        "AND outcome IN ('stored', 'duplicate', 'filtered', 'discarded', 'invalid') GROUP BY ALL",
        [day],
    )
    counts: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts[row["part"], row["position"]][row["outcome"]] = row["quantity"]
    return counts


def _set_batch_counts(
    connection: Connection, day: date, counts: Mapping[tuple[str, int], Mapping[str, int]]
) -> None:
    """Counts of the day's done batches; those that are as they were are left alone."""
    if not counts:
        return
    columns = [batches.c[name] for name in COUNTS]
    query = select(batches.c.id, batches.c.part, batches.c.first_position, *columns)
    changed = []
    for row in connection.execute(query.where(batches.c.day == day, batches.c.status == "done")):
        found = counts.get((row.part, row.first_position))
        values = {name: (found or {}).get(name, 0) for name in COUNTS}
        if found is not None and any(getattr(row, name) != n for name, n in values.items()):
            changed.append({"batch": row.id, "items": sum(values.values()), **values})
    if changed:
        connection.execute(update(batches).where(batches.c.id == bindparam("batch")), changed)
