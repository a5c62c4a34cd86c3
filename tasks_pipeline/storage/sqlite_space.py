"""What a SQLite file needs from time to time, in steps that keep nobody waiting: space given back, its log emptied, statistics,
pages looked at. Whose file it is does not matter here."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

INCREMENTAL = 2
STEP_SECONDS = 0.05
"""A writer that meets a step waits for it, and then for its own next look: SQLite looks every 100 ms at the longest."""
PAUSE_SECONDS = 0.15
"""Longer than that, so that whoever waits comes before the next step."""
FIRST_PAGES = 200
SMALL_BYTES = 8 * 1024 * 1024
"""A file of up to this size is written afresh in one go: 0.1 s on a busy machine."""
START_BYTES = 1024 * 1024 * 1024
"""The same before a service starts, when nobody waits but who started it: 20 s at most, once."""
LOCK_SECONDS = 0.1
"""So long a step waits for a writer; after that it is left for the next time."""
ROWS_LOOKED_AT = 1_000
"""Of each index, for statistics."""
WORTH_STATISTICS = 10_000
"""Rows of a table from which statistics are taken. Without them SQLite takes a table for large, which is right for one that may
become so tomorrow, and wrong statistics are worse than none."""

Lock = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of a file with its log, before and after."""

    before: int
    after: int

    @property
    def freed(self) -> int:
        """Bytes that the disk has again; never below 0, for others write meanwhile."""
        return max(0, self.before - self.after)


def file_bytes(path: Path) -> int:
    """Bytes of a SQLite file with what is not yet merged into it; 0 when it is not there."""
    return sum(
        found.stat().st_size
        for suffix in ("", "-wal", "-shm")
        if (found := path.with_name(path.name + suffix)).exists()
    )


def give_space_back(
    path: Path,
    lock: Lock = nullcontext,
    pause: Callable[[float], None] = time.sleep,
    *,
    afresh_up_to: int = SMALL_BYTES,
) -> Space:
    """Give free pages back to the disk, step by step, and empty the log; each step holds `lock`. Raises sqlite3.Error.

    A small file that cannot be shortened (of an earlier version, or of Dagster's) is written afresh once, and can be from then on; a
    larger one keeps its free pages and uses them again. A kill between two steps costs nothing, and one within a step is rolled back.
    """
    before = file_bytes(path)
    with _open(path) as connection:
        if _number(connection, "auto_vacuum") == INCREMENTAL:
            _shorten(connection, lock, pause)
        elif before <= afresh_up_to:
            with lock():
                _write_afresh(connection)
        _empty_log(connection, lock)
    return Space(before, file_bytes(path))


def make_empty(path: Path) -> None:
    """Make a file without tables that can be shortened, for whoever makes tables in it. Raises sqlite3.Error."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
        connection.execute("VACUUM")


def prepare(path: Path) -> bool:
    """Have a file of an earlier version give free pages back from now on, before a service starts; gives whether it was written
    afresh for that. Raises sqlite3.Error."""
    if not path.exists() or can_be_shortened(path) or path.stat().st_size > START_BYTES:
        return False
    with _open(path) as connection:
        _write_afresh(connection)
    return True


def _write_afresh(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA auto_vacuum = {INCREMENTAL}")
    try:
        connection.execute("VACUUM")
    except (
        sqlite3.OperationalError
    ):  # somebody is at work, or the disk has no room for a second one: the next time
        return


def can_be_shortened(path: Path) -> bool:
    """Whether free pages of a file can be given back step by step."""
    with _open(path) as connection:
        return _number(connection, "auto_vacuum") == INCREMENTAL


def free_bytes(path: Path) -> int:
    """Bytes of free pages within a file."""
    with _open(path) as connection:
        return _number(connection, "freelist_count") * _number(connection, "page_size")


def _shorten(connection: sqlite3.Connection, lock: Lock, pause: Callable[[float], None]) -> None:
    pages = FIRST_PAGES
    while _number(connection, "freelist_count"):
        with lock():
            began = time.monotonic()
            try:
                connection.executescript(f"PRAGMA incremental_vacuum({pages})")  # `execute` frees one page
            except sqlite3.OperationalError:  # somebody writes for longer than we wait: the next time
                return
            took = time.monotonic() - began
        pages = max(10, min(20_000, int(pages * min(2.0, STEP_SECONDS / max(took, 0.001)))))
        pause(PAUSE_SECONDS)


def empty_log(path: Path) -> bool:
    """Merge the log of a file into it and cut it off; gives whether nothing is left in it. Raises sqlite3.Error."""
    if not path.exists():
        return True
    with _open(path) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _empty_log(connection: sqlite3.Connection, lock: Lock) -> None:
    """Merge the log into the file and cut it off. The bulk goes without a lock that writers want; a reader that is in the way keeps
    the rest until the next time."""
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    with lock():
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def take_statistics(path: Path, pause: Callable[[float], None] = time.sleep) -> int:
    """Have SQLite know how its large tables are made; gives how many. A table at a time, ROWS_LOOKED_AT rows of each index."""
    taken = 0
    with _open(path) as connection:
        connection.execute(f"PRAGMA analysis_limit = {ROWS_LOOKED_AT}")
        for name in _large_tables(connection):
            try:
                connection.execute(f'ANALYZE "{name}"')
            except sqlite3.OperationalError:
                continue  # as above
            taken += 1
            pause(PAUSE_SECONDS)
    return taken


def _large_tables(connection: sqlite3.Connection) -> list[str]:
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    worth = f'SELECT count(*) FROM (SELECT 1 FROM "{{}}" LIMIT {WORTH_STATISTICS})'
    return [
        name for (name,) in names if connection.execute(worth.format(name)).fetchone()[0] == WORTH_STATISTICS
    ]


def damage(path: Path) -> str:
    """What is wrong with the pages of a file, in a few lines; empty when all is well, or when it is gone. Reads all of it, and writers
    go on."""
    if not path.exists():
        return ""
    try:
        with _open(path) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)").fetchall()]
    except sqlite3.DatabaseError as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(found)[:500]


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a file that exists. Raises sqlite3.OperationalError when it does not."""
    uri = f"file:{quote(str(path))}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        yield connection


def _number(connection: sqlite3.Connection, what: str) -> int:
    return int(connection.execute(f"PRAGMA {what}").fetchone()[0])
