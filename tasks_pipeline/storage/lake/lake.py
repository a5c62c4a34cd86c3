"""The lake: DuckLake tables over Parquet files that we write ourselves, and the tail as if it were part of them.

Whoever reads asks `query`, of the tables of `lake`; only this module names `stored`, what DuckLake itself holds. Facts
behind the choices (writer lock, fsync before the catalog commits, no inlining) are in docs/storage.md.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from datetime import date, datetime
from typing import Any

import duckdb
import pyarrow as pa

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.catalog import (
    FLUSHED,
    DayTotals,
    LiveFile,
    StoredFile,
    add_files,
    catalog_rows,
    create_missing_tables,
    day_totals,
    delete_orphans,
    drop_dead_markers,
    drop_from_catalog,
    expire_snapshots,
    forget_extremes,
    known_paths,
    live_files,
    rewrite_catalog,
    settle,
    stored_files,
)
from tasks_pipeline.storage.lake.connection import FarFiles, attach_lake, connect, threads
from tasks_pipeline.storage.lake.files import DayFiles, LakeFile, remove_file, tree_of
from tasks_pipeline.storage.lake.mirror import MARKER, Mirror, create_mirror, create_views
from tasks_pipeline.storage.lake.tables import DERIVED_TABLES, LAKE_TABLES, RECEIVED_TABLES
from tasks_pipeline.storage.lake.tail import Place
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.locks import ensure_locks, is_locked, process_lock

log = logging.getLogger(__name__)

BACKUP = "backup"
"""The lock of whoever needs the files of a snapshot for long; it is taken before the writer lock."""
REGROUPED_ROWS = 50_000  # rows of events in memory when they are written again


_NAMED = re.compile(r"\blake\.(\w+)")


def _named(sql: str) -> set[str]:
    """The tables of the lake that a query names."""
    return set(_NAMED.findall(sql)) & LAKE_TABLES.keys()


class Lake:
    """An open lake. One instance serves one thread at a time; readers in other processes need no lock."""

    def __init__(self, home: Home, state: StateDatabase) -> None:
        self.home = home
        self._state = state
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._far: FarFiles | None = None
        self._mirror = Mirror(state)
        self._views: set[str] = set()
        self._guard = threading.Lock()
        self._frozen = False

    @property
    def _stored(self) -> duckdb.DuckDBPyConnection:
        """DuckDB with DuckLake attached as `stored` and the mirror as `lake`; opened on first use, tables made when they
        are missing."""
        with self._guard:
            if self._connection is None:
                connection = connect(self.home)
                try:
                    self._far = attach_lake(connection, self.home, read_only=False)
                    settle(connection, self.home)
                    create_missing_tables(connection, self.home)
                    create_mirror(connection)
                except BaseException:
                    connection.close()
                    raise
                self._connection = connection
            if self._far is not None:
                self._far.renew()
        return self._connection

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, payloads: bool = False
    ) -> list[dict[str, Any]]:
        """Rows of a query as dicts; its parameters are `?`, or `$name` for those in a mapping.

        `payloads` is for queries that read `event_payloads.payload`: of events in the tail it is not at hand otherwise.
        """
        cursor = self._execute(sql, parameters, payloads)
        names = [d[0] for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def arrow(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """Rows of a query as one Arrow table, for many small ones."""
        return self._execute(sql, parameters, payloads=False).to_arrow_table()

    def pieces(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, rows: int
    ) -> Iterator[pa.Table]:
        """Rows of a query as Arrow tables of about so many each, never all at once. Nothing else may be asked of this lake
        until the last was taken."""
        for batch in self._execute(sql, parameters, payloads=False).to_arrow_reader(rows):
            yield pa.Table.from_batches([batch])

    @contextmanager
    def kept(
        self, name: str, sql: str, slices: Iterable[Mapping[str, Any]], *, payloads: bool = False
    ) -> Iterator[None]:
        """Have the rows of a query, asked once for each set of parameters, as a table of that name within the block. DuckDB
        writes to disk what is too much for its memory. `payloads` as in `query`."""
        into = f"CREATE OR REPLACE TEMP TABLE {name} AS"
        try:
            for parameters in slices:
                self._execute(f"{into} {sql}", parameters, payloads)
                into = f"INSERT INTO {name}"
            yield
        finally:
            self._drop(name)

    @contextmanager
    def given(self, name: str, rows: Iterable[pa.Table]) -> Iterator[None]:
        """Have rows that are not in the lake as a table of that name within the block."""
        connection, into = self._stored, f"CREATE OR REPLACE TEMP TABLE {name} AS"
        try:
            for piece in rows:
                connection.register("given_rows", piece)
                connection.execute(f"{into} SELECT * FROM given_rows")
                connection.unregister("given_rows")
                into = f"INSERT INTO {name}"
            yield
        finally:
            self._drop(name)

    def add(self, name: str, rows: pa.Table) -> None:
        """Add rows to a table of `given`."""
        self._stored.register("given_rows", rows)
        self._stored.execute(f"INSERT INTO {name} SELECT * FROM given_rows")
        self._stored.unregister("given_rows")

    def _drop(self, name: str) -> None:
        """Drop a temporary table. In a snapshot that failed nothing can be done any more, and its end takes the table along."""
        with suppress(duckdb.TransactionException):
            self._stored.execute(f"DROP TABLE IF EXISTS {name}")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have all queries within the block see the lake as it is now, whatever is stored meanwhile. Nothing is written to it
        within."""
        connection = self._stored
        self._have_views(connection, LAKE_TABLES.keys())
        self._mirror.refresh(connection)
        connection.execute("BEGIN")
        self._frozen = True
        try:
            yield
        finally:
            self._frozen = False
            connection.execute("ROLLBACK")

    def _execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any], payloads: bool
    ) -> duckdb.DuckDBPyConnection:
        connection, named = self._stored, _named(sql)
        self._have_views(connection, named)
        # Of derived tables nothing lies in the tail, and to bring that along takes a multiple of what a query of these alone does.
        if not self._frozen and not (named and named <= DERIVED_TABLES.keys()):
            self._mirror.refresh(connection)  # before the statement takes its snapshot of the lake
        if payloads:
            self._mirror.fill_payloads(connection)
        return connection.execute(sql, parameters if isinstance(parameters, Mapping) else list(parameters))

    def _have_views(self, connection: duckdb.DuckDBPyConnection, names: Set[str]) -> None:
        """Make the views of these tables that nobody asked for before: those of all are half of what opening a lake would cost."""
        if missing := names - self._views:
            create_views(connection, sorted(missing))
            self._views |= missing

    @contextmanager
    def lock(self) -> Iterator[None]:
        """The writer lock; every commit to the lake happens under it."""
        _ = self._stored  # opening takes the lock too, and it does not nest
        with process_lock(self.home, "lake", self._state.engine):
            yield

    @contextmanager
    def writing(self, day: date, label: str) -> Iterator[DayFiles]:
        """Files of a day to be written. What of them was not registered when the block ends is removed.

        The catalog does not know them before `register`. `label` tells people what wrote a file; names are unique
        whatever it is.
        """
        _ = self._stored  # which refuses a place that is not this lake's
        files = DayFiles(self.home, day, label, self._warm)
        try:
            yield files
        finally:
            files.abandon()
            self._discard(files.finished)

    def _warm(self, files: Sequence[LakeFile]) -> None:
        """Have DuckDB know the footers of files in object storage: `register` asks for them while it holds the lock."""
        if self.home.far and files:
            self._stored.execute(
                "SELECT count(*) FROM parquet_file_metadata(?)", [[file.path for file in files]]
            )

    def register(self, files: Sequence[LakeFile], *, flushed: int | None = None) -> None:
        """Make files visible, all in one transaction. The caller holds the lock.

        With `flushed` they hold the rows of the tail's segments up to this number, and are read in their place.
        """
        with self._one_thread(), self._transaction() as connection:
            add_files(connection, files)
            if flushed is not None:
                connection.execute("INSERT INTO stored.flushed_segments VALUES (?)", [flushed])

    def flushed_through(self) -> int:
        """The number of the last segment of the tail whose rows are in files."""
        rows = self._stored.execute(f"SELECT {MARKER}").fetchall()
        return int(rows[0][0])

    def _discard(self, files: Sequence[LakeFile]) -> None:
        """Remove files that were not registered. Where the catalog cannot be asked they stay, and are orphans."""
        if not files:
            return
        try:
            known = known_paths(self._stored, self.home, [file.path for file in files])
            for file in files:
                if file.path not in known:
                    remove_file(self.home, file.path)
        except Exception:  # what was going on matters more than its leavings
            log.warning("files of a failed attempt stay until orphans are removed", exc_info=True)

    def moves(self, day: date, files: Iterable[LakeFile]) -> dict[tuple[int, int], int]:
        """How many events of a day are in one group, and in another by the rows of these files, which are not registered
        yet: by (group, other group)."""
        paths = [file.path for file in files if file.table == "events"]
        if not paths:
            return {}
        rows = self._stored.execute(
            "SELECT o.group_id, n.group_id, count(*) FROM stored.events o "
            "JOIN read_parquet($files, hive_partitioning = false) n USING (part, position, item) "
            "WHERE o.day = $day AND o.group_id <> n.group_id GROUP BY ALL",
            {"files": paths, "day": day},
        )
        return {(former, latter): events for former, latter, events in rows.fetchall()}

    def replace(self, day: date, bounds: Mapping[str, int], files: Iterable[LakeFile]) -> None:
        """Swap what a day holds for the given files, in one transaction. The caller holds the lock.

        `bounds` gives the last position per part that the files cover; rows behind it, of batches that came
        meanwhile, stay.
        """
        with self._transaction() as connection:
            for table in RECEIVED_TABLES:
                for part, last in bounds.items():
                    connection.execute(
                        f"DELETE FROM stored.{table} WHERE day = ? AND part = ? AND position <= ?",
                        [day, part, last],
                    )
            add_files(connection, files)

    def replace_derived(self, day: date, tables: Collection[str], files: Iterable[LakeFile]) -> None:
        """Swap what derived tables hold of a day for the given files, in one transaction. The caller holds the lock."""
        self.replace_days({day: tables}, files)

    def replace_days(self, tables_of: Mapping[date, Collection[str]], files: Iterable[LakeFile]) -> None:
        """The same of several days, all in one transaction; `tables_of` says which tables of each."""
        if unknown := {name for tables in tables_of.values() for name in tables} - set(DERIVED_TABLES):
            raise ValueError(f"not derived, so not to be replaced by the day: {', '.join(sorted(unknown))}")
        old = [file for file in self.live_files() if file.table in tables_of.get(file.day, ())]
        with self._transaction() as connection:
            drop_from_catalog(connection, old)
            add_files(connection, files)

    def swap_events(self, day: date, places: pa.Table, files: Iterable[LakeFile]) -> None:
        """Swap the events at these places (columns part, position, item) of a day, and their payloads, for the given
        files, in one transaction. The caller holds the lock."""
        with self._transaction() as connection:
            connection.register("swapped_places", places)
            for table in ("events", "event_payloads"):
                connection.execute(
                    f"DELETE FROM stored.{table} WHERE day = ? AND (part, position, item) IN "
                    "(SELECT (part, position, item) FROM swapped_places)",
                    [day],
                )
            connection.unregister("swapped_places")
            add_files(connection, files)

    def regroup(
        self,
        group_ids: Sequence[int],
        keys: pa.Table,
        on_days: Callable[[Collection[date]], None] = lambda _days: None,
    ) -> int:
        """Give each event of these groups the group of the first of its keys that is among `keys` (columns project_id,
        key, group_id), in one transaction; gives how many moved. `on_days` hears the days of those before. The caller holds
        the lock.

        The rows are written again by us, like all others: DuckDB's UPDATE would leave files that are not synced.
        """
        connection, of_groups = self._stored, f"group_id IN ({_numbers(group_ids)})"
        connection.register("known_keys", keys)
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE misplaced AS WITH keys AS ("
            "SELECT day, part, position, item, project_id, group_id, "
            "unnest(group_keys) AS key, generate_subscripts(group_keys, 1) AS number "
            f"FROM stored.events WHERE {of_groups}), decided AS ("
            "SELECT day, part, position, item, e.group_id AS former, arg_min(k.group_id, number) AS group_id "
            "FROM keys e JOIN known_keys k USING (project_id, key) GROUP BY ALL) "
            "SELECT * EXCLUDE (former) FROM decided WHERE group_id <> former"
        )
        connection.unregister("known_keys")
        days = connection.execute("SELECT day, count(*) FROM misplaced GROUP BY day ORDER BY day").fetchall()
        on_days([day for day, _ in days])
        with ExitStack() as stack:
            written = [stack.enter_context(self.writing(day, "regrouped")) for day, _ in days]
            for (day, _), files in zip(days, written, strict=True):
                self._write_regrouped(day, of_groups, files)
                files.finish()
            with self._transaction():
                for day, _ in days:
                    connection.execute(
                        f"DELETE FROM stored.events WHERE day = $1 AND {of_groups} AND (part, position, item) IN "
                        "(SELECT (part, position, item) FROM misplaced WHERE day = $1)",
                        [day],
                    )
                add_files(connection, [file for files in written for file in files.finished])
        connection.execute("DROP TABLE misplaced")
        return sum(events for _, events in days)

    def _write_regrouped(self, day: date, of_groups: str, files: DayFiles) -> None:
        rows = self._stored.execute(
            "SELECT e.* REPLACE (m.group_id AS group_id) FROM stored.events e "
            "JOIN misplaced m USING (day, part, position, item) "
            f"WHERE e.day = $1 AND m.day = $1 AND e.{of_groups}",
            [day],
        )
        for batch in rows.to_arrow_reader(REGROUPED_ROWS):
            files.add({"events": pa.Table.from_batches([batch]).cast(LAKE_TABLES["events"].arrow)})

    def drop_groups(
        self, group_ids: Sequence[int], on_days: Callable[[Collection[date]], None] = lambda _days: None
    ) -> None:
        """Remove the events of these groups, their payloads and attachments, in one transaction. `on_days` hears the days of
        those before. The caller holds the lock."""
        events = f"FROM stored.events WHERE group_id IN ({_numbers(group_ids)})"
        days = self._stored.execute(f"SELECT DISTINCT day {events}").fetchall()
        on_days([day for (day,) in days])
        with self._transaction() as connection:
            for table in ("event_payloads", "attachments"):
                connection.execute(
                    f"DELETE FROM stored.{table} WHERE day IN (SELECT day {events}) "
                    f"AND (project_id, event_id) IN (SELECT (project_id, event_id) {events})"
                )
            connection.execute(f"DELETE {events}")

    def groups_of_batch(self, day: date, part: str, first: int, last: int) -> set[int]:
        """The groups that the rows of a range of positions name."""
        rows = self._stored.execute(
            "SELECT DISTINCT group_id FROM stored.events WHERE day = ? AND part = ? AND position BETWEEN ? AND ?",
            [day, part, first, last],
        )
        return {group_id for (group_id,) in rows.fetchall()}

    def holds_batch(self, day: date, part: str, first_position: int) -> bool:
        """Whether a batch was registered; its outcome rows carry the first position of its range."""
        rows = self._stored.execute(
            "SELECT 1 FROM stored.outcomes WHERE day = ? AND part = ? AND position = ? LIMIT 1",
            [day, part, first_position],
        ).fetchall()
        return bool(rows)

    def payloads_at(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The payloads (JSON) of events at these places that are in files."""
        return payloads_in_files(self._stored, places) if places else {}

    def live_files(self, *, more_than: int = 0, before: date | None = None) -> list[LiveFile]:
        """The files of each table and day that has more than so many; `before` leaves out that day and later ones."""
        return live_files(self._stored, self.home, more_than=more_than, before=before)

    def day_totals(self) -> list[DayTotals]:
        """Rows, files and bytes of each table and day, the oldest day first. What lies in the tail is not among them."""
        return day_totals(self._stored, self.home)

    def catalog_rows(self) -> int:
        """Rows of all tables of the catalog: what grows with files, columns and snapshots."""
        return catalog_rows(self._stored, self.home)

    def newest_snapshot(self) -> int:
        """The number of the newest snapshot. It can be read until `forget_before` forgets it."""
        rows = self._stored.execute("SELECT max(snapshot_id) FROM ducklake_snapshots('stored')").fetchall()
        return int(rows[0][0])

    def rows_of(
        self,
        files: Sequence[LiveFile],
        batch: int,
        where: str = "true",
        *,
        snapshot: int | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Iterator[pa.Table]:
        """The rows of files of one table and day that meet a condition, in the table's order, in pieces of about `batch` rows; as
        they were in a snapshot, or are now. `columns` gives SQL for those that are to hold something else; both may name the table."""
        table, others = LAKE_TABLES[files[0].table], columns or {}
        selected = ", ".join(
            f"{others[c.name]} AS {c.quoted}" if c.name in others else f"{table.name}.{c.quoted}"
            for c in table.columns
        )
        order = f"ORDER BY {table.sorted_by}" if table.sort else ""
        names = ", ".join("?" * len(files))
        source = f"stored.{table.name}" + (f" AT (VERSION => {snapshot})" if snapshot is not None else "")
        rows = self._stored.execute(
            f"SELECT {selected} FROM {source} WHERE {table.name}.day = ? AND filename IN ({names}) AND ({where}) {order}",
            [files[0].day, *(file.path for file in files)],
        )
        for piece in rows.to_arrow_reader(batch):
            yield pa.Table.from_batches([piece]).cast(table.arrow)

    def projects_of(self, files: Sequence[LiveFile], where: str) -> dict[int, int]:
        """How many rows of files of one table and day meet a condition, by project."""
        names = ", ".join("?" * len(files))
        rows = self._stored.execute(
            f"SELECT project_id, count(*) FROM stored.{files[0].table} WHERE day = ? AND filename IN ({names}) AND ({where}) "
            "GROUP BY project_id ORDER BY project_id",
            [files[0].day, *(file.path for file in files)],
        )
        return {int(project_id): int(count) for project_id, count in rows.fetchall()}

    def exchange(self, old: Sequence[LiveFile], new: Sequence[LakeFile]) -> bool:
        """Put new files in the place of old ones, in one transaction, unless one of the old ones is not what it was;
        gives whether. The caller holds the lock."""
        if not set(old) <= set(self.live_files()):
            return False
        with self._transaction() as connection:
            drop_from_catalog(connection, old)
            add_files(connection, new)
        return True

    def drop(self, files: Sequence[LiveFile]) -> bool:
        """Take files out of their tables, in one transaction, unless one is not what it was; gives whether. They go with the last
        snapshot that holds them. The caller holds the lock."""
        return self.exchange(files, ())

    def stored_files(self) -> list[StoredFile]:
        """Every file that the catalog names, also those that only older snapshots hold."""
        return stored_files(self._stored, self.home)

    def project_rows(self, table: str) -> dict[tuple[date, int], tuple[int, int]]:
        """Rows of a table in files by day and project, and what they weigh: bytes as sent for events, else rows. One or two
        columns are read, and no payload."""
        weight = "sum(payload_bytes)" if table == "events" else "count(*)"
        rows = self._stored.execute(
            f"SELECT day, project_id, count(*), {weight} FROM stored.{table} GROUP BY ALL"
        ).fetchall()
        return {(day, project): (int(count), int(weight or 0)) for day, project, count, weight in rows}

    def damage_of_catalog(self) -> str:
        """What is wrong with the pages of an embedded catalog; empty when all is well. Asked of the SQLite that has it open."""
        found = self._stored.execute(
            "SELECT * FROM sqlite_query('__ducklake_metadata_stored', 'PRAGMA quick_check(5)')"
        ).fetchall()
        return "" if found == [("ok",)] else "; ".join(str(row[0]) for row in found)[:500]

    def forget_before(self, moment: datetime, most: int | None = None) -> int:
        """Forget snapshots older than that, at most so many, the files that only they held, and what the marker was before.
        Gives how many snapshots went. The caller holds the lock.

        None while a backup is under way, which copies the files of one of them for longer than others read.
        """
        if is_locked(self.home, BACKUP):
            return 0
        ensure_locks()
        ((markers,),) = self._stored.execute(f"SELECT count(*) FROM stored.{FLUSHED}").fetchall()
        if markers > 1:  # to delete nothing takes four times as long as to look
            self._stored.execute(f"DELETE FROM stored.{FLUSHED} WHERE segment < {MARKER}")
        forgotten = expire_snapshots(self._stored, self.home, moment, most)
        drop_dead_markers(self._stored, self.home)
        return forgotten

    def scrub_catalog(self) -> None:
        """Have the catalog hold no text of rows that are gone."""
        with self.lock():
            forget_extremes(self._stored, self.home)
            self.close()  # two SQLite libraries in one process release each other's locks
            rewrite_catalog(self.home)

    def drop_orphans(self, before: datetime) -> int:
        """Remove files written before that moment that no snapshot knows; gives how many."""
        tree_of(self.home).drop_drafts(before)
        return delete_orphans(self._stored, self.home, before)

    def close(self) -> None:
        """Close the connection."""
        with self._guard:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
                self._mirror = Mirror(self._state)  # what it had seen was in that connection
                self._views = set()

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Registering asks the catalog a hundred small things; a second thread for each takes half as much CPU again."""
        self._stored.execute("SET threads = 1")
        try:
            yield
        finally:
            self._stored.execute(f"SET threads = {threads(self.home)}")

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """One transaction of the lake. Raises LockLost when the lock was lost meanwhile; should it be lost between that question and
        the commit, and somebody else have committed by then, DuckLake finds that this one's snapshot is not the newest."""
        connection = self._stored
        connection.execute("BEGIN")
        try:
            yield connection
            ensure_locks()
            connection.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # a COMMIT that failed has ended it already
                connection.execute("ROLLBACK")
            raise


def payloads_in_files(connection: duckdb.DuckDBPyConnection, places: Sequence[Place]) -> dict[Place, bytes]:
    """The payloads (JSON) of events at these places, of which there is one, that are in files."""
    days = sorted(
        {f"DATE '{place[0].isoformat()}'" for place in places}
    )  # as constants they choose the files
    rows = connection.execute(
        "SELECT p.day, p.part, p.position, p.item, p.payload FROM stored.event_payloads p JOIN (SELECT "
        "unnest($days) AS day, unnest($parts) AS part, unnest($positions) AS position, unnest($items) AS item) w "
        "ON w.day = p.day AND w.part = p.part AND w.position = p.position AND w.item = p.item "
        f"WHERE p.day IN ({', '.join(days)}) "
        "AND p.position BETWEEN $first AND $last",
        {
            "days": [place[0] for place in places],
            "parts": [place[1] for place in places],
            "positions": [place[2] for place in places],
            "items": [place[3] for place in places],
            "first": min(place[2] for place in places),
            "last": max(place[2] for place in places),
        },
    )
    return {(day, part, position, item): text.encode() for day, part, position, item, text in rows.fetchall()}


def _numbers(ids: Iterable[int]) -> str:
    return ", ".join(str(int(i)) for i in ids)
