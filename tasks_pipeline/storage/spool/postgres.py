"""The spool in Postgres: a table partitioned by UTC day, and an advisory lock per part name. For several machines.

Locks are taken in one order everywhere, so nothing deadlocks: rows of `totals` by day, then the table of envelopes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date
from typing import Any

import msgspec
import psycopg2.extensions
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    NullPool,
    Row,
    Table,
    Text,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.storage.spool.interface import (
    ERASED_RANGES,
    PartTotals,
    Receipt,
    Rewritten,
    Spooled,
    SpoolError,
    SpoolWriter,
    Survey,
    Waiting,
)

SCHEMA = "spool"
MAX_PARTS = 64
ERASED = "erased"  # in the place of the encoding: what was sent is gone
STATEMENT_BYTES = 16 * 1024 * 1024  # bodies in one INSERT; Postgres refuses statements of 1 GiB
DROP_WAIT_SECONDS = 5  # appends queue behind a drop that waits for somebody's long query
_CLAIMS = 0x53504F4C  # first key of the advisory locks that claim part names; the second is the part's number
_TABLES = 0x53504F4D  # key of the advisory lock of whoever makes or drops tables

_CONNECT_ARGS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "tasks-pipeline spool",
}
_SESSION = "SET synchronous_commit = on; SET statement_timeout = '60s'"

_set_up: set[str] = set()
"""URLs where this process has seen the tables: a sensor opens the spool every second."""

_metadata = MetaData(schema=SCHEMA)
TOTALS = Table(
    "totals",
    _metadata,
    Column("day", Date, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("last_position", BigInteger, nullable=False, server_default="0"),
    Column("items", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("last_received_at", DateTime(timezone=True)),
)
# The *_through columns are running sums over the part: every question about a stretch of positions is a difference of
# two rows.
ENVELOPES = Table(
    "envelopes",
    _metadata,
    Column("day", Date, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("project_id", BigInteger, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("event_id", Text),
    Column("encoding", Text, nullable=False),
    Column("items", Integer, nullable=False),
    Column("items_through", BigInteger, nullable=False),
    Column("size", Integer, nullable=False),
    Column("size_through", BigInteger, nullable=False),
    Column("meta", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    postgresql_partition_by="LIST (day)",
)


class PostgresSpool:
    """The spool in the database of a `postgresql+psycopg2://` URL; its tables are made when they are missing.

    The constructor connects, the first time that a process opens a spool, and raises SpoolError when it cannot. See
    `storage.spool.interface.Spool`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = create_engine(
            url, pool_size=4, max_overflow=4, pool_pre_ping=True, connect_args=_CONNECT_ARGS
        )
        # A writer's connection is its claim: closing must end it, not hand it to a pool.
        self._claims = create_engine(url, poolclass=NullPool, connect_args=_CONNECT_ARGS)
        for engine in (self._engine, self._claims):
            event.listen(engine, "connect", _set_session)
        self._set_up()

    def writer(self) -> SpoolWriter:
        """A writer on the first free part name. Raises SpoolError when none is free or the database is away."""
        return PostgresWriter(self)

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

    def waiting(self, day: date, part: str, after: int) -> Waiting:
        """What lies behind position `after`, from two rows."""
        envelopes = (TOTALS.c.last_position - ENVELOPES.c.position + 1).label("envelopes")
        items = (TOTALS.c["items"] - ENVELOPES.c.items_through + ENVELOPES.c["items"]).label("items")
        same = (ENVELOPES.c.day == TOTALS.c.day) & (ENVELOPES.c.part == TOTALS.c.part)
        query = (
            select(envelopes, items, ENVELOPES.c.received_at)
            .join_from(TOTALS, ENVELOPES, same)
            .where(*_of(ENVELOPES, day, part), ENVELOPES.c.position > after)
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
            within = ENVELOPES.c.position.between(after + 1, end)
            there = within & (ENVELOPES.c.encoding != ERASED)
            query = select(ENVELOPES).where(*_of(ENVELOPES, day, part), there).order_by(ENVELOPES.c.position)
            return [_spooled(row) for row in connection.execute(query)]

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
        erased = update(ENVELOPES).where(*_of(ENVELOPES, day, part), rows, ENVELOPES.c.encoding != ERASED)
        for start in range(0, len(ranges), ERASED_RANGES):
            some = [{"first": first, "last": last} for first, last in ranges[start : start + ERASED_RANGES]]
            with self._transaction() as connection:
                connection.execute(erased.values(emptied), some)

    def rewrite(self, day: date, part: str, changed: Mapping[int, Rewritten]) -> None:
        """Put other bytes in the place of bodies and facts, some in a transaction."""
        c = ENVELOPES.c
        named = [*_of(ENVELOPES, day, part), c.position == bindparam("place"), c.encoding != ERASED]
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
            _lock_tables(connection)
            connection.execute(text(f"SET LOCAL lock_timeout = '{DROP_WAIT_SECONDS}s'"))
            # Waits for appends to this day that are under way; later ones find no row and make the day anew.
            rows = delete(TOTALS).where(TOTALS.c.day == day).returning(TOTALS.c.last_position)
            removed: int = sum(connection.scalars(rows))
            connection.execute(text(f"DROP TABLE IF EXISTS {_partition(day)}"))
        return removed

    def close(self) -> None:
        """Close the connections of readers; writers are closed on their own."""
        self._engine.dispose()

    def claim(self, preferred: int) -> tuple[int, Connection]:
        """The number of a free part name, and the connection whose life is the claim on it. Raises SpoolError."""
        with _spool_errors("no writer"):
            connection = self._claims.connect()
            try:
                for number in sorted(range(MAX_PARTS), key=lambda number: number != preferred):
                    if connection.scalar(select(func.pg_try_advisory_lock(_CLAIMS, number))):
                        connection.commit()
                        return number, connection
                raise SpoolError(f"no writer: all {MAX_PARTS} part names are taken")
            except BaseException:
                connection.close()
                raise

    def create_day(self, day: date, part: str) -> None:
        """Make the partition of a day and the totals of a part in it, where they are missing. Raises SpoolError."""
        partition = _partition(day)
        with self._transaction() as connection:
            _lock_tables(connection)
            if connection.scalar(select(func.to_regclass(partition))) is None:
                # Unlike CREATE TABLE … PARTITION OF, attaching does not wait for whoever reads the parent table.
                connection.execute(text(f"CREATE TABLE {partition} (LIKE {ENVELOPES} INCLUDING ALL)"))
                attach = f"ALTER TABLE {ENVELOPES} ATTACH PARTITION {partition} FOR VALUES IN ('{day.isoformat()}')"
                connection.execute(text(attach))
            if connection.scalar(select(TOTALS.c.part).where(*_of(TOTALS, day, part))) is None:
                connection.execute(insert(TOTALS).values(day=day, part=part))

    def _set_up(self) -> None:
        there = select(func.to_regclass(str(ENVELOPES)))
        if self._url in _set_up:
            return
        with self._transaction() as connection:
            if connection.scalar(there) is not None:
                _set_up.add(self._url)
                return
            _lock_tables(connection)
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
            if connection.scalar(there) is None:
                _metadata.create_all(connection, checkfirst=False)
                # Bodies come compressed: out of the row as they are, so that scans of the small columns stay dense.
                connection.execute(text(f"ALTER TABLE {ENVELOPES} ALTER COLUMN body SET STORAGE EXTERNAL"))
        _set_up.add(self._url)

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with _spool_errors("the spool's database"), self._engine.begin() as connection:
            yield connection


class PostgresWriter:
    """The writer of one part. Appends go over the connection that holds the claim, so both are lost together."""

    def __init__(self, spool: PostgresSpool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._closed = False
        self._connection: Connection | None
        self._number, self._connection = spool.claim(preferred=0)
        self.part = f"r{self._number}"

    def append(self, receipts: Sequence[Receipt]) -> list[tuple[date, int]]:
        """Store receipts in one transaction; see `storage.spool.interface.SpoolWriter.append`.

        A failure gives up the claim, and the next call claims again: the same part, or the first free one when
        somebody else has it by then; so ask for `part` anew after a failure.
        """
        rows = [_columns(receipt) for receipt in receipts]
        with self._lock:
            if self._closed:
                raise SpoolError(f"the writer of {self.part} is closed")
            if self._connection is None:
                self._number, self._connection = self._spool.claim(preferred=self._number)
                self.part = f"r{self._number}"
            try:
                with _spool_errors("nothing stored"):
                    self._store(self._connection, rows)
            except BaseException:
                self._give_up()
                raise
        return [(row["day"], row["position"]) for row in rows]

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
            connection.execute(select(func.pg_advisory_unlock(_CLAIMS, self._number)))
        except SQLAlchemyError:
            connection.invalidate()  # it is lost, and the claim with it
        finally:
            connection.close()

    def _store(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        """Give every row its place and store them all."""
        days = sorted({row["day"] for row in rows})
        all_totals = self._lock_days(connection, days)
        for row in rows:
            totals = all_totals[row["day"]]
            totals["last_position"] += 1
            totals["items"] += row["items"]
            totals["bytes"] += row["size"]
            totals["last_received_at"] = row["received_at"]
            row["part"] = self.part
            row["position"] = totals["last_position"]
            row["items_through"] = totals["items"]
            row["size_through"] = totals["bytes"]
        for chunk in _chunks(rows, STATEMENT_BYTES):
            connection.execute(insert(ENVELOPES), chunk)
        for day, totals in all_totals.items():
            connection.execute(update(TOTALS).where(*_of(TOTALS, day, self.part)).values(totals))
        connection.commit()

    def _lock_days(self, connection: Connection, days: list[date]) -> dict[date, dict[str, Any]]:
        """The totals of this part on every day, locked until the transaction ends; missing days are made."""
        query = select(TOTALS).where(TOTALS.c.day.in_(days), TOTALS.c.part == self.part)
        while True:  # once, or twice for a new day; more often only when that day is dropped again meanwhile
            rows = connection.execute(query.order_by(TOTALS.c.day).with_for_update()).mappings()
            locked = {row["day"]: dict(row) for row in rows}
            missing = [day for day in days if day not in locked]
            if not missing:
                return locked
            connection.rollback()
            for day in missing:
                self._spool.create_day(day, self.part)


def _columns(receipt: Receipt) -> dict[str, Any]:
    """The columns of a receipt that do not depend on its place. Raises TypeError or ValueError for unusable values."""
    return {
        "day": receipt.day,
        "received_at": receipt.received_at,
        "project_id": receipt.project_id,
        "public_key": receipt.public_key,
        "event_id": receipt.event_id,
        "encoding": receipt.encoding,
        "items": receipt.items,
        "size": len(receipt.body),
        "meta": msgspec.json.encode(receipt.meta).decode(),
        "body": receipt.body,
    }


def _spooled(row: Row[Any]) -> Spooled:
    receipt = Receipt(
        received_at=row.received_at.astimezone(UTC),
        project_id=row.project_id,
        public_key=row.public_key,
        event_id=row.event_id,
        encoding=row.encoding,
        items=row.items,
        body=bytes(row.body),
        meta=msgspec.json.decode(row.meta),
    )
    return Spooled(row.day, row.part, row.position, receipt)


def _of(table: Table, day: date, part: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.day == day, table.c.part == part


def _end(connection: Connection, day: date, part: str, after: int, max_envelopes: int, max_bytes: int) -> int:
    """The last position behind `after` within both limits, at least the first one; `after` when there is none."""
    here = _of(ENVELOPES, day, part)
    before = ENVELOPES.c.size_through - ENVELOPES.c.size
    behind = select(ENVELOPES.c.position, before).where(*here, ENVELOPES.c.position > after)
    first = connection.execute(behind.order_by(ENVELOPES.c.position).limit(1)).one_or_none()
    if first is None:
        return after
    position, bytes_before = first
    end = connection.scalar(
        select(func.max(ENVELOPES.c.position)).where(
            *here,
            ENVELOPES.c.position.between(position, position + max_envelopes - 1),
            ENVELOPES.c.size_through <= bytes_before + max_bytes,
        )
    )
    return int(end or position)


def _chunks(rows: list[dict[str, Any]], max_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """The rows in order, in lists whose bodies stay below a size unless one alone is larger."""
    chunk: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        if chunk and size + row["size"] > max_bytes:
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += row["size"]
    if chunk:
        yield chunk


def _partition(day: date) -> str:
    return f"{SCHEMA}.envelopes_{day:%Y_%m_%d}"


def _lock_tables(connection: Connection) -> None:
    """Until the end of the transaction nobody else makes or drops tables of the spool."""
    connection.execute(select(func.pg_advisory_xact_lock(_TABLES)))


def _set_session(connection: psycopg2.extensions.connection, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SESSION)
    connection.commit()


@contextmanager
def _spool_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, msgspec.MsgspecError) as error:
        raise SpoolError(f"{what}: {error}") from error
