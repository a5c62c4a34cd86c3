"""Compaction: a bounded number of files per table and day, of snapshots in the catalog, and no files that nobody knows.

Rows are written again by us, without the lock; under it whole files are exchanged for one, in one transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES

CROWDED = 40
"""Files of a table and day from which the smallest are merged. No day has more than MOST at any moment."""
MERGED = 24
"""How many of the smallest become one. A file of a flood is merged once in 600 files, so each row is written twice."""
MOST = 56
SMALL_BYTES = 64 * 1024 * 1024
"""Files of days that are over become one while they are smaller than this."""
FEW, SMALL_TODAY_BYTES = 8, 8 * 1024 * 1024
"""Files of today that are smaller become one where there are more than FEW: each row is written twice more that day."""
SNAPSHOTS_AT_ONCE = 10
"""So many are forgotten while the lock is held."""
SNAPSHOTS_FOR = timedelta(minutes=15)
"""A query that takes longer may find that files it wants are gone, and has to be asked again."""
ORPHANS_AFTER = timedelta(days=1)
"""Nothing takes so long between writing a file and registering it."""
READ_ROWS = 16 * 1024


def crowded(lake: Lake, more_than: int = CROWDED) -> list[list[LiveFile]]:
    """The smallest files of each table and day that has more files than that: what is to be merged."""
    return [
        sorted(files, key=lambda file: file.size)[:MERGED]
        for files in _by_day(lake.live_files(more_than=more_than)).values()
    ]


def of_today(lake: Lake, today: date) -> list[list[LiveFile]]:
    """The small files of each table of today that has more than FEW of them."""
    found = lake.live_files(more_than=FEW, before=today + timedelta(days=1))
    small = _by_day([file for file in found if file.day == today and file.size < SMALL_TODAY_BYTES])
    return [
        sorted(files, key=lambda file: file.size)[:MERGED] for files in small.values() if len(files) > FEW
    ]


def of_past_days(lake: Lake, today: date) -> list[list[LiveFile]]:
    """The small files of each table and day that is over, where there are several."""
    found = lake.live_files(more_than=1, before=today)
    small = _by_day([file for file in found if file.size < SMALL_BYTES])
    return [files for files in small.values() if len(files) > 1]


def _by_day(files: Sequence[LiveFile]) -> dict[tuple[str, date], list[LiveFile]]:
    found: dict[tuple[str, date], list[LiveFile]] = defaultdict(list)
    for file in files:
        found[file.table, file.day].append(file)
    return found


def merge_files(lake: Lake, files: Sequence[LiveFile]) -> bool:
    """Make one file of several of one table and day. Gives whether it was done: not when one of them changed meanwhile."""
    table, day = LAKE_TABLES[files[0].table], files[0].day
    with lake.writing(day, "merged") as merged:
        for piece in lake.rows_of(files, READ_ROWS if table.name != "event_payloads" else table.row_group):
            merged.add_piece(table.name, piece)
        new = merged.finish()
        with lake.lock():
            return lake.exchange(files, new)


def compact(lake: Lake, groups: Sequence[Sequence[LiveFile]]) -> int:
    """Merge each group of files into one; gives how many files were merged."""
    return sum(len(files) for files in groups if merge_files(lake, files))


def tidy(lake: Lake, now: datetime | None = None, between: Callable[[], object] = lambda: None) -> int:
    """Forget old snapshots, remove files that no snapshot holds, and old rows of the marker; gives how many snapshots went. In steps,
    with `between` two of them whatever lets others come first."""
    before = (now or datetime.now(UTC)) - SNAPSHOTS_FOR
    forgotten = 0
    while True:
        with lake.lock():
            step = lake.forget_before(before, SNAPSHOTS_AT_ONCE)
        forgotten += step
        if step < SNAPSHOTS_AT_ONCE:
            return forgotten
        between()


def drop_orphans(lake: Lake, now: datetime | None = None) -> int:
    """Remove files that were written and never registered, by processes that died; gives how many. Without the lock: nobody
    registers what is so old."""
    return lake.drop_orphans((now or datetime.now(UTC)) - ORPHANS_AFTER)
