"""Looking for a text in everything that an installation holds: files as they are, what Parquet, zstd, gzip and SQLite pack, and every
table of PostgreSQL."""

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

_MOST = 64 * 2**20


def found_everywhere(stores: Stores, secret: str, *, without: tuple[str, ...] = ()) -> list[str]:
    """Files (by their path in the home, but for folders in `without`), and tables with their columns, that hold a text."""
    wanted, root = secret.encode(), stores.home.root
    found = [str(path.relative_to(root)) for path in _files(root, without) if _holds(path, wanted)]
    return found + ([] if stores.home.embedded else list(_in_postgres(stores, wanted)))


def _files(root: Path, without: tuple[str, ...]) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.relative_to(root).parts[0] not in without:
            yield path


def _holds(path: Path, wanted: bytes) -> bool:
    content = path.read_bytes()
    if _in_bytes(content, wanted):
        return True
    if path.suffix == ".parquet" or content[:4] == b"PAR1":
        return wanted in str(pq.read_table(path, partitioning=None).to_pylist()).encode()
    return content[:6] == b"SQLite" and any(_in_bytes(value, wanted) for value in _values(path))


def _in_bytes(value: bytes, wanted: bytes) -> bool:
    if wanted in value:
        return True
    with suppress(zstandard.ZstdError):
        return wanted in zstandard.ZstdDecompressor().decompress(value, max_output_size=_MOST)
    with suppress(OSError, zlib.error, EOFError):
        return wanted in gzip.decompress(value)
    return False


def _values(path: Path) -> Iterator[bytes]:
    """Values of all rows, which may be packed; what is on free pages is in the file as it is."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        for (name,) in names.fetchall():
            for row in connection.execute(f'SELECT * FROM "{name}"'):
                yield from (value for value in row if isinstance(value, bytes))


def _in_postgres(stores: Stores, wanted: bytes) -> Iterator[str]:
    listed = text(
        "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    with stores.state.engine.connect() as connection:
        for schema, name in connection.execute(listed).all():
            for row in connection.execute(text(f'SELECT * FROM "{schema}"."{name}"')).mappings():
                yield from (
                    f"{schema}.{name}.{key}" for key, value in row.items() if _in_value(value, wanted)
                )


def _in_value(value: Any, wanted: bytes) -> bool:
    if isinstance(value, memoryview | bytes):
        return _in_bytes(bytes(value), wanted)
    return value is not None and wanted in str(value).encode()
