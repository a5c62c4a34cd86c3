"""Parts of the spool as they are: read out at one moment for a backup, put into an empty spool by a restore.

Both engines give and take the same rows, so what was read from one can be put into the other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
from sqlalchemy import Connection, insert, select, text, update

from tasks_pipeline.storage.disk import make_folder
from tasks_pipeline.storage.spool import postgres, postgres_tables, sqlite
from tasks_pipeline.storage.spool.interface import SpoolError
from tasks_pipeline.storage.spool.moved import MovedFiles, pieces_of

PIECE_ROWS = 2_000
PIECE_BYTES = 16 * 1024 * 1024

Place = tuple[date, str]
"""A part: day and name."""
Row = tuple[int, int, int, str, str | None, str, int, int, str, bytes | None]
"""Position, microseconds since 1970 of the receipt, project, public key, event id, encoding, items, size of the body, meta
(JSON), body; no body where what was sent was erased."""

_COLUMNS = [
    "position",
    "received_at",
    "project_id",
    "public_key",
    "event_id",
    "encoding",
    "items",
    "size",
    "meta",
    "body",
]
_PIECE = """
SELECT position, received_at, project_id, public_key, event_id, encoding, items, size, meta, body
FROM envelopes LEFT JOIN bodies USING (position) WHERE position BETWEEN ? AND ? ORDER BY position
"""


@dataclass(frozen=True, slots=True)
class Frozen:
    """All parts as they were at a moment, whatever is appended, erased or dropped since; `broken` says which cannot be read."""

    parts: Mapping[Place, Callable[[], Iterator[list[Row]]]]
    broken: Mapping[Place, str] = field(default_factory=dict)


def freeze_files(folder: Path, stack: ExitStack) -> Frozen:
    """The parts in a folder, until the stack is closed. Each keeps its file open."""
    parts: dict[Place, Callable[[], Iterator[list[Row]]]] = {}
    broken: dict[Place, str] = {}
    for day, part in sorted(sqlite._files(folder)):
        path = sqlite._path(folder, day, part)
        if not path.exists():  # dropped just now, or by a process that died of it
            continue
        try:
            connection = stack.enter_context(closing(sqlite._connect(path)))
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
            connection.execute(sqlite._LAST).fetchone()
        except sqlite3.Error as error:
            broken[day, part] = str(error)
        else:
            parts[day, part] = _reader_of_file(path, connection)
    return Frozen(parts, broken)


def _reader_of_file(path: Path, connection: sqlite3.Connection) -> Callable[[], Iterator[list[Row]]]:
    def pieces() -> Iterator[list[Row]]:
        after = 0
        try:
            while (end := sqlite._end(connection, after, PIECE_ROWS, PIECE_BYTES)) > after:
                yield connection.execute(_PIECE, (after + 1, end)).fetchall()
                after = end
        except sqlite3.Error as error:
            raise SpoolError(f"{path} cannot be read: {error}") from error

    return pieces


def freeze_tables(connection: Connection, files_url: str) -> Frozen:
    """The parts in Postgres, and in its files, as the transaction of a connection sees them. Their tables can be appended to, but neither
    they nor the files can go until it ends."""
    totals = postgres_tables.TOTALS
    rows = connection.execute(select(totals.c.day, totals.c.part).order_by(totals.c.day, totals.c.part))
    files = MovedFiles(lambda: nullcontext(connection), files_url)
    return Frozen({(day, part): _reader_of_table(connection, files, day, part) for day, part in rows})


def keep_tables(connection: Connection) -> None:
    """Have no partition dropped and no file removed until the transaction ends. To be said before anything is read in it."""
    postgres_tables.keep_files(connection)
    connection.execute(text(f"LOCK TABLE {postgres_tables.ENVELOPES} IN ACCESS SHARE MODE"))


def _reader_of_table(
    connection: Connection, files: MovedFiles, day: date, part: str
) -> Callable[[], Iterator[list[Row]]]:
    table = postgres_tables.ENVELOPES

    def pieces() -> Iterator[list[Row]]:
        after = 0
        for piece in pieces_of(connection, day, part):
            yield from _rows_of_file(files.rows(piece))
            after = piece.last
        while (end := postgres_tables.end_of(connection, day, part, after, PIECE_ROWS, PIECE_BYTES)) > after:
            within = table.c.position.between(after + 1, end)
            query = (
                select(table).where(*postgres_tables.of(table, day, part), within).order_by(table.c.position)
            )
            yield [
                (
                    row.position,
                    (row.received_at - sqlite._EPOCH) // sqlite._MICROSECOND,
                    row.project_id,
                    row.public_key,
                    row.event_id,
                    row.encoding,
                    row.items,
                    row.size,
                    row.meta,
                    None if row.encoding == postgres_tables.ERASED else bytes(row.body),
                )
                for row in connection.execute(query)
            ]
            after = end

    return pieces


def _rows_of_file(rows: pa.Table) -> Iterator[list[Row]]:
    for start in range(0, rows.num_rows, PIECE_ROWS):
        some = rows.slice(start, PIECE_ROWS).select(_COLUMNS)
        moments = some["received_at"].cast(pa.int64())
        some = some.set_column(_COLUMNS.index("received_at"), "received_at", moments)
        yield list(zip(*(column.to_pylist() for column in some.columns), strict=True))


def fill_file(folder: Path, place: Place, pieces: Iterable[Sequence[Row]]) -> None:
    """Make the file of a part that is not there."""
    make_folder(folder)
    path = sqlite._path(folder, *place)
    with closing(sqlite._open_for_writing(path)) as connection:
        items_through = size_through = 0
        for rows in pieces:
            envelopes, bodies = [], []
            for position, *request, items, size, meta, body in rows:
                items_through += items
                size_through += size
                envelopes.append((position, *request, items, items_through, size, size_through, meta))
                if body is not None:
                    bodies.append((position, body))
            connection.execute("BEGIN")
            connection.executemany(sqlite._INSERT_ENVELOPE, envelopes)
            connection.executemany(sqlite._INSERT_BODY, bodies)
            connection.execute("COMMIT")


def fill_tables(spool: postgres.PostgresSpool, place: Place, pieces: Iterable[Sequence[Row]]) -> None:
    """Make the rows of a part that is not there."""
    spool.create_day(*place)
    with spool._transaction() as connection:
        _fill(connection, *place, pieces)


def _fill(connection: Connection, day: date, part: str, pieces: Iterable[Sequence[Row]]) -> None:
    totals = {"last_position": 0, "items": 0, "bytes": 0}
    received_at: datetime | None = None
    for rows in pieces:
        values = []
        for position, moment, project, key, event_id, encoding, items, size, meta, body in rows:
            totals["last_position"] = position
            totals["items"] += items
            totals["bytes"] += size
            received_at = datetime.fromtimestamp(0, UTC) + moment * sqlite._MICROSECOND
            values.append(
                {
                    "day": day,
                    "part": part,
                    "position": position,
                    "received_at": received_at,
                    "project_id": project,
                    "public_key": key,
                    "event_id": event_id,
                    "encoding": postgres_tables.ERASED if body is None else encoding,
                    "items": items,
                    "items_through": totals["items"],
                    "size": size,
                    "size_through": totals["bytes"],
                    "meta": meta,
                    "body": b"" if body is None else body,
                }
            )
        connection.execute(insert(postgres_tables.ENVELOPES), values)
    of_part = postgres_tables.of(postgres_tables.TOTALS, day, part)
    connection.execute(
        update(postgres_tables.TOTALS).where(*of_part).values(**totals, last_received_at=received_at)
    )
