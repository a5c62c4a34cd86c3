"""The one place where archives of removed days are asked: rows that go have to go from them too.

```
_note_owners    each day    events and transactions that go, as a table beside the lake: what follows them there goes as well
take_followers  each day    rows that follow, or go by themselves; groups say nothing of what goes
                …           rows of the lake go
take_owners     each day    events with their payloads, transactions; groups that have none left
```

Until the last step each process can ask anew what goes and what follows. The lock `archive` is held all the while: no cleanup moves rows
from the lake into the archive, and no restore back, between two looks.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Any

import duckdb
import pyarrow as pa
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.opened import OpenedDay, opened_day
from tasks_pipeline.archive.rewrite import Changed, counted, rewritten, sweep
from tasks_pipeline.archive.rows import TABLES
from tasks_pipeline.archive.store import LOCK, Archive, Part, open_archive, refuse_away
from tasks_pipeline.erasure.archived_days import emptied, places_in, told_of, whole
from tasks_pipeline.erasure.archived_groups import changes_of_groups
from tasks_pipeline.erasure.lake_rows import (
    ARCHIVED,
    OWNERS,
    OWNING,
    doomed_rows,
    owners_of,
    with_followers,
)
from tasks_pipeline.erasure.raw import erase_envelopes
from tasks_pipeline.erasure.selection import Erased, Selection, Subject
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, RECEIVED_TABLES
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

OWN_ERRORS = (duckdb.Error, SQLAlchemyError)
"""Trouble with our own stores; all else is trouble with the place of the archive."""
ROWS = 8192
_SAID = ("title", "culprit", "exception_value", "exception_type", "transaction")
_SCHEMA = pa.schema(
    [
        ("name", pa.string()), ("day", pa.date32()), ("part", pa.string()), ("position", pa.int64()), ("item", pa.int32()),
        ("project_id", pa.int64()), ("event_id", pa.string()), ("group_id", pa.int64()), ("received_at", pa.timestamp("us", "UTC")),
        *((name, pa.string()) for name in _SAID),
    ]
)  # fmt: skip
_OWNERS_OF_DAY = (*OWNING, "event_payloads")
_FOLLOWERS = tuple(name for name in RECEIVED_TABLES if name not in _OWNERS_OF_DAY)

OfDay = Callable[[OpenedDay, Mapping[str, str]], tuple[Mapping[str, str], Mapping[str, Changed]]]
"""Given the conditions on rows of an archived day, gives those on rows that go, and what becomes of others, by table."""
Note = Callable[[Mapping[str, list[dict[str, Any]]]], None]
"""Hears what is about to go, before it does: by the proof of the manifest that is over then, what goes of it."""


class Archives:
    """What is archived, asked for a subject. `problems` are days that could not be looked at, and why; `owners` are events that are known
    from a process that could not."""

    def __init__(
        self, stores: Stores, subject: Subject, owners: Sequence[tuple[int, str]] = (), texts: Texts | None = None
    ) -> None:  # fmt: skip
        self._stores, self._subject, self._known = stores, subject, owners
        self._texts = texts or Texts()
        self._problems: dict[str, None] = {}
        self._archive: Archive | None = None
        self._selection = Selection(subject.reason)
        self._said_by_others: set[str] = set()
        self._owning: set[tuple[date, int]] = set()
        url = stores.config.retention.archive_url
        if url is not None:
            with self._reaching(url):
                archive = open_archive(stores.home, url)
                refuse_away(stores.home, archive)
                self._archive = archive

    @property
    def problems(self) -> list[str]:
        """What could not be looked at, and why."""
        return list(self._problems)

    @contextmanager
    def doomed(self, selection: Selection) -> Iterator[Mapping[str, str]]:
        """Have the rows of the lake that go as a table (`doomed_rows`), also those that follow archived events, and hold the lock."""
        lake, self._selection = self._stores.lake, selection
        with process_lock(self._stores.home, LOCK), lake.given(ARCHIVED, [_SCHEMA.empty_table()]):
            if self._known:
                rows = [{"name": "events", "project_id": p, "event_id": e} for p, e in self._known]
                lake.add(ARCHIVED, pa.Table.from_pylist(rows, schema=_SCHEMA))
            if not self._subject.is_whole:  # of a project everything goes by its number
                self._each(self._note_owners)
            with doomed_rows(lake, selection) as conditions:
                yield conditions

    # ── looking

    def count(self) -> list[Erased]:
        """How many archived rows go, by table. Within `doomed`."""
        found = Counter[str]()

        def act(day: OpenedDay, rows: Mapping[str, str]) -> None:
            with self._wanted(day, rows) as wanted:
                found.update(counted(day, wanted))
                for name, change in self._changes(day, wanted).items():
                    pieces = day.pieces(f"SELECT * FROM archived.{name}", rows=ROWS)
                    found[name] += sum(change(piece)[1] for piece in list(pieces))

        self._each(act)
        names = {str(table.name) for table in TABLES}
        return [
            Erased(f"archive.{name}", rows, "overwritten" if name in names else "deleted")
            for name, rows in sorted(found.items())
            if rows
        ]

    def each_day(self, act: Callable[[OpenedDay, Mapping[str, str]], None]) -> None:
        """Hand each archived day of which something may go to a function, with the conditions on its rows. Within `doomed`."""

        def wanting(day: OpenedDay, rows: Mapping[str, str]) -> None:
            with self._wanted(day, rows) as wanted:
                act(day, wanted)

        self._each(wanting)

    # ── taking

    def take_followers(self, note: Note) -> list[Erased]:
        """Remove what goes but for events, their payloads and transactions; and what killed processes left. Raw envelopes that rows which
        go came in are overwritten before; gives how many. Within `doomed`."""
        if self._archive is None:
            return []
        raw_days, erased = set(self._stores.spool.days()), 0
        with self._reaching(self._archive.url):
            self._archive.tree.drop_drafts(datetime.now(UTC))
            self._withdraw(self._archive, note)

        def act(day: OpenedDay, rows: Mapping[str, str]) -> None:
            nonlocal erased
            with self._wanted(day, rows) as wanted:
                self._hear(day, wanted)
                if day.day in raw_days:
                    erased += erase_envelopes(self._stores, day.day, places_in(day, wanted))
                gone = {name: wanted[name] for name in _FOLLOWERS if name in wanted}
                self._take(day, gone, self._changes(day, wanted), note, swept=True)
                if counted(day, {name: wanted[name] for name in _OWNERS_OF_DAY if name in wanted}):
                    self._owning.add((day.day, day.project_id))

        self._each(act)
        return [Erased("spool", erased, "erased")]

    def take_owners(self, note: Note) -> None:
        """Remove events with their payloads, transactions, and groups that no event is left of. Within `doomed`."""

        def act(day: OpenedDay, rows: Mapping[str, str]) -> None:
            with self._wanted(day, rows) as wanted:
                gone = {name: wanted[name] for name in _OWNERS_OF_DAY if name in wanted}
                if counted(day, gone):
                    self._take(day, gone, emptied(day, wanted), note, swept=False)

        self._each(act, among=self._owning)

    def change(self, of_day: OfDay, texts: Texts, note: Note) -> None:
        """Have rows of archived days go or say something else, as a function says for each day; what groups say is rid of texts. Within
        `doomed`."""
        if self._archive is None:
            return
        with self._reaching(self._archive.url):
            self._archive.tree.drop_drafts(datetime.now(UTC))
            self._withdraw(self._archive, note)

        def act(day: OpenedDay, rows: Mapping[str, str]) -> None:
            with self._wanted(day, rows) as wanted:
                gone, changed = of_day(day, wanted)
                of_groups = changes_of_groups(self._stores.lake, day, None, texts, ())
                self._take(day, gone, {**changed, **of_groups}, note, swept=True)

        self._each(act)

    def said_by_others(self, said: Iterable[str]) -> set[str]:
        """Those of texts that archived events say which stay. Known after `take_followers`."""
        return self._said_by_others & set(said)

    def owners(self, most: int) -> list[tuple[int, str]] | None:
        """The events and transactions that go, of the lake and of archives; None where they are more than so many."""
        rows = self._stores.lake.query(
            f"SELECT DISTINCT project_id, event_id FROM {OWNERS} WHERE event_id IS NOT NULL ORDER BY ALL LIMIT {most + 1}"
        )
        return None if len(rows) > most else [(row["project_id"], row["event_id"]) for row in rows]

    # ── a day at a time

    def _each(
        self,
        act: Callable[[OpenedDay, Mapping[str, str]], None],
        among: Collection[tuple[date, int]] | None = None,
    ) -> None:
        """Hand each day to a function, or those `among` some days of projects: to open and prove one takes a tenth of a second, and more
        where the archive is far."""
        archive, found = self._archive, list[Part]()
        if archive is None:
            return
        with self._reaching(archive.url):
            looked = self._looked(archive)
            found = sorted(
                part
                for part, is_finished in looked.items()
                if is_finished and (among is None or (part.day, part.project_id) in among)
            )
        for _, parts in groupby(found, key=lambda part: (part.day, part.project_id)):
            if self._archive is None:  # it was away: each file would be waited for
                return
            with (
                self._reaching(archive.url),
                opened_day(self._stores.home, archive, list(parts)) as day,
                self._subject.archived(self._stores, day) as rows,
            ):
                act(day, rows)

    def _looked(self, archive: Archive) -> dict[Part, bool]:
        projects = self._subject.projects
        if projects is None:
            return archive.look()
        return {
            part: is_finished
            for number in sorted(projects)
            for part, is_finished in archive.look(project_id=number).items()
        }

    @contextmanager
    def _wanted(self, day: OpenedDay, rows: Mapping[str, str]) -> Iterator[dict[str, str]]:
        """Conditions on all rows of a day that go: those of the subject, and what follows events of this day, of others and of the lake."""
        own = dict(rows)
        if hashes := self._selection.user_hashes.get(day.project_id):
            listed = ", ".join(str(int(each)) for each in sorted(hashes))
            own["sessions"] = f"({own.get('sessions', 'false')}) OR user_hash IN ({listed})"
        owners = " UNION ALL ".join(owners_of(own)) or owners_of({"events": "false"})[0]
        with day.kept("own_events", owners, [{}]):
            ids = " UNION ".join(
                f"SELECT project_id, {column} AS event_id FROM lake.{name}"
                for name, column in (
                    ("attachments", "event_id"), ("user_reports", "associated_event_id"), ("dead_letters", "event_id"),
                )
            )  # fmt: skip
            asked = day.pieces(f"SELECT * FROM ({ids}) WHERE event_id IS NOT NULL", rows=ROWS)
            elsewhere = list(self._owned(asked))
            with (
                day.given("other_events", [_SCHEMA.empty_table(), *elsewhere]),
                day.kept(
                    OWNERS, "SELECT * FROM own_events UNION ALL SELECT name, day, part, position, item, project_id, event_id, group_id "
                    "FROM other_events", [{}],
                ),
            ):  # fmt: skip
                wanted = with_followers(own)
                yield {name: wanted[name] for name in RECEIVED_TABLES if name in wanted}

    def _owned(self, asked: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Those of ids that events or transactions which go have, wherever these are."""
        lake = self._stores.lake
        for piece in asked:
            with lake.given("asked_events", [piece]):
                rows = lake.query(
                    f"SELECT project_id, event_id FROM asked_events SEMI JOIN (SELECT project_id, event_id FROM {OWNERS} UNION ALL "
                    f"SELECT project_id, event_id FROM {ARCHIVED}) USING (project_id, event_id)"
                )
            yield pa.Table.from_pylist([{"name": "elsewhere", **row} for row in rows], schema=_SCHEMA)

    def _note_owners(self, day: OpenedDay, rows: Mapping[str, str]) -> None:
        for name in OWNING:
            if name in rows:
                known = {column.name for column in LAKE_TABLES[name].columns}
                chosen = ", ".join(
                    f"'{name}' AS name" if each.name == "name"
                    else f'"{each.name}"' if each.name in known and (name == "events" or each.name not in _SAID) else f'NULL AS "{each.name}"'
                    for each in _SCHEMA
                )  # fmt: skip
                for piece in day.pieces(f"SELECT {chosen} FROM lake.{name} WHERE {rows[name]}", rows=ROWS):
                    self._stores.lake.add(ARCHIVED, piece.cast(_SCHEMA))

    def _hear(self, day: OpenedDay, wanted: Mapping[str, str]) -> None:
        """Note which texts of archived events that go are said by archived events that stay."""
        said = " UNION ".join(f"SELECT {column} AS said FROM {ARCHIVED}" for column in _SAID)
        asked = [
            row["said"]
            for row in self._stores.lake.query(
                f"SELECT DISTINCT said FROM ({said}) WHERE said IS NOT NULL LIMIT 20000"
            )
        ]
        stays = f"({wanted.get('events', 'false')}) IS NOT TRUE"
        others = " UNION ".join(f"SELECT {column} AS said FROM lake.events WHERE {stays}" for column in _SAID)
        if asked:
            with day.given("asked_texts", [pa.table({"said": pa.array(asked, pa.string())})]):
                rows = day.query(f"SELECT said FROM asked_texts SEMI JOIN ({others}) USING (said)")
            self._said_by_others.update(row["said"] for row in rows)

    def _changes(self, day: OpenedDay, wanted: Mapping[str, str]) -> dict[str, Changed]:
        of_privacy = self._subject.reason == "privacy"
        exact = self._texts.wanted
        within = self._selection.texts | self._texts if of_privacy else Texts()
        return changes_of_groups(self._stores.lake, day, wanted.get("events", "false"), within, exact)

    def _take(
        self, day: OpenedDay, gone: Mapping[str, str], changed: Mapping[str, Changed], note: Note, *, swept: bool
    ) -> None:  # fmt: skip
        found = [
            new for each in day.parts if (new := rewritten(day, each, gone, changed, self._subject.reason)) is not None
        ]  # fmt: skip
        if found:
            note({new.before.proof: told_of(new) for new in found})
        for new in found:
            day.archive.publish(new.part, new.manifest)
        now = {new.part: new.manifest for new in found}
        for each in day.parts:
            if swept or each.part in now:
                sweep(day.archive, each.part, now.get(each.part, each.manifest))

    def _withdraw(self, archive: Archive, note: Note) -> None:
        """Remove parts as a whole: those that nobody finished, and all of a project. They are noted together: a request that is written
        anew for each of ten thousand takes ten minutes."""
        gone = {
            part: is_finished
            for part, is_finished in self._looked(archive).items()
            if not is_finished or self._subject.is_whole
        }
        known = [whole(archive, part) for part, is_finished in gone.items() if is_finished]
        if told := dict(each for each in known if each is not None):
            note(told)
        for part in gone:
            archive.withdraw(part)

    # ── trouble

    def _problem(self, said: str) -> None:
        self._problems[said] = None

    @contextmanager
    def _reaching(self, url: str) -> Iterator[None]:
        """Note trouble with the archive: what is damaged, or that it is away. Trouble with our own stores is raised."""
        try:
            yield
        except ArchiveError as error:
            self._problem(str(error))
        except OWN_ERRORS:
            raise
        except OSError as error:
            self._is_away(url, error)
        except Exception as error:  # drivers of object storage raise errors of their own
            log.warning("the archive cannot be asked", exc_info=True)
            self._is_away(url, error)

    def _is_away(self, url: str, error: Exception) -> None:
        self._problem(f"the archive {url} cannot be reached: {str(error)[:200] or type(error).__name__}")
        self._archive = None
