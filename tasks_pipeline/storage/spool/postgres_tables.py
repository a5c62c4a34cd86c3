"""The spool's tables in Postgres: what they are, how they are made and dropped, and connections that may be lost.

Locks are taken in one order everywhere, so nothing deadlocks: the table `moved`, rows of `totals` by day, the table of envelopes, rows
of `moved`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import msgspec
import psycopg
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Date,
    DateTime,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
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

from tasks_pipeline.outages import one_line
from tasks_pipeline.storage.spool.interface import SpoolError

SCHEMA = "spool"
ERASED = "erased"  # in the place of the encoding: what was sent is gone
WRITING, KEPT, GONE = "writing", "kept", "gone"
"""States of a file: it may be there and is no part of the spool yet, it holds envelopes, it is to be removed."""
DROP_WAIT_SECONDS = 5  # appends queue behind a drop that waits for somebody's long query
CHANNEL = "tasks_pipeline_spool"
"""What is notified of an append to a part: day, part and its last position, with blanks between."""
_TABLES = 0x53504F4D  # key of the advisory lock of whoever makes or drops tables

_CONNECT_ARGS: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "tasks-pipeline spool",
}
_SESSION = "SET synchronous_commit = on; SET statement_timeout = '60s'; SET timezone = 'UTC'"

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

MOVED = Table(
    "moved",
    _metadata,
    Column("name", Text, primary_key=True),
    Column("day", Date, nullable=False),
    Column("part", Text, nullable=False),
    Column("first_position", BigInteger, nullable=False),
    Column("last_position", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("moved_by_place", "day", "part", "last_position"),
)
"""Files that hold envelopes of finished days, see `moved.py`."""

_STRETCH = text(
    f"""
    SELECT f.position AS first, (
        SELECT max(e.position) FROM {ENVELOPES} e WHERE e.day = :day AND e.part = :part
        AND e.position BETWEEN f.position AND f.position + :more AND e.size_through <= f.size_through - f.size + :bytes
    ) AS last
    FROM {ENVELOPES} f WHERE f.day = :day AND f.part = :part AND f.position > :after ORDER BY f.position LIMIT 1
    """
)


def open_engine(url: str) -> Engine:
    """A pool of psycopg's connections to the database of a `postgresql+psycopg2://` URL."""
    engine = create_engine(
        url.replace("+psycopg2", "+psycopg", 1),
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=True,
        use_native_hstore=False,  # each new connection would ask what it is
        connect_args=_CONNECT_ARGS,
    )
    event.listen(engine, "connect", _set_session)
    return engine


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection[Any]:
    """A connection in nobody's pool. Raises psycopg.Error."""
    connection = psycopg.connect(url.replace("+psycopg2", "", 1), autocommit=autocommit, **_CONNECT_ARGS)
    try:
        _set_session(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_session(connection: psycopg.Connection[Any], _record: object = None) -> None:
    connection.execute(_SESSION)
    connection.commit()


def make_tables(connection: Connection) -> None:
    """Make what is missing, before the first day."""
    if not missing_tables(connection):
        return
    _lock_tables(connection)
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    missing = missing_tables(connection)
    _metadata.create_all(connection, tables=missing, checkfirst=False)
    if ENVELOPES in missing:
        # Bodies come compressed: out of the row as they are, so that scans of the small columns stay dense.
        connection.execute(text(f"ALTER TABLE {ENVELOPES} ALTER COLUMN body SET STORAGE EXTERNAL"))


def missing_tables(connection: Connection) -> list[Table]:
    """Tables that were never made, or not by an earlier version."""
    there = select(*(func.to_regclass(str(table)) for table in _metadata.sorted_tables))
    found = connection.execute(there).one()
    return [table for table, known in zip(_metadata.sorted_tables, found, strict=True) if known is None]


def make_day(connection: Connection, day: date, part: str) -> None:
    """Make the partition of a day and the totals of a part in it, where they are missing."""
    partition = partition_of(day)
    _lock_tables(connection)
    if connection.scalar(select(func.to_regclass(partition))) is None:
        # Unlike CREATE TABLE … PARTITION OF, attaching does not wait for whoever reads the parent table.
        connection.execute(text(f"CREATE TABLE {partition} (LIKE {ENVELOPES} INCLUDING ALL)"))
        attach = f"ALTER TABLE {ENVELOPES} ATTACH PARTITION {partition} FOR VALUES IN ('{day.isoformat()}')"
        connection.execute(text(attach))
    if connection.scalar(select(TOTALS.c.part).where(*of(TOTALS, day, part))) is None:
        connection.execute(insert(TOTALS).values(day=day, part=part))


def drop_partition(connection: Connection, day: date) -> int:
    """Drop the partition of a day and its totals, and have its files go; gives the number of envelopes removed. Fails when somebody's query,
    or a backup that reads the files, holds it up for DROP_WAIT_SECONDS."""
    lock_tables(connection)
    keep_files(connection)
    # Waits for appends to this day that are under way; later ones find no row and make the day anew.
    rows = delete(TOTALS).where(TOTALS.c.day == day).returning(TOTALS.c.last_position)
    removed: int = sum(connection.scalars(rows))
    connection.execute(text(f"DROP TABLE IF EXISTS {partition_of(day)}"))
    connection.execute(update(MOVED).where(MOVED.c.day == day).values(state=GONE, since=func.now()))
    return removed


def keep_files(connection: Connection) -> None:
    """Until the end of the transaction nobody else removes files that held envelopes. Takes no snapshot of the database."""
    connection.execute(text(f"LOCK TABLE {MOVED} IN SHARE UPDATE EXCLUSIVE MODE"))


def of(table: Table, day: date, part: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The condition for rows of a part."""
    return table.c.day == day, table.c.part == part


def stretch_of(
    connection: Connection, day: date, part: str, after: int, max_envelopes: int, max_bytes: int
) -> tuple[int, int] | None:
    """The first position behind `after` and the last one within both limits, of what is in the table; None when nothing is."""
    limits = {"day": day, "part": part, "after": after, "more": max_envelopes - 1, "bytes": max_bytes}
    row = connection.execute(_STRETCH, limits).one_or_none()
    return None if row is None else (int(row.first), int(row.last or row.first))


def end_of(
    connection: Connection, day: date, part: str, after: int, max_envelopes: int, max_bytes: int
) -> int:
    """The last position behind `after` within both limits, at least the first one; `after` when the table has none."""
    stretch = stretch_of(connection, day, part, after, max_envelopes, max_bytes)
    return after if stretch is None else stretch[1]


def partition_of(day: date) -> str:
    """The table of a day."""
    return f"{SCHEMA}.envelopes_{day:%Y_%m_%d}"


def lock_tables(connection: Connection) -> None:
    """Until the end of the transaction nobody else makes or drops tables of the spool; locks are waited for DROP_WAIT_SECONDS from now on."""
    _lock_tables(connection)
    connection.execute(text(f"SET LOCAL lock_timeout = '{DROP_WAIT_SECONDS}s'"))


def _lock_tables(connection: Connection) -> None:
    """Until the end of the transaction nobody else makes or drops tables of the spool."""
    connection.execute(select(func.pg_advisory_xact_lock(_TABLES)))


@contextmanager
def spool_errors(what: str) -> Iterator[None]:
    """Whatever the database says comes out as a SpoolError that begins with `what`."""
    try:
        yield
    except (SQLAlchemyError, psycopg.Error, msgspec.MsgspecError, OverflowError) as error:
        raise SpoolError(f"{what}: {one_line(error)}") from error
