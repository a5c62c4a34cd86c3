"""The embedded spool: a SQLite file in WAL mode per UTC day and part, and a lock file per part name.

Nobody but SQLite opens the day files, not even to look: closing any descriptor of a file would drop the POSIX locks
that SQLite holds on it in this process.
"""

from __future__ import annotations

import fcntl
import os
import re
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import msgspec

from tasks_pipeline.storage.disk import make_folder, sync_folder
from tasks_pipeline.storage.spool.interface import (
    ERASED_RANGES,
    MovedDay,
    PartTotals,
    Receipt,
    Rewritten,
    Spooled,
    SpoolError,
    SpoolWriter,
    Survey,
    Waiting,
)

T = TypeVar("T")
MAX_PARTS = 64
POLL_SECONDS = 0.05
BUSY_SECONDS = 30
OPEN_DAYS = 2  # a writer keeps today open, and yesterday around midnight
CHECKPOINT_WAIT_MS = 1000  # appends wait as long as an erasure waits for readers
WAL_LIMIT_BYTES = 64 * 1024 * 1024  # a WAL that one huge append has blown up is cut back to this

# Bodies lie in a table of their own, so that scans of the small columns stay dense. The *_through columns are running
# sums over the part: every question about a stretch of positions is a difference of two rows.
_SCHEMA = """
CREATE TABLE envelopes (
    position INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,  -- microseconds since 1970-01-01T00:00:00Z
    project_id INTEGER NOT NULL,
    public_key TEXT NOT NULL,
    event_id TEXT,
    encoding TEXT NOT NULL,
    items INTEGER NOT NULL,
    items_through INTEGER NOT NULL,
    size INTEGER NOT NULL,  -- bytes of the body
    size_through INTEGER NOT NULL,
    meta TEXT NOT NULL  -- JSON object
) STRICT;
CREATE TABLE bodies (position INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
"""
_INSERT_ENVELOPE = "INSERT INTO envelopes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_BODY = "INSERT INTO bodies VALUES (?, ?)"
_LAST = """
SELECT position, items_through, size_through, received_at FROM envelopes ORDER BY position DESC LIMIT 1
"""
_FIRST_BEHIND = """
SELECT position, items_through - items, size_through - size, received_at
FROM envelopes WHERE position > ? ORDER BY position LIMIT 1
"""
_END = """
SELECT max(position) FROM envelopes WHERE position BETWEEN :first AND :last AND size_through <= :bytes_through
"""
_RANGE = """
SELECT position, received_at, project_id, public_key, event_id, encoding, items, meta, body
FROM envelopes JOIN bodies USING (position) WHERE position BETWEEN ? AND ? ORDER BY position
"""
_ERASE_FACTS = "UPDATE envelopes SET event_id = NULL, meta = '{}' WHERE position BETWEEN ? AND ?"

