"""Moving the envelopes of a finished day out of Postgres into files: piece by piece, so that a kill costs a piece, and then its partition
goes at once. Nobody is held up but those who change the day just then, for the milliseconds in which a piece is proven and marked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
from sqlalchemy import Connection, func, select, text

from tasks_pipeline.storage.spool.interface import SpoolError
from tasks_pipeline.storage.spool.moved import ATTEMPTS, SCHEMA, MovedFiles, Transaction, mark
from tasks_pipeline.storage.spool.postgres_tables import (
    DROP_WAIT_SECONDS,
    ENVELOPES,
    ERASED,
    GONE,
    KEPT,
    MOVED,
    TOTALS,
    WRITING,
    end_of,
    lock_tables,
    of,
    partition_of,
)

PIECE_ENVELOPES, PIECE_BYTES = 10_000, 16 * 1024 * 1024
"""Of a file; so much is held in memory some times over."""
_COLUMNS = ", ".join(SCHEMA.names)
_READ = f"SELECT {_COLUMNS} FROM {ENVELOPES} WHERE day = %s AND part = %s AND position BETWEEN %s AND %s ORDER BY position"
_ENCODING, _BODY = SCHEMA.get_field_index("encoding"), SCHEMA.get_field_index("body")


def move_day(transaction: Transaction, files: MovedFiles, day: date) -> bool:
    """Move what of a day is in the table; gives whether all was. What was moved before stays. Raises SpoolError."""
    with transaction() as connection:
        if connection.scalar(select(func.to_regclass(partition_of(day)))) is None:
            return True
        rows = select(TOTALS.c.part, TOTALS.c.last_position).where(TOTALS.c.day == day)
        ends: dict[str, int] = dict(connection.execute(rows).tuples().all())
    for part, last in sorted(ends.items()):
        with transaction() as connection:
            after = _moved_through(connection, day, part)
        while after < last:
            after = _move_piece(transaction, files, day, part, after)
    with transaction() as connection:
        return _drop_moved(connection, day)


def _move_piece(transaction: Transaction, files: MovedFiles, day: date, part: str, after: int) -> int:
    """Move the envelopes behind a position; gives the last of them. Whoever changes them meanwhile has it done again."""
    for _ in range(ATTEMPTS):
        with transaction() as connection:
            end = end_of(connection, day, part, after, PIECE_ENVELOPES, PIECE_BYTES)
            stamp = _stamp(connection, day, part, after, end)  # before they are read: it can only be too old
            rows = _rows(connection, day, part, after, end)
        if end <= after or rows.num_rows != end - after:
            raise SpoolError(
                f"{day} {part}: envelopes behind {after} are counted, and not all of them are there"
            )
        piece = files.write(day, part, rows)
        with transaction() as connection:
            # Waits for changes of the day that are under way; later ones find the file, and change that too.
            connection.execute(text(f"SET LOCAL lock_timeout = '{DROP_WAIT_SECONDS}s'"))
            connection.execute(text(f"LOCK TABLE {partition_of(day)} IN SHARE ROW EXCLUSIVE MODE"))
            is_next = _moved_through(connection, day, part) == after
            same = is_next and _stamp(connection, day, part, after, end) == stamp
            mark(connection, piece.name, WRITING, KEPT if same else GONE)
        if same:
            return end
    raise SpoolError(f"{day} {part}: envelopes behind {after} change all the time")


def _rows(connection: Connection, day: date, part: str, after: int, end: int) -> pa.Table:
    raw: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
    with raw.cursor(binary=True) as cursor:
        cursor.execute(_READ, (day, part, after + 1, end))
        found: Sequence[tuple[Any, ...]] = cursor.fetchall()
    columns: list[list[Any]] = (
        [list(column) for column in zip(*found, strict=True)] if found else [[] for _ in SCHEMA]
    )
    columns[_BODY] = [
        None if encoding == ERASED else body
        for encoding, body in zip(columns[_ENCODING], columns[_BODY], strict=True)
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _stamp(connection: Connection, day: date, part: str, after: int, end: int) -> str | None:
    """What is another one after any of the rows was written again: by which transaction each was."""
    rows = text(
        f"SELECT md5(string_agg(position || ' ' || xmin, ' ' ORDER BY position)) FROM {partition_of(day)} "
        "WHERE day = :day AND part = :part AND position BETWEEN :first AND :last"
    )
    found: str | None = connection.scalar(rows, {"day": day, "part": part, "first": after + 1, "last": end})
    return found


def _moved_through(connection: Connection, day: date, part: str) -> int:
    """The last position of a part that is in a file."""
    c = MOVED.c
    last = select(func.max(c.last_position)).where(*of(MOVED, day, part), c.state == KEPT)
    return connection.scalar(last) or 0


def _drop_moved(connection: Connection, day: date) -> bool:
    """Drop the partition of a day, all of which is in files; false when something was appended meanwhile."""
    lock_tables(connection)
    # Waits for appends to this day that are under way; later ones find no partition and make it anew.
    rows = (
        select(TOTALS.c.part, TOTALS.c.last_position)
        .where(TOTALS.c.day == day)
        .order_by(TOTALS.c.part)
        .with_for_update()
    )
    if any(_moved_through(connection, day, part) < last for part, last in connection.execute(rows).all()):
        return False
    connection.execute(text(f"DROP TABLE IF EXISTS {partition_of(day)}"))
    return True
