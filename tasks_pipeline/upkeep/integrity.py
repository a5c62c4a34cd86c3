"""What cannot be read as it was written: pages of SQLite, indexes of Postgres, Parquet files and blobs, of these a part each night."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.storage import sqlite_space
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.lake.catalog import StoredFile
from tasks_pipeline.storage.ledger.failures import reason_of
from tasks_pipeline.storage.targets import Tree
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep.pace import Pace

log = logging.getLogger(__name__)

FILES_READ, BYTES_READ = 200, 512 * 1024 * 1024
"""Of the lake and of blobs each, in a night; of raw envelopes in files so many bytes."""
PIECE = 1024 * 1024
_INVALID = text(
    "SELECT n.nspname || '.' || c.relname AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname IN ('spool', 'state', 'lake', 'dagster') AND NOT (i.indisvalid AND i.indisready)"
)
_AMCHECK = text("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'")
_BTREES = text(
    "SELECT c.oid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    "JOIN pg_am a ON a.oid = c.relam JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND n.nspname IN ('spool', 'state', 'lake', 'dagster')"
)


class Damaged(Exception):
    """Something cannot be read as it was written: `problems` in sentences, beside the `figures` of what was read."""

    def __init__(self, figures: dict[str, float], problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.figures = figures
        self.problems = problems


def look(stores: Stores, now: datetime, pace: Pace) -> tuple[dict[str, float], list[str]]:
    """Read databases whole, files of the lake and blobs in part; gives how much was read and what is wrong with it."""
    figures: dict[str, float] = {}
    problems: list[str] = []
    for name, found in (
        ("databases", _databases(stores, now)),
        ("parquet_files", _parquet_files(stores, now)),
        ("raw_files", stores.spool.look_at_moved(now.date().toordinal(), BYTES_READ)),
        ("blobs", _blobs(stores, now)),
    ):
        read = 0
        for wrong in found:
            pace()
            read += 1
            if wrong:
                problems.append(wrong)
        figures[f"{name}_checked"] = read
    figures["damaged"] = len(problems)
    return figures, problems


def _databases(stores: Stores, now: datetime) -> Iterator[str]:
    """What is wrong with each database; on Postgres with each index, as far as the server can say."""
    home = stores.home
    if not home.embedded:
        yield from _indexes(stores)
        return
    state = home.root / "state.sqlite"
    yield _named("state.sqlite", sqlite_space.damage(state))
    yield _named("lake/catalog.sqlite", stores.lake.damage_of_catalog())
    for path in sorted(home.spool_dir.glob(f"{now.date() - timedelta(days=1)}-*.sqlite")):
        yield _named(f"spool/{path.name}", sqlite_space.damage(path))


def _indexes(stores: Stores) -> Iterator[str]:
    with stores.state.engine.connect() as connection:
        yield from (f"index {row.name} is not valid: REINDEX it" for row in connection.execute(_INVALID))
        btrees = (
            [row.name for row in connection.execute(_BTREES)] if connection.execute(_AMCHECK).first() else []
        )
    for name in btrees:
        try:
            with stores.state.engine.connect() as connection:
                connection.execute(text("SELECT bt_index_check(CAST(:name AS regclass))"), {"name": name})
        except SQLAlchemyError as error:
            yield f"index {name}: {reason_of(error)}"
        else:
            yield ""


def _parquet_files(stores: Stores, now: datetime) -> Iterator[str]:
    """What is wrong with some files of the lake, others each night."""
    files = sorted(
        (f for f in stores.lake.stored_files() if f.live and f.rows is not None), key=lambda f: f.path
    )
    random.Random(now.date().toordinal()).shuffle(files)
    left = BYTES_READ
    tree = Tree(stores.home.lake_files)
    for file in files[:FILES_READ]:
        wrong = damage_of_file(tree, file)
        if wrong and file not in stores.lake.stored_files():
            wrong = ""  # it was merged with others meanwhile
        yield _named(file.path.removeprefix(f"{stores.home.lake_files}/main/"), wrong)
        left -= file.size
        if left <= 0:
            return


def damage_of_file(tree: Tree, file: StoredFile) -> str:
    """What is wrong with a Parquet file: it is not there, its size or rows are not what the catalog says, or a page cannot be read.
    Empty when all is well, and when object storage cannot be reached: that is no damage, and another probe tells of it."""
    path = file.path.removeprefix(f"{tree.url}/")
    with ExitStack() as stack:
        try:
            place = tree.folder / path if tree.folder else stack.enter_context(tree.local(path))[0]
            size = place.stat().st_size
        except FileNotFoundError:
            return "is not there"
        except OSError as error:
            if tree.folder:
                return f"cannot be read: {reason_of(error)}"
            log.warning("%s could not be looked at: %s", path, reason_of(error))
            return ""
        if size != file.size:
            return f"has {size:,} bytes, and the catalog says {file.size:,}"
        try:
            with pq.ParquetFile(place, page_checksum_verification=True) as parquet:
                rows = sum(batch.num_rows for batch in parquet.iter_batches())
        except (OSError, pa.ArrowException) as error:
            return f"cannot be read: {reason_of(error)}"
    return "" if rows == file.rows else f"holds {rows:,} rows, and the catalog says {file.rows:,}"


def _blobs(stores: Stores, now: datetime) -> Iterator[str]:
    """What is wrong with blobs: those of one of 256 parts of all names, another each night."""
    number, left = now.date().toordinal(), BYTES_READ
    digests = list(stores.blobs.digests(f"{number % 256:02x}"))
    random.Random(number).shuffle(digests)
    for digest in digests[:FILES_READ]:
        seen = hashlib.sha256()
        try:
            with stores.blobs.open(digest) as file:
                while piece := file.read(PIECE):
                    seen.update(piece)
                    left -= len(piece)
        except BlobMissing:
            continue  # it was removed meanwhile
        except OSError as error:
            yield f"blob {digest} cannot be read: {reason_of(error)}"
        else:
            yield "" if seen.hexdigest() == digest else f"blob {digest} is not what its name says"
        if left <= 0:
            return


def _named(name: str, wrong: str) -> str:
    return f"{name}: {wrong}" if wrong else ""
