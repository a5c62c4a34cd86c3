"""Verifying archives: every file is read as a whole and compared with its manifest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from tasks_pipeline.archive.manifest import ArchiveError, Manifest, Stored, Table, columns_of
from tasks_pipeline.archive.store import Archive, Part
from tasks_pipeline.archive.write import BLOBS
from tasks_pipeline.storage.decoding import Undecodable, prove
from tasks_pipeline.storage.lake.tables import LAKE_TABLES

STATE_BYTES = 256 * 1024 * 1024
"""Of a table of groups, decoded: all of it is in memory at once. A million groups of a day have so many."""

Progress = Callable[[Part, int], None]
"""Hears of each part that is done, and of its bytes."""


@dataclass(slots=True)
class Verified:
    """What was looked at: parts, their files, rows of the lake and bytes, and how long that took; what is wrong, and what nobody finished."""

    parts: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong. What a killed cleanup left is not wrong: its rows are still where they were."""
        return not self.problems


def verify_archive(
    archive: Archive,
    day: date | None = None,
    project_id: int | None = None,
    progress: Progress = lambda _part, _size: None,
) -> Verified:
    """Read all of an archive, or what it has of a day and a project, and say what is wrong."""
    report, started = Verified(), time.monotonic()
    for part, is_whole in sorted(archive.look(day, project_id).items()):
        if not is_whole:
            report.unfinished.append(part.path)
            continue
        size = 0
        try:
            manifest = archive.manifest(part)
            size = manifest.size
            report.files += len(manifest.files) + len(manifest.blobs)
            report.rows += manifest.rows
            report.bytes += size
            report.problems += problems_of(archive, part, manifest)
        except (ArchiveError, FileNotFoundError) as error:
            report.problems.append(str(error))
        report.parts += 1
        progress(part, size)
    report.seconds = time.monotonic() - started
    return report


def problems_of(archive: Archive, part: Part, manifest: Manifest) -> Iterator[str]:
    """What is wrong with a part."""
    for table in manifest.tables:
        for file in table.files:
            try:
                with archive.proven(part, file) as path:
                    look(archive, part, table, file, path)
            except ArchiveError as error:
                yield str(error)
        if table.rows != sum(file.rows for file in table.files):
            yield f"{archive.url}/{part.path}: {table.name} should have {table.rows:,} rows"
    for blob in manifest.blobs:
        try:
            with archive.proven(part, blob, BLOBS):
                pass
        except ArchiveError as error:
            yield str(error)


def look(archive: Archive, part: Part, table: Table, file: Stored, path: Path) -> None:
    """Raise ArchiveError when a file has not the columns and rows that its manifest says, or cannot be read within bounds: who can write
    to an archive can forge its sums too."""
    where = f"{archive.url}/{part.path}/{file.name}"
    try:
        decoded = prove(path)
    except Undecodable as error:
        raise ArchiveError(f"{where} cannot be read: {error}") from error
    if table.name not in LAKE_TABLES and decoded.bytes > STATE_BYTES:
        raise ArchiveError(f"{where} has {decoded.bytes:,} bytes of groups; allowed are {STATE_BYTES:,}")
    with pq.ParquetFile(path) as found:
        if columns_of(found.schema_arrow) != table.columns:
            raise ArchiveError(f"{where} has other columns than its manifest says")
        if decoded.rows != file.rows:
            raise ArchiveError(f"{where} has {decoded.rows:,} rows instead of {file.rows:,}")