_FILE_NAME = re.compile(r"(\d{4}-\d\d-\d\d)-(r\d{1,3})\.sqlite(?:-wal|-shm)?")
_PART_NAME = re.compile(r"r\d{1,3}")
_SIDE_FILES = ("-wal", "-shm")
_DAMAGE = (TypeError, ValueError, OverflowError, msgspec.MsgspecError)
"""What values raise that no writer has written: a damaged file may read without an error of SQLite."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SqliteSpool:
    """The spool in a folder of this machine. Holds nothing open between calls; see `storage.spool.interface.Spool`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def writer(self) -> SpoolWriter:
        """A writer on the first free part name. Raises SpoolError when none is free or the folder is not writable."""
        try:
            make_folder(self.folder)
            for number in range(MAX_PARTS):
                claim = _claim(self.folder / f"r{number}.lock")
                if claim is not None:
                    return SqliteWriter(self.folder, f"r{number}", claim)
        except OSError as error:
            raise SpoolError(f"no writer in {self.folder}: {error}") from error
        raise SpoolError(f"no writer in {self.folder}: all {MAX_PARTS} part names are taken")

    def days(self) -> list[date]:
        """Days that have a file, oldest first."""
        return sorted({day for day, _ in _files(self.folder)})

    def survey(self, day: date) -> Survey:
        """Totals of the parts of a day, from the last row of each, and what is wrong with the others."""
        totals: dict[str, PartTotals] = {}
        broken: dict[str, str] = {}
        for part in sorted(part for found, part in _files(self.folder) if found == day):
            try:
                with self._reader(day, part) as connection:
                    if connection is not None:
                        totals[part] = _totals(connection.execute(_LAST).fetchone())
            except SpoolError as error:
                broken[part] = str(error)
        return Survey(totals, broken)

    def totals(self, day: date) -> Mapping[str, PartTotals]:
        """Totals of every part of a day that can be read."""
        return self.survey(day).totals

    def await_growth(self, day: date, seen: int, by: int, seconds: float) -> int:
        """Look again and again; see `storage.spool.interface.Spool.await_growth`."""
        until = time.monotonic() + seconds
        while True:
            size = sum(totals.last_position for totals in self.totals(day).values())
            left = until - time.monotonic()
            if size - seen >= by or size < seen or left <= 0:
                return size
            time.sleep(min(left, POLL_SECONDS if by == 1 else 2 * POLL_SECONDS))  # for one somebody waits

    def waiting(self, day: date, part: str, after: int) -> Waiting:
        """What lies behind position `after`, from two rows."""
        with self._reader(day, part) as connection:
            first = None if connection is None else connection.execute(_FIRST_BEHIND, (after,)).fetchone()
            if connection is None or first is None:
                return Waiting(0, 0, None)
            last = connection.execute(_LAST).fetchone()
        return Waiting(last[0] - first[0] + 1, last[1] - first[1], _time(first[3]))

    def read(
        self,
        day: date,
        part: str,
        after: int,
        *,
        through: int | None = None,
        max_envelopes: int = 1000,
        max_bytes: int = 32 * 1024 * 1024,
    ) -> list[Spooled]:
        """Envelopes behind `after`, in order; see `storage.spool.interface.Spool.read`."""
        after = max(after, 0)
        with self._reader(day, part) as connection:
            while (more := max_envelopes if through is None else min(max_envelopes, through - after)) > 0:
                end = after if connection is None else _end(connection, after, more, max_bytes)
                if connection is None or end <= after:
                    break
                if rows := connection.execute(_RANGE, (after + 1, end)).fetchall():
                    return [_spooled(day, part, row) for row in rows]
                after = end  # all of it was erased
        return []

    def last_position(self, day: date, part: str, after: int, *, max_envelopes: int, max_bytes: int) -> int:
        """The position at which `read` with the same limits would end; no body is read."""
        with self._reader(day, part) as connection:
            return after if connection is None else _end(connection, after, max_envelopes, max_bytes)

    def erase(self, day: date, part: str, first: int, last: int) -> None:
        """Overwrite what was sent in a range with zeros, in the file and in its WAL; see `storage.spool.interface.Spool.erase`."""
        self.erase_ranges(day, part, [(first, last)])

    def erase_ranges(self, day: date, part: str, ranges: Sequence[tuple[int, int]]) -> None:
        """The same for many ranges, some in a transaction: those who append wait for one of them at most."""

        def erase(connection: sqlite3.Connection, some: Sequence[tuple[int, int]]) -> None:
            connection.executemany("DELETE FROM bodies WHERE position BETWEEN ? AND ?", some)
            connection.executemany(_ERASE_FACTS, some)

        self._overwrite(day, part, list(ranges), erase)

    def rewrite(self, day: date, part: str, changed: Mapping[int, Rewritten]) -> None:
        """Put other bytes in the place of bodies and facts; see `storage.spool.interface.Spool.rewrite`."""

        def write(connection: sqlite3.Connection, some: Sequence[tuple[int, Rewritten]]) -> None:
            bodies = [(new.body, position) for position, new in some]
            connection.executemany("UPDATE bodies SET body = ? WHERE position = ?", bodies)
            facts = [(new.encoding, msgspec.json.encode(new.meta).decode(), n) for n, new in some]
            connection.executemany("UPDATE envelopes SET encoding = ?, meta = ? WHERE position = ?", facts)

        self._overwrite(day, part, sorted(changed.items()), write)

    def _overwrite(
        self, day: date, part: str, rows: Sequence[T], act: Callable[[sqlite3.Connection, Sequence[T]], None]
    ) -> None:
        """Act on rows, some in a transaction; nothing of what they held stays in the file."""
        path = _path(self.folder, day, part)
        if not path.exists():
            return
        try:
            with closing(_connect(path)) as connection:
                connection.execute("PRAGMA secure_delete = ON")
                for start in range(0, len(rows), ERASED_RANGES):
                    connection.execute("BEGIN IMMEDIATE")
                    act(connection, rows[start : start + ERASED_RANGES])
                    connection.execute("COMMIT")
                # The WAL still has the bytes. A reader holds this up: then the next one empties it.
                connection.execute(f"PRAGMA busy_timeout = {CHECKPOINT_WAIT_MS}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise SpoolError(f"{path} cannot be erased: {error}") from error

    def drop_day(self, day: date) -> int:
        """Remove the files of a day; gives the number of envelopes removed."""
        paths = [_path(self.folder, found, part) for found, part in _files(self.folder) if found == day]
        return sum(_drop(path) for path in paths)

    def move_day(self, day: date) -> bool:
        """Days lie in files of their own already."""
        return False

    def moved(self) -> list[MovedDay]:
        """Nothing ever is."""
        return []

    def look_at_moved(self, seed: int, most: int) -> Iterator[str]:
        """There are none."""
        return iter(())

    def sweep(self) -> int:
        """Nothing lies about."""
        return 0

    def close(self) -> None:
        """Nothing is open between calls, so there is nothing to close."""

    @contextmanager
    def _reader(self, day: date, part: str) -> Iterator[sqlite3.Connection | None]:
        """A connection that cannot change rows; None when the part has nothing on that day."""
        path = _path(self.folder, day, part)
        if not _there(path):
            yield None
            return
        try:
            connection = _connect(path)
        except sqlite3.Error as error:  # dropped just now, or trouble
            if _there(path):
                raise SpoolError(f"{path} cannot be opened: {error}") from error
            yield None
            return
        try:
            with closing(connection):
                connection.execute("PRAGMA query_only = ON")
                connection.execute("BEGIN")  # one snapshot for all statements of the call
                yield connection
        except (sqlite3.Error, *_DAMAGE) as error:
            raise SpoolError(f"{path} cannot be read: {error}") from error


class SqliteWriter:
    """The writer of one part; the claim is a flock, which the kernel frees when the process dies."""

    def __init__(self, folder: Path, part: str, claim: int) -> None:
        self.part = part
        self._folder = folder
        self._claim: int | None = claim
        self._open: dict[date, sqlite3.Connection] = {}
        self._lock = threading.Lock()

    def append(self, receipts: Sequence[Receipt]) -> list[tuple[date, int]]:
        """Store receipts, one commit per day; see `storage.spool.interface.SpoolWriter.append`."""
        rows = [_columns(receipt) for receipt in receipts]
        by_day: dict[date, list[int]] = defaultdict(list)
        for index, receipt in enumerate(receipts):
            by_day[receipt.day].append(index)
        with self._lock:
            if self._claim is None:
                raise SpoolError(f"the writer of {self.part} is closed")
            try:
                positions = self._store(by_day, rows)
            except BaseException as error:
                self._close_days(keep=0)  # closing undoes what is not committed
                if isinstance(error, sqlite3.Error | OSError | OverflowError):
                    raise SpoolError(f"nothing stored in {self._folder}: {error}") from error
                raise
            self._close_days(keep=OPEN_DAYS)
        return positions

    def close(self) -> None:
        """Give up the claim."""
        with self._lock:
            self._close_days(keep=0)
            if self._claim is not None:
                os.close(self._claim)
                self._claim = None

    def _store(self, by_day: dict[date, list[int]], rows: list[_Columns]) -> list[tuple[date, int]]:
        places: list[tuple[date, int]] = [(date.min, 0)] * len(rows)
        self._begin(sorted(by_day))
        for day in by_day:
            connection = self._open[day]
            position, items_through, size_through, _ = connection.execute(_LAST).fetchone() or (0, 0, 0, 0)
            envelopes, bodies = [], []
            for index in by_day[day]:
                *request, items, meta, body = rows[index]
                position += 1
                items_through += items
                size_through += len(body)
                envelopes.append((position, *request, items, items_through, len(body), size_through, meta))
                bodies.append((position, body))
                places[index] = (day, position)
            connection.executemany(_INSERT_ENVELOPE, envelopes)
            connection.executemany(_INSERT_BODY, bodies)
        for day in by_day:
            self._open[day].execute("COMMIT")
        return places

    def _begin(self, days: list[date]) -> None:
        """Open a write transaction on each of the files that bear the days' names now."""
        while True:
            # All files first: who waits for the folder's lock must not hold a write lock that a drop waits for.
            for day in days:
                if day not in self._open:
                    self._open[day] = _open_for_writing(_path(self._folder, day, self.part))
            for day in days:
                self._open[day].execute("BEGIN IMMEDIATE")
            # Only this writer makes these files, so one that is gone was dropped; and none can be from here on,
            # since a drop takes the write lock.
            gone = [day for day in days if not _path(self._folder, day, self.part).exists()]
            if not gone:
                return
            for day in days:
                self._open[day].execute("ROLLBACK")
            for day in gone:
                self._open.pop(day).close()

    def _close_days(self, *, keep: int) -> None:
        """Close connections, except those of the newest days."""
        for day in sorted(self._open, reverse=True)[keep:]:
            self._open.pop(day).close()


_Columns = tuple[int, int, str, str | None, str, int, str, bytes]


def _columns(receipt: Receipt) -> _Columns:
    """The columns of a receipt that do not depend on its place. Raises TypeError or ValueError for unusable values."""
    return (
        (receipt.received_at - _EPOCH) // _MICROSECOND,
        receipt.project_id,
        receipt.public_key,
        receipt.event_id,
        receipt.encoding,
        receipt.items,
        msgspec.json.encode(receipt.meta).decode(),
        receipt.body,
    )


def _spooled(
    day: date, part: str, row: tuple[int, int, int, str, str | None, str, int, str, bytes]
) -> Spooled:
    position, received_at, project_id, public_key, event_id, encoding, items, meta, body = row
    receipt = Receipt(
        received_at=_time(received_at),
        project_id=project_id,
        public_key=public_key,
        event_id=event_id,
        encoding=encoding,
        items=items,
        body=body,
        meta=msgspec.json.decode(meta),
    )
    return Spooled(day, part, position, receipt)


def _totals(last: tuple[int, int, int, int] | None) -> PartTotals:
    if last is None:
        return PartTotals(0, 0, 0, 0, None)
    position, items_through, size_through, received_at = last
    return PartTotals(position, items_through, size_through, position, _time(received_at))


def _end(connection: sqlite3.Connection, after: int, max_envelopes: int, max_bytes: int) -> int:
    """The last position behind `after` within both limits, at least the first one; `after` when there is none."""
    first = connection.execute(_FIRST_BEHIND, (after,)).fetchone()
    if first is None:
        return after
    limits = {"first": first[0], "last": first[0] + max_envelopes - 1, "bytes_through": first[2] + max_bytes}
    (end,) = connection.execute(_END, limits).fetchone()
    return int(end or first[0])


def _time(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _path(folder: Path, day: date, part: str) -> Path:
    if not _PART_NAME.fullmatch(part):
        raise ValueError(f"part: found {part!r}, allowed is r0, r1, …")
    return folder / f"{day.isoformat()}-{part}.sqlite"


def _claim(path: Path) -> int | None:
    """A descriptor that holds the lock on a file, or None when a living process (or this one) holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that exists, in autocommit mode. Raises sqlite3.OperationalError when it does not."""
    uri = f"file:{quote(str(path))}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _open_for_writing(path: Path) -> sqlite3.Connection:
    """A connection that commits durably, to a file that is made when it is missing."""
    with _names_locked(path.parent):
        if not path.exists():
            _create(path)
        connection = _connect(path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        # SQLite opens the files beside this one only now; a drop in between would take them away.
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    return connection


def _create(path: Path) -> None:
    """Make an empty day file under another name and rename it, so that whoever sees it sees its tables too."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    for side in _SIDE_FILES:  # a WAL left by another file of this name would be replayed into the new one
        _beside(temporary, side).unlink(missing_ok=True)
        _beside(path, side).unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(_connect(temporary)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
    temporary.rename(path)
    sync_folder(path.parent)


def _drop(path: Path) -> int:
    """Remove a day file, or what a crash has left of it; gives the number of envelopes removed."""
    removed = 0
    try:
        with _names_locked(path.parent), ExitStack() as stack:
            if path.exists():
                connection = stack.enter_context(closing(_connect(path)))
                connection.execute("BEGIN IMMEDIATE")  # no append commits into a file that is going
                removed = _totals(connection.execute(_LAST).fetchone()).envelopes
                path.unlink()
            for side in _SIDE_FILES:
                _beside(path, side).unlink(missing_ok=True)
            sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise SpoolError(f"{path} cannot be dropped: {error}") from error
    return removed


def _there(path: Path) -> bool:
    """Whether something bears the name. Raises SpoolError where one may not look."""
    try:
        return path.exists()
    except OSError as error:
        raise SpoolError(f"{path} cannot be opened: {error}") from error


def _files(folder: Path) -> set[tuple[date, str]]:
    """Day and part of every day file; also of those of which a crash has left only the WAL, so they can be dropped.

    Raises SpoolError when the folder cannot be read; one that is not there holds nothing.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise SpoolError(f"{folder} cannot be read: {error}") from error
    matches = (_FILE_NAME.fullmatch(name) for name in names)
    return {(day, match[2]) for match in matches if match and (day := _day(match[1])) is not None}


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # somebody's file with a name like ours
        return None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


@contextmanager
def _names_locked(folder: Path) -> Iterator[None]:
    """Nobody else makes or drops day files: else a drop could remove the WAL of a file made anew under its hands."""
    descriptor = os.open(folder / "days.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
