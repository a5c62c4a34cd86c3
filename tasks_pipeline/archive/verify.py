"""Verifying archives: every file is read as a whole and compared with its manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.archive.manifest import ArchiveError, Manifest, Stored, Table, columns_of
from tasks_pipeline.archive.store import Archive, Part
from tasks_pipeline.archive.write import BLOBS

Progress = Callable[[Part, int], None]
"""Hears of each part that is done, and of its bytes."""


@dataclass(slots=True)
class Verified:
    """What was looked at: parts, their files, rows of the lake and bytes; what is wrong, and what nobody finished."""

    parts: int = 0
    files: int = 0
    rows: int = 0
    bytes: int = 0
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
    report = Verified()
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
    """Raise ArchiveError when a file has not the columns and rows that its manifest says."""
    where = f"{archive.url}/{part.path}/{file.name}"
    try:
        found = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArchiveError(f"{where} is no Parquet file: {error}") from error
    with found:
        if columns_of(found.schema_arrow) != table.columns:
            raise ArchiveError(f"{where} has other columns than its manifest says")
        if found.metadata.num_rows != file.rows:
            raise ArchiveError(f"{where} has {found.metadata.num_rows:,} rows instead of {file.rows:,}")
