"""A state database in the making: marked from the beginning of a restore until all that a backup held is in it.

Whoever opens a marked one is refused (`HalfRestored`), so a restore that died is taken for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DatabaseError

from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import (
    RESTORING,
    SCHEMA,
    create_schema,
    open_engine,
    upgrade,
    write_transaction,
)


def is_marked(home: Home) -> bool:
    """Whether a restore was begun here and did not end."""
    if home.embedded and not (home.root / "state.sqlite").exists():
        return False
    engine = open_engine(home)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version", schema=None if home.embedded else SCHEMA):
                return False
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == RESTORING
    except DatabaseError:
        if home.embedded:
            return False  # it is something, and no such database
        raise
    finally:
        engine.dispose()


def mark(home: Home) -> None:
    """Make an empty state database that nobody may use."""
    engine = open_engine(home)
    try:
        if not home.embedded:
            create_schema(engine)
        with write_transaction(engine) as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(
                text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": RESTORING}
            )
    finally:
        engine.dispose()


@contextmanager
def filling(home: Home, revision: str) -> Iterator[Connection]:
    """A transaction on a marked database, with the tables of a revision, empty. When the block ends they are brought up to
    date and can be used; when it raises, the database stays marked."""
    engine = open_engine(home)
    try:
        with write_transaction(engine) as connection:
            connection.execute(text("DROP TABLE alembic_version"))
            upgrade(connection, revision)
            yield connection
            upgrade(connection)
    finally:
        engine.dispose()
