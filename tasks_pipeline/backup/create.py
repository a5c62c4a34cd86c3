"""Making a backup: what is read in which order, what is stored once, and which earlier backups go."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version

import pyarrow as pa

from tasks_pipeline.backup import history, tables
from tasks_pipeline.backup.manifest import FORMAT, BackupError, File, Manifest, Report, counted_rows
from tasks_pipeline.backup.moment import Moment, moment_of
from tasks_pipeline.backup.target import Target, file_pieces, open_target
from tasks_pipeline.config import ConfigError
from tasks_pipeline.config.loading import config_text
from tasks_pipeline.home import ARCHIVES, CONFIG_COPY, Home
from tasks_pipeline.storage.blobs import BlobMissing, BlobStore
from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.lake import BACKUP
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.spool.copies import Row
from tasks_pipeline.storage.spool.interface import SpoolError
from tasks_pipeline.storage.state.database import HEAD
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.storage.state.tables import metadata
from tasks_pipeline.storage.targets import Tree, pieces_of
from tasks_pipeline.stores import Stores

Progress = Callable[[File], None]
"""Hears of each file that is done."""

CONFIG_FILE, DEFAULT_KEY = "tasks_pipeline.yaml", "default-key"
ENVELOPES = pa.schema(
    [
        ("position", pa.int64()),
        ("received_at", tables.TIME),
        ("project_id", pa.int64()),
        ("public_key", pa.string()),
        ("event_id", pa.string()),
        ("encoding", pa.string()),
        ("items", pa.int64()),
        ("size", pa.int64()),
        ("meta", pa.string()),
        ("body", pa.binary()),
    ]
)
"""Columns of the spool in a backup; without a body what was sent had been erased."""
CERTIFICATES = "home/certificates"
_VARIABLE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_READ_ROWS = 4_096


def create_backup(
    stores: Stores, url: str, *, keep: int | None = None, progress: Progress = lambda _file: None
) -> Report:
    """Make a backup of an installation that may be at work, in a folder or at an fsspec URL; the newest `keep` stay.

    It becomes visible at the end, when all of it is durable. A second one waits for the first. Raises BackupError when the
    target cannot be used; what of the installation cannot be read is among the problems of the report, and not in it.
    """
    started, home = time.monotonic(), stores.home
    target = _target_beside(home, url)
    with process_lock(home, BACKUP):
        began = datetime.now(UTC)
        try:
            copy = _Copy(stores, target)
            for file in copy.run():
                progress(file)
            manifest = copy.manifest(began)
            name = target.publish(manifest)
        except OSError as error:
            raise BackupError(
                f"{url} cannot be written: {error}; the backups that are in it are as they were"
            ) from error
        left = _tidy(target, began, None if manifest.problems else keep)
    return Report(
        name=name,
        files=len(manifest.files),
        bytes=sum(file.size for file in manifest.files),
        rows=sum(manifest.rows.values()),
        seconds=time.monotonic() - started,
        problems=(*manifest.problems, *left),
        left_out=manifest.left_out,
        stored=target.stored,
    )


def _refuse_newer(revision: str) -> None:
    """A newer program may have migrated the database that this one goes on with: what it does not know of would be missing. Raises
    BackupError."""
    if not revision.isdecimal() or int(revision) > int(HEAD):
        raise BackupError(
            f"the state database has schema {revision}, and this version knows those up to {HEAD}: what is newer would be missing;"
            " make the backup with the version that migrated it"
        )


class _Copy:
    """A backup in the making: its files so far, and what is wrong."""

    def __init__(self, stores: Stores, target: Target) -> None:
        self._stores, self._home, self._target = stores, stores.home, target
        self._files: list[File] = []
        self._problems: list[str] = []
        self._variables: set[str] = set()
        target.look_around()
        self._earlier = {file.path: file for file in _newest(target) if file.sha256 in target.known}

    def run(self) -> Iterator[File]:
        """Copy all stores, and give each file that is done."""
        for file in self._all():
            self._files.append(file)
            yield file

    def _all(self) -> Iterator[File]:
        yield from self._configuration()
        yield from self._remembered()
        # Before the state: a request for a run that Dagster knows and the state does not would never be made again.
        yield from history.store_files(self._home, self._target)
        with moment_of(self._stores) as moment:
            self._revision, self._lake = moment.revision, moment.lake
            _refuse_newer(moment.revision)
            yield from self._state(moment)
            yield from self._spool(moment)
            if not self._home.embedded:
                yield from history.store_tables(moment.state, self._target)
        yield from self._lake_files()
        yield from self._blobs("blobs", self._stores.blobs)
        yield from self._blobs("upload-chunks", BlobStore(self._home.chunks_url))

    def _configuration(self) -> Iterator[File]:
        """The configuration file as it is, what is in force while that is broken, and the key of a home without one."""
        for name, path in (
            (CONFIG_FILE, self._home.config_path),
            (CONFIG_COPY, self._home.root / CONFIG_COPY),
            (DEFAULT_KEY, self._home.root / DEFAULT_KEY),
        ):
            if not path.exists():
                continue
            try:
                text = config_text(path)
            except ConfigError as error:
                self._problems.append(str(error))
                continue
            self._variables |= set(_VARIABLE.findall(text))
            yield self._target.store(f"home/{name}", [text.encode()])

    def _remembered(self) -> Iterator[File]:
        """Where something was archived, and what proves deletions: nothing else knows it."""
        path = self._home.root / ARCHIVES
        if path.exists():
            yield self._target.store(f"home/{ARCHIVES}", file_pieces(path))
        for place in self._home.certificates_places:
            tree = Tree(place)
            for name in tree.names():
                yield self._target.store(f"{CERTIFICATES}/{name}", [tree.read(name)])

    def _state(self, moment: Moment) -> Iterator[File]:
        for table in metadata.sorted_tables:
            rows = tables.rows_of(moment.state, table)
            yield from self._target.store_rows(f"state/{table.name}", tables.arrow_schema(table), rows)
        self._sequences = tables.last_numbers(moment.state)

    def _spool(self, moment: Moment) -> Iterator[File]:
        for (day, part), why in moment.spool.broken.items():
            self._problems.append(_unreadable(f"{day}-{part}", why))
        for (day, part), read in moment.spool.parts.items():
            try:
                yield from self._target.store_rows(f"spool/{day}/{part}", ENVELOPES, map(_envelopes, read()))
            except SpoolError as error:
                self._problems.append(_unreadable(f"{day}-{part}", str(error)))

    def _lake_files(self) -> Iterator[File]:
        for file in self._lake.files:
            name = file.path.rpartition("/")[2]
            if file.deletes:  # rows that were deleted are in no backup
                deletes = file.deletes.rpartition("/")[2].removesuffix(".parquet")
                name = f"{name.removesuffix('.parquet')}-without-{deletes}.parquet"
            path = f"lake/{file.table}/day={file.day}/{name}"
            stored = self._earlier.get(path) or self._lake_file(path, file)  # what bears a name never changes
            if stored is not None:
                yield stored

    def _lake_file(self, path: str, file: LiveFile) -> File | None:
        """Store a file of the lake; None, and a problem, when it is not what the catalog says."""
        folder, _, name = file.path.rpartition("/")
        there = Tree(folder)
        size = there.size(name) if there.exists(name) else 0
        if size != file.size:
            self._problems.append(
                f"{file.path} is not in this backup: it has {size:,} bytes instead of {file.size:,}; restore it from an "
                "earlier backup, or compute its day again"
            )
            return None
        if file.deletes:
            lake, schema = self._stores.lake, LAKE_TABLES[file.table].arrow
            rows = lake.rows_of([file], _READ_ROWS, snapshot=self._lake.snapshot)
            return self._target.store_one(path, schema, rows)
        with there.open(name) as source:
            return self._target.store(path, pieces_of(source), file.rows)

    def _blobs(self, store: str, blobs: BlobStore) -> Iterator[File]:
        for digest in blobs.digests():
            path = f"{store}/{digest}"
            known = self._earlier.get(path)
            if known is None:
                try:
                    known = self._blob(path, digest, blobs)
                except BlobMissing:  # removed just now, since nobody needs it
                    continue
            if known.sha256 == digest:
                yield known
            else:
                self._problems.append(
                    f"blob {digest} is damaged: its bytes are not those of its name; it is not in this backup. "
                    "Restore it from an earlier one, or upload it again"
                )

    def _blob(self, path: str, digest: str, blobs: BlobStore) -> File:
        if digest in self._target.known:
            return File(path, digest, blobs.size(digest))
        with blobs.open(digest) as source:
            return self._target.store(path, pieces_of(source))

    def manifest(self, began: datetime) -> Manifest:
        """What the backup says of itself, once all is stored."""
        files = tuple(self._files)
        return Manifest(
            format=FORMAT,
            made_by=f"tasks-pipeline {version('tasks-pipeline')}",
            dagster=version("dagster"),
            created_at=began,
            engine="sqlite" if self._home.embedded else "postgres",
            revision=self._revision,
            sequences=self._sequences,
            flushed=self._lake.flushed,
            tables=tuple(str(table.name) for table in metadata.sorted_tables),
            rows=counted_rows(files),
            left_out=self._left_out(),
            problems=tuple(self._problems),
            files=files,
        )

    def _left_out(self) -> tuple[str, ...]:
        """What a new machine needs beside the backup."""
        names = ", ".join(sorted(self._variables))
        secrets = f"values of variables that the configuration names: {names}" if names else ""
        url = "" if self._home.embedded else "the address and password of the database"
        return tuple(said for said in (secrets, url, "caches and log files") if said)


def _newest(target: Target) -> tuple[File, ...]:
    """The files of the newest backup that can be read."""
    for name in reversed(target.names()):
        try:
            return target.manifest(name).files
        except BackupError:
            continue
    return ()


def _envelopes(rows: list[Row]) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [
        pa.array(values, pa.int64()).cast(field.type)
        if field.type == tables.TIME
        else pa.array(values, field.type)
        for values, field in zip(columns, ENVELOPES, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=ENVELOPES)


def _unreadable(part: str, why: str) -> str:
    return f"part {part} of the spool is not whole in this backup: {why}; docs/spool.md says how to mend it"


def _tidy(target: Target, began: datetime, keep: int | None) -> list[str]:
    """Withdraw backups but the newest, and remove files of none; gives what keeps that from being done."""
    try:
        for name in target.names()[: -keep if keep else 0]:
            target.withdraw(name)
        target.sweep(began)
    except (BackupError, OSError) as error:
        return [f"what is of no backup was not removed from {target.url}: {error}"]
    return []


def _target_beside(home: Home, url: str) -> Target:
    """The target of a URL or folder. Raises BackupError for one that lies within the home."""
    target = open_target(url)
    if what := home.holding(target.url):
        raise BackupError(f"{url} lies within {what}: what takes one would take both; choose another disk")
    return target
