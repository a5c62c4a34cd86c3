"""Writing what is about to be removed: of a day and a category, a part for each project, whose manifest comes last."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import version
from itertools import chain

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import Connection
from sqlalchemy import Table as StateTable
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.archive.manifest import (
    FORMAT,
    LAKE,
    STATE,
    ArchiveError,
    Manifest,
    Stored,
    Table,
    columns_of,
)
from tasks_pipeline.archive.places import are_all_stored
from tasks_pipeline.archive.rows import TABLES, rows_of_groups
from tasks_pipeline.archive.store import README, Archive, Part, open_archive
from tasks_pipeline.backup.tables import arrow_schema
from tasks_pipeline.config import Config
from tasks_pipeline.storage.blobs import BlobMissing
from tasks_pipeline.storage.lake.catalog import LiveFile
from tasks_pipeline.storage.lake.files import LARGE_BYTES
from tasks_pipeline.storage.lake.tables import LAKE_TABLES
from tasks_pipeline.storage.state.removals import were_removed
from tasks_pipeline.storage.targets import Draft, Sink, pieces_of
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

OF_A_DAY = (ArchiveError, duckdb.Error, SQLAlchemyError)
"""What has to do with one day, or with our own stores; all else is trouble with the place of the archive."""
READ_ROWS = 16 * 1024
ROW_GROUP = 4096
BLOBS = "blobs/"
_ABOUT = """What an error tracker removed after its retention, as plain Parquet, by number of the project, day of receipt and category:

    PROJECT/DAY/CATEGORY-0001/TABLE.parquet, manifest.json

A folder without manifest.json is not finished and means nothing. Rows of a table of all days, in DuckDB:

    SELECT day, title, count(*) FROM read_parquet('*/*/events-*/events*.parquet') GROUP BY ALL

and in pandas: pandas.read_parquet('1/2026-10-01/events-0001/events.parquet')
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """A part that was written: rows of the lake and bytes of all files."""

    part: Part
    rows: int
    size: int


@dataclass(slots=True)
class Archiver:
    """Writes what a cleanup is about to remove. `archived` is what went with that, `waiting` why days have to stay since they could not be
    written; `unusable` why nothing can be written any more, so that nobody tries that for every day."""

    stores: Stores
    archive: Archive | None
    unusable: str = ""
    archived: list[Archived] = field(default_factory=list)
    waiting: dict[date, str] = field(default_factory=dict)

    def wants(self, project_id: int) -> bool:
        """Whether what is removed of a project is archived."""
        return is_archived(self.stores.config, project_id)

    def write(
        self, category: str, files: Sequence[LiveFile], gone: Mapping[str, str], reason: str
    ) -> list[Archived]:
        """Write the rows of files of one day that meet the condition of their table, by project. Raises ArchiveError when that cannot
        be; then nothing of it is there."""
        projects = sorted(
            {p for counts in self.counts(files, gone).values() for p in counts if self.wants(p)}
        )
        if not projects:
            return []
        if self.archive is None or self.unusable:
            raise ArchiveError(self.unusable)
        written: list[Archived] = []
        try:
            self._say_what_it_is(self.archive)
            self.stores.home.note_archive(self.archive.url)
            for project_id in projects:
                own = {
                    table: f"({condition}) AND project_id = {project_id}" for table, condition in gone.items()
                }
                part = _PartBeingWritten(self.stores, self.archive, files, own, project_id, category, reason)
                written.append(part.write())
        except BaseException as error:
            self._undo(written)
            if not isinstance(error, Exception) or isinstance(error, OF_A_DAY):
                raise
            if not isinstance(error, OSError):  # drivers of object storage raise errors of their own
                log.warning("what goes cannot be archived", exc_info=True)
            self.unusable = (
                f"{self.archive.url} cannot be written ({str(error)[:200]}): make room there, mend it, or set another "
                "retention.archive_url; the next cleanup goes on"
            )
            raise ArchiveError(self.unusable) from error
        return written

    def counts(self, files: Sequence[LiveFile], gone: Mapping[str, str]) -> dict[str, dict[int, int]]:
        """The rows that go, by table and project."""
        found = {}
        for table, condition in gone.items():
            if of_table := [file for file in files if file.table == table]:
                found[table] = self.stores.lake.projects_of(of_table, condition)
        return found

    def withdraw(self, written: Iterable[Archived]) -> None:
        """Remove parts whose rows were not removed after all."""
        for each in written:
            if self.archive is not None:
                self.archive.withdraw(each.part)

    def _undo(self, written: Iterable[Archived]) -> None:
        with suppress(
            Exception
        ):  # what was going on matters more; the next that archives the same removes them
            self.withdraw(written)

    @staticmethod
    def _say_what_it_is(archive: Archive) -> None:
        archive.tree.drop_drafts(datetime.now(UTC))
        if README not in archive.tree.names():
            archive.tree.publish(README, _ABOUT.encode())


