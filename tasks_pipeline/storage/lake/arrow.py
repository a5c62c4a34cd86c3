"""Rows of the lake's tables as Arrow tables."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa

from tasks_pipeline.storage.lake.tables import LAKE_TABLES


def to_arrow(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, pa.Table]:
    """Rows as Arrow tables in the schemas of the lake; absent columns are null, a `payload` is the UTF-8 of its JSON."""
    tables = {}
    for name, found in rows.items():
        schema = LAKE_TABLES[name].arrow
        columns = [_column(f, [row.get(f.name) for row in found]) for f in schema]
        tables[name] = pa.Table.from_arrays(columns, schema=schema)
    return tables


def _column(field: pa.Field, values: Sequence[Any]) -> pa.Array:
    if field.name != "payload":
        return pa.array(values, field.type)
    # Nearly all bytes of an event are its payload. Arrow would check and copy one after the other; we have encoded them.
    ends = array("i", accumulate(map(len, values), initial=0))
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(ends), pa.py_buffer(b"".join(values)))
