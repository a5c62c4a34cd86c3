"""The moment that a backup is of: what lock is held for how long, and what can be read as it was then for as long as it takes.

Why this order loses no event and doubles none is in docs/backup.md.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, text

from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.spool.copies import Frozen, freeze_files, freeze_tables, keep_tables
from tasks_pipeline.stores import Stores


@dataclass(frozen=True, slots=True)
class LakeThen:
    """The lake at the moment: its files, the snapshot that holds them, and the last segment of the tail that is in them."""

    files: Sequence[LiveFile]
    snapshot: int
    flushed: int


@dataclass(frozen=True, slots=True)
class Moment:
    """`state` is a transaction that sees the state database (on Postgres: everything in the database) as it was then."""

    state: Connection
    revision: str
    spool: Frozen
    lake: LakeThen


@contextmanager
def moment_of(stores: Stores) -> Iterator[Moment]:
    """Have databases and spool as they are now, for the time of the block; others are stopped for milliseconds.

    The caller holds the lock of backups, which keeps the files of the lake.
    """
    _allow_many_files()
    with ExitStack() as stack:
        with stores.lake.lock():
            state = stack.enter_context(stores.state.read())
            if stores.home.embedded:
                # Between both nothing becomes done, and so nothing is erased that this backup has to process once more.
                with stores.state.write():
                    revision = _revision(state)
                    spool = freeze_files(stores.home.spool_dir, stack)
            else:
                keep_tables(state)
                revision = _revision(state)
                spool = freeze_tables(state, stores.home.raw_url)
            lake = _lake_then(stores.lake)
        yield Moment(state, revision, spool, lake)


def _allow_many_files() -> None:
    """A part of the spool takes three open files: a year of them more than processes may have unless they ask."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _revision(state: Connection) -> str:
    """The first question of a transaction: from then on it sees the database as it is now."""
    return str(state.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _lake_then(lake: Lake) -> LakeThen:
    files = [file for file in lake.live_files() if file.table in LAKE_TABLES]
    return LakeThen(files, lake.newest_snapshot(), lake.flushed_through())
