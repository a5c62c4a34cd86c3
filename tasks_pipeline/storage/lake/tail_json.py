"""How rows of the lake lie in the tail: JSON of objects without what is null, and without the day and the part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import msgspec
import zstandard

from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES

OUTSIDE = ("day", "part")
"""Columns that are the same for all rows of a batch, and lie beside the JSON."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LEVEL = 3

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[dict[str, Any]]).decode


@dataclass(frozen=True, slots=True)
class _Columns:
    """Names of a table's columns that lie in the JSON, which of them are times, and which are maps."""

    names: tuple[str, ...]
    times: frozenset[str]
    maps: frozenset[str]


@cache
def _columns(table: str) -> _Columns:
    own = [c for c in RECEIVED_TABLES[table].columns if c.name not in OUTSIDE and c.name != "payload"]
    return _Columns(
        tuple(c.name for c in own),
        frozenset(c.name for c in own if c.type == "TIMESTAMPTZ"),
        frozenset(c.name for c in own if c.type.startswith("MAP")),
    )


def encode_rows(table: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of one batch and lake table as JSON; times are integer microseconds since 1970, UTC."""
    columns = _columns(table)
    return _encode([_plain(row, columns) for row in rows]).decode()


def _plain(row: Mapping[str, Any], columns: _Columns) -> dict[str, Any]:
    found = {name: value for name in columns.names if (value := row.get(name)) is not None}
    for name in columns.times & found.keys():
        found[name] = (found[name] - _EPOCH) // _MICROSECOND
    for name in columns.maps & found.keys():
        found[name] = dict(found[name])
    return found


def decode_rows(text: str, day: date, part: str) -> list[dict[str, Any]]:
    """The rows of such a JSON with their day and part; times are still microseconds, as Arrow takes them."""
    rows: list[dict[str, Any]] = _decode(text)
    for row in rows:
        row["day"], row["part"] = day, part
    return rows


def with_times(table: str, row: dict[str, Any]) -> dict[str, Any]:
    """A decoded row as a query of the lake gives it: every column, times as datetimes."""
    whole: dict[str, Any] = {
        c.name: row.get(c.name) for c in RECEIVED_TABLES[table].columns if c.name != "payload"
    }
    for name in _columns(table).times:
        if whole[name] is not None:
            whole[name] = _EPOCH + whole[name] * _MICROSECOND
    return whole


def zipped(payload: bytes) -> bytes:
    """A payload as it lies in the tail: zstd."""
    return zstandard.compress(payload, _LEVEL)


def unzipped(blob: bytes) -> bytes:
    """The payload of such bytes."""
    return zstandard.decompress(blob)
