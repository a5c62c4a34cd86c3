"""Rows on their way to the lake: whether its table and the databases take them, and how much memory they hold.

Asked for each row before it joins others, so that one that nobody foresaw costs its item and not the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from sys import getsizeof
from typing import Any

from tasks_pipeline.protocol.decode import fits_int64, storable
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES

ROW_BYTES = 1000  # beside its texts: itself, its place and facts, its cells in Arrow
ENTRY_BYTES = 200  # an entry of a list

_CLASSES: dict[str, type] = {
    "DATE": date,
    "BIGINT": int,
    "INTEGER": int,
    "BOOLEAN": bool,
    "DOUBLE": float,
    "VARCHAR": str,
    "VARCHAR[]": list,
    "TIMESTAMPTZ": datetime,
    "MAP(VARCHAR, VARCHAR)": list,
}
_COLUMNS = {
    name: {c.name: _CLASSES[c.type] for c in table.columns} for name, table in RECEIVED_TABLES.items()
}


def row_bytes(table: str, row: Mapping[str, Any]) -> int:
    """About how many bytes a row holds until it is stored. Raises ValueError for one that cannot be stored."""
    columns, texts = _COLUMNS[table], []
    size = ROW_BYTES
    for name, value in row.items():
        if value is None:
            continue
        kind = value.__class__
        if kind is not columns[name]:
            raise ValueError(f"{table}.{name} cannot hold {kind.__name__}")
        if kind is str:
            texts.append(value)
        elif kind is list:
            for entry in value:
                size += ENTRY_BYTES
                texts += entry if entry.__class__ is tuple else (entry,)
        elif kind is int and not fits_int64(value):
            raise ValueError(f"{table}.{name} cannot hold an integer of more than 64 bits")
    return size + _texts_bytes([text for text in texts if text is not None])


def _texts_bytes(texts: Sequence[str]) -> int:
    joined = "".join(texts)  # one look at all of them
    # ASCII is known of a text without looking at it.
    if "\0" in joined or (not joined.isascii() and any(storable(text) != text for text in texts)):
        raise ValueError("a text with NUL or half a character cannot be stored")
    return sum(map(getsizeof, texts))
