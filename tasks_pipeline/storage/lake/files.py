"""Parquet files of the lake: written by us, whole and durable before the catalog hears of them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, LakeTable
from tasks_pipeline.storage.targets import Tree

LARGE_BYTES = 512 * 1024 * 1024
"""A file that has so many is finished, and the next begins: however large a day is, its files are few."""


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A Parquet file that is durable, and that the catalog does not know yet."""

    table: str
    path: str
    rows: int


@dataclass(frozen=True, slots=True)
class LyingFile:
    """A file in the folder of the lake, whether the catalog knows it or not: its bytes, and when it was written, where that is known."""

    path: str
    size: int
    at: datetime | None


def tree_of(home: Home) -> Tree:
    """The folder or place in object storage that the files of the lake lie in."""
    return Tree(home.lake_files)


def lying_files(home: Home) -> list[LyingFile]:
    """All files that lie where those of the lake are."""
    return [LyingFile(f"{home.lake_files}/{name}", size, at) for name, size, at in tree_of(home).details()]


def exists(home: Home, path: str) -> bool:
    """Whether there is a file."""
    return tree_of(home).exists(_name(home, path))


def remove_file(home: Home, path: str) -> None:
    """Remove a file; one that is gone is fine."""
    tree_of(home).remove(_name(home, path))


def _name(home: Home, path: str) -> str:
    return path.removeprefix(f"{home.lake_files}/")


class FileBeingWritten:
    """A Parquet file that grows in row groups, on a disk of this machine. Under its name it is whole and durable, whatever is killed
    when: in a folder it is renamed, to object storage it is sent in one piece."""

    def __init__(self, home: Home, table: LakeTable, path: str) -> None:
        self._tree, self._name = tree_of(home), _name(home, path)
        self.table, self.path = table, path
        self.rows = self.size = 0
        self._stack = ExitStack()
        self._draft, self._sink = self._stack.enter_context(self._tree.drafted())
        columns = [c.name for c in table.columns if c.name != "payload"]
        self._writer = pq.ParquetWriter(
            self._sink,
            table.arrow,
            compression="zstd",
            compression_level=3,
            # A dictionary of payloads never repeats, and statistics of them would be payloads again.
            use_dictionary=columns,
            write_statistics=columns,
            write_page_checksum=True,  # by which a byte that changed is found
        )

    def add(self, rows: pa.Table) -> None:
        """Write rows, in row groups as the table says."""
        self._writer.write_table(rows, row_group_size=self.table.row_group)
        self.rows += rows.num_rows
        self.size = self._sink.tell()

    def finish(self) -> LakeFile:
        """Make it durable under its name. Raises OSError, and leaves nothing then."""
        with self._stack:
            self._writer.close()
            self._sink.flush()
            if self._tree.folder is not None:
                os.fsync(self._sink.fileno())
            self._tree.keep(self._draft, self._name)
        return LakeFile(self.table.name, self.path, self.rows)

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError, pa.ArrowException), self._stack:  # on a full disk its end cannot be written
            self._writer.close()


class DayFiles:
    """The files of one day while rows come: one per table, and the next one when that is large."""

    def __init__(
        self,
        home: Home,
        day: date,
        label: str,
        on_finished: Callable[[Sequence[LakeFile]], object] = lambda _files: None,
    ) -> None:
        self._home, self._day, self._label = home, day, label
        self._on_finished = on_finished
        self._open: dict[str, FileBeingWritten] = {}
        self.finished: list[LakeFile] = []

    def add(self, tables: Mapping[str, pa.Table]) -> None:
        """Write rows by table, those of each call in the table's order."""
        for name, rows in tables.items():
            table = LAKE_TABLES[name]
            order = [(column, "ascending") for column in table.sort]
            if rows.num_rows:
                self.add_piece(name, rows.sort_by(order) if order else rows)

    def add_piece(self, name: str, rows: pa.Table) -> None:
        """Write rows of one table in the order they have."""
        if name not in self._open:
            folder = f"{self._home.lake_files}/main/{name}/day={self._day.isoformat()}"
            path = f"{folder}/{self._label}-{uuid.uuid4().hex[:12]}.parquet"
            self._open[name] = FileBeingWritten(self._home, LAKE_TABLES[name], path)
        self._open[name].add(rows)
        if self._open[name].size >= LARGE_BYTES:
            self._finish_one(name)

    def finish(self) -> list[LakeFile]:
        """Make all of it durable; gives all files."""
        for name in list(self._open):
            self._finish_one(name)
        self._on_finished(self.finished)
        return self.finished

    def _finish_one(self, name: str) -> None:
        self.finished.append(self._open[name].finish())
        del self._open[name]

    def abandon(self) -> None:
        """Leave nothing of what is not finished."""
        for file in self._open.values():
            file.abandon()
        self._open.clear()
