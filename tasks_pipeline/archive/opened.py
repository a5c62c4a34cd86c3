"""What is archived of a day and a project, opened to be asked with the SQL that the lake is asked with.

DuckDB in memory, as bounded as elsewhere, with views over the files of all parts: `lake` has the tables of what was received, `archived`
those of groups. Files are proven before anything is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa

from tasks_pipeline.archive.manifest import LAKE, ArchiveError, Manifest, Stored, Table
from tasks_pipeline.archive.rows import TABLES
from tasks_pipeline.archive.store import Archive, Part
from tasks_pipeline.archive.verify import look
from tasks_pipeline.archive.write import BLOBS
from tasks_pipeline.backup.tables import arrow_schema
from tasks_pipeline.home import Home
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.lake.connection import connect, quoted
from tasks_pipeline.storage.lake.tables import LAKE_TABLES

MEMORY_LIMIT = "256MB"
"""The lake is open too."""
GROUPS = "archived"
"""The schema of tables of groups."""


@dataclass(frozen=True, slots=True)
class OpenedPart:
    """A part with its manifest and its files, proven."""

    part: Part
    manifest: Manifest
    paths: Mapping[str, Path]


class OpenedDay:
    """Rows of a day and a project that are in an archive."""

    def __init__(
        self, archive: Archive, connection: duckdb.DuckDBPyConnection, parts: Sequence[OpenedPart]
    ) -> None:
        self.archive, self.parts = archive, parts
        self._connection = connection

    @property
    def day(self) -> date:
        """The day of receipt."""
        return self.parts[0].part.day

    @property
    def project_id(self) -> int:
        """The project."""
        return self.parts[0].part.project_id

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, payloads: bool = False
    ) -> list[dict[str, Any]]:
        """Rows of a query as dicts. Payloads are always at hand."""
        cursor = self._execute(sql, parameters)
        names = [d[0] for d in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def pieces(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, rows: int
    ) -> Iterator[pa.Table]:
        """Rows of a query in pieces of about so many. Nothing else may be asked until the last was taken."""
        for batch in self._execute(sql, parameters).to_arrow_reader(rows):
            yield pa.Table.from_batches([batch])

    @contextmanager
    def kept(
        self, name: str, sql: str, slices: Iterable[Mapping[str, Any]], *, payloads: bool = False
    ) -> Iterator[None]:
        """Have the rows of a query as a table of that name within the block."""
        into = f"CREATE OR REPLACE TEMP TABLE {name} AS"
        try:
            for parameters in slices:
                self._execute(f"{into} {sql}", parameters)
                into = f"INSERT INTO {name}"
            yield
        finally:
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")

    @contextmanager
    def given(self, name: str, rows: Iterable[pa.Table]) -> Iterator[None]:
        """Have rows that are not archived as a table of that name within the block."""
        into = f"CREATE OR REPLACE TEMP TABLE {name} AS"
        try:
            for piece in rows:
                self._connection.register("given_rows", piece)
                self._connection.execute(f"{into} SELECT * FROM given_rows")
                self._connection.unregister("given_rows")
                into = f"INSERT INTO {name}"
            yield
        finally:
            self._connection.execute(f"DROP TABLE IF EXISTS {name}")

    def table_of(self, part: OpenedPart, table: Table, file: Stored) -> str:
        """A file for a FROM, with the columns that its table has now, and those that it had."""
        return f"({_select([part.paths[file.name]], table.name, [c.name for c in table.columns])})"

    @contextmanager
    def open(self, digest: str) -> Iterator[IO[bytes]]:
        """The bytes of an attachment, proven. Raises BlobMissing, ArchiveError."""
        for each in self.parts:
            for blob in each.manifest.blobs:
                if blob.name == digest:
                    with (
                        self.archive.proven(each.part, blob, BLOBS) as path,
                        path.open("rb") as file,
                    ):
                        yield file
                    return
        raise BlobMissing(digest)

    def _execute(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()
    ) -> duckdb.DuckDBPyConnection:
        return self._connection.execute(
            sql, parameters if isinstance(parameters, Mapping) else list(parameters)
        )


@contextmanager
def opened_day(home: Home, archive: Archive, parts: Sequence[Part]) -> Iterator[OpenedDay]:
    """Open parts of one day and project. Raises ArchiveError when a file is damaged or of a newer format."""
    with ExitStack() as stack:
        opened = []
        for part in parts:
            manifest = archive.manifest(part)
            paths = {file.name: stack.enter_context(archive.proven(part, file)) for file in manifest.files}
            for table in manifest.tables:
                if table.name not in LAKE_TABLES:  # which are read as a whole; DuckDB bounds itself
                    for file in table.files:
                        look(archive, part, table, file, paths[file.name])
            opened.append(OpenedPart(part, manifest, paths))
        connection = stack.enter_context(closing(connect(home)))
        connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
        connection.execute("SET preserve_insertion_order = true")
        try:
            _create_views(connection, opened)
        except duckdb.Error as error:
            where = ", ".join(each.part.path for each in opened)
            raise ArchiveError(f"{archive.url}: {where} cannot be read: {error}") from error
        yield OpenedDay(archive, connection, opened)


def _create_views(connection: duckdb.DuckDBPyConnection, parts: Sequence[OpenedPart]) -> None:
    connection.execute(f"CREATE SCHEMA lake; CREATE SCHEMA {GROUPS}")
    for name, table in LAKE_TABLES.items():
        found = [(each, one) for each in parts if (one := each.manifest.table(name)) and one.of == LAKE]
        if found:
            connection.execute(f"CREATE VIEW lake.{name} AS {_all(found)}")
        else:
            connection.execute(f"CREATE TABLE lake.{table.ddl}")
    for state_table in TABLES:
        found = [(each, one) for each in parts if (one := each.manifest.table(state_table.name))]
        if found:
            connection.execute(f"CREATE VIEW {GROUPS}.{state_table.name} AS {_all(found)}")
        else:
            connection.register("no_rows", arrow_schema(state_table).empty_table())
            connection.execute(f"CREATE TABLE {GROUPS}.{state_table.name} AS SELECT * FROM no_rows")
            connection.unregister("no_rows")


def _all(found: Sequence[tuple[OpenedPart, Table]]) -> str:
    selects = (
        _select([each.paths[file.name] for file in table.files], table.name, [c.name for c in table.columns])
        for each, table in found
    )
    return " UNION ALL BY NAME ".join(selects)


def _select(paths: Sequence[Path], name: str, columns: Sequence[str]) -> str:
    """Rows of files of a table; columns that it got later are null."""
    files = ", ".join(f"'{quoted(path)}'" for path in paths)
    missing = "".join(
        f", NULL::{column.type} AS {column.quoted}"
        for column in (LAKE_TABLES[name].columns if name in LAKE_TABLES else ())
        if column.name not in columns
    )
    return f"SELECT *{missing} FROM read_parquet([{files}], hive_partitioning = false)"
