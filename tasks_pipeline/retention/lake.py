"""Removing days from the lake: whole ones by taking their files out of the catalog, projects and places by writing the rest again.

Files are written without the lock; under it they are exchanged, some tables of one day at a time. What goes is archived before, where
that is wanted, and then noted, with the fact: a process that dies in between leaves rows that the next plan finds again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby

import pyarrow as pa

from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.store import LOCK
from tasks_pipeline.archive.write import Archiver
from tasks_pipeline.retention.notes import Going, note_going
from tasks_pipeline.retention.plan import REPORTED, Removal
from tasks_pipeline.retention.witnesses import witnesses
from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.lake.tail import tail_totals
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.day_changes import note_days_final
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.state.removals import ALL_PROJECTS
from tasks_pipeline.storage.state.restored import restored
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

TRIES = 3
ALL, NONE = "true", "false"
"""Conditions that all rows meet, and none."""
READ_ROWS = 16 * 1024
Change = Callable[[str, pa.Table], pa.Table]
"""Given a table's name and some of its rows, gives what they are to be."""


class DayChanging(Exception):
    """The files of a day kept being exchanged by others; the next cleanup finds its rows again."""


def remove_planned(
    stores: Stores, removals: Sequence[Removal], archiver: Archiver | None
) -> Iterator[list[Removal]]:
    """Remove what a plan found, the rows of a category and day at a time; gives what went after each. What cannot be archived stays."""
    if _in_tail(stores, {each.day for each in removals}):
        flush(stores.state, stores.lake)
    for _, some in groupby(removals, key=lambda each: (each.day, each.category)):
        of_day = list(some)
        if take_away(stores, of_day, _conditions(of_day), archiver):
            yield of_day


def _in_tail(stores: Stores, days: Collection[date | None]) -> bool:
    """Whether rows of one of the days are on their way to files."""
    with stores.state.read() as connection:
        return any(day in days for _, day in tail_totals(connection, stores.lake.flushed_through()))


def _conditions(removals: Sequence[Removal]) -> dict[str, str]:
    """What goes, by table."""
    parts: dict[str, list[int]] = {}
    for each in removals:
        parts.setdefault(each.table, []).append(each.project_id)
    return {
        table: ALL if ALL_PROJECTS in ids else f"project_id IN ({', '.join(map(str, ids))})"
        for table, ids in parts.items()
    }


def take_away(
    stores: Stores, removals: Sequence[Removal], gone: Mapping[str, str], archiver: Archiver | None
) -> bool:
    """Remove the rows of a category and day that meet a condition, by table; gives whether they went. They stay when the day keeps
    changing, and when they should be archived and cannot be: the archiver knows why."""
    day, category = removals[0].day, removals[0].category
    assert day is not None
    archived = archiver if removals[0].category in REPORTED else None
    try:
        if archived is None:
            _take(stores, day, removals, gone, None)
        else:
            with process_lock(stores.home, LOCK):
                if _is_back(stores.state, day):
                    raise DayChanging(day)
                _take(stores, day, removals, gone, archived)
    except DayChanging:
        log.warning("%s of %s stays until the next cleanup", category, day)
        return False
    except ArchiveError as error:
        assert archiver is not None
        log.info("%s of %s stays, for it cannot be archived: %s", category, day, error)  # the report tells
        archiver.waiting[day] = f"it cannot be archived: {error}"
        return False
    return True


def _is_back(state: StateDatabase, day: date) -> bool:
    """Whether a day was restored since the plan was made."""
    with state.read() as connection:
        return any(each.until >= datetime.now(UTC).date() for each in restored(connection, day))


def _take(
    stores: Stores, day: date, removals: Sequence[Removal], gone: Mapping[str, str], archiver: Archiver | None
) -> None:
    """Archive, note and remove rows: they are archived before they are noted, and noted before they go. Raises DayChanging."""
    lake = stores.lake
    for attempt in range(TRIES):
        files = [file for file in lake.live_files() if file.day == day and file.table in gone]
        written = archiver.write(removals[0].category, files, gone, removals[0].reason) if archiver else []
        if not files:
            return
        if attempt == 0:
            _note(stores, removals, gone, archiver.counts(files, gone) if archiver else None)
        with lake.writing(day, "kept") as rest:
            _write_rest(lake, files, {name: _rest(condition) for name, condition in gone.items()}, rest)
            new = rest.finish()
            with lake.lock():
                went = lake.exchange(files, new) if new else lake.drop(files)
        if went:
            if archiver is not None:
                archiver.archived += written
            return
        if archiver is not None:  # others changed what was archived
            archiver.withdraw(written)
    raise DayChanging(day)


def write_again(
    lake: Lake,
    day: date,
    kept: Mapping[str, str],
    columns: Mapping[str, str] | None = None,
    change: Change | None = None,
) -> None:
    """Keep the rows of a day that meet a condition, by table; `columns` gives SQL for those that hold something else from then on, and
    `change` what rows of a table are to be. Raises DayChanging."""
    for _ in range(TRIES):
        files = [file for file in lake.live_files() if file.day == day and file.table in kept]
        if not files:
            return
        with lake.writing(day, "kept") as rest:
            _write_rest(lake, files, kept, rest, columns, change)
            new = rest.finish()
            with lake.lock():
                if lake.exchange(files, new):
                    return
    raise DayChanging(day)


def _rest(gone: str) -> str:
    """What stays where rows go that meet a condition."""
    return NONE if gone == ALL else f"({gone}) IS NOT TRUE"


def _write_rest(
    lake: Lake,
    files: Sequence[LiveFile],
    kept: Mapping[str, str],
    rest: DayFiles,
    columns: Mapping[str, str] | None = None,
    change: Change | None = None,
) -> None:
    for name, condition in kept.items():
        of_table = [file for file in files if file.table == name]
        if condition == NONE or not of_table:
            continue
        rows = LAKE_TABLES[name].row_group if name == "event_payloads" else READ_ROWS
        for piece in lake.rows_of(of_table, rows, condition, columns=columns):
            if piece.num_rows:
                rest.add_piece(name, piece if change is None else change(name, piece))


def _note(
    stores: Stores,
    removals: Sequence[Removal],
    gone: Mapping[str, str],
    counts: Mapping[str, Mapping[int, int]] | None,
) -> None:
    """Note what is about to go, of one day and category, and that figures of it stay what they are. With `counts`, rows by table and project,
    each project is noted: any of them may come back."""
    (day,) = {each.day for each in removals if each.day is not None}
    reported = [day] if removals[0].category in REPORTED else []
    seen = {name: witnesses(stores.lake, name, day, condition) for name, condition in gone.items()}
    there = [each for each in removals if each.project_id in seen[each.table]]
    going = [
        Going(each.table, day, project_id, rows, seen[each.table][project_id])
        for each in there
        for project_id, rows in _by_project(each, counts)
        if project_id in seen[each.table]
    ]
    note_going(
        stores, going, removals[0].reason,
        lambda connection, now: note_days_final(stores.state, connection, reported, "retention", now),
        facts_of=[Going(each.table, day, each.project_id, each.rows, "") for each in there],
    )  # fmt: skip


def _by_project(
    removal: Removal, counts: Mapping[str, Mapping[int, int]] | None
) -> Iterable[tuple[int, int]]:
    if counts is None or removal.project_id != ALL_PROJECTS:
        return [(removal.project_id, removal.rows)]
    return counts.get(removal.table, {}).items()
