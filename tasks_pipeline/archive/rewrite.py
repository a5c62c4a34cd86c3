"""Taking rows out of archives, for who has the right to be forgotten: what matches is found, and its file is written again without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from tasks_pipeline.archive.manifest import Manifest, Stored, Table
from tasks_pipeline.archive.store import MANIFEST, Archive, Part
from tasks_pipeline.archive.write import BLOBS, READ_ROWS, ROW_GROUP, stored_rows
from tasks_pipeline.storage.lake.tables import LAKE_TABLES


@dataclass(frozen=True, slots=True)
class Match:
    """Rows of a table of a part that meet a condition."""

    part: Part
    table: str
    rows: int


def find_rows(
    archive: Archive,
    table: str,
    condition: str,
    parameters: Mapping[str, Any],
    *,
    day: date | None = None,
    project_id: int | None = None,
) -> Iterator[Match]:
    """Where rows of a table meet a condition (SQL of DuckDB, parameters as `$name`), of all archived days or of one. Raises ArchiveError
    when a file is damaged."""
    for part in archive.parts(day, project_id):
        found = archive.manifest(part).table(table)
        rows = 0 if found is None else _matching(archive, part, found, condition, parameters)
        if rows:
            yield Match(part, table, rows)


def remove_rows(
    archive: Archive, project_id: int, day: date, table: str, condition: str, parameters: Mapping[str, Any]
) -> int:
    """Take the rows that meet a condition out of what is archived of a day and a project; gives how many went. Blobs of attachments that
    none of their rows names any more go with them. Raises ArchiveError when a file is damaged.

    The caller holds the lock `archive`. A process that dies in between has changed a part or not; doing it again does the rest, also when
    it died between the new manifest and the removal of old files.
    """
    removed = 0
    for part in archive.parts(day, project_id):
        manifest = archive.manifest(part)
        found = manifest.table(table)
        if found is None:
            continue
        rows = _matching(archive, part, found, condition, parameters)
        if rows:
            manifest = _without(archive, part, manifest, found, condition, parameters)
            archive.publish(part, manifest)
            removed += rows
        _sweep(archive, part, manifest)
    return removed


def _matching(
    archive: Archive, part: Part, table: Table, condition: str, parameters: Mapping[str, Any]
) -> int:
    return sum(_count(archive, part, file, condition, parameters) for file in table.files)


def _count(archive: Archive, part: Part, file: Stored, condition: str, parameters: Mapping[str, Any]) -> int:
    with archive.proven(part, file) as path, closing(_reader(path)) as connection:
        query = f"SELECT count(*) FROM archived WHERE ({condition})"
        return int(connection.execute(query, dict(parameters)).fetchall()[0][0])


def _reader(path: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB with the rows of a file as the view `archived`."""
    connection = duckdb.connect()
    name = str(path).replace("'", "''")
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(
        f"CREATE VIEW archived AS SELECT * FROM read_parquet('{name}', hive_partitioning = false)"
    )
    return connection


def _without(
    archive: Archive,
    part: Part,
    manifest: Manifest,
    table: Table,
    condition: str,
    parameters: Mapping[str, Any],
) -> Manifest:
    """A manifest of which the files of a table are new ones, without the rows that meet a condition."""
    files: list[Stored] = []
    number = max(_number_of(file.name) for file in table.files) + 1
    for file in table.files:
        with archive.proven(part, file) as path:
            schema = pq.read_schema(path)
            pieces = _rest(path, schema, condition, parameters)
            group = LAKE_TABLES[table.name].row_group if table.name in LAKE_TABLES else ROW_GROUP
            files += stored_rows(archive, part, table.name, schema, pieces, group, number + len(files))
    rows = sum(file.rows for file in files)
    tables = tuple(replace(t, files=tuple(files), rows=rows) if t is table else t for t in manifest.tables)
    changed = replace(manifest, tables=tables)
    if table.name != "attachments":
        return changed
    digests = _digests(archive, part, files)
    return replace(changed, blobs=tuple(blob for blob in manifest.blobs if blob.name in digests))


def _number_of(file: str) -> int:
    """The number of a file in its name."""
    words = file.split(".")
    return int(words[1]) if len(words) == 3 and words[1].isdecimal() else 1


def _rest(path: Path, schema: pa.Schema, condition: str, parameters: Mapping[str, Any]) -> Iterator[pa.Table]:
    with closing(_reader(path)) as connection:
        found = connection.execute(
            f"SELECT * FROM archived WHERE NOT coalesce(({condition}), false)", dict(parameters)
        )
        for batch in found.to_arrow_reader(READ_ROWS):
            yield pa.Table.from_batches([batch]).cast(schema)


def _digests(archive: Archive, part: Part, files: list[Stored]) -> set[str]:
    found: set[str] = set()
    for file in files:
        with archive.proven(part, file) as path:
            found.update(pq.read_table(path, columns=["digest"], partitioning=None)["digest"].to_pylist())
    return found


def _sweep(archive: Archive, part: Part, manifest: Manifest) -> None:
    """Remove the files of a part that its manifest does not name."""
    named = {f"{part.path}/{file.name}" for file in manifest.files}
    named |= {f"{part.path}/{BLOBS}{blob.name}" for blob in manifest.blobs}
    for path in archive.tree.find(part.path):
        if path not in named and path != f"{part.path}/{MANIFEST}":
            archive.tree.remove(path)
