"""The state database: its engine, transactions, locks and migrations. What differs between SQLite and Postgres is here."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.dml import Insert as SqliteInsert
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.home import Home
from tasks_pipeline.storage.sqlite_space import INCREMENTAL
from tasks_pipeline.storage.state.locks import (
    KEEPALIVES,
    WRITE_SECONDS,
    application_name,
    ensure_locks,
    process_lock,
)

if TYPE_CHECKING:
    from alembic.config import Config as AlembicConfig

SCHEMA = "state"
CACHE_KIB = 65_536
"""Of a connection that writes. Who has several of them and reads needs little: the system keeps the file in memory besides."""
HEAD = "0024"  # newest revision in migrations/versions; a test keeps it true
RESTORING = "restoring"
"""In the place of a revision: what a backup held is being put into this database, so nobody may use it (see refill.py)."""
BUSY_SECONDS = 60
CHUNK = 500
T = TypeVar("T")
_WRITE = "tasks_pipeline_write"
_GIVE_UP = f"SET LOCAL idle_in_transaction_session_timeout = {WRITE_SECONDS * 1000:.0f}"
LOCK_ORDER = (
    "tail",
    "erasures",
    "monitors",
    "group_hashes",
    "metrics",
    "watch",
    "alerts",
    "digests",
    "subscriptions",
    "artifact_bundles",
    "symbol_arrivals",
    "commits",
    "release_stages",
    "login_failures",
)
"""The locks of `serialise`, in the one order in which a transaction may take them. One that needs several takes them at
its beginning, before any row, so that nobody who waits for a lock holds what its owner may want. Two are taken late, by transactions that hold nothing which those who hold the lock
ask for: `group_hashes` when a batch meets a new key (assign_groups; until then it holds event ids of its own), and
`symbol_arrivals`, whose holders ask for nothing any more."""
_at_head: set[tuple[str, tuple[int, int] | None]] = set()
"""Databases that this process has seen at HEAD: nothing takes them back, and a sensor opens one every second."""


class NewerSchema(SQLAlchemyError):
    """A database was written by a version of this software that is not this one; the message says which."""


class OlderSchema(SQLAlchemyError):
    """A database waits for `tasks-pipeline migrate`, and this process is not to do it by itself; the message says so."""


class HalfRestored(SQLAlchemyError):
    """What a backup held is not all in this database yet; the message says what to do."""


class StateDatabase:
    """An open state database. Use `read()` for queries, `write()` for a transaction that changes something."""

    def __init__(self, home: Home, *, cache_kib: int = CACHE_KIB) -> None:
        self.home = home
        self.engine = open_engine(home, cache_kib)
        self._compiled: dict[Any, Compiled] = {}
        key = (home.state_url, _file_of(home))
        if key in _at_head:
            return
        try:
            if self.revision() != HEAD:
                self._set_up()
        except BaseException:
            self.engine.dispose()
            raise
        _at_head.add(key)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for queries that see one consistent state."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:  # there, each statement sees what was committed before it
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction; it is durable when the block ends and undone when the block raises. On Postgres it is undone, too, when
        nothing is said in it for WRITE_SECONDS: whoever freezes keeps nobody from rows that he locked. Raises LockLost when a lock of
        `process_lock` that this thread took is held no more."""
        with write_transaction(self.engine) as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(_GIVE_UP)
            yield connection
            ensure_locks()

    def insert(self, table: Table) -> SqliteInsert:
        """An INSERT that can say ON CONFLICT, in this database's dialect. Execute it with a list of rows: compiling
        the rows into the statement costs ten times as much as storing them."""
        return sqlite_insert(table) if self.is_sqlite else postgres_insert(table)  # type: ignore[return-value]

    def put(
        self,
        connection: Connection,
        statement: Callable[[StateDatabase], SqliteInsert],
        rows: Sequence[Mapping[str, Any]],
    ) -> int:
        """Execute an INSERT that says ON CONFLICT, for rows that have the same columns; gives how many it took.

        `statement` makes it, and is a function of a module: SQLAlchemy would compile what it says afresh each time,
        which costs 15 times what storing a row does, so what it came to is kept.
        """
        key = statement, tuple(rows[0])
        compiled = self._compiled.get(key)
        if compiled is None:
            made = statement(self).compile(dialect=self.engine.dialect, column_keys=list(rows[0]))
            compiled = self._compiled[key] = made
        return connection.execute(compiled, list(rows)).rowcount  # type: ignore[call-overload,no-any-return]

    def serialise(self, connection: Connection, *names: str) -> None:
        """Let only one transaction at a time go on from here, for each of some names of LOCK_ORDER, taken in that order
        and held until it ends. Taking one again costs a question. SQLite's write transactions are alone anyway."""
        for name in sorted(names, key=LOCK_ORDER.index):
            if not self.is_sqlite:
                key = zlib.crc32(name.encode())
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    def revision(self) -> str | None:
        """The migration that the database is at; None for an empty one."""
        return revision_of(self.engine)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _set_up(self) -> None:
        """Make the schema where it is missing, and bring it to HEAD; one process at a time. A newer one that this program may
        work with stays as it is."""
        if self._is_newer():
            return
        if not self.home.migrates:
            revision = self.revision()
            found = "is empty" if revision is None else f"has schema {revision}"
            raise OlderSchema(
                f"the state database {found}, and this version needs {HEAD}: run `tasks-pipeline migrate` once"
            )
        with process_lock(self.home, "migrate"):
            if not self.is_sqlite:
                create_schema(self.engine)
            if self.revision() != HEAD:
                self._migrate()

    def _is_newer(self) -> bool:
        """Whether a newer program has migrated the database, in a way that this one can live with. Raises NewerSchema when it cannot,
        and HalfRestored."""
        revision = self.revision()
        if revision == RESTORING:
            raise HalfRestored(
                "a restore of this home is under way, or was interrupted: `tasks-pipeline backup restore` again begins anew"
            )
        if revision is None or _up_to_head(revision):
            return False
        if (oldest := self._compatible_from()) is not None and _up_to_head(oldest):
            return True
        raise NewerSchema(
            f"the state database has schema {revision[:50]!r}, and this version knows those up to {HEAD}:"
            " install the version that wrote it, or restore a backup of before"
        )

    def _compatible_from(self) -> str | None:
        with self.read() as connection:
            columns = {column["name"] for column in inspect(connection).get_columns("alembic_version")}
            if "compatible_from" not in columns:
                return None
            return connection.execute(text("SELECT compatible_from FROM alembic_version")).scalar()

    def _migrate(self) -> None:
        with self.write() as connection:
            upgrade(connection)


