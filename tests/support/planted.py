"""A planted text is looked for in every file of a home and every table of PostgreSQL, through whatever packs it."""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import zstandard
from sqlalchemy import text

from tasks_pipeline.stores import Stores


def found_in(folder: Path, secret: bytes) -> list[Path]:
    """Files that hold a text in any case of letters: as it is (free pages and logs of SQLite too), or in what Parquet, zstd and gzip
    make of it, also within rows of SQLite."""
    wanted, found = secret.lower(), []
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if path.suffix == ".parquet":
            content += str(pq.read_table(path, partitioning=None).to_pylist()).encode()
        if (
            wanted in content.lower()
            or any(wanted in each.lower() for each in _unpacked(content))
            or (
                content.startswith(b"SQLite format 3")
                and any(wanted in each.lower() for each in _blobs(path))
            )
        ):
            found.append(path)
    return found


def _unpacked(content: bytes) -> Iterator[bytes]:
    with suppress(zstandard.ZstdError):
        yield zstandard.ZstdDecompressor().decompress(content, max_output_size=64 * 2**20)
    with suppress(OSError, EOFError, zlib.error):
        yield gzip.decompress(content)


def _blobs(path: Path) -> Iterator[bytes]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        for name in names:
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                yield from _within(row)


def _within(row: Any) -> Iterator[bytes]:
    for value in row:
        if isinstance(value, bytes | memoryview):
            yield bytes(value)
            yield from _unpacked(bytes(value))


def tables_with(stores: Stores, secret: bytes) -> list[str]:
    """Tables of PostgreSQL, of all schemas of ours, that hold a text; none where the databases are SQLite."""
    if stores.home.embedded:
        return []
    wanted, found = secret.lower(), []
    listed = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    with stores.state.engine.connect() as connection:
        for schema, name in connection.execute(text(listed)).all():
            rows = connection.execute(text(f'SELECT t.*, t::text FROM "{schema}"."{name}" t'))
            if any(wanted in each.lower() for row in rows for each in (*_within(row), str(row[-1]).encode())):
                found.append(f"{schema}.{name}")
    return found