def is_archived(config: Config, project_id: int) -> bool:
    """Whether what is removed of a project is archived."""
    if config.retention.archive_url is None:
        return False
    project = config.project(project_id)
    return project is None or project.retention.archive is not False


def archiver_of(stores: Stores) -> Archiver | None:
    """What writes archives as the configuration says; None where it says nothing of them."""
    url = stores.config.retention.archive_url
    if url is None:
        return None
    try:
        return Archiver(stores, open_archive(stores.home, url))
    except ArchiveError as error:
        return Archiver(stores, None, unusable=str(error))


class _PartBeingWritten:
    def __init__(
        self, stores: Stores, archive: Archive, files: Sequence[LiveFile], gone: Mapping[str, str], project_id: int,
        category: str, reason: str,
    ) -> None:  # fmt: skip
        self._stores, self._archive = stores, archive
        self._files, self._gone, self._reason = files, gone, reason
        day = files[0].day
        self._earlier = archive.of(day, project_id, category)
        number = max((each.number for each in self._earlier), default=0) + 1
        self._part = Part(day, project_id, category, number)
        self._groups: set[int] = set()
        self._digests: set[str] = set()

    def write(self) -> Archived:
        """Write all of it, then the manifest; then what is in the lake as a whole still, and was archived before, goes: a process died
        before it removed that, or it was restored."""
        part = self._part
        try:
            manifest = self._manifest()
            self._archive.publish(part, manifest)
        except BaseException:
            with suppress(Exception):
                self._archive.tree.remove_folder(part.path)
            raise
        for earlier, is_whole in self._earlier.items():
            if not is_whole or earlier in self._replaced:
                self._archive.withdraw(earlier)
        return Archived(part, manifest.rows, manifest.size)

    def _manifest(self) -> Manifest:
        stores, part = self._stores, self._part
        known = {part: self._archive.manifest(part) for part, is_whole in self._earlier.items() if is_whole}
        self._replaced = [
            p for p, manifest in known.items() if are_all_stored(stores.lake, self._archive, p, manifest)
        ]
        tables = [*self._of_lake(), *self._of_state()]
        blobs, missing = self._blobs()
        return Manifest(
            format=FORMAT,
            made_by=f"tasks-pipeline {version('tasks-pipeline')}",
            archived_at=datetime.now(UTC),
            project_id=part.project_id,
            project=stores.slugs.get(part.project_id, ""),
            day=part.day,
            category=part.category,
            reason=self._reason,
            whole=self._is_whole(list(known.values())),
            tables=tuple(tables),
            blobs=tuple(blobs),
            missing=tuple(missing),
            taken=tuple(taken for part in self._replaced for taken in known[part].taken),
        )

    def _is_whole(self, known: Sequence[Manifest]) -> bool:
        """Whether all that ever went of this is archived. What goes is noted behind its archive: what is noted without one had none."""
        if known:
            return all(manifest.whole for manifest in known)
        with self._stores.state.read() as connection:
            return not were_removed(connection, self._part.day, self._part.project_id, tuple(self._gone))

    def _of_lake(self) -> Iterator[Table]:
        for name, condition in self._gone.items():
            files = [file for file in self._files if file.table == name]
            if files:
                table = LAKE_TABLES[name]
                rows = table.row_group if name == "event_payloads" else READ_ROWS
                pieces = self._seen(name, self._stores.lake.rows_of(files, rows, condition))
                yield self._table(name, LAKE, table.arrow, pieces, table.row_group)

    def _seen(self, name: str, pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same pieces; what else has to be archived with them is noted."""
        for piece in pieces:
            if name == "events":
                self._groups.update(pc.unique(piece["group_id"]).to_pylist())
            elif name == "attachments":
                self._digests.update(pc.unique(piece["digest"]).to_pylist())
            yield piece

    def _of_state(self) -> Iterator[Table]:
        if not self._groups:
            return
        with self._stores.state.read() as connection:
            for table in TABLES:
                yield from self._of_groups(connection, table)

    def _of_groups(self, connection: Connection, table: StateTable) -> Iterator[Table]:
        """A table, unless nothing in it is of these groups."""
        pieces = filter(len, rows_of_groups(connection, table, self._groups, self._part.day))
        first = next(pieces, None)
        if first is not None:
            yield self._table(str(table.name), STATE, arrow_schema(table), chain([first], pieces), ROW_GROUP)

    def _table(
        self, name: str, of: str, schema: pa.Schema, pieces: Iterable[pa.Table], row_group: int
    ) -> Table:
        files = list(stored_rows(self._archive, self._part, name, schema, pieces, row_group))
        return Table(name, of, columns_of(schema), sum(file.rows for file in files), tuple(files))

    def _blobs(self) -> tuple[list[Stored], list[str]]:
        found, missing = [], []
        for digest in sorted(filter(None, self._digests)):
            try:
                with self._stores.blobs.open(digest) as source, self._archive.tree.draft() as draft:
                    for piece in pieces_of(source):
                        draft.write(piece)
                    draft.keep_as(f"{self._part.path}/{BLOBS}{digest}")
                    found.append(Stored(digest, 0, draft.size, draft.digest))
            except BlobMissing:
                missing.append(digest)
        return found, missing


def stored_rows(
    archive: Archive, part: Part, name: str, schema: pa.Schema, pieces: Iterable[pa.Table], row_group: int, first: int = 1
) -> Iterator[Stored]:  # fmt: skip
    """Store rows as `TABLE.parquet`, `TABLE.2.parquet` and so on, from a number on; one file at least."""
    number, rows = first, iter(pieces)
    piece = next(rows, None)
    while piece is not None or number == first:
        file = file_name(name, number)
        with archive.tree.draft() as draft:
            count = 0
            with parquet(draft, schema) as writer:
                while piece is not None and draft.size < LARGE_BYTES:
                    writer.write_table(piece, row_group_size=row_group)
                    count += piece.num_rows
                    piece = next(rows, None)
            draft.keep_as(f"{part.path}/{file}")
            yield Stored(file, count, draft.size, draft.digest)
        number += 1


def file_name(table: str, number: int) -> str:
    """The name of a file of a table."""
    return f"{table}.parquet" if number == 1 else f"{table}.{number}.parquet"


@contextmanager
def parquet(draft: Draft, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A writer of a Parquet file that anybody reads. Of payloads and bytes there is no dictionary: they never repeat."""
    plain = [each.name for each in schema if each.name != "payload" and not pa.types.is_binary(each.type)]
    with pq.ParquetWriter(
        pa.PythonFile(Sink(draft), mode="w"), schema, compression="zstd", compression_level=3, use_dictionary=plain,
        write_statistics=plain, write_page_checksum=True,
    ) as writer:  # fmt: skip
        yield writer