def revision_of(engine: Engine) -> str | None:
    """The migration that a state database is at, whatever it holds; None for an empty one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


@contextmanager
def write_transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction of an engine of `open_engine`; it is durable when the block ends and undone when the block raises."""
    with engine.connect().execution_options(**{_WRITE: True}) as connection, connection.begin():
        yield connection


def _up_to_head(revision: str) -> bool:
    return revision.isdecimal() and int(revision) <= int(HEAD)


def migrations() -> AlembicConfig:
    """Where Alembic finds the migrations."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    return config


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision, in the transaction of the connection, and note which programs may go on with them."""
    from alembic import command
    from alembic.script import ScriptDirectory

    config = migrations()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    newest = ScriptDirectory.from_config(config).get_revision(revision)
    if oldest := getattr(newest.module, "compatible_from", None):
        connection.execute(text("UPDATE alembic_version SET compatible_from = :oldest"), {"oldest": oldest})


def open_engine(home: Home, cache_kib: int = CACHE_KIB) -> Engine:
    """The engine of a home's state database, whatever that holds. Each connection to SQLite has a cache of so many KiB."""
    if home.embedded:
        engine = create_engine(
            home.state_url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}, pool_size=5
        )
        event.listen(engine, "connect", partial(_prepare_sqlite, cache_kib))
        event.listen(engine, "begin", _begin_sqlite)
        (home.root / "state.sqlite").touch(mode=0o600)
        return engine
    return create_engine(
        home.postgres_url,
        pool_pre_ping=True,
        pool_size=5,
        executemany_mode="values_plus_batch",
        connect_args={
            "options": f"-csearch_path={SCHEMA}",
            "application_name": application_name(),
            **KEEPALIVES,
        },
    )


def create_schema(engine: Engine) -> None:
    """Make the schema when it is missing: asking for it otherwise takes a role that may create schemas."""
    there = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    with engine.begin() as connection:
        if connection.execute(there, {"name": SCHEMA}).first() is None:
            connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))


def _file_of(home: Home) -> tuple[int, int] | None:
    """Which file an embedded database is: one that was put in its place is another. None where there is no file."""
    if not home.embedded:
        return None
    found = (home.root / "state.sqlite").stat()
    return found.st_dev, found.st_ino


def _prepare_sqlite(cache_kib: int, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin decides, see below
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if not pages:  # in a file that holds something this would wait for whoever writes
        connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{cache_kib}")
    connection.execute("PRAGMA secure_delete=ON")  # what is deleted is nowhere in the file any more


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that turns from reader to writer fails at once when another wrote meanwhile; IMMEDIATE waits instead.
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in pieces small enough for one statement, whatever the limit on bound parameters."""
    return (rows[i : i + CHUNK] for i in range(0, len(rows), CHUNK))
