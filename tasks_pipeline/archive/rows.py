"""Rows of the state database that belong to archived events, as Parquet has them, and back: groups, with what restoring one needs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
import pyarrow as pa
from sqlalchemy import JSON, Connection, Table, select

from tasks_pipeline.backup.tables import arrow_schema
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import (
    group_days,
    group_explanations,
    group_hashes,
    group_signatures,
    groups,
)

TABLES: tuple[Table, ...] = (groups, group_hashes, group_days, group_explanations, group_signatures)
"""What is archived with the events of groups; of `group_days` the day in question."""


def rows_of_groups(
    connection: Connection, table: Table, group_ids: Collection[int], day: date
) -> Iterator[pa.Table]:
    """The rows of a table that belong to groups, in pieces."""
    column = table.c.id if table is groups else table.c.group_id
    for some in chunks(sorted(group_ids)):
        query = select(table).where(column.in_(some)).order_by(*table.primary_key.columns)
        if table is group_days:
            query = query.where(group_days.c.day == day)
        yield _arrow(table, [dict(row._mapping) for row in connection.execute(query)])


def _arrow(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    texts = [column.name for column in table.columns if isinstance(column.type, JSON)]
    plain = [{**row, **{name: msgspec.json.encode(row[name]).decode() for name in texts}} for row in rows]
    return pa.Table.from_pylist(plain, schema=arrow_schema(table))


def rows_from(table: Table, piece: pa.Table) -> list[dict[str, Any]]:
    """Rows for a table from Parquet: columns that it has now and did not have then are left out, retired ones too."""
    known = [column for column in table.columns if column.name in piece.column_names]
    rows: list[dict[str, Any]] = piece.select([column.name for column in known]).to_pylist()
    for column in known:
        if isinstance(column.type, JSON):
            for row in rows:
                row[column.name] = None if row[column.name] is None else msgspec.json.decode(row[column.name])
    return rows
