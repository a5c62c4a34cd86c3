"""Raw envelopes that go and from which no row came: what was sent twice, filtered or could not be read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import select

from tasks_pipeline.storage.ledger.cursors import cursors_of
from tasks_pipeline.storage.spool.interface import Spooled
from tasks_pipeline.storage.state.tables import batches, event_ids
from tasks_pipeline.stores import Stores

Goes = Callable[[Sequence[Spooled]], Collection[int]]
"""Given a piece of the envelopes of some projects, gives the positions in the ledger of those that go."""


class Envelopes(Mapping[date, Collection[tuple[str, int]]]):
    """(part, position) in the ledger of raw envelopes of projects that go, by day: in batches of which items had one of some outcomes
    (none named: any). Looked for when a day is asked for, so that never more than a day is in memory."""

    def __init__(
        self, stores: Stores, projects: Collection[int], outcomes: Sequence[str], goes: Sequence[Goes] = ()
    ) -> None:
        self._stores, self._projects, self._goes = stores, sorted(projects), goes
        self._batches: dict[date, list[tuple[str, int]]] = {}
        for row in _batches_with(stores, self._projects, outcomes):
            self._batches.setdefault(row["day"], []).append((row["part"], row["position"]))
        for day in self._batches.keys() - set(stores.spool.days()):
            del self._batches[day]

    def __iter__(self) -> Iterator[date]:
        return iter(sorted(self._batches))

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, day: date) -> set[tuple[str, int]]:
        found: set[tuple[str, int]] = set()
        for part, of_part in groupby(self._batches[day], key=itemgetter(0)):
            for spooled in self._read(day, part, {position for _, position in of_part}):
                places = {s.position for s in spooled} if not self._goes else set[int]()
                for goes in self._goes:
                    places.update(goes(spooled))
                found.update((part, position) for position in places)
        return found

    def _read(self, day: date, part: str, first: Collection[int]) -> Iterator[list[Spooled]]:
        for batch in self._ranges(day, part):
            if batch.first_position not in first:
                continue
            after, through = batch.first_position - 1 - batch.base, batch.last_position - batch.base
            while some := self._stores.spool.read(day, part, after, through=through):
                after = some[-1].position
                of_projects = [s for s in some if s.receipt.project_id in self._projects]
                if of_projects:
                    yield [replace(s, position=s.position + batch.base) for s in of_projects]

    def _ranges(self, day: date, part: str) -> Sequence[Any]:
        """Batches of a part that the spool still has."""
        b = batches.c
        query = select(b.first_position, b.last_position, b.base).where(b.day == day, b.part == part)
        with self._stores.state.read() as connection:
            cursor = cursors_of(connection, day).get(part)
            gone = 0 if cursor is None else cursor.gone
            return connection.execute(query.where(b.first_position > gone).order_by(b.first_position)).all()


def _batches_with(
    stores: Stores, projects: Sequence[int], outcomes: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """Day, part and position of batches that had items of projects, of these those with an outcome."""
    parameters: dict[str, Any] = {"projects": list(projects)}
    of_outcome = ""
    if outcomes:
        parameters["outcomes"] = list(outcomes)
        of_outcome = "AND list_contains($outcomes::VARCHAR[], outcome) "
    return stores.lake.query(
        "SELECT DISTINCT day, part, position FROM lake.outcomes WHERE list_contains($projects::BIGINT[], project_id) "
        f"{of_outcome}ORDER BY ALL",
        parameters,
    )


def sent_again(of_some: Callable[[Collection[str]], Collection[str]]) -> Goes:
    """Envelopes whose event has the id of one that goes: `of_some` gives those of some ids."""

    def goes(found: Sequence[Spooled]) -> list[int]:
        going = of_some({s.receipt.event_id for s in found if s.receipt.event_id})
        return [s.position for s in found if s.receipt.event_id in going]

    return goes


def dropped(stores: Stores) -> Goes:
    """Envelopes of events whose rows are gone since their group is discarded, or never came: their ids are taken, and no row has them.
    Which of the discarded groups they were of only their processing could say."""

    def goes(found: Sequence[Spooled]) -> list[int]:
        keys = {s.position: (s.receipt.project_id, s.receipt.event_id) for s in found if s.receipt.event_id}
        ids = [event_id for _, event_id in keys.values() if event_id]
        gone = _taken(stores, set(keys.values())) - _stored(stores, ids)
        return [position for position, key in keys.items() if key in gone]

    return goes


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
