"""Appending to the spool in Postgres: an advisory lock per part name, and COPY over the connection that holds it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date
from typing import Any

import msgspec
import psycopg

from tasks_pipeline.storage.spool.interface import Receipt, SpoolError
from tasks_pipeline.storage.spool.postgres_tables import CHANNEL, ENVELOPES, TOTALS, connect, spool_errors

MAX_PARTS = 64
_CLAIMS = 0x53504F4C  # first key of the advisory locks that claim part names; the second is the part's number
_TYPES = {
    "day": "date",
    "part": "text",
    "position": "int8",
    "received_at": "timestamptz",
    "project_id": "int8",
    "public_key": "text",
    "event_id": "text",
    "encoding": "text",
    "items": "int4",
    "items_through": "int8",
    "size": "int4",
    "size_through": "int8",
    "meta": "text",
    "body": "bytea",
}
"""Columns in the order of `_place`; the binary format converts nothing, so that their types must be said."""
_COPY = f"COPY {ENVELOPES} ({', '.join(_TYPES)}) FROM STDIN (FORMAT BINARY)"
_ADVANCE = (
    f"UPDATE {TOTALS} SET last_position = last_position + %s, items = items + %s, bytes = bytes + %s, last_received_at = %s "
    "WHERE day = %s AND part = %s RETURNING last_position, items, bytes, "
    f"pg_notify('{CHANNEL}', to_char(day, 'YYYY-MM-DD') || ' ' || part || ' ' || last_position)"
)

_Facts = tuple[date, Receipt, str]
"""Day, receipt, and its meta as JSON."""


class PostgresWriter:
    """The writer of one part. Appends go over the connection that holds the claim, so both are lost together.

    `make_day` makes the partition of a day and the totals of a part in it.
    """

    def __init__(self, url: str, make_day: Callable[[date, str], None]) -> None:
        self._url = url
        self._make_day = make_day
        self._lock = threading.Lock()
        self._closed = False
        self._connection: psycopg.Connection[Any] | None
        self._number, self._connection = _claim(url, preferred=0)
        self.part = f"r{self._number}"

    def append(self, receipts: Sequence[Receipt]) -> list[tuple[date, int]]:
        """Store receipts in one transaction; see `storage.spool.interface.SpoolWriter.append`.

        A failure gives up the claim, and the next call claims again: the same part, or the first free one when
        somebody else has it by then; so ask for `part` anew after a failure.
        """
        facts = [(each.day, each, msgspec.json.encode(each.meta).decode()) for each in receipts]
        with self._lock:
            if self._closed:
                raise SpoolError(f"the writer of {self.part} is closed")
            if self._connection is None:
                self._number, self._connection = _claim(self._url, preferred=self._number)
                self.part = f"r{self._number}"
            try:
                with spool_errors("nothing stored"):
                    return self._store(self._connection, facts)
            except BaseException:
                self._give_up()
                raise

    def close(self) -> None:
        """Give up the claim."""
        with self._lock:
            self._closed = True
            self._give_up()

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            # Said aloud, because the server notices the end of a connection only some time after its client.
            connection.rollback()
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (_CLAIMS, self._number))
        except psycopg.Error:
            pass  # it is lost, and the claim with it
        finally:
            connection.close()

    def _store(self, connection: psycopg.Connection[Any], facts: Sequence[_Facts]) -> list[tuple[date, int]]:
        """Give every receipt its place and store them all."""
        if not facts:
            return []
        try:
            return self._copy(connection, facts)
        except (
            psycopg.errors.CheckViolation
        ):  # a day of long ago: its partition was moved out, and is made anew
            connection.rollback()
            for day in {day for day, _, _ in facts}:
                self._make_day(day, self.part)
            return self._copy(connection, facts)

    def _copy(self, connection: psycopg.Connection[Any], facts: Sequence[_Facts]) -> list[tuple[date, int]]:
        ends = self._advance(connection, facts)
        places = []
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(list(_TYPES.values()))
            for day, receipt, meta in facts:
                position, items, size = (
                    before + more for before, more in zip(ends[day], _sums([receipt]), strict=True)
                )
                ends[day] = position, items, size
                places.append((day, position))
                copy.write_row(_row(day, self.part, receipt, meta, position, items, size))
        connection.commit()  # now those who listen are told
        return places

    def _advance(
        self, connection: psycopg.Connection[Any], facts: Sequence[_Facts]
    ) -> dict[date, tuple[int, int, int]]:
        """Add to the totals of this part, which locks them until the transaction ends; gives what they were before by day:
        last position, items, bytes. Missing days are made."""
        of_days = {
            day: [receipt for of, receipt, _ in facts if of == day] for day in sorted({f[0] for f in facts})
        }
        while True:  # once, or twice for a new day; more often only when that day is dropped again meanwhile
            before: dict[date, tuple[int, int, int]] = {}
            for day, receipts in of_days.items():
                added = _sums(receipts)
                row = connection.execute(
                    _ADVANCE, (*added, receipts[-1].received_at, day, self.part)
                ).fetchone()
                if row is None:
                    break
                before[day] = row[0] - added[0], row[1] - added[1], row[2] - added[2]
            else:
                return before
            connection.rollback()
            for day in of_days.keys() - before.keys():
                self._make_day(day, self.part)


def _claim(url: str, preferred: int) -> tuple[int, psycopg.Connection[Any]]:
    """The number of a free part name, and the connection whose life is the claim on it. Raises SpoolError."""
    with spool_errors("no writer"):
        connection = connect(url)
        try:
            for number in sorted(range(MAX_PARTS), key=lambda number: number != preferred):
                row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (_CLAIMS, number)).fetchone()
                if row and row[0]:
                    connection.commit()
                    return number, connection
            raise SpoolError(f"no writer: all {MAX_PARTS} part names are taken")
        except BaseException:
            connection.close()
            raise


def _sums(receipts: Sequence[Receipt]) -> tuple[int, int, int]:
    """How many, their items, and the bytes of their bodies."""
    return len(receipts), sum(each.items for each in receipts), sum(len(each.body) for each in receipts)


def _row(
    day: date, part: str, receipt: Receipt, meta: str, position: int, items_through: int, size_through: int
) -> tuple[Any, ...]:
    """The columns of an envelope, in the order of _TYPES."""
    return (
        day,
        part,
        position,
        receipt.received_at.astimezone(UTC),
        receipt.project_id,
        receipt.public_key,
        receipt.event_id,
        receipt.encoding,
        receipt.items,
        items_through,
        len(receipt.body),
        size_through,
        meta,
        receipt.body,
    )
