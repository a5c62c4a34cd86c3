"""The spool in Postgres, for several machines: reading, erasing, and the way to a writer. A table partitioned by UTC day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date
from typing import Any

import msgspec
import psycopg
from sqlalchemy import Connection, bindparam, select, text, update

from tasks_pipeline.storage.spool.interface import (
    ERASED_RANGES,
    PartTotals,
    Receipt,
    Rewritten,
    Spooled,
    SpoolWriter,
    Survey,
    Waiting,
)
from tasks_pipeline.storage.spool.postgres_listener import Listener
from tasks_pipeline.storage.spool.postgres_tables import (
    ENVELOPES,
    ERASED,
    TOTALS,
    drop_partition,
    make_day,
    make_tables,
    of,
    open_engine,
    spool_errors,
)
from tasks_pipeline.storage.spool.postgres_writer import PostgresWriter

_READ = (
    "SELECT position, received_at, project_id, public_key, event_id, encoding, items, body, meta "
    f"FROM {ENVELOPES} WHERE day = %s AND part = %s AND position BETWEEN %s AND %s AND encoding <> '{ERASED}' "
    "ORDER BY position"
)
_END = text(
    f"""
    SELECT f.position AS first, (
        SELECT max(e.position) FROM {ENVELOPES} e WHERE e.day = :day AND e.part = :part
        AND e.position BETWEEN f.position AND f.position + :more AND e.size_through <= f.size_through - f.size + :bytes
    ) AS last
    FROM {ENVELOPES} f WHERE f.day = :day AND f.part = :part AND f.position > :after ORDER BY f.position LIMIT 1
    """
)
_decode = msgspec.json.Decoder(dict[str, object]).decode

_set_up: set[str] = set()
"""URLs where this process has seen the tables: a sensor opens the spool every second."""


class PostgresSpool:
    """The spool in the database of a `postgresql+psycopg2://` URL; its tables are made when they are missing.

    The constructor connects, the first time that a process opens a spool, and raises SpoolError when it cannot. See
    `storage.spool.interface.Spool`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = open_engine(url)
        self._listener = Listener(url, self._ends)
        if url not in _set_up:
            with self._transaction() as connection:
                make_tables(connection)
            _set_up.add(url)

    def writer(self) -> SpoolWriter:
        """A writer on the first free part name. Raises SpoolError when none is free or the database is away."""
        return PostgresWriter(self._url, self.create_day)

    def days(self) -> list[date]:
        """Days that have a partition, oldest first."""
        with self._transaction() as connection:
            return list(connection.scalars(select(TOTALS.c.day).distinct().order_by(TOTALS.c.day)))

    def survey(self, day: date) -> Survey:
        """Totals of every part of a day. They lie apart from the envelopes: what is wrong with those shows when one looks."""
        return Survey(self.totals(day))

    def totals(self, day: date) -> Mapping[str, PartTotals]:
        """Totals of every part of a day."""
        query = select(TOTALS).where(TOTALS.c.day == day).order_by(TOTALS.c.part)
        with self._transaction() as connection:
            rows = connection.execute(query).all()
        return {
            row.part: PartTotals(
                envelopes=row.last_position,
                items=row.items,
                bytes=row.bytes,
                last_position=row.last_position,
                last_received_at=row.last_received_at and row.last_received_at.astimezone(UTC),
            )
            for row in rows
        }

    def await_growth(self, day: date, seen: int, by: int, seconds: float) -> int:
        """Wait for appends, which tell of themselves; see `storage.spool.interface.Spool.await_growth`."""
        return self._listener.await_growth(day, seen, by, seconds)

    def _ends(self, day: date) -> dict[str, int]:
        return {part: totals.last_position for part, totals in self.totals(day).items()}

    def waiting(self, day: date, part: str, after: int) -> Waiting:
        """What lies behind position `after`, from two rows."""
        envelopes = (TOTALS.c.last_position - ENVELOPES.c.position + 1).label("envelopes")
        items = (TOTALS.c["items"] - ENVELOPES.c.items_through + ENVELOPES.c["items"]).label("items")
        same = (ENVELOPES.c.day == TOTALS.c.day) & (ENVELOPES.c.part == TOTALS.c.part)
        query = (
            select(envelopes, items, ENVELOPES.c.received_at)
            .join_from(TOTALS, ENVELOPES, same)
            .where(*of(ENVELOPES, day, part), ENVELOPES.c.position > after)
            .order_by(ENVELOPES.c.position)
            .limit(1)
        )
        with self._transaction() as connection:
            row = connection.execute(query).one_or_none()
        return (
            Waiting(row.envelopes, row.items, row.received_at.astimezone(UTC)) if row else Waiting(0, 0, None)
        )

    def read(
        self,
        day: date,
        part: str,
        after: int,
        *,
        through: int | None = None,
        max_envelopes: int = 1000,
        max_bytes: int = 32 * 1024 * 1024,
    ) -> list[Spooled]:
        """Envelopes behind `after`, in order; see `storage.spool.interface.Spool.read`."""
        if through is not None:
            max_envelopes = min(max_envelopes, through - max(after, 0))
            if max_envelopes <= 0:
                return []
        with self._transaction() as connection:
            end = _end(connection, day, part, after, max_envelopes, max_bytes)
            if end <= after:
                return []
            raw: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
            with raw.cursor(binary=True) as cursor:
                cursor.execute(_READ, (day, part, after + 1, end))
                return [_spooled(day, part, row) for row in cursor.fetchall()]

    def last_position(self, day: date, part: str, after: int, *, max_envelopes: int, max_bytes: int) -> int:
        """The position at which `read` with the same limits would end; no body is read."""
        with self._transaction() as connection:
            return _end(connection, day, part, after, max_envelopes, max_bytes)

    def erase(self, day: date, part: str, first: int, last: int) -> None:
        """Empty the rows of a range; the database frees their space with its next vacuum. See `storage.spool.interface.Spool`."""
        self.erase_ranges(day, part, [(first, last)])

    def erase_ranges(self, day: date, part: str, ranges: Sequence[tuple[int, int]]) -> None:
        """The same for many ranges, some in a transaction."""
        rows = ENVELOPES.c.position.between(bindparam("first"), bindparam("last"))
        emptied = {"body": b"", "meta": "{}", "event_id": None, "encoding": ERASED}
        erased = update(ENVELOPES).where(*of(ENVELOPES, day, part), rows, ENVELOPES.c.encoding != ERASED)
        for start in range(0, len(ranges), ERASED_RANGES):
            some = [{"first": first, "last": last} for first, last in ranges[start : start + ERASED_RANGES]]
            with self._transaction() as connection:
                connection.execute(erased.values(emptied), some)

    def rewrite(self, day: date, part: str, changed: Mapping[int, Rewritten]) -> None:
        """Put other bytes in the place of bodies and facts, some in a transaction."""
        c = ENVELOPES.c
        named = [*of(ENVELOPES, day, part), c.position == bindparam("place"), c.encoding != ERASED]
        values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in ("encoding", "body", "meta")}
        rows = [
            {"place": n, "new_encoding": new.encoding, "new_body": new.body, "new_meta": msgspec.json.encode(new.meta).decode()}
            for n, new in sorted(changed.items())
        ]  # fmt: skip
        for start in range(0, len(rows), ERASED_RANGES):
            with self._transaction() as connection:
                written = update(ENVELOPES).where(*named).values(values)
                connection.execute(written, rows[start : start + ERASED_RANGES])

    def drop_day(self, day: date) -> int:
        """Drop the partition of a day; gives the number of envelopes removed.

        Raises SpoolError when a query on the table holds it up for more than DROP_WAIT_SECONDS.
        """
        with self._transaction() as connection:
            return drop_partition(connection, day)

    def close(self) -> None:
        """Close the connections of readers; writers are closed on their own."""
        self._listener.close()
        self._engine.dispose()

    def create_day(self, day: date, part: str) -> None:
        """Make the partition of a day and the totals of a part in it, where they are missing. Raises SpoolError."""
        with self._transaction() as connection:
            make_day(connection, day, part)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with spool_errors("the spool's database"), self._engine.begin() as connection:
            yield connection


def _spooled(day: date, part: str, row: tuple[Any, ...]) -> Spooled:
    """An envelope from a row of _READ."""
    position, received_at, project_id, public_key, event_id, encoding, items, body, meta = row
    moment, told = received_at.astimezone(UTC), _decode(meta)
    receipt = Receipt(moment, project_id, public_key, event_id, encoding, items, body, told)
    return Spooled(day, part, position, receipt)


def _end(connection: Connection, day: date, part: str, after: int, max_envelopes: int, max_bytes: int) -> int:
    """The last position behind `after` within both limits, at least the first one; `after` when there is none."""
    limits = {"day": day, "part": part, "after": after, "more": max_envelopes - 1, "bytes": max_bytes}
    row = connection.execute(_END, limits).one_or_none()
    return after if row is None else int(row.last or row.first)
