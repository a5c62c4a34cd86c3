"""Restoring a day: what is archived of it comes back row for row, with its groups, visible at once or not at all.

```
proven                files   each file is what its manifest says; nothing is touched before
note_restoring        state   no cleanup takes the day
bring_back            state   groups that are gone, made again; which group events of each belong to
blobs                         those of attachments
own_event_ids         state   the places own their ids again: what is sent again is a duplicate
Lake.writing          files   rows that the lake does not hold, of all tables
Lake.register         lake    all of them in one transaction
derive_counters       state   groups counted from what is there, once nothing is noted as removed
note_restored         state   the end
```

A process may die anywhere: who restores the day again finds what is there, and does the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks_pipeline.archive.deleted import refuse_deleted, without_deleted
from tasks_pipeline.archive.manifest import ArchiveError, Manifest, Table
from tasks_pipeline.archive.places import ENVELOPE, OF_PROJECT, PLACE, places_in_lake, without
from tasks_pipeline.archive.rows import TABLES, rows_from
from tasks_pipeline.archive.store import LOCK, Archive, Part
from tasks_pipeline.archive.verify import Progress, look
from tasks_pipeline.archive.write import BLOBS
from tasks_pipeline.groups.derived import derive_counters
from tasks_pipeline.groups.restoring import Back, OldGroups, bring_back
from tasks_pipeline.storage.decoding import FILE_ROWS
from tasks_pipeline.storage.lake.files import DayFiles
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.ledger.event_ids import EventPlace, own_event_ids
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.state.removals import forget_removals, note_removals
from tasks_pipeline.storage.state.restored import keep_restored, note_restored, note_restoring, restored
from tasks_pipeline.storage.targets import pieces_of
from tasks_pipeline.stores import Stores

WITH_IDS = ("events", "transactions")
"""Tables whose rows own their event id."""
OF_EVENTS = ("event_payloads", "attachments")
"""Tables whose rows came with them, and stay away with them."""


@dataclass(slots=True)
class RestoredParts:
    """What came back of a day: rows by table, which groups were made again, which of these with other numbers, which events belong to
    another group now. `duplicates` are rows that were stored again meanwhile, `discarded` those of groups that were discarded: they stay
    away. `whole` is false where rows are in no archive; `until` is the last day on which all of it stays."""

    day: date
    until: date
    projects: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    blobs: int = 0
    groups_made: list[int] = field(default_factory=list)
    groups_renumbered: dict[int, int] = field(default_factory=dict)
    groups_joined: dict[int, int] = field(default_factory=dict)
    duplicates: int = 0
    discarded: int = 0
    whole: bool = True
    was_there: bool = False


@dataclass(slots=True)
class _Of:
    """A part with its manifest and its proven files."""

    part: Part
    manifest: Manifest
    files: dict[str, Path] = field(default_factory=dict)

    def pieces(self, table: Table, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The rows of a table, or some columns of them, in pieces of a row group."""
        for stored in table.files:
            with pq.ParquetFile(self.files[stored.name]) as file:
                for group in range(file.num_row_groups):
                    yield file.read_row_group(group, columns)


def restore_day(
    stores: Stores,
    archive: Archive,
    day: date,
    until: date,
    project_id: int | None = None,
    progress: Progress = lambda _part, _size: None,
) -> RestoredParts:
    """Bring a day back, of one project or of all; it stays through `until`. Raises ArchiveError when nothing of it is archived, when a
    file is damaged or of a newer format, and when the day still has its rows: then nothing was touched."""
    with process_lock(stores.home, LOCK), ExitStack() as stack:
        kept = list(without_deleted(stores, archive, reversed(archive.parts(day, project_id))))
        found = [_Of(part, archive.manifest(part)) for part in kept]
        refuse_deleted(stores, archive, [(each.part, each.manifest) for each in found])
        if not found:
            of = "" if project_id is None else f" of project {stores.slugs.get(project_id, project_id)}"
            raise ArchiveError(f"{archive.url} has nothing of {day}{of}: `archive list` says what there is")
        _refuse_too_many(archive, day, found)
        for each in found:
            _prove(archive, each, stack)
            progress(each.part, each.manifest.size)
        return _Restore(stores, archive, day, until, found).run()


def _refuse_too_many(archive: Archive, day: date, found: Sequence[_Of]) -> None:
    """Raise ArchiveError for more rows than have room: the places of those of a table are in memory at once."""
    rows = Counter[str]()
    for each in found:
        rows.update({table.name: table.rows for table in each.manifest.tables})
    for name, count in rows.items():
        if count > FILE_ROWS:
            raise ArchiveError(
                f"{archive.url} has {count:,} rows of {name} of {day}; allowed are {FILE_ROWS:,}: restore one project after the other"
            )


