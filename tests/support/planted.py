"""A planted text is looked for in every file of a home and every table of PostgreSQL, through whatever packs it."""

from __future__ import annotations

import gzip
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator
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
    return each_found_in(folder, [secret])[secret]


def each_found_in(folder: Path, secrets: Collection[bytes]) -> dict[bytes, list[Path]]:
    """The same of several texts; each file is read once. Links are not followed: those of a home lead to DuckDB's extensions."""
    found: dict[bytes, list[Path]] = {secret: [] for secret in secrets}
    for path in (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink()):
        for secret in _among(secrets, _texts(path)):
            found[secret].append(path)
    return found


def _among(secrets: Collection[bytes], texts: Iterable[bytes]) -> list[bytes]:
    """Those that one of the texts holds."""
    missing, found = list(secrets), list[bytes]()
    for each in texts:
        folded = each.lower()
        found += [secret for secret in missing if secret.lower() in folded]
        missing = [secret for secret in missing if secret not in found]
        if not missing:
            break
    return found


def _texts(path: Path) -> Iterator[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if path.suffix == ".parquet":
        content += str(pq.read_table(path, partitioning=None).to_pylist()).encode()
    yield content
    yield from _unpacked(content)
    if content.startswith(b"SQLite format 3"):
        yield from _blobs(path)


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


def tables_with(stores: Stores, secrets: Collection[bytes]) -> dict[bytes, list[str]]:
    """Tables of PostgreSQL, of all schemas of ours, that hold a text, by text; none where the databases are SQLite."""
    found: dict[bytes, list[str]] = {secret: [] for secret in secrets}
    if stores.home.embedded:
        return found
    listed = "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
    with stores.state.engine.connect() as connection:
        for schema, name in connection.execute(text(listed)).all():
            rows = connection.execute(text(f'SELECT t.*, t::text FROM "{schema}"."{name}" t'))
            said = (each for row in rows for each in (*_within(row), str(row[-1]).encode()))
            for secret in _among(secrets, said):
                found[secret].append(f"{schema}.{name}")
    return found


def each_place(stores: Stores, secrets: Collection[bytes]) -> dict[bytes, list[Path | str]]:
    """Files and tables of an installation that hold a text, by text."""
    files, tables = each_found_in(stores.home.root, secrets), tables_with(stores, secrets)
    return {secret: [*files[secret], *tables[secret]] for secret in secrets}
