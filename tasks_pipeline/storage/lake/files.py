"""Parquet files of the lake: written by us, whole and on disk before the catalog hears of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks_pipeline.storage.disk import sync_folder
from tasks_pipeline.storage.lake.tables import LakeTable


@dataclass(frozen=True, slots=True)
class LakeFile:
    """A Parquet file on disk that the catalog does not know yet."""

    table: str
    path: str
    rows: int


def write_durably(path: Path, rows: pa.Table, table: LakeTable) -> None:
    """Under its final name the file is whole and on disk, whatever is killed when."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        write_parquet(rows, file, table)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_parquet(rows: pa.Table, sink: Any, table: LakeTable) -> None:
    """Write rows as Parquet, in row groups as the table says."""
    payloads = [name for name in rows.column_names if name == "payload"]
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        compression_level=3,
        row_group_size=table.row_group,
        # A dictionary of payloads never repeats, and statistics of them would be payloads again.
        use_dictionary=[n for n in rows.column_names if n not in payloads],
        write_statistics=[n for n in rows.column_names if n not in payloads],
    )