def _prove(archive: Archive, each: _Of, stack: ExitStack) -> None:
    for table in each.manifest.tables:
        for stored in table.files:
            path = stack.enter_context(archive.proven(each.part, stored))
            look(archive, each.part, table, stored, path)
            each.files[stored.name] = path
    for blob in each.manifest.blobs:
        with archive.proven(each.part, blob, BLOBS):
            pass


class _Restore:
    """A day on its way back. Newer parts come first: a row that is in two of them comes once."""

    def __init__(
        self, stores: Stores, archive: Archive, day: date, until: date, found: Sequence[_Of]
    ) -> None:
        self._stores, self._archive, self._day, self._found = stores, archive, day, found
        self._projects = sorted({each.part.project_id for each in found})
        self._report = RestoredParts(day, until, self._projects)
        self._report.whole = all(each.manifest.whole for each in found)
        self._groups: dict[int, Back] = {}
        self._away: list[pa.Table] = []

    def run(self) -> RestoredParts:
        """Do it, or what a killed process left of it."""
        known = self._known()
        missing = any(self._missing(name) for name in self._tables())
        if not missing and not known:
            raise ArchiveError(
                f"{self._day} still has all rows that are archived of it: there is nothing to restore"
            )
        state, until = self._stores.state, self._report.until
        if not missing and all(known.get(project) for project in self._projects):
            with state.write() as connection:
                keep_restored(connection, self._day, self._projects, until)
            self._report.was_there = True
            return self._report
        with state.write() as connection:
            note_restoring(state, connection, self._day, self._projects, until)
        self._bring_back_groups()
        if missing:
            self._bring_back_blobs()
            self._bring_back_rows()
        self._count()
        return self._report

    def _known(self) -> dict[int, bool]:
        """By project whether the day is back; those of which nobody began to restore it are not in it."""
        with self._stores.state.read() as connection:
            return {each.project_id: each.is_done for each in restored(connection, self._day)}

    def _tables(self) -> list[str]:
        """The tables of the lake that rows are archived of: those of events first, which decide what stays away."""
        names = {table.name for each in self._found for table in each.manifest.of_lake}
        return [name for name in LAKE_TABLES if name in names]

    def _missing(self, name: str, take: Callable[[pa.Table], object] | None = None) -> int:
        """Give the rows of a table that the lake does not hold to a function, piece by piece, or only count them; gives how many there
        are."""
        there, rows = places_in_lake(self._stores.lake, self._day, self._projects, name), 0
        for each in self._found:
            table = each.manifest.table(name)
            if table is None:
                continue
            mine: list[pa.Table] = []
            for piece in each.pieces(table, None if take else OF_PROJECT):
                new = without(piece, there)
                mine.append(new.select(OF_PROJECT).cast(there.schema))
                rows += new.num_rows
                if take and new.num_rows:
                    take(new)
            there = pa.concat_tables([there, *mine])
        return rows

    # ── groups

    def _bring_back_groups(self) -> None:
        for project_id in self._projects:
            old = self._old_groups(project_id)
            back = self._groups[project_id] = bring_back(self._stores.state, old)
            self._report.groups_made += [back.target[g] or g for g in back.made]
            of = {group_id: target for group_id, target in back.target.items() if target is not None}
            self._report.groups_renumbered |= {g: of[g] for g in back.renumbered if g in of}
            self._report.groups_joined |= {g: of[g] for g in back.joined if g in of}

    def _old_groups(self, project_id: int) -> OldGroups:
        """The groups of the newest part that has them, of each."""
        slug = self._stores.slugs.get(project_id)
        old = OldGroups(project_id, slug or self._found[0].manifest.project)
        for each in self._found:
            if each.part.project_id == project_id:
                _add_groups(old, each)
        return old

    def _target(self, project_id: int, group_id: int) -> int | None:
        """The group that events of a group belong to now."""
        return self._groups[project_id].target.get(group_id, group_id)

    # ── rows

    def _bring_back_blobs(self) -> None:
        """Blobs first, so that no row refers to what is not there; storing one again makes it young."""
        for each in self._found:
            for blob in each.manifest.blobs:
                path = f"{each.part.path}/{BLOBS}{blob.name}"
                with self._archive.tree.open(path) as source, self._stores.blobs.draft() as draft:
                    for piece in pieces_of(source):
                        draft.write(piece)
                    draft.keep()
                self._report.blobs += 1

    def _bring_back_rows(self) -> None:
        lake = self._stores.lake
        with lake.writing(self._day, "restored") as files:
            for name in self._tables():
                self._report.rows[name] = 0
                self._missing(name, lambda piece, name=name: self._take(name, piece, files))  # type: ignore[misc]
            written = files.finish()
            with lake.lock():
                lake.register(written)

    def _take(self, name: str, piece: pa.Table, files: DayFiles) -> None:
        if name == "events":
            piece = self._regrouped(piece)
        if name in WITH_IDS:
            piece = self._owned(piece)
        if name in OF_EVENTS:
            for away in self._away:
                piece = without(piece, away)
        if piece.num_rows:
            files.add_piece(name, _as_now(name, piece))
            self._report.rows[name] += piece.num_rows

    def _regrouped(self, piece: pa.Table) -> pa.Table:
        """Events with the groups that they belong to now, without those of discarded ones."""
        keys = zip(piece["project_id"].to_pylist(), piece["group_id"].to_pylist(), strict=True)
        now = pa.array([self._target(*key) for key in keys], pa.int64())
        number = piece.schema.get_field_index("group_id")
        there = pc.is_valid(now)
        self._report.discarded += self._stay_away(piece, there)
        return piece.set_column(number, "group_id", now).filter(there)

    def _owned(self, piece: pa.Table) -> pa.Table:
        """Rows whose places own their ids again. One that was sent again after it was forgotten is stored elsewhere already."""
        columns = ("project_id", "event_id", "day", *PLACE)
        places = [EventPlace(*row.values()) for row in piece.select(columns).to_pylist()]
        state = self._stores.state
        with state.write() as connection:
            owns = pa.array(own_event_ids(state, connection, places) if places else [], pa.bool_())
        self._report.duplicates += self._stay_away(piece, owns)
        return piece.filter(owns)

    def _stay_away(self, piece: pa.Table, back: pa.Array) -> int:
        """Note the envelopes of rows that do not come back, for what came with them; gives how many rows that are."""
        away = piece.select(ENVELOPE).filter(pc.invert(back))
        if away.num_rows:
            self._away.append(away)
        return int(away.num_rows)

    # ── counters

    def _count(self) -> None:
        """Have nothing be noted as removed of what is whole, count the groups from what is there, and note the end."""
        stores = self._stores
        with stores.lake.lock():
            with stores.state.write() as connection:
                for each in self._found:
                    key = each.part.key
                    if all(one.manifest.whole for one in self._found if one.part.key == key):
                        tables = [table.name for table in each.manifest.of_lake]
                        forget_removals(connection, self._day, each.part.project_id, tables)
            touched = {g for back in self._groups.values() for pair in back.target.items() for g in pair if g}
            if touched:
                of_day = f"day = DATE '{self._day.isoformat()}'"
                derive_counters(
                    stores.state, stores.lake, of_day, "retention", day=self._day, group_ids=sorted(touched)
                )
        with stores.state.write() as connection:
            # Not before the groups were counted: they count what is there. It is what keeps the day from being computed from raw envelopes.
            now = datetime.now(UTC)
            note_removals(stores.state, connection, list(self._taken()), now)
            note_restored(connection, self._day, self._projects, now)

    def _taken(self) -> Iterator[dict[str, object]]:
        """What was deleted on purpose since it was archived, as removals: one for each table and project."""
        rows: Counter[tuple[int, str]] = Counter()
        reasons: dict[tuple[int, str], str] = {}
        for each in self._found:
            for gone in each.manifest.taken:
                rows[each.part.project_id, gone.table] += gone.rows
                reasons[each.part.project_id, gone.table] = gone.reason
        for (project_id, name), count in sorted(rows.items()):
            reason = reasons[project_id, name]
            yield {"day": self._day, "project_id": project_id, "name": name, "rows": count, "reason": reason}


