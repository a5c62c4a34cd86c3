"""Flushing: the sealed segments of the tail become files of the lake, one per table and day.

One transaction of the lake adds the files and moves the marker: that alone decides where a row is read. So a process
may die between any two steps, and several may flush at once: the marker tells who was second.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.files import LakeFile
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.lake.tables import EVENT_PAYLOADS
from tasks_pipeline.storage.lake.tail import drop_segments, payloads_of, seal, texts_of
from tasks_pipeline.storage.lake.tail_json import decode_rows, unzipped
from tasks_pipeline.storage.state.database import StateDatabase


def flush(state: StateDatabase, lake: Lake) -> int:
    """Move what is in the tail into the lake; gives how many files that made. Files are written without the lock."""
    while True:
        marker = lake.flushed_through()
        sealed = seal(state, marker)
        files = _written(state, lake, sealed)
        with lake.lock():
            if lake.flushed_through() == marker:
                _finish(state, lake, files, sealed[-1] if sealed else marker)
                return len(files)
        lake.discard(files)


def flush_locked(state: StateDatabase, lake: Lake) -> int:
    """The same for a caller that holds the lake's lock. What was being added to the tail is in the lake then, and what
    is added later sees all that the caller had committed."""
    marker = lake.flushed_through()
    sealed = seal(state, marker)
    files = _written(state, lake, sealed)
    _finish(state, lake, files, sealed[-1] if sealed else marker)
    return len(files)


def _finish(state: StateDatabase, lake: Lake, files: Sequence[LakeFile], through: int) -> None:
    if files:
        lake.register(files, flushed=through)
    drop_segments(state, through)


def _written(state: StateDatabase, lake: Lake, sealed: Sequence[int]) -> list[LakeFile]:
    if not sealed:
        return []
    label = f"segment-{sealed[-1]}"
    files: list[LakeFile] = []
    try:
        for (day, table), rows in sorted(_rows(state, sealed).items()):
            files += lake.write(day, to_arrow({table: rows}), label)
            if table == "events":
                pieces = _payloads(state, sealed, day)
                files.append(lake.write_table(day, EVENT_PAYLOADS.name, pieces, label))
    except BaseException:
        lake.discard(files)
        raise
    return files


def _rows(state: StateDatabase, sealed: Sequence[int]) -> dict[tuple[date, str], list[dict[str, Any]]]:
    found: dict[tuple[date, str], list[dict[str, Any]]] = defaultdict(list)
    with state.read() as connection:
        for text in texts_of(connection, sealed):
            found[text.day, text.name] += decode_rows(text.rows, text.day, text.part)
    return found


def _payloads(state: StateDatabase, sealed: Sequence[int], day: date) -> Iterator[pa.Table]:
    """In pieces of a row group: unzipped, a segment is too much to hold."""
    rows: list[dict[str, Any]] = []
    with state.read() as connection:
        for row in payloads_of(connection, sealed, day):
            rows.append({**row._mapping, "payload": unzipped(row.payload)})
            if len(rows) == EVENT_PAYLOADS.row_group:
                yield _table(rows)
                rows = []
    if rows:
        yield _table(rows)


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return to_arrow({EVENT_PAYLOADS.name: rows})[EVENT_PAYLOADS.name]
