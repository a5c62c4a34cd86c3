"""Dagster's own storage in a backup: files of SQLite and captured output, or the tables of its schema in Postgres. As they are: what
one engine wrote cannot be read by the other."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, MetaData, create_engine, text

from tasks_pipeline.backup.manifest import File
from tasks_pipeline.backup.tables import number_on
from tasks_pipeline.backup.target import Target, file_pieces
from tasks_pipeline.home import Home
from tasks_pipeline.service.dagster_home import DAGSTER_SCHEMA, migrate_storage, write_dagster_home
from tasks_pipeline.storage.disk import make_folder

STORE = "dagster"
_FOLDERS = ("history", "schedules", "storage")
"""Of DAGSTER_HOME; what else lies there is written at each start."""
_COPIES = "backup-copies-"
_SIDE_FILES = ("-wal", "-shm", "-journal")
_LOCK_SECONDS = 30


def store_files(home: Home, target: Target) -> Iterator[File]:
    """Store databases, as they are now, and captured output. One that is removed meanwhile is left out."""
    for left in home.run_dir.glob(f"{_COPIES}*"):  # by a backup that was killed
        shutil.rmtree(left)
    for folder in _FOLDERS:
        for path in sorted((home.dagster_home / folder).rglob("*")):
            if not path.is_file() or path.name.endswith(_SIDE_FILES):
                continue
            name = f"{STORE}/{path.relative_to(home.dagster_home)}"
            try:
                yield (
                    _store_database(home, target, path, name)
                    if path.suffix == ".db"
                    else target.store(name, file_pieces(path))
                )
            except (FileNotFoundError, sqlite3.OperationalError):
                if path.exists():
                    raise


def _store_database(home: Home, target: Target, path: Path, name: str) -> File:
    make_folder(home.run_dir)
    with tempfile.TemporaryDirectory(prefix=_COPIES, dir=home.run_dir) as folder:
        copy = Path(folder) / "copy"
        source = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_LOCK_SECONDS)
        with closing(source), closing(sqlite3.connect(copy)) as taken:
            source.backup(taken)
        return target.store(name, file_pieces(copy))


def store_tables(connection: Connection, target: Target) -> Iterator[File]:
    """Store the tables of Dagster as the transaction of a connection sees them, those that others refer to first."""
    known = MetaData(schema=DAGSTER_SCHEMA)
    known.reflect(connection)
    for table in known.sorted_tables:
        if table.name != "alembic_version":
            yield _store_table(connection, target, table.name)


def _store_table(connection: Connection, target: Target, name: str) -> File:
    with closing(connection.connection.cursor()) as cursor:
        copy = f'COPY {DAGSTER_SCHEMA}."{name}" TO STDOUT (FORMAT csv, HEADER)'
        return target.store_written(f"{STORE}/{name}.csv", lambda sink: cursor.copy_expert(copy, sink))


def is_sound(path: Path) -> bool:
    """Whether SQLite finds nothing wrong with a database."""
    with closing(sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True)) as connection:
        try:
            return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
        except sqlite3.DatabaseError:
            return False


def restore_files(home: Home, target: Target, files: Sequence[File]) -> Iterator[File]:
    """Put databases and captured output back; gives each that is there."""
    for file in files:
        path = home.root / file.path
        make_folder(path.parent)
        with target.verified(file) as source:
            shutil.copyfile(source, path)
        path.chmod(0o600)
        yield file


def restore_tables(home: Home, target: Target, files: Sequence[File]) -> Iterator[File]:
    """Put the tables of Dagster back, once it has made them; gives each that is there, but not for good before the last."""
    write_dagster_home(home)
    migrate_storage(home)
    engine = create_engine(home.postgres_url)
    try:
        with engine.begin() as connection:
            names = ", ".join(f'{DAGSTER_SCHEMA}."{Path(file.path).stem}"' for file in files)
            connection.execute(text(f"TRUNCATE {names} CASCADE"))
            for file in files:
                with target.verified(file) as path, path.open("rb") as source:
                    columns = source.readline().decode().strip()
                    copy = (
                        f'COPY {DAGSTER_SCHEMA}."{Path(file.path).stem}" ({columns}) FROM STDIN (FORMAT csv)'
                    )
                    with closing(connection.connection.cursor()) as cursor:
                        cursor.copy_expert(copy, source)
                yield file
            number_on(connection, DAGSTER_SCHEMA, {})
    finally:
        engine.dispose()
