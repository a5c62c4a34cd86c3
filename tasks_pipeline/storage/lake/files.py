"""Parquet files of the lake: written by us, whole and on disk before the catalog hears of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.home import Home
from tasks_pipeline.storage.disk import sync_folder
from tasks_pipeline.storage.lake.tables import LakeTable


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A Parquet file on disk that the catalog does not know yet."""

    table: str
    path: str
    rows: int


def remove_file(home: Home, file: LakeFile) -> None:
    """Remove a file; one that is gone is fine."""
    if home.data_url:
        fs, path = fsspec.core.url_to_fs(file.path)
        with suppress(FileNotFoundError):
            fs.rm_file(path)
    else:
        Path(file.path).unlink(missing_ok=True)


def write_durably(path: Path, rows: Iterable[pa.Table], table: LakeTable) -> int:
    """Write a file that is whole and on disk under its final name, whatever is killed when. Gives its rows."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        written = write_parquet(rows, file, table)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
    return written


def write_parquet(rows: Iterable[pa.Table], sink: Any, table: LakeTable) -> int:
    """Write pieces of rows as Parquet, in row groups as the table says; gives how many rows there were."""
    columns = [c.name for c in table.columns if c.name != "payload"]
    written = 0
    with pq.ParquetWriter(
        sink,
        table.arrow,
        compression="zstd",
        compression_level=3,
        # A dictionary of payloads never repeats, and statistics of them would be payloads again.
        use_dictionary=columns,
        write_statistics=columns,
    ) as writer:
        for piece in rows:
            writer.write_table(piece, row_group_size=table.row_group)
            written += piece.num_rows
    return written
