"""Digests of tables: the same rows in the same order have the same, however they come in pieces and whatever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class TableDigest:
    """Takes rows piece by piece. The values of each column are digested one after the other, so where a piece ends is not seen."""

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, Any] = {}

    def add(self, rows: pa.Table) -> None:
        """Take rows; all pieces have the same columns."""
        self.rows += rows.num_rows
        for name, column in zip(rows.column_names, rows.columns, strict=True):
            for chunk in column.chunks:
                self._feed(name, chunk)

    @property
    def digest(self) -> str:
        """Hex digits, of what was taken so far."""
        whole = _hasher()
        for name, hasher in sorted(self._columns.items()):
            whole.update(f"{name}:".encode() + hasher.digest())
        return str(whole.hexdigest())

    def _feed(self, name: str, values: pa.Array) -> None:
        """The values of a column, and of those within them. What lies beneath a null is nothing."""
        self._update(f"{name}?", np.asarray(values.is_valid()))
        kind = values.type
        if pa.types.is_map(kind) or pa.types.is_list(kind):
            self._feed_many(name, values)
        elif pa.types.is_string(kind):
            filled = pc.fill_null(values, "")
            self._update(f"{name}#", pc.binary_length(filled).to_numpy(zero_copy_only=False))
            self._columns.setdefault(name, _hasher()).update("".join(filled.to_pylist()).encode())
        else:
            plain = values.cast(pa.int64()) if pa.types.is_timestamp(kind) else values
            plain = plain.cast(pa.int32()) if pa.types.is_date32(kind) else plain
            zero = False if pa.types.is_boolean(kind) else 0
            self._update(name, pc.fill_null(plain, zero).to_numpy(zero_copy_only=False))

    def _feed_many(self, name: str, values: pa.Array) -> None:
        offsets = values.offsets.to_numpy()
        self._update(f"{name}#", np.diff(offsets).astype(np.int64))
        first, last = int(offsets[0]), int(offsets[-1])
        if pa.types.is_map(values.type):
            self._feed(f"{name}.key", values.keys[first:last])
            self._feed(f"{name}.value", values.items[first:last])
        else:
            self._feed(f"{name}.value", values.values[first:last])

    def _update(self, name: str, numbers: Any) -> None:
        self._columns.setdefault(name, _hasher()).update(np.ascontiguousarray(numbers).tobytes())


def digest_of_day(digests: Mapping[str, str]) -> str:
    """The digest of a day from those of its tables, by name."""
    whole = _hasher()
    for name, digest in sorted(digests.items()):
        whole.update(f"{name}:{digest};".encode())
    return str(whole.hexdigest())


def _hasher() -> Any:
    return blake2b(digest_size=32)
