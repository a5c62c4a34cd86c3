"""Event ids: which place of the spool owns each, so that an event sent twice is stored once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, select

from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import event_ids


@dataclass(frozen=True, slots=True)
class EventPlace:
    """An event id and the place in the spool it came from."""

    project_id: int
    event_id: str
    day: date
    part: str
    position: int
    item: int


def own_event_ids(state: StateDatabase, connection: Connection, places: Sequence[EventPlace]) -> list[bool]:
    """Whether each place owns its event id; ids that nobody owns yet are given to the first place that asks.

    Asking again gives the same answer, which is what makes a batch repeatable and a day recomputable.
    """
    ordered = sorted(
        places, key=lambda p: (p.project_id, p.event_id, p.position, p.item)
    )  # no deadlocks, see count_events
    owners: dict[tuple[int, str], tuple[date, str, int, int]] = {}
    for chunk in chunks(ordered):
        rows = [
            {
                "project_id": p.project_id,
                "event_id": bytes.fromhex(p.event_id),
                "day": p.day,
                "part": p.part,
                "position": p.position,
                "item": p.item,
            }
            for p in chunk
        ]
        taken = state.put(connection, _taken, rows)
        if taken == len(rows):  # the usual case: nobody had one of them
            owners.update({(p.project_id, p.event_id): (p.day, p.part, p.position, p.item) for p in chunk})
            continue
        found = connection.execute(
            select(event_ids).where(
                event_ids.c.project_id.in_({p.project_id for p in chunk}),
                event_ids.c.event_id.in_([row["event_id"] for row in rows]),
            )
        )
        owners.update(
            {(r.project_id, bytes(r.event_id).hex()): (r.day, r.part, r.position, r.item) for r in found}
        )
    return [owners[p.project_id, p.event_id] == (p.day, p.part, p.position, p.item) for p in places]


def _taken(state: StateDatabase) -> Any:
    return state.insert(event_ids).on_conflict_do_nothing()
