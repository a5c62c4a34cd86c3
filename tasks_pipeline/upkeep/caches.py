"""clear_expired_caches: what can be made again goes when nobody used it for long, and what was not used longest when there is too much.

Every cache on disk lies in the folder `cache` of the home, each in a folder of its own, where the time of a file says when it was used
last; beside it only DuckDB writes what is of use for a query alone. Pictures of reports are drawn for a mail and kept with it, and
what leaves the machine is asked anew each time: of both there is no cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tasks_pipeline.home import Home
from tasks_pipeline.stores import Stores
from tasks_pipeline.uploads.symbol_source import CACHE_BYTES

UNUSED_FOR = timedelta(days=30)
LEFT_FOR = timedelta(days=1)
"""Longer than any query takes: files of DuckDB that are older were left by a process that died."""
IN_USE = timedelta(minutes=20)
"""Nothing goes that was used so lately, however full a cache is: its time is noted every ten minutes only."""
USED_LATELY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a cache held before, what of it was removed, and how much of its bytes were used within a day: its worth."""

    name: str
    files: int
    bytes: int
    used_bytes: int
    removed_files: int
    removed_bytes: int


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size: int
    used: float


def clear_expired_caches(stores: Stores, now: datetime) -> list[Cleared]:
    """Bound every cache of the home by age and size. Killed at any moment, or beside whoever uses it, it does no harm: an entry
    that is gone is made again."""
    home = stores.home
    most = {"symbols": stores.config.symbols.cache_bytes, "symbol-files": CACHE_BYTES}
    found = [
        _clear(folder, now, UNUSED_FOR, most.get(folder.name))
        for folder in sorted(home.cache_dir.glob("*"))
        if folder.is_dir() and not folder.is_symlink()
    ]
    return [*found, _clear(duckdb_folder(home), now, LEFT_FOR, None)]


def duckdb_folder(home: Home) -> Path:
    """Where DuckDB writes what is too much for its memory."""
    return home.run_dir / "duckdb"


def _clear(folder: Path, now: datetime, unused_for: timedelta, most: int | None) -> Cleared:
    entries = sorted(_entries(folder), key=lambda entry: entry.used)
    gone = list(_over(entries, now, unused_for, most))
    for entry in gone:
        entry.path.unlink(missing_ok=True)
    lately = (now - USED_LATELY).timestamp()
    return Cleared(
        name=folder.name,
        files=len(entries),
        bytes=sum(entry.size for entry in entries),
        used_bytes=sum(entry.size for entry in entries if entry.used >= lately),
        removed_files=len(gone),
        removed_bytes=sum(entry.size for entry in gone),
    )


def _over(
    entries: Iterable[_Entry], now: datetime, unused_for: timedelta, most: int | None
) -> Iterator[_Entry]:
    """Those of the entries that are to go; they come with what was not used longest first."""
    entries = list(entries)
    left = sum(entry.size for entry in entries)
    for entry in entries:
        old = entry.used < (now - unused_for).timestamp()
        full = most is not None and left > most and entry.used < (now - IN_USE).timestamp()
        if old or full:
            left -= entry.size
            yield entry


def _entries(folder: Path) -> Iterator[_Entry]:
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # its process has just finished with it
            found = path.lstat()
            if path.is_symlink() or not path.is_dir():
                yield _Entry(path, found.st_size, found.st_mtime)
