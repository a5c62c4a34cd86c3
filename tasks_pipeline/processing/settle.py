"""From staged rows to rows as they are stored: who owns its event id, which group it is, and Arrow tables of it all."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from tasks_pipeline.processing.base import OutcomeKey, Staged, Staging
from tasks_pipeline.storage.arrivals import Wanted
from tasks_pipeline.storage.batches import COUNTS, Batch, ensure_held
from tasks_pipeline.storage.events import EventPlace, own_event_ids
from tasks_pipeline.storage.groups import GroupCounts, NewGroup, assign_groups
from tasks_pipeline.storage.lake_tables import LAKE_TABLES
from tasks_pipeline.storage.stores import Stores


@dataclass(slots=True)
class Settled:
    """Rows by table, what became of items, and what the events add to their groups."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[OutcomeKey] = field(default_factory=Counter)
    groups: dict[int, GroupCounts] = field(default_factory=lambda: defaultdict(GroupCounts))
    missed: set[Wanted] = field(default_factory=set)  # symbols that were not there

    def counts(self) -> dict[str, int]:
        """Items by outcome, those that the books are about."""
        found = Counter[str]()
        for key, quantity in self.outcomes.items():
            found[key[4]] += quantity
        return {name: found[name] for name in COUNTS}


def settle(stores: Stores, staging: Staging, batch: Batch, *, held: bool, into: Settled) -> None:
    """Ask the state database what it must say of the staged rows, and add them to `into`.

    Everything asked for is idempotent: asking again after a crash gives the same answers. `held` makes sure that
    the batch is still this drain's; raises BatchLost.
    """
    with stores.state.write() as connection:
        if held:
            ensure_held(connection, batch)
        claiming = [s for s in staging.staged if s.claims_event_id]
        owned = own_event_ids(stores.state, connection, [_event_place(s) for s in claiming])
        doubled = {id(s) for s, owns in zip(claiming, owned, strict=True) if not owns}
        doubled_envelopes = {s.data.place.position for s in claiming if id(s) in doubled}
        kept: list[Staged] = []
        duplicates: list[Staged] = []
        for staged in staging.staged:
            follows = staged.follows_event and staged.data.place.position in doubled_envelopes
            (duplicates if id(staged) in doubled or follows else kept).append(staged)
        give_groups(stores, connection, [s for s in kept if s.grouping is not None])
    add_rows(into, kept)
    _add_outcomes(into, staging, kept, duplicates)


def give_groups(stores: Stores, connection: Connection, events: Sequence[Staged]) -> None:
    """Set the group of each staged event, in the caller's transaction."""
    slugs = defaultdict(lambda: "project", stores.slugs)
    wanted = [_new_group(s) for s in events]
    for staged, group_id in zip(events, assign_groups(stores.state, connection, wanted, slugs), strict=True):
        staged.row["group_id"] = group_id


def _event_place(staged: Staged) -> EventPlace:
    place = staged.data.place
    return EventPlace(
        staged.data.context.project_id,
        staged.row["event_id"],
        place.day,
        place.part,
        place.position,
        place.item,
    )


def _new_group(staged: Staged) -> NewGroup:
    grouping, row = staged.grouping, staged.row
    assert grouping is not None
    return NewGroup(
        project_id=row["project_id"],
        keys=grouping.keys,
        title=grouping.title,
        culprit=grouping.culprit,
        level=row["level"],
        platform=row["platform"],
        type=row["type"],
        metadata=grouping.metadata,
        algorithm=grouping.algorithm,
    )


def add_rows(into: Settled, kept: Iterable[Staged]) -> None:
    for staged in kept:
        row = staged.row
        into.rows[staged.table].append(row)
        if staged.grouping is None:
            continue
        if row.get("missing_symbols"):
            into.missed.update((row["project_id"], key) for key in row["missing_symbols"])
        payload = {name: row[name] for name in ("day", "part", "position", "item", "project_id", "event_id")}
        into.rows["event_payloads"].append({**payload, "payload": staged.payload})
        shown = {name: row[name] for name in ("title", "culprit", "level")} | {
            "metadata": dict(staged.grouping.metadata)
        }
        values = (("user", row["user_key"]), ("release", row["release"]), ("environment", row["environment"]))
        into.groups[row["group_id"]].add(row["timestamp"], values, shown)


def _add_outcomes(
    into: Settled, staging: Staging, kept: Sequence[Staged], duplicates: Sequence[Staged]
) -> None:
    """Each item counts once, however many rows it made."""
    into.outcomes.update(staging.outcomes)
    into.rows["dead_letters"] += staging.dead_letters
    counted = Staging(staging.blobs, staging.tools)
    seen: set[tuple[int, int]] = set()
    for outcome, rows in (("duplicate", duplicates), ("stored", kept)):
        for staged in rows:
            place = staged.data.place
            if (place.position, place.item) not in seen:
                seen.add((place.position, place.item))
                counted.count(staged.data, outcome, "event_id" if outcome == "duplicate" else "")
    into.outcomes.update(counted.outcomes)


def outcome_rows(
    outcomes: Mapping[OutcomeKey, int], day: date, part: str, first_position: int
) -> list[dict[str, Any]]:
    """Rows of `outcomes` for a batch; they carry the first position of its range, by which a batch is recognised."""
    return [
        {
            "day": day,
            "part": part,
            "position": first_position,
            "item": -1,
            "project_id": project_id,
            "hour": hour,
            "public_key": public_key,
            "category": category,
            "outcome": outcome,
            "reason": reason,
            "quantity": quantity,
        }
        for (project_id, hour, public_key, category, outcome, reason), quantity in sorted(outcomes.items())
        if quantity
    ]


def to_arrow(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, pa.Table]:
    """Rows as Arrow tables in the schemas of the lake; absent columns are null."""
    tables = {}
    for name, found in rows.items():
        schema = LAKE_TABLES[name].arrow
        columns = [pa.array([row.get(f.name) for row in found], f.type) for f in schema]
        tables[name] = pa.Table.from_arrays(columns, schema=schema)
    return tables
