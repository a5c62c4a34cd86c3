"""Removing days from the lake: whole ones by taking their files out of the catalog, projects and places by writing the rest again.

Files are written without the lock; under it they are exchanged, some tables of one day at a time. What goes is noted before, with
the fact: a process that dies in between leaves rows that the next plan finds again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby

from tasks_pipeline.facts.record import Happened, record_all
from tasks_pipeline.facts.types import RetentionDropped
from tasks_pipeline.retention.plan import REPORTED, Removal
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.lake.tail import tail_totals
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.day_changes import note_days_final
from tasks_pipeline.storage.state.removals import ALL_PROJECTS, note_removals
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

TRIES = 3
READ_ROWS = 16 * 1024


class DayChanging(Exception):
    """The files of a day kept being exchanged by others; the next cleanup finds its rows again."""


def remove_planned(stores: Stores, removals: Sequence[Removal]) -> Iterator[list[Removal]]:
    """Remove what a plan found, the rows of a category and day at a time; gives what went after each."""
    if _in_tail(stores, {each.day for each in removals}):
        flush(stores.state, stores.lake)
    for _, some in groupby(removals, key=lambda each: (each.day, each.category)):
        of_day = list(some)
        try:
            _remove(stores, of_day)
        except DayChanging:
            log.warning("%s of %s stays until the next cleanup", of_day[0].category, of_day[0].day)
            continue
        yield of_day


def _in_tail(stores: Stores, days: Collection[date | None]) -> bool:
    """Whether rows of one of the days are on their way to files."""
    with stores.state.read() as connection:
        return any(day in days for _, day in tail_totals(connection, stores.lake.flushed_through()))


def _remove(stores: Stores, removals: Sequence[Removal]) -> None:
    day = removals[0].day
    assert day is not None
    note(stores.state, removals)
    gone = {each.table for each in removals if each.project_id == ALL_PROJECTS}
    if gone:
        with stores.lake.lock():
            stores.lake.drop_days({day: gone})
    parts: dict[str, list[int]] = {}
    for each in removals:
        if each.project_id != ALL_PROJECTS:
            parts.setdefault(each.table, []).append(each.project_id)
    kept = {table: f"project_id NOT IN ({', '.join(map(str, ids))})" for table, ids in parts.items()}
    if kept:
        write_again(stores.lake, day, kept)


def note(state: StateDatabase, removals: Sequence[Removal]) -> None:
    """Note what is about to go: for those who would count it again, for figures, and as facts."""
    now = datetime.now(UTC)
    rows = [
        {"day": each.day, "name": each.table, "project_id": each.project_id, "rows": each.rows, "reason": each.reason}
        for each in removals
    ]  # fmt: skip
    facts = [
        Happened(
            RetentionDropped(what=each.table, day=each.day.isoformat(), rows=each.rows), now, each.project_id
        )
        for each in removals
        if each.day is not None
    ]
    reported = [each.day for each in removals if each.day is not None and each.category in REPORTED]
    with state.write() as connection:
        note_removals(state, connection, rows, now)
        note_days_final(state, connection, reported, "retention", now)
        record_all(state, connection, facts)


def write_again(
    lake: Lake, day: date, kept: Mapping[str, str], columns: Mapping[str, str] | None = None
) -> None:
    """Keep the rows of a day that meet a condition, by table; `columns` gives SQL for those that hold something else from then on.
    Raises DayChanging."""
    for _ in range(TRIES):
        files = [file for file in lake.live_files() if file.day == day and file.table in kept]
        if not files:
            return
        with lake.writing(day, "kept") as rest:
            for name, condition in kept.items():
                of_table = [file for file in files if file.table == name]
                rows = LAKE_TABLES[name].row_group if name == "event_payloads" else READ_ROWS
                for piece in lake.rows_of(of_table, rows, condition, columns=columns) if of_table else ():
                    if piece.num_rows:
                        rest.add_piece(name, piece)
            new = rest.finish()
            with lake.lock():
                if lake.exchange(files, new):
                    return
    raise DayChanging(day)