def _add_groups(old: OldGroups, each: _Of) -> None:
    """Add the groups of a part that are not known from a newer one."""
    rows: dict[str, list[dict[str, object]]] = {}
    for state_table in TABLES:
        table = each.manifest.table(state_table.name)
        if table is not None:
            rows[table.name] = [row for piece in each.pieces(table) for row in rows_from(state_table, piece)]
    new = {_number(row["id"]): row for row in rows.get("groups", ())}
    new = {number: row for number, row in new.items() if number not in old.groups}
    old.groups |= new
    for name, into in (("group_hashes", old.keys), ("group_days", old.days)):
        for row in rows.get(name, ()):
            if (number := _number(row["group_id"])) in new:
                into.setdefault(number, []).append(row)
    for name, one in (("group_explanations", old.explanations), ("group_signatures", old.signatures)):
        one |= {n: row for row in rows.get(name, ()) if (n := _number(row["group_id"])) in new}


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _as_now(name: str, piece: pa.Table) -> pa.Table:
    """Rows with the columns that the table has now: null where it had none then."""
    schema = LAKE_TABLES[name].arrow
    there = set(piece.column_names)
    columns = [
        piece[each.name].cast(each.type) if each.name in there else pa.nulls(piece.num_rows, each.type)
        for each in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
