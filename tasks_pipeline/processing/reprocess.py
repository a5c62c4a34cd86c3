"""reprocess_events: symbolicate and group stored events again, from what is stored, in the place of what is stored.

It needs no raw envelopes, so it reaches further back than `recompute_day`; what came before symbolication (validation,
normalisation, filters, scrubbing) stays as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
from sqlalchemy import select

from tasks_pipeline.facts.types import DayReprocessed
from tasks_pipeline.groups.forgetting import forget_made
from tasks_pipeline.groups.moves import note_moves
from tasks_pipeline.groups.regrouping import last_regrouping
from tasks_pipeline.processing.base import ItemData, Place, Staged
from tasks_pipeline.processing.event import AGAIN, Work, event_row, process_event
from tasks_pipeline.processing.replacements import finish_replacements, open_replacement
from tasks_pipeline.processing.settle import Settled, add_rows, apart, give_groups
from tasks_pipeline.processing.stopwatch import Stopwatch
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import decode_json, encode_json
from tasks_pipeline.protocol.envelope import Item
from tasks_pipeline.protocol.exact import DecodedEvent
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.events import payloads_of, place_of
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.flush import flush, flush_locked
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.erasures import DeletedMeanwhile, generation, hold_generation
from tasks_pipeline.storage.state.tables import replacements
from tasks_pipeline.stores import Stores
from tasks_pipeline.tools import Tools
from tasks_pipeline.uploads.arrivals import Wanted, arrivals, last_arrival, missed_any, pay_debt

CHUNK_EVENTS = 500  # events held in memory at once, with their payloads
SPARSE = 4  # a range may hold so many times more positions than events that are asked for
ATTEMPTS = 5
EventPlace = tuple[str, int, int]
"""(part, position, item) within a day."""
_PLACES = pa.schema([("part", pa.string()), ("position", pa.int64()), ("item", pa.int32())])


class DayChanging(Exception):
    """A day kept being replaced by others while its events were processed."""


@dataclass(slots=True)
class ReprocessReport:
    """What a reprocessing did: events looked at, those that still miss symbols, those whose group is another now; `watch` has its
    seconds by stage."""

    day: date
    events: int = 0
    missing: int = 0
    moves: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(former group, present group) to how many events moved."""
    groups: set[int] = field(default_factory=set)
    """Groups that the events were in, and are in now."""
    watch: Stopwatch = field(default_factory=Stopwatch)

    @property
    def moved(self) -> int:
        """Events whose group is another now."""
        return self.moves.total()


