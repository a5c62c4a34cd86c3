"""Parquet files of the lake: written by us, whole and on disk before the catalog hears of them."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.home import Home
from tasks_pipeline.storage.disk import sync_folder
from tasks_pipeline.storage.lake.tables import LAKE_TABLES, LakeTable

log = logging.getLogger(__name__)

LARGE_BYTES = 512 * 1024 * 1024
"""A file that has so many is finished, and the next begins: however large a day is, its files are few."""


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A Parquet file on disk that the catalog does not know yet."""

    table: str
    path: str
    rows: int


@dataclass(frozen=True, slots=True)
class LyingFile:
    """A file in the folder of the lake, whether the catalog knows it or not: its bytes, and when it was written, where that is known."""

    path: str
    size: int
    at: datetime | None


def lying_files(home: Home) -> list[LyingFile]:
    """All files that lie where those of the lake are."""
    if not home.data_url:
        return [
            LyingFile(str(path), found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))
            for path in Path(home.lake_files).rglob("*")
            if not path.is_dir() and (found := _stat(path)) is not None
        ]
    fs, root = fsspec.core.url_to_fs(home.lake_files, use_listings_cache=False)
    prefix = home.lake_files.removesuffix(str(root).strip("/"))
    return [
        LyingFile(f"{prefix}{str(path).strip('/')}", int(found["size"] or 0), _written_at(found))
        for path, found in fs.find(root, detail=True).items()
    ]


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:  # its process has just finished with it
        return None


def _written_at(found: Mapping[str, object]) -> datetime | None:
    """When an object was written, as stores name it."""
    moment = found.get("LastModified") or found.get("created") or found.get("mtime")
    if isinstance(moment, int | float):
        return datetime.fromtimestamp(moment, UTC)
    return moment if isinstance(moment, datetime) else None


def exists(home: Home, path: str) -> bool:
    """Whether there is a file."""
    if home.data_url:
        fs, name = fsspec.core.url_to_fs(path)
        return bool(fs.exists(name))
    return Path(path).exists()


def remove_file(home: Home, file: LakeFile) -> None:
    """Remove a file; one that is gone is fine."""
    if home.data_url:
        fs, path = fsspec.core.url_to_fs(file.path)
        with suppress(FileNotFoundError):
            fs.rm_file(path)
    else:
        Path(file.path).unlink(missing_ok=True)


def drop_unfinished(folder: Path, before: datetime) -> None:
    """Remove files that a killed process was writing, last before a moment."""
    for path in folder.rglob("*.tmp"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before.timestamp():
                path.unlink()


class FileBeingWritten:
    """A Parquet file that grows in row groups. Under its final name it is whole and on disk, whatever is killed when; in
    object storage it appears whole or not at all."""

    def __init__(self, home: Home, table: LakeTable, path: str) -> None:
        self._home, self.table, self.path = home, table, path
        self.rows = self.size = 0
        if home.data_url:
            self._temporary = None
            self._sink = fsspec.open(path, "wb").open()
        else:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._temporary = Path(path).with_suffix(".tmp")
            self._sink = self._temporary.open("wb")
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
        """Make it durable under its name."""
        self._writer.close()
        if self._temporary is None:
            self._sink.close()
        else:
            self._sink.flush()
            os.fsync(self._sink.fileno())
            self._sink.close()
            self._temporary.replace(self.path)
            sync_folder(self._temporary.parent)
        return LakeFile(self.table.name, self.path, self.rows)

    def abandon(self) -> None:
        """Leave nothing of it, as far as that is in our hands."""
        try:
            self._writer.close()
            self._sink.close()
            if self._temporary is None:  # closing made it an object
                remove_file(self._home, LakeFile(self.table.name, self.path, self.rows))
            else:
                self._temporary.unlink(missing_ok=True)
        except Exception:  # drivers raise errors of their own; what was going on matters more
            log.warning("an unfinished file stays until orphans are removed: %s", self.path, exc_info=True)


class DayFiles:
    """The files of one day while rows come: one per table, and the next one when that is large."""

    def __init__(self, home: Home, day: date, label: str) -> None:
        self._home, self._day, self._label = home, day, label
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
        return self.finished

    def _finish_one(self, name: str) -> None:
        self.finished.append(self._open[name].finish())
        del self._open[name]

    def abandon(self) -> None:
        """Leave nothing of what is not finished."""
        for file in self._open.values():
            file.abandon()
        self._open.clear()
