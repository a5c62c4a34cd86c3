"""Texts in what Dagster itself keeps: runs, their events and tags, ticks, results of checks. Overwritten as text, in whatever table and
column they stand: Dagster's own library has no way to change what was recorded."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import open_engine, write_transaction

_NAMES = re.compile(r"^__|_(name|key|keys|id|type)$|^(name|key|id|status|partition|asset_key|dagster_.*)$")
ROWS = 500
"""Read at once; some are events with long errors."""
BUSY_SECONDS = 60
SCHEMA = "dagster"


def overwrite_dagster(home: Home, texts: Texts) -> list[Erased]:
    """Overwrite texts in Dagster's store; gives in how many rows. Raises sqlite3.Error, SQLAlchemyError."""
    return _all(home, texts, change=True)


def count_dagster(home: Home, texts: Texts) -> list[Erased]:
    """Rows of Dagster's store that hold one of the texts; nothing is changed."""
    return _all(home, texts, change=False)


def _all(home: Home, texts: Texts, *, change: bool) -> list[Erased]:
    if not texts:
        return []
    if home.embedded:
        rows = sum(_in_file(path, texts, change) for path in dagster_files(home))
    else:
        rows = _in_postgres(home, texts, change)
    return [Erased("dagster", rows, "overwritten")] if rows else []


def dagster_files(home: Home) -> list[Path]:
    """The SQLite files of Dagster: of runs, of schedules, of all events and of those of each run."""
    return sorted(path for path in home.dagster_home.rglob("*.db") if path.is_file())


def _in_file(path: Path, texts: Texts, change: bool) -> int:
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        found = 0
        for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = [
                row[1]
                for row in connection.execute(f'PRAGMA table_info("{name}")').fetchall()
                if _is_text(row[2])
            ]
            if not columns or name.startswith("sqlite_"):
                continue
            found += _in_table(connection, name, columns, texts, change)
        if change and found:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return found


def _is_text(kind: str) -> bool:
    return not kind or any(word in kind.upper() for word in ("CHAR", "TEXT", "JSON", "CLOB", "BLOB"))


def _in_table(
    connection: sqlite3.Connection, name: str, columns: Sequence[str], texts: Texts, change: bool
) -> int:
    listed = ", ".join(f'"{column}"' for column in columns)
    found, last = 0, -(2**63)
    while True:
        rows = connection.execute(
            f'SELECT rowid, {listed} FROM "{name}" WHERE rowid > ? ORDER BY rowid LIMIT {ROWS}', (last,)
        ).fetchall()
        changed = [(row[0], new) for row in rows if (new := _new(columns, row[1:], texts)) is not None]
        found += len(changed)
        if change and changed:
            values = ", ".join(f'"{column}" = ?' for column in columns)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                f'UPDATE "{name}" SET {values} WHERE rowid = ?', [(*new, number) for number, new in changed]
            )
            connection.execute("COMMIT")
        if len(rows) < ROWS:
            return found
        last = rows[-1][0]


def _new(columns: Sequence[str], values: Sequence[Any], texts: Texts) -> list[Any] | None:
    """The values without texts; None where they hold none."""
    new = [
        _without(value, texts) if _may_tell(name) else value
        for name, value in zip(columns, values, strict=True)
    ]
    return None if new == list(values) else new


def _may_tell(name: str) -> bool:
    """Whether what has that name may tell of anybody. Names and keys are Dagster's or ours: a run whose class or job is another cannot be
    read any more, and with it no list of runs."""
    return not _NAMES.search(name)


def _without(value: Any, texts: Texts) -> Any:
    if isinstance(value, str):
        return _of_text(value, texts) if texts.are_in(value) else value
    if isinstance(value, bytes) and (spans := texts.spans_in(value)):
        content = bytearray(value)
        for first, last in spans:
            content[first:last] = texts.filled(bytes(content[first:last]))
        return bytes(content)
    return value


def _of_text(value: str, texts: Texts) -> str:
    """A text without them; of JSON, as which Dagster stores nearly all, in its values."""
    if value[:1] in ("{", "["):
        try:
            known = json.loads(value)
        except (ValueError, RecursionError):
            return texts.removed_from(value)
        new = _of_json(known, texts)
        return value if new == known else json.dumps(new)
    return texts.removed_from(value)


def _of_json(value: Any, texts: Texts) -> Any:
    match value:
        case str():
            return _of_text(value, texts)
        case dict():
            return {
                texts.key_without(key): _of_json(each, texts) if _may_tell(key) else each
                for key, each in value.items()
            }
        case list():
            return [_of_json(each, texts) for each in value]
    return value


def _in_postgres(home: Home, texts: Texts, change: bool) -> int:
    from sqlalchemy import text

    engine = open_engine(home)
    try:
        with engine.connect() as connection:
            rows = connection.execute(text(_COLUMNS), {"schema": SCHEMA}).all()
        tables: dict[str, list[str]] = {}
        for table, column in rows:
            tables.setdefault(table, []).append(column)
        return sum(_in_relation(engine, name, columns, texts, change) for name, columns in tables.items())
    finally:
        engine.dispose()


_COLUMNS = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = :schema "
    "AND data_type IN ('text', 'character varying', 'json', 'jsonb') ORDER BY 1, 2"
)


def _in_relation(engine: Any, name: str, columns: Sequence[str], texts: Texts, change: bool) -> int:
    """Rows by their place: every table has that, and none of Dagster's other keys is common to all."""
    from sqlalchemy import text

    found = 0
    for changed in _changed(engine, name, columns, texts):
        found += len(changed)
        if change:
            values = ", ".join(f'"{column}" = :v{number}' for number, column in enumerate(columns))
            statement = text(f'UPDATE {SCHEMA}."{name}" SET {values} WHERE ctid = CAST(:place AS tid)')
            with write_transaction(engine) as connection:
                connection.execute(statement, changed)
    return found


def _changed(engine: Any, name: str, columns: Sequence[str], texts: Texts) -> Iterator[list[dict[str, Any]]]:
    from sqlalchemy import text

    listed = ", ".join(f'"{column}"::text' for column in columns)
    with engine.connect().execution_options(stream_results=True, max_row_buffer=ROWS) as connection:
        result = connection.execute(text(f'SELECT ctid::text, {listed} FROM {SCHEMA}."{name}"'))
        for rows in result.partitions(ROWS):
            changed = [
                {"place": row[0], **{f"v{number}": value for number, value in enumerate(new)}}
                for row in rows
                if (new := _new(columns, row[1:], texts)) is not None
            ]
            if changed:
                yield changed
