"""record: a fact is written in the transaction that makes it so, once, and never fails what it tells of.

One INSERT … ON CONFLICT DO NOTHING for all facts of a call: the id of a fact is made of its type, project and key, so
that recording it again, by another attempt or by computing the past again, changes nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from math import isfinite
from typing import Any

from sqlalchemy import Connection, func, select

from tasks_pipeline.facts.actors import SYSTEM, Actor, named
from tasks_pipeline.facts.addresses import without_addresses
from tasks_pipeline.facts.origin import Origin, Source, origin
from tasks_pipeline.facts.types import AT, LONGEST, Fact, Value
from tasks_pipeline.protocol.decode import storable
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.passed_over import is_own_fault
from tasks_pipeline.storage.state.tables import analytics_dead, analytics_outbox, probes

log = logging.getLogger(__name__)

INSTALLATION = 0
"""Project of facts that are about none."""
MOST_WAITING = 100_000
"""With so many on their way to the lake, facts of SPARED types are counted and not recorded."""
SPARED = ("command.used", "notification.")
LEFT_OUT = "facts_left_out"
"""Probe that counts those."""
_MOST_READ = 10 * LONGEST
"""Characters of a text that are looked at: what addresses take up is replaced before the text is cut."""
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
raise_broken = False
"""Whether a fact that cannot be recorded raises. Tests want that; in production it becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fact, when it was so, and who made it so."""

    fact: Fact
    at: datetime
    project_id: int = INSTALLATION
    actor: Actor = SYSTEM


class BrokenFact(ValueError):
    """A fact that cannot be recorded; the message says why."""


def record(
    state: StateDatabase,
    connection: Connection,
    fact: Fact,
    *,
    at: datetime,
    project_id: int = INSTALLATION,
    actor: Actor = SYSTEM,
    source: Source | None = None,
    run_id: str | None = None,
) -> None:
    """Record a fact in the caller's transaction. `source` and `run_id` are those of the work around it unless given."""
    record_all(state, connection, [Happened(fact, at, project_id, actor)], source=source, run_id=run_id)


def record_all(
    state: StateDatabase,
    connection: Connection,
    happened: Sequence[Happened],
    *,
    source: Source | None = None,
    run_id: str | None = None,
) -> None:
    """Record many facts at once; one that is broken becomes a dead letter alone."""
    if not happened:
        return
    known = origin()
    whence = Origin(source or known.source, run_id or known.run_id)
    rows: dict[bytes, dict[str, Any]] = {}
    dead: list[dict[str, Any]] = []
    for each in happened:
        try:
            row = _row(state, connection, each, whence)
        except Exception as error:
            if raise_broken or not is_own_fault(error):  # a database that is away is no fault of the fact
                raise
            log.exception("a fact cannot be recorded: %s", type(each.fact).__name__)
            dead.append(_dead(each, error))
            continue
        rows.setdefault(row["fact"], row)
    for some in chunks(_within_bounds(state, connection, [*rows.values()])):
        state.put(connection, _once, some)
    if dead:
        connection.execute(analytics_dead.insert(), dead)


def fact_id(fact: Fact, project_id: int, at: datetime) -> bytes:
    """16 bytes that are the same for the same fact."""
    parts: list[Value] = [fact.name, project_id, *fact.identity]
    if AT in fact.KEY:
        parts.append(at.astimezone(UTC).isoformat())
    return blake2b(json.dumps(parts).encode(), digest_size=16).digest()


def checked_values(fact: Fact) -> dict[str, Value]:
    """The attributes of a fact as they are stored. Raises BrokenFact, or what the type says against it."""
    values = {name: _clean(name, value) for name, value in fact.values.items()}
    if fact.name.startswith("custom."):
        type(fact).checked({field: getattr(fact, field) for field in fact.__struct_fields__})
    else:
        type(fact).checked(values)
    return values


def _once(state: StateDatabase) -> Any:
    return state.insert(analytics_outbox).on_conflict_do_nothing(index_elements=["fact"])


def _row(state: StateDatabase, connection: Connection, each: Happened, whence: Origin) -> dict[str, Any]:
    fact = each.fact
    if each.at.tzinfo is None or each.at < _EARLIEST:
        raise BrokenFact(f"{each.at} is no moment of a fact")
    return {
        "fact": fact_id(fact, each.project_id, each.at),
        "type": fact.name,
        "version": fact.VERSION,
        "at": each.at,
        "project_id": each.project_id,
        "actor_kind": each.actor.kind,
        "actor": str(_clean("actor", named(state, connection, each.actor))),
        "source": whence.source,
        "run_id": whence.run_id,
        "data": checked_values(fact),
    }


def _clean(name: str, value: Value) -> Value:
    """A text that any database can hold, within its length, and in which nobody can be written to."""
    if isinstance(value, float) and not isfinite(value):
        raise BrokenFact(f"{name} is no number that JSON knows")
    if not isinstance(value, str):
        return value
    return storable(without_addresses(value[:_MOST_READ]))[:LONGEST]


def _dead(each: Happened, error: Exception) -> dict[str, Any]:
    """What is left of a broken fact: the names of its attributes and the kinds of their values, since nothing of it was checked."""
    values: Mapping[str, Any] = getattr(each.fact, "values", {})
    return {
        "type": str(getattr(each.fact, "name", type(each.fact).__name__))[:64],
        "data": {str(name)[:LONGEST]: type(value).__name__ for name, value in [*values.items()][:50]},
        "error": storable(f"{type(error).__name__}: {error}")[:1000],
        "at": datetime.now(UTC),
    }


def _within_bounds(
    state: StateDatabase, connection: Connection, rows: Sequence[dict[str, Any]]
) -> Sequence[dict[str, Any]]:
    """The rows without those that are spared while too many wait; these are counted."""
    spared = [row for row in rows if row["type"].startswith(SPARED)]
    if not spared or not _too_many(connection):
        return rows
    _count_left_out(state, connection, len(spared))
    return [row for row in rows if not row["type"].startswith(SPARED)]


def _too_many(connection: Connection) -> bool:
    """Whether more than MOST_WAITING wait. As a rule the numbers of the first and the last tell that they do not."""
    c = analytics_outbox.c
    waits = c.data.is_not(None)
    first = connection.execute(
        select(c.id).where(waits, c.stored_in.is_(None)).order_by(c.id).limit(1)
    ).scalar()
    last = connection.execute(select(func.max(c.id))).scalar()
    if first is None or last - first < MOST_WAITING:
        return False
    some = select(c.id).where(waits, c.stored_in.is_(None)).limit(MOST_WAITING + 1).subquery()
    return bool(connection.execute(select(func.count()).select_from(some)).scalar_one() > MOST_WAITING)


def _count_left_out(state: StateDatabase, connection: Connection, count: int) -> None:
    now = datetime.now(UTC)
    row = {
        "name": LEFT_OUT, "status": "warning", "value": float(count), "detail": "facts were counted and not recorded",
        "failures": 0, "since": now, "measured_at": now,
    }  # fmt: skip
    insert = state.insert(probes)
    counted = {"value": probes.c.value + insert.excluded.value, "measured_at": insert.excluded.measured_at}
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=counted), [row])


def known_facts(connection: Connection, ids: Iterable[bytes]) -> set[bytes]:
    """Those of the ids that are recorded."""
    found: set[bytes] = set()
    for some in chunks(sorted(ids)):
        query = select(analytics_outbox.c.fact).where(analytics_outbox.c.fact.in_(some))
        found.update(bytes(fact) for fact in connection.execute(query).scalars())
    return found
