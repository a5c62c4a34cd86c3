"""Regroupings: stored events follow their keys when those were given to another group, or drop when it is discarded.

A decision moves keys in a transaction of the state database and opens a regrouping in it. Whoever holds the lake's lock
finishes what is open: one transaction in the lake, then the counters of the groups, derived from it. Both can be done
again and change nothing then, so a process may die between any two steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import Connection, func, select, text, update

from tasks_pipeline.grouping.titles import title_and_metadata
from tasks_pipeline.groups.decisions import discarded_groups
from tasks_pipeline.groups.derived import derive_counters
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.storage.lake.events import payloads_of, place_of
from tasks_pipeline.storage.lake.flush import flush_locked
from tasks_pipeline.storage.ledger.batches import outside_open_batches
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.tables import group_hashes, regroupings

if TYPE_CHECKING:
    from tasks_pipeline.storage.lake.lake import Lake

RACE = "race"
_KEYS = pa.schema([("project_id", pa.int64()), ("key", pa.string()), ("group_id", pa.int64())])


def last_regrouping(connection: Connection) -> int:
    """The number of the newest regrouping that moved keys, 0 before the first. Read it before events are given their groups.

    Those that move keys hold the lock `group_hashes` until they are committed, so they become visible in the order of
    their numbers; those of a race do not, and might hide a lower one that is still to come.
    """
    newest = select(func.coalesce(func.max(regroupings.c.id), 0)).where(regroupings.c.reason != RACE)
    return int(connection.execute(newest).scalar_one())


def open_regrouping(connection: Connection, project_id: int, group_ids: Iterable[int], reason: str) -> None:
    """Note that the events of these groups have to be looked at. Reasons: merge, unmerge, discard, race."""
    row = {"project_id": project_id, "group_ids": sorted(set(group_ids)), "reason": reason}
    connection.execute(regroupings.insert().values(**row, opened_at=datetime.now(UTC)))


def note_race(connection: Connection, since: int, group_ids: Collection[int]) -> bool:
    """Open a regrouping where keys of these groups moved after `since`: rows that were computed before, and become
    visible only now, name groups that they do not belong to any more. Gives whether there was such a move."""
    moved = connection.execute(
        select(regroupings.c.project_id, regroupings.c.group_ids)
        .where(regroupings.c.id > since, regroupings.c.reason != RACE)
        .order_by(regroupings.c.id)
    )
    reached = set(group_ids)
    touched: dict[int, set[int]] = defaultdict(set)
    for row in moved:
        if not reached.isdisjoint(row.group_ids):
            reached.update(row.group_ids)
            touched[row.project_id].update(row.group_ids)
    for project_id, found in sorted(touched.items()):
        open_regrouping(connection, project_id, found, RACE)
    return bool(touched)


def finish_regroupings(state: StateDatabase, lake: Lake) -> int:
    """Let stored events follow their keys, for every regrouping that is open; gives how many were. The caller holds the
    lake's lock."""
    with state.read() as connection:
        opened = connection.execute(
            select(regroupings.c.id, regroupings.c.group_ids, regroupings.c.days).where(
                text("done_at IS NULL")
            )
        ).all()
        group_ids = sorted({group_id for row in opened for group_id in row.group_ids})
        keys, discarded = _keys(connection, group_ids), discarded_groups(connection, group_ids)
    if not opened:
        return 0
    flush_locked(
        state, lake
    )  # batches that go into the tail see from here on what is open, and leave these groups alone
    ids = [row.id for row in opened]
    days = {date.fromisoformat(day) for row in opened for day in row.days or ()}

    def remember(touched: Collection[date]) -> None:
        """Before the lake changes: whoever finishes this after a death finds nothing that would have to move."""
        days.update(touched)
        _remember(state, ids, days)

    lake.regroup(group_ids, keys, remember)
    if discarded:
        lake.drop_groups(sorted(discarded), remember)
    derive_groups(state, lake, group_ids)
    now = datetime.now(UTC)
    with state.write() as connection:
        connection.execute(update(regroupings).where(regroupings.c.id.in_(ids)).values(done_at=now))
        note_day_changes(state, connection, days, "regrouped", now)
    return len(opened)


def _remember(state: StateDatabase, ids: Collection[int], days: Collection[date]) -> None:
    with state.write() as connection:
        known = [day.isoformat() for day in sorted(days)]
        connection.execute(update(regroupings).where(regroupings.c.id.in_(ids)).values(days=known))


def _keys(connection: Connection, group_ids: Collection[int]) -> pa.Table:
    rows: list[Mapping[str, Any]] = []
    for chunk in chunks(sorted(group_ids)):
        columns = group_hashes.c.project_id, group_hashes.c.key, group_hashes.c.group_id
        found = connection.execute(select(*columns).where(group_hashes.c.group_id.in_(chunk)))
        rows += [dict(row._mapping) for row in found]
    return pa.Table.from_pylist(rows, schema=_KEYS)


def derive_groups(state: StateDatabase, lake: Lake, group_ids: Collection[int]) -> None:
    """Counters of these groups, and what people see of them, from the lake: all days of them."""
    with state.read() as connection:
        done = outside_open_batches(connection)  # batches that are not done are counted when they are
    metadata_of = partial(_metadata, state)
    derive_counters(state, lake, done, "regrouped", group_ids=group_ids, metadata_of=metadata_of)


def _metadata(state: StateDatabase, lake: Lake, newest: Mapping[str, Any]) -> dict[str, str] | None:
    """What the title of an event was made of, from its payload; None when that is not there."""
    payload = payloads_of(state, lake, [newest]).get(place_of(newest))
    if payload is None:
        return None
    event = decode_json(payload)
    named = {"type": newest["type"], "value": newest["value"]}
    for exception in reversed(range(len((event.get("exception") or {}).get("values") or ()))):
        metadata = title_and_metadata(event, exception)[1]
        if {name: metadata.get(name) for name in named} == named:
            return metadata  # the one that names the event: of a group of exceptions not always the last
    return title_and_metadata(event, None)[1]