def reprocess_events(
    stores: Stores,
    day: date,
    *,
    wanted: Set[Wanted] | None = None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> ReprocessReport:
    """Process stored events of a day again: all, or those that missed one of the `wanted` symbols.

    They are swapped in one transaction; counters follow. What is new meanwhile keeps its rows. `on_progress` gets
    (events done, events). Raises DayChanging when others replace the day again and again.
    """
    for _ in range(ATTEMPTS):
        before = _changes(stores.state, day)
        with stores.state.read() as connection:
            arrived = last_arrival(connection)
            since = generation(connection)
        stores.tools.arrived_through(arrived)
        made: set[int] = set()
        flush(stores.state, stores.lake)
        with stores.lake.writing(day, "reprocessed") as files:
            try:
                report, swap = _process(stores, day, wanted, files, on_progress, since, made)
            except DeletedMeanwhile:
                forget_made(stores.state, made)
                continue
            if not report.events:
                return report
            files.finish()
            with stores.lake.lock():
                finish_replacements(stores.state, stores.lake)
                if _changed(before, _changes(stores.state, day)) or not _all_there(stores, day, swap):
                    forget_made(stores.state, made)
                    continue  # the rows that were read may be others now, or went: they would be back
                open_replacement(
                    stores.state,
                    day,
                    arrived,
                    report.groups if wanted is not None else None,
                    told=DayReprocessed(day=day.isoformat(), events=report.events, moved=report.moved),
                    reason="reprocessed",
                )
                flush_locked(
                    stores.state, stores.lake
                )  # events that were read from the tail lie in files now
                note_moves(stores.state, report.moves)
                stores.lake.swap_events(day, swap, files.finished)
                finish_replacements(stores.state, stores.lake)
        report.watch.at("")
        return report
    raise DayChanging(f"{day} was replaced by others {ATTEMPTS} times while its events were processed again")


def pay_symbols(
    stores: Stores,
    day: date,
    after: int | None,
    on_progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> ReprocessReport:
    """Process the events of a day again that missed symbols which arrived behind a number, or all of them (None); what
    symbols owed the day is paid then. Raises what `reprocess_events` raises; the debt stays."""
    with stores.state.read() as connection:
        through = last_arrival(connection)
        wanted = None if after is None else arrivals(connection, after)
    report = reprocess_events(stores, day, wanted=wanted, on_progress=on_progress)
    late = after is not None  # else all events of the day were asked for, and day.reprocessed tells of it
    pay_debt(stores.state, day, after or 0, through, events=report.events if late else 0, moved=report.moved)
    return report


def _changes(state: StateDatabase, day: date) -> tuple[frozenset[str], int]:
    """What there is more of when somebody else replaced the day's rows or moved them between groups."""
    with state.read() as connection:
        replaced = connection.execute(select(replacements.c.id).where(replacements.c.day == day)).scalars()
        return frozenset(replaced), last_regrouping(connection)


def _all_there(stores: Stores, day: date, places: pa.Table) -> bool:
    """Whether all events that were read are still stored: somebody may have deleted some."""
    with stores.lake.given("reprocessed_places", [places]):
        (row,) = stores.lake.query(
            "SELECT count(*) AS events FROM lake.events WHERE day = ? AND (part, position, item) IN "
            "(SELECT (part, position, item) FROM reprocessed_places)",
            [day],
        )
    return bool(row["events"] == places.num_rows)


def _changed(before: tuple[frozenset[str], int], after: tuple[frozenset[str], int]) -> bool:
    """Replacements that are done are forgotten after a while: that one is gone is no change."""
    return not after[0] <= before[0] or after[1] != before[1]


def _process(
    stores: Stores,
    day: date,
    wanted: Set[Wanted] | None,
    files: DayFiles,
    on_progress: Callable[[int, int], None],
    since: int,
    made: set[int],
) -> tuple[ReprocessReport, pa.Table]:
    report = ReprocessReport(day)
    report.watch.at("decode")
    places = [_PLACES.empty_table()]
    found = event_places(stores, day, wanted)
    for rows in stored_events(stores, day, found):
        settled = Settled()
        staged = [stage_again(row, stores.tools, AGAIN, report.watch) for row in rows]
        report.watch.at("settle")
        with stores.state.write() as connection:
            hold_generation(stores.state, connection, since)
            unwanted = give_groups(stores, connection, staged, made)
        report.watch.at("write")
        add_rows(settled, apart(staged, unwanted)[0])
        files.add(to_arrow(settled.rows))
        places.append(pa.table({name: [row[name] for row in rows] for name in _PLACES.names}, _PLACES))
        report.events += len(rows)
        report.groups.update(each["group_id"] for each in (*rows, *(s.row for s in staged)))
        pairs = ((row["group_id"], s.row["group_id"]) for s, row in zip(staged, rows, strict=True))
        report.moves.update(pair for pair in pairs if pair[0] != pair[1])
        report.missing += sum(bool(s.row["missing_symbols"]) for s in staged)
        report.watch.at("decode")  # the next are read
        on_progress(report.events, found.num_rows)
    report.watch.at("write")
    return report, pa.concat_tables(places)


def stage_again(
    row: Mapping[str, Any],
    tools: Tools,
    steps: tuple[Callable[[Work], None], ...],
    watch: Stopwatch | None = None,
) -> Staged:
    """A stored event (its columns and `payload`) through some steps that can be done again."""
    context = ItemContext(row["project_id"], row["received_at"], row["event_id"])
    place = Place(row["day"], row["part"], row["position"], row["item"])
    data = ItemData(Item({"type": "event"}, b""), place, context, "", "error")
    decoded = DecodedEvent(decode_json(row["payload"].encode()))
    work = process_event(data, tools.of(row["project_id"]), decoded, steps, watch=watch)
    assert work.grouping is not None
    columns = {
        **place.columns(),
        "project_id": row["project_id"],
        "received_at": row["received_at"],
        **event_row(work.event, work.grouping, row["payload_bytes"], work.missing_symbols),
    }
    return Staged("events", columns, data, payload=encode_json(work.event), grouping=work.grouping)


def event_places(
    stores: Stores, day: date, wanted: Set[Wanted] | None = None, project_id: int | None = None
) -> pa.Table:
    """Where the events of a day lie, in the order of the spool: all, or those that missed one of the `wanted`.

    Columns part, position and item: twenty bytes for an event of a day that may have millions.
    """
    conditions = ["day = ?"]
    parameters: list[Any] = [day]
    if project_id is not None:
        conditions.append("project_id = ?")
        parameters.append(project_id)
    if wanted is not None:
        missed, values = missed_any(wanted)
        conditions.append(missed)
        parameters += values
    table = stores.lake.arrow(
        f"SELECT part, position, item FROM lake.events WHERE {' AND '.join(conditions)} ORDER BY ALL",
        parameters,
    )
    return table.cast(_PLACES)


def stored_events(stores: Stores, day: date, places: pa.Table) -> Iterator[list[dict[str, Any]]]:
    """The events at these places (in order), with their `payload`, in pieces of bounded memory."""
    for start in range(0, places.num_rows, CHUNK_EVENTS):
        columns = [column.to_pylist() for column in places.slice(start, CHUNK_EVENTS).columns]
        for part, of_part in groupby(zip(*columns, strict=True), key=itemgetter(0)):
            yield from _stored_events(stores, day, part, list(of_part))


def _stored_events(
    stores: Stores, day: date, part: str, places: Sequence[EventPlace]
) -> Iterator[list[dict[str, Any]]]:
    for chunk in _chunks(places):
        chosen = set(chunk)
        rows = stores.lake.query(
            "SELECT * FROM lake.events WHERE day = ? AND part = ? AND position BETWEEN ? AND ? "
            "ORDER BY position, item",
            [day, part, chunk[0][1], chunk[-1][1]],
        )
        asked = [row for row in rows if (row["part"], row["position"], row["item"]) in chosen]
        payloads = payloads_of(stores.state, stores.lake, asked)
        yield [
            row | {"payload": payloads[place].decode()}
            for row in asked
            if (place := place_of(row)) in payloads
        ]


def _chunks(places: Sequence[EventPlace]) -> Iterator[Sequence[EventPlace]]:
    """Pieces that lie within SPARSE times CHUNK_EVENTS positions: the lake is read in ranges."""
    start = 0
    for end in range(1, len(places) + 1):
        if end == len(places) or places[end][1] - places[start][1] >= CHUNK_EVENTS * SPARSE:
            yield places[start:end]
            start = end
