"""preview_rules: what would move between groups if stored events were grouped by other rules. Changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from tasks_pipeline.groups.algorithms import in_transition
from tasks_pipeline.groups.assign import NewGroup, former_group, known_keys
from tasks_pipeline.processing.event import group
from tasks_pipeline.processing.reprocess import event_places, stage_again, stored_events
from tasks_pipeline.processing.settle import new_group
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.stores import Stores
from tasks_pipeline.tools import Tools

TITLES = 100  # characters shown


@dataclass(frozen=True, slots=True)
class Move:
    """Events that would leave one group for another. `target` is None for a group that does not exist yet; `new` then
    numbers it within the preview. `title` is what the events would be called."""

    source: int
    target: int | None
    new: int | None
    title: str
    events: int


@dataclass(frozen=True, slots=True)
class Preview:
    """Events looked at, and moves, largest first."""

    events: int
    moves: tuple[Move, ...]

    @property
    def moved(self) -> int:
        """How many events would move."""
        return sum(move.events for move in self.moves)


def preview_rules(
    stores: Stores,
    tools: Tools,
    days: Sequence[date],
    project_id: int | None = None,
    on_progress: Callable[[date, int, int], None] = lambda _day, _done, _of: None,
) -> Preview:
    """Group the stored events of some days with `tools` of another configuration, as reprocessing them would.

    `on_progress` gets (day, events done, events of the day).
    """
    simulation = _Simulation()
    events = 0
    for day in days:
        places = event_places(stores, day, project_id=project_id)
        done = 0
        for rows in stored_events(stores, day, places):
            staged = [stage_again(row, tools, (group,)) for row in rows]
            wanted = [new_group(s, tools.of(s.row["project_id"])) for s in staged]
            with stores.state.read() as connection:
                simulation.learn(connection, wanted)
                for row, event in zip(rows, wanted, strict=True):
                    simulation.add(stores.state, connection, row["group_id"], event)
            done += len(rows)
            on_progress(day, done, len(places))
        events += done
    return Preview(events, simulation.moves())


class _Simulation:
    """Groups as `assign_groups` would give them, without making any: new ones have negative numbers."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], int] = {}
        self._asked: set[tuple[int, str]] = set()
        self._titles: dict[tuple[int, int], str] = {}
        self._moved: Counter[tuple[int, int]] = Counter()
        self._transitions: dict[int, bool] = {}
        self._made = 0

    def learn(self, connection: Connection, wanted: Sequence[NewGroup]) -> None:
        """Look up the keys that were not asked for yet."""
        new = {(event.project_id, key) for event in wanted for key in event.keys} - self._asked
        self._asked |= new
        for pair, group_id in known_keys(connection, new).items():
            self._known.setdefault(pair, group_id)

    def add(self, state: StateDatabase, connection: Connection, source: int, event: NewGroup) -> None:
        """Count an event of the group `source`."""
        hits = (self._known.get((event.project_id, key)) for key in event.keys)
        target = next((hit for hit in hits if hit is not None), None)
        if target is None and self._in_transition(state, connection, event):
            target = former_group(connection, event)
        if target is None:
            self._made += 1
            target = -self._made
        for key in event.keys:
            self._known.setdefault((event.project_id, key), target)
        if target != source:
            self._moved[source, target] += 1
            self._titles.setdefault((source, target), event.title[:TITLES])

    def _in_transition(self, state: StateDatabase, connection: Connection, event: NewGroup) -> bool:
        project_id = event.project_id
        if project_id not in self._transitions:
            present = {project_id: (event.algorithm, event.transition_days)}
            self._transitions[project_id] = bool(in_transition(state, connection, present, note=False))
        return self._transitions[project_id]

    def moves(self) -> tuple[Move, ...]:
        """What was counted, largest first."""
        return tuple(
            Move(
                source,
                target if target > 0 else None,
                -target if target < 0 else None,
                self._titles[source, target],
                n,
            )
            for (source, target), n in sorted(self._moved.items(), key=lambda item: (-item[1], item[0]))
        )
