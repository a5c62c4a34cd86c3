"""Raw envelopes that go and from which no row came: what was sent twice, filtered or could not be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import select

from tasks_pipeline.storage.spool.interface import Spooled
from tasks_pipeline.storage.state.tables import batches, event_ids
from tasks_pipeline.stores import Stores

Envelopes = dict[date, set[tuple[str, int]]]
"""(part, position) in the ledger, by day."""


def envelopes_of(
    stores: Stores,
    projects: Collection[int],
    outcomes: Sequence[str],
    goes: Callable[[Sequence[Spooled]], Collection[int]] | None = None,
) -> Envelopes:
    """Raw envelopes of projects in batches of which items had one of some outcomes (none named: any), of these all, or those that go: `goes` is
    given a piece and gives their positions in the ledger."""
    found: Envelopes = defaultdict(set)
    for spooled in _read(stores, sorted(projects), outcomes):
        places = [each.position for each in spooled] if goes is None else goes(spooled)
        if places:
            found[spooled[0].day].update((spooled[0].part, position) for position in places)
    return found


def _read(stores: Stores, projects: Sequence[int], outcomes: Sequence[str]) -> Iterator[list[Spooled]]:
    days = set(stores.spool.days())
    for batch in _batches(stores, projects, outcomes):
        if batch.day not in days:
            continue
        after, through = batch.first_position - 1 - batch.base, batch.last_position - batch.base
        while after < through:
            some = stores.spool.read(batch.day, batch.part, after, through=through)
            if not some:
                break
            after = some[-1].position
            of_projects = [s for s in some if s.receipt.project_id in projects]
            if of_projects:
                yield [replace(s, position=s.position + batch.base) for s in of_projects]


def _batches(stores: Stores, projects: Sequence[int], outcomes: Sequence[str]) -> Iterator[Any]:
    of_outcome = "AND list_contains($outcomes::VARCHAR[], outcome)" if outcomes else ""
    parameters: dict[str, Any] = {"projects": list(projects)} | (
        {"outcomes": list(outcomes)} if outcomes else {}
    )
    rows = stores.lake.query(
        "SELECT DISTINCT day, part, position FROM lake.outcomes WHERE list_contains($projects::BIGINT[], project_id) "
        f"{of_outcome} ORDER BY ALL",
        parameters,
    )
    b = batches.c
    for (day, part), of_part in groupby(rows, key=lambda row: (row["day"], row["part"])):
        first = {row["position"] for row in of_part}
        query = select(b.day, b.part, b.first_position, b.last_position, b.base)
        with stores.state.read() as connection:
            ranges = connection.execute(
                query.where(b.day == day, b.part == part).order_by(b.first_position)
            ).all()
        yield from (row for row in ranges if row.first_position in first)


def sent_again(
    stores: Stores, projects: Collection[int], event_ids: Callable[[Collection[str]], Collection[str]]
) -> Envelopes:
    """Envelopes whose event was a duplicate of one that goes: `event_ids` gives those of some ids that go."""

    def goes(found: Sequence[Spooled]) -> list[int]:
        ids = {s.receipt.event_id for s in found if s.receipt.event_id}
        going = event_ids(ids)
        return [s.position for s in found if s.receipt.event_id in going]

    return envelopes_of(stores, projects, ("duplicate",), goes)


def dropped(stores: Stores, projects: Collection[int]) -> Envelopes:
    """Envelopes of events whose rows are gone since their group is discarded, or never came: their ids are taken, and no row has them.
    Which of the discarded groups they were of only their processing could say."""

    def goes(found: Sequence[Spooled]) -> list[int]:
        keys = {s.position: (s.receipt.project_id, s.receipt.event_id) for s in found if s.receipt.event_id}
        gone = _taken(stores, set(keys.values())) - _stored(
            stores, [event_id for _, event_id in keys.values() if event_id]
        )
        return [position for position, key in keys.items() if key in gone]

    return envelopes_of(stores, projects, (), goes)


_Key = tuple[int, str | None]


def _taken(stores: Stores, keys: Collection[_Key]) -> set[_Key]:
    e = event_ids.c
    found: set[_Key] = set()
    with stores.state.read() as connection:
        for project_id, event_id in keys:  # a search by the primary key each
            known = select(e.day).where(
                e.project_id == project_id, e.event_id == bytes.fromhex(event_id or "")
            )
            if connection.execute(known).first() is not None:
                found.add((project_id, event_id))
    return found


def _stored(stores: Stores, ids: Sequence[str]) -> set[_Key]:
    rows = stores.lake.query(
        "SELECT project_id, event_id FROM lake.events WHERE list_contains($ids::VARCHAR[], event_id) "
        "UNION SELECT project_id, event_id FROM lake.transactions WHERE list_contains($ids::VARCHAR[], event_id)",
        {"ids": sorted(set(ids))},
    )
    return {(row["project_id"], row["event_id"]) for row in rows}
