"""Proving a backup: every file is there and is what was stored, the counts agree, databases are sound. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.backup import history
from tasks_pipeline.backup.manifest import BackupError, File, Manifest, Report, check_version, counted_rows
from tasks_pipeline.backup.target import Damaged, Target


def verify_backup(
    target: Target, name: str | None = None, progress: Callable[[File], None] = lambda _file: None
) -> Report:
    """Read a backup as a whole, the newest without a name; what is wrong is in the report. Raises BackupError when there is none, and
    when the target cannot be read."""
    started = time.monotonic()
    try:
        name = target.find(name)
        try:
            manifest = target.manifest(name)
            check_version(name, manifest)
        except BackupError as error:
            return Report(name, 0, 0, 0, time.monotonic() - started, problems=(str(error),))
        problems = [*_in_files(target, manifest, progress), *_in_counts(manifest)]
    except OSError as error:
        raise BackupError(f"{target.url} cannot be read: {error}") from error
    return Report(
        name=name,
        files=len(manifest.files),
        bytes=sum(file.size for file in manifest.files),
        rows=sum(manifest.rows.values()),
        seconds=time.monotonic() - started,
        problems=(*(f"when it was made: {said}" for said in manifest.problems), *problems),
        left_out=manifest.left_out,
    )


def _in_files(target: Target, manifest: Manifest, progress: Callable[[File], None]) -> Iterator[str]:
    for file in manifest.files:
        try:
            with target.verified(file) as path:
                yield from _in_content(file, path)
        except Damaged as error:
            yield str(error)
        progress(file)


def _in_content(file: File, path: Path) -> Iterator[str]:
    if file.path.endswith(".db") and not history.is_sound(path):
        yield f"{file.path} was damaged before it was stored: SQLite finds its integrity broken"
    if file.path.endswith(".parquet"):
        try:
            rows = pq.read_metadata(path).num_rows
        except (OSError, pa.ArrowInvalid) as error:
            yield f"{file.path} was damaged before it was stored: {error}"
        else:
            if rows != file.rows:
                yield f"{file.path} holds {rows:,} rows instead of {file.rows:,}"


def _in_counts(manifest: Manifest) -> Iterator[str]:
    if counted_rows(manifest.files) != manifest.rows:
        yield "the manifest counts other rows than its files hold: take another backup"
    missing = set(manifest.tables) - {file.counted_as.partition("/")[2] for file in manifest.of("state")}
    if missing:
        yield f"tables without any file: {', '.join(sorted(missing))}; take another backup"
