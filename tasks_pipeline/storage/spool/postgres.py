"""The spool in Postgres, for several machines: reading, erasing, and the way to a writer. A table partitioned by UTC day, and files that
hold what was moved out of it (`moved.py`)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
from sqlalchemy import Connection, bindparam, select, update

from tasks_pipeline.storage.spool.interface import (
    ERASED_RANGES,
    MovedDay,
    PartTotals,
    Receipt,
    Rewritten,
    Spooled,
    SpoolError,
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
    missing_tables,
    of,
    open_engine,
    spool_errors,
    stretch_of,
)
from tasks_pipeline.storage.spool.postgres_writer import PostgresWriter

if TYPE_CHECKING:
    from tasks_pipeline.storage.spool.moved import MovedFiles

log = logging.getLogger(__name__)

_READ = (
    "SELECT position, received_at, project_id, public_key, event_id, encoding, items, body, meta "
    f"FROM {ENVELOPES} WHERE day = %s AND part = %s AND position BETWEEN %s AND %s AND encoding <> '{ERASED}' "
    "ORDER BY position"
)
_decode = msgspec.json.Decoder(dict[str, object]).decode

_set_up: set[str] = set()
"""URLs where this process has seen the tables: a sensor opens the spool every second."""


class PostgresSpool:
    """The spool in the database of a `postgresql+psycopg2://` URL, and in files below a folder or URL. Its tables are made when they are
    missing, unless not to be: then they have to be there.

    The constructor connects, the first time that a process opens a spool, and raises SpoolError when it cannot. See
    `storage.spool.interface.Spool`.
    """

    def __init__(self, url: str, files_url: str, *, makes: bool = True) -> None:
        self._url, self._files_url = url, files_url
        self._engine = open_engine(url)
        self._listener = Listener(url, self._ends)
        if url not in _set_up:
            try:
                self._set_up(makes=makes)
            except SpoolError:
                self.close()
                raise
            _set_up.add(url)

    def _set_up(self, *, makes: bool) -> None:
        with self._transaction() as connection:
            if makes:
                make_tables(connection)
            elif missing := missing_tables(connection):
                names = ", ".join(map(str, missing))
                raise SpoolError(f"the database has no {names}: run `tasks-pipeline migrate`")

    @cached_property
    def _files(self) -> MovedFiles:
        """Files of finished days. A receiver, which never asks for any, imports nothing for them."""
        from tasks_pipeline.storage.spool.moved import MovedFiles

        return MovedFiles(self._transaction, self._files_url)

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
        after = max(after, 0)
        e = ENVELOPES.c
        query = select(e.position, e.items_through - e["items"], e.received_at).where(
            *of(ENVELOPES, day, part), e.position > after
        )
        with self._transaction() as connection:
            totals = connection.execute(select(TOTALS).where(*of(TOTALS, day, part))).one_or_none()
            row = connection.execute(query.order_by(e.position).limit(1)).one_or_none()
        if totals is None or totals.last_position <= after:
            return Waiting(0, 0, None)
        in_file = self._first_moved(day, part, after) if row is None or row.position > after + 1 else None
        first = in_file or row
        if first is None:
            return Waiting(0, 0, None)
        position, items, received_at = first
        return Waiting(totals.last_position - position + 1, totals.items - items, received_at.astimezone(UTC))

    def _first_moved(self, day: date, part: str, after: int) -> tuple[int, int, datetime] | None:
        """Position, items before it and receipt of the envelope behind a position, when that is in a file."""
        opened = self._files.open(day, part, after + 1)
        if opened is None or opened[0].first > after + 1:
            return None
        row = opened[1].slice(after + 1 - opened[0].first, 1).drop_columns("body").to_pylist()[0]
        return after + 1, row["items_through"] - row["items"], row["received_at"]

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
        after = max(after, 0)
        while (more := max_envelopes if through is None else min(max_envelopes, through - after)) > 0:
            found, end = self._read(day, part, after, more, max_bytes)
            if found or end <= after:
                return found
            after = end  # all of it was erased
        return []

    def _read(
        self, day: date, part: str, after: int, max_envelopes: int, max_bytes: int
    ) -> tuple[list[Spooled], int]:
        """What of the next envelopes is not erased, and the last position of these; from the table or from a file."""
        with self._transaction() as connection:
            stretch = stretch_of(connection, day, part, after, max_envelopes, max_bytes)
            if stretch and stretch[0] == after + 1:
                raw: psycopg.Connection[Any] = connection.connection.driver_connection  # type: ignore[assignment]
                with raw.cursor(binary=True) as cursor:
                    cursor.execute(_READ, (day, part, after + 1, stretch[1]))
                    return [_spooled(day, part, row) for row in cursor.fetchall()], stretch[1]
        return self._files.read(day, part, after, max_envelopes, max_bytes)

    def last_position(self, day: date, part: str, after: int, *, max_envelopes: int, max_bytes: int) -> int:
        """The position at which `read` with the same limits would end; of what is in the table no body is read."""
        with self._transaction() as connection:
            stretch = stretch_of(connection, day, part, after, max_envelopes, max_bytes)
        if stretch and stretch[0] == after + 1:
            return stretch[1]
        return self._files.last_position(day, part, after, max_envelopes, max_bytes)

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
        if ranges:  # later than in the table, from which somebody may be moving them
            self._files.erase(day, part, ranges)

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
        if changed:
            self._files.rewrite(day, part, changed)

    def drop_day(self, day: date) -> int:
        """Drop the partition of a day and its files; gives the number of envelopes removed.

        Raises SpoolError when a query on the table, or a backup, holds it up for more than DROP_WAIT_SECONDS. A file that cannot be
        removed now is swept later.
        """
        with self._transaction() as connection:
            removed = drop_partition(connection, day)
        try:
            self._files.remove_gone(day)
        except SpoolError as error:
            log.warning("files of %s are removed later: %s", day, error)
        return removed

    def move_day(self, day: date) -> bool:
        """Move a day into files; see `storage.spool.interface.Spool`."""
        from tasks_pipeline.storage.spool import moving

        return moving.move_day(self._transaction, self._files, day)

    def moved(self) -> list[MovedDay]:
        """What lies in files, by day."""
        return self._files.days()

    def look_at_moved(self, seed: int, most: int) -> Iterator[str]:
        """What is wrong with some of the files; see `storage.spool.interface.Spool`."""
        return self._files.look(seed, most)

    def sweep(self) -> int:
        """Remove files that hold nothing any more; see `storage.spool.interface.Spool`."""
        return self._files.sweep()

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
