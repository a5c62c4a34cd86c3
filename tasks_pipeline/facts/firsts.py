"""The first of its kind of a project: asked of the database until it is known to be recorded, and never again by a process."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from weakref import WeakKeyDictionary

from sqlalchemy import Connection

from tasks_pipeline.facts.actors import CLIENT
from tasks_pipeline.facts.record import Happened, fact_id, known_facts, record_all
from tasks_pipeline.facts.types import Firsts, ProjectFirst
from tasks_pipeline.storage.state.database import StateDatabase

First = tuple[int, Firsts]
"""Project, and of what."""
_known: WeakKeyDictionary[StateDatabase, set[First]] = WeakKeyDictionary()
"""What was found recorded, by whoever: nine of a project at most. What this process records itself is not among them before
it is found by a later transaction, since the one that recorded it may come to nothing."""


def record_firsts(
    state: StateDatabase, connection: Connection, seen: Mapping[First, str], at: datetime
) -> None:
    """Record what of this, with the SDK that sent it, is the first of its project; once in a transaction for each."""
    known = _known.setdefault(state, set())
    new = {first: sdk for first, sdk in seen.items() if first not in known}
    if not new:
        return
    facts = {
        first: Happened(ProjectFirst(what=first[1], sdk=sdk), at, first[0], CLIENT)
        for first, sdk in new.items()
    }
    ids = {fact_id(each.fact, each.project_id, at): first for first, each in facts.items()}
    for found in known_facts(connection, ids):
        known.add(ids[found])
        del facts[ids[found]]
    record_all(state, connection, [*facts.values()])
