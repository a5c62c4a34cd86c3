"""Putting a backup back into an empty home, of whichever engine: so a move from SQLite to Postgres, or back, is a restore too.

A home is marked until all is there, so that nobody uses half of one, and what an interrupted restore left is removed by the next.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.backup import history, tables
from tasks_pipeline.backup.create import CERTIFICATES, CONFIG_FILE
from tasks_pipeline.backup.manifest import BackupError, File, Manifest, Report, check_version
from tasks_pipeline.backup.target import Damaged, Target, file_pieces
from tasks_pipeline.home import Home
from tasks_pipeline.service.dagster_home import DAGSTER_SCHEMA, DagsterHomeError
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.disk import make_folder, sync_folder
from tasks_pipeline.storage.lake.files import LakeFile
from tasks_pipeline.storage.lake.remake import remake_lake
from tasks_pipeline.storage.spool.copies import Row, fill_file, fill_tables
from tasks_pipeline.storage.spool.interface import SpoolError
from tasks_pipeline.storage.spool.postgres import PostgresSpool
from tasks_pipeline.storage.spool.postgres_tables import SCHEMA as SPOOL_SCHEMA
from tasks_pipeline.storage.state.database import SCHEMA as STATE_SCHEMA
from tasks_pipeline.storage.state.refill import filling, is_marked, mark
from tasks_pipeline.storage.targets import Tree

_SCHEMAS = (STATE_SCHEMA, SPOOL_SCHEMA, "lake", DAGSTER_SCHEMA)
_MAY_BE_THERE = frozenset({CONFIG_FILE, "run", "logs"})
"""In an empty home: a configuration that was put there before, and what a command leaves that only looks."""
_FAILURES = (Damaged, OSError, DagsterHomeError, SpoolError, SQLAlchemyError, duckdb.Error, pa.ArrowException)
_OBJECTS = frozenset({"lake", "blobs", "upload-chunks"})
"""Stores that `data_url` takes."""


def restore_backup(
    home: Home, target: Target, name: str | None = None, progress: Callable[[File], None] = lambda _file: None
) -> Report:
    """Put a backup, the newest without a name, into an empty home.

    Raises BackupError when the home is not empty or the backup cannot be restored; the home is then as it was before.
    """
    started = time.monotonic()
    name, manifest = _readable(target, name)
    if is_marked(home):
        _empty(home, keep_config=True)  # what a restore left that was interrupted
    _refuse_what_is_there(home)
    had_config = (home.root / CONFIG_FILE).exists()
    _refuse_too_large(home, manifest)
    try:
        mark(home)
        for file in _all(home, target, manifest):
            progress(file)
    except BaseException as error:
        _empty(home, keep_config=had_config)
        if isinstance(error, _FAILURES):
            raise BackupError(f"nothing was restored: {error}") from error
        raise
    return Report(
        name=name,
        files=len(manifest.files),
        bytes=sum(file.size for file in manifest.files),
        rows=sum(manifest.rows.values()),
        seconds=time.monotonic() - started,
        left_out=(*manifest.left_out, *_left_behind(home, manifest)),
    )


def _readable(target: Target, name: str | None) -> tuple[str, Manifest]:
    """The manifest of a backup whose files are all there. Raises BackupError."""
    try:
        name, manifest = target.choose(name)
        check_version(name, manifest)
        for file in manifest.files:
            target.look(file)
    except Damaged as error:
        raise BackupError(f"{error} (`backup verify` names all that is wrong)") from error
    except OSError as error:
        raise BackupError(f"{target.url} cannot be read: {error}") from error
    return name, manifest


def _all(home: Home, target: Target, manifest: Manifest) -> Iterator[File]:
    """Restore all stores, the state database at last: with it the home can be used. Gives each file that is there."""
    yield from _restore_configuration(home, target, manifest)
    yield from _restore_blobs(target, manifest.of("blobs"), BlobStore(home.blobs_url))
    yield from _restore_blobs(target, manifest.of("upload-chunks"), BlobStore(home.chunks_url))
    yield from _restore_lake(home, target, manifest)
    yield from _restore_spool(home, target, manifest.of("spool"))
    yield from _restore_history(home, target, manifest)
    yield from _restore_state(home, target, manifest)


def _restore_configuration(home: Home, target: Target, manifest: Manifest) -> Iterator[File]:
    certificates = Tree(home.certificates_places[0])
    for file in manifest.of("home"):
        folder, _, name = file.path.rpartition("/")
        if folder == CERTIFICATES:
            with target.verified(file) as source:
                certificates.publish(name, source.read_bytes())
            yield file
            continue
        path = home.root / file.path.partition("/")[2]
        if path.name != CONFIG_FILE or not home.has_config:  # who put one there wants that
            with target.verified(file) as source:
                _write(path, source)
        yield file


def _restore_blobs(target: Target, files: Sequence[File], blobs: BlobStore) -> Iterator[File]:
    for file in files:
        with target.verified(file) as source, blobs.draft() as draft:
            for piece in file_pieces(source):
                draft.write(piece)
            draft.keep()
        yield file


def _restore_lake(home: Home, target: Target, manifest: Manifest) -> Iterator[File]:
    placed, lake = [], Tree(home.lake_files)
    for file in manifest.of("lake"):
        name = f"main/{file.path.partition('/')[2]}"
        path = f"{home.lake_files}/{name}"
        with target.verified(file) as source:
            if lake.folder is None:
                lake.keep(source, name)
            else:  # `keep` would take the file of the backup away
                _write(lake.folder / name, source)
        placed.append(LakeFile(file.path.split("/")[1], path, file.rows))
        yield file
    remake_lake(home, placed, manifest.flushed)


def _restore_spool(home: Home, target: Target, files: Sequence[File]) -> Iterator[File]:
    spool = None if home.embedded else PostgresSpool(home.postgres_url, home.raw_url)
    try:
        for (_, day, part), found in groupby(files, lambda file: file.path.split("/")[:3]):
            of_part = list(found)
            place, pieces = (date.fromisoformat(day), part), _envelopes(target, of_part)
            if spool is None:
                fill_file(home.spool_dir, place, pieces)
            else:
                fill_tables(spool, place, pieces)
            yield from of_part
    finally:
        if spool is not None:
            spool.close()


def _envelopes(target: Target, files: Sequence[File]) -> Iterator[list[Row]]:
    for file in files:
        with target.verified(file) as path:
            source = pq.ParquetFile(path)
            for group in range(source.num_row_groups):  # as many as were read at once
                columns = (
                    column.cast(pa.int64()) if column.type == tables.TIME else column
                    for column in source.read_row_group(group).columns
                )
                yield list(zip(*(column.to_pylist() for column in columns), strict=True))


def _restore_history(home: Home, target: Target, manifest: Manifest) -> Iterator[File]:
    files = manifest.of(history.STORE)
    if _history_fits(home, manifest):
        rows = [file for file in files if file.path.endswith(".csv")]
        yield from history.restore_files(home, target, [file for file in files if file not in rows])
        if rows:
            yield from history.restore_tables(home, target, rows)


def _history_fits(home: Home, manifest: Manifest) -> bool:
    """Whether Dagster here reads what it wrote there: files of SQLite it brings up to date itself, tables have to be its own."""
    if manifest.engine == "sqlite":
        return home.embedded
    return not home.embedded and manifest.dagster == version("dagster")


def _left_behind(home: Home, manifest: Manifest) -> Iterator[str]:
    if manifest.of(history.STORE) and not _history_fits(home, manifest):
        yield (
            f"Dagster's history: runs, ticks and marks of partitions, which Dagster {manifest.dagster} wrote on {manifest.engine} "
            "(docs/backup.md says how to mark the partitions again)"
        )


def _restore_state(home: Home, target: Target, manifest: Manifest) -> Iterator[File]:
    with filling(home, manifest.revision) as connection:
        tables.clear(connection, manifest.tables)
        for file in manifest.of("state"):
            with target.verified(file) as path:
                tables.fill(connection, file.path.split("/")[1], pq.ParquetFile(path))
            yield file
        tables.go_on_from(connection, manifest.sequences)


def _write(path: Path, source: Path) -> None:
    """Write a file durably, for its owner alone."""
    make_folder(path.parent)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        for piece in file_pieces(source):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)


def _refuse_what_is_there(home: Home) -> None:
    """Raise BackupError unless the home is empty, its database and its object storage too."""
    there = [*_names_in(home.root), *(f"table {name}" for name in _tables_of(home)), *_objects_of(home)]
    if there:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        raise BackupError(
            f"{home.root} is not empty ({', '.join(there[:3])}{more}): restore into another home, with --home and a database of its "
            "own, or move away what is there; nothing was touched"
        )


def _names_in(root: Path) -> list[str]:
    return (
        sorted(path.name for path in root.iterdir() if path.name not in _MAY_BE_THERE)
        if root.exists()
        else []
    )


def _tables_of(home: Home) -> list[str]:
    if home.embedded:
        return []
    engine = create_engine(home.postgres_url)
    try:
        with engine.connect() as connection:
            known = inspect(connection)
            return [
                f"{schema}.{name}" for schema in _SCHEMAS for name in sorted(known.get_table_names(schema))
            ]
    finally:
        engine.dispose()


def _places(home: Home) -> list[str]:
    """URLs of what lies in object storage."""
    return (
        [home.lake_files, home.blobs_url, home.chunks_url, home.raw_url, home.certificates_places[0]]
        if home.data_url
        else []
    )


def _objects_of(home: Home) -> list[str]:
    return [url for url in _places(home) if Tree(url).names()]


def _refuse_too_large(home: Home, manifest: Manifest) -> None:
    needed = sum(file.size for file in manifest.files if not home.data_url or file.store not in _OBJECTS)
    home.make_root()
    free = shutil.disk_usage(home.root).free
    if free < needed:
        raise BackupError(
            f"{home.root} has {free:,} bytes left, and the backup needs {needed:,} at least; nothing was touched"
        )


def _empty(home: Home, *, keep_config: bool) -> None:
    """Remove all that a restore made, its mark at last."""
    for url in _places(home):
        Tree(url).remove_folder("")
    names = set(_names_in(home.root)) | (set() if keep_config else {CONFIG_FILE})
    state = {name for name in names if name.startswith("state.sqlite")}
    for path in [home.root / name for name in (*sorted(names - state), *sorted(state, reverse=True))]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if not home.embedded:
        engine = create_engine(home.postgres_url)
        with engine.begin() as connection:
            for schema in _SCHEMAS:
                connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        engine.dispose()
