"""Envelopes of finished days in files at the data URL, out of Postgres: naming, reading, changing and removing them.

A file holds a range of positions of a part, all of them, as Parquet. It never changes: who erases writes another one and swaps the rows
of `spool.moved` that name them, in one transaction. A row is there before its file and goes after it, so nothing lies about unknown.
While a day is on its way out its envelopes may be in a file and in the table; they are the same, and who changes them changes both.
"""

from __future__ import annotations

import io
import logging
import random
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, delete, func, insert, select, text, update

from tasks_pipeline.storage.spool.interface import MovedDay, Receipt, Rewritten, Spooled, SpoolError
from tasks_pipeline.storage.spool.postgres_tables import (
    DROP_WAIT_SECONDS,
    ERASED,
    GONE,
    KEPT,
    MOVED,
    TOTALS,
    WRITING,
    keep_files,
    of,
)
from tasks_pipeline.storage.targets import Tree

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        ("position", pa.int64()),
        ("received_at", pa.timestamp("us", "UTC")),
        ("project_id", pa.int64()),
        ("public_key", pa.string()),
        ("event_id", pa.string()),
        ("encoding", pa.string()),
        ("items", pa.int32()),
        ("items_through", pa.int64()),
        ("size", pa.int32()),
        ("size_through", pa.int64()),
        ("meta", pa.string()),
        ("body", pa.binary()),
    ]
)
"""Columns of `spool.envelopes`; without a body what was sent was erased."""
WRITING_FOR = timedelta(minutes=30)
"""A file that is no part of the spool after so long was left behind: its process is dead. Were it alive, it could not make it one."""
ROW_GROUP = 2_000
ATTEMPTS = 5
"""Looks for a file, and attempts to replace one, while others do so."""
_decode = msgspec.json.Decoder(dict[str, object]).decode

Transaction = Callable[[], AbstractContextManager[Connection]]
Alter = Callable[["Piece", pa.Table], pa.Table | None]
"""Gives what stands in the place of the envelopes of a file; None when nothing changes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that holds the envelopes of a part from `first` to `last`."""

    name: str
    first: int
    last: int


@contextmanager
def file_errors(what: str) -> Iterator[None]:
    """Trouble with a file comes out as a SpoolError; that it is not there does as FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException, msgspec.MsgspecError) as error:
        raise SpoolError(f"raw envelopes in {what}: {error}") from error


class MovedFiles:
    """The files below a folder or URL, and the rows that name them. Safe to use from several threads and processes."""

    def __init__(self, transaction: Transaction, url: str) -> None:
        self._transaction = transaction
        self.tree = Tree(url)
        self._lock = threading.Lock()
        self._last: tuple[str, pa.Table] | None = None

    def days(self) -> list[MovedDay]:
        """What lies in files, by day, oldest first."""
        c = MOVED.c
        envelopes = func.sum(c.last_position - c.first_position + 1)
        query = select(c.day, envelopes, func.count(), func.sum(c.bytes)).where(c.state == KEPT)
        with self._transaction() as connection:
            rows = connection.execute(query.group_by(c.day).order_by(c.day)).all()
        return [MovedDay(day, *map(int, sums)) for day, *sums in rows]

    def open(self, day: date, part: str, position: int) -> tuple[Piece, pa.Table] | None:
        """The file that holds a position, or else the first behind it, and what is in it; None when there is none. Raises SpoolError."""
        for attempt in range(ATTEMPTS):
            with self._transaction() as connection:
                piece = first_piece(connection, day, part, position)
            if piece is None:
                return None
            try:
                return piece, self._load(piece.name)
            except FileNotFoundError as error:  # another one stands in its place by now
                if attempt == ATTEMPTS - 1:
                    raise self._missing(piece.name) from error
        return None

    def read(
        self, day: date, part: str, after: int, max_envelopes: int, max_bytes: int
    ) -> tuple[list[Spooled], int]:
        """What of the next envelopes is not erased, and the last position of these; ([], after) when they are in no file."""
        opened = self.open(day, part, after + 1)
        if opened is None or opened[0].first > after + 1:
            return [], after
        piece, rows = opened
        end = _end_within(piece, rows, after, max_envelopes, max_bytes)
        with file_errors(f"{self.tree.url}/{piece.name}"):
            return list(_spooled(day, part, rows.slice(after + 1 - piece.first, end - after))), end

    def last_position(self, day: date, part: str, after: int, max_envelopes: int, max_bytes: int) -> int:
        """The position at which `read` would end."""
        opened = self.open(day, part, after + 1)
        if opened is None or opened[0].first > after + 1:
            return after
        return _end_within(*opened, after, max_envelopes, max_bytes)

    def rows(self, piece: Piece) -> pa.Table:
        """What is in a file that nobody removes meanwhile. Raises SpoolError."""
        try:
            return self._load(piece.name)
        except FileNotFoundError as error:
            raise self._missing(piece.name) from error

    def _missing(self, name: str) -> SpoolError:
        return SpoolError(f"raw envelopes in {self.tree.url}/{name}: it is not there")

    def _load(self, name: str) -> pa.Table:
        with self._lock:  # whoever reads on asks for the same file again
            if self._last is None or self._last[0] != name:
                self._last = None
                with file_errors(f"{self.tree.url}/{name}"):
                    self._last = name, _decoded(self.tree.read(name))
            return self._last[1]

    def look(self, seed: int, most: int) -> Iterator[str]:
        """What is wrong with some files, of so many bytes at most, others for each seed: a sentence for each, empty when all is well. One
        that cannot be fetched just now is not called damaged."""
        c = MOVED.c
        query = select(c.name, c.first_position, c.last_position, c.bytes).where(c.state == KEPT)
        with self._transaction() as connection:
            rows = list(connection.execute(query.order_by(c.name)))
        random.Random(seed).shuffle(rows)
        for name, first, last, size in rows:
            if (most := most - size) < 0:
                return
            wrong = self._wrong(Piece(name, first, last))
            with self._transaction() as connection:
                same = connection.scalar(select(c.state).where(c.name == name)) == KEPT
            yield f"raw/{name}: {wrong}" if wrong and same else ""

    def _wrong(self, piece: Piece) -> str:
        try:
            data = self.tree.read(piece.name)
        except FileNotFoundError:
            return "is not there"
        except OSError as error:
            log.warning("raw/%s could not be looked at: %s", piece.name, error)
            return ""
        try:
            positions = _decoded(data)["position"].to_pylist()
        except (OSError, pa.ArrowException) as error:  # a wrong checksum is an OSError, too
            return f"cannot be read: {error}"
        expected = list(range(piece.first, piece.last + 1))
        return "" if positions == expected else "holds other envelopes than it should"

    def write(self, day: date, part: str, rows: pa.Table) -> Piece:
        """Store envelopes in a file that is durable, and no part of the spool yet. Raises SpoolError."""
        first, last = rows["position"][0].as_py(), rows["position"][-1].as_py()
        piece = Piece(f"{day}/{part}-{first:012d}-{uuid.uuid4().hex[:12]}.parquet", first, last)
        sink = io.BytesIO()
        plain = [name for name in SCHEMA.names if name != "body"]
        # Bodies come compressed, and never repeat; statistics of them would be bodies again.
        pq.write_table(
            rows,
            sink,
            compression="zstd",
            use_dictionary=plain,
            write_statistics=plain,
            row_group_size=ROW_GROUP,
            write_page_checksum=True,
        )
        named = {"name": piece.name, "day": day, "part": part, "first_position": first, "last_position": last}
        with self._transaction() as connection:
            connection.execute(insert(MOVED).values(**named, bytes=sink.getbuffer().nbytes, state=WRITING))
        try:
            with file_errors(f"{self.tree.url}/{piece.name}"):
                self.tree.publish(piece.name, sink.getvalue())
        except SpoolError:  # that it was not answered does not mean that it is not there
            with self._transaction() as connection:
                mark(connection, piece.name, WRITING, GONE)
            raise
        return piece

    def erase(self, day: date, part: str, ranges: Sequence[tuple[int, int]]) -> None:
        """Erase what was sent in envelopes within ranges (first, last); former files are gone on return. Raises SpoolError."""

        def erased(piece: Piece, rows: pa.Table) -> pa.Table | None:
            bodies = rows["body"].to_pylist()
            places = {
                position - piece.first: (ERASED, None, "{}", None)
                for first, last in ranges
                for position in range(max(first, piece.first), min(last, piece.last) + 1)
                if bodies[position - piece.first] is not None
            }
            return _with(rows, places) if places else None

        self._alter(day, part, ranges, erased)

    def rewrite(self, day: date, part: str, changed: Mapping[int, Rewritten]) -> None:
        """Have envelopes that are still there hold other bytes. Raises SpoolError."""

        def rewritten(piece: Piece, rows: pa.Table) -> pa.Table | None:
            bodies, ids = rows["body"].to_pylist(), rows["event_id"].to_pylist()
            places = {}
            for position, new in changed.items():
                at = position - piece.first
                if piece.first <= position <= piece.last and bodies[at] is not None:
                    meta = msgspec.json.encode(new.meta).decode()
                    places[at] = new.encoding, ids[at], meta, new.body
            return _with(rows, places) if places else None

        self._alter(day, part, [(position, position) for position in changed], rewritten)

    def _alter(self, day: date, part: str, ranges: Collection[tuple[int, int]], alter: Alter) -> None:
        """Replace the files that hold something of ranges."""
        with self._transaction() as connection:
            known = connection.scalar(select(MOVED.c.name).where(*of(MOVED, day, part)).limit(1))
        if known is None:
            return
        done = 0
        for first, last in sorted(ranges):
            first = max(first, done + 1)
            while first <= last and (opened := self.open(day, part, first)):
                piece, rows = opened
                if piece.first > last:
                    break
                changed = alter(piece, rows)
                if changed is None or self._swap(day, part, piece, changed):
                    done, first = piece.last, piece.last + 1
        self.remove_gone(day)

    def _swap(self, day: date, part: str, former: Piece, rows: pa.Table) -> bool:
        """Put other envelopes in the place of a file; false when somebody else did meanwhile."""
        new = self.write(day, part, rows)
        with self._transaction() as connection:
            replaced = mark(connection, former.name, KEPT, GONE)
            mark(connection, new.name, WRITING, KEPT if replaced else GONE)
        return replaced

    def remove_gone(self, day: date) -> None:
        """Remove files that no envelope of a day is in any more. Raises SpoolError, also while a backup reads them."""
        c = MOVED.c
        with self._transaction() as connection:
            names = connection.scalars(select(c.name).where(c.day == day, c.state == GONE)).all()
        for name in names:
            self._remove(name)

    def sweep(self, written_for: timedelta = WRITING_FOR) -> int:
        """Remove all files that are no part of the spool: replaced ones, of days that were dropped, and what killed processes left behind;
        gives how many. Raises SpoolError."""
        self.tree.drop_drafts(datetime.now(UTC) - written_for)
        c = MOVED.c
        left = (c.state == WRITING) & (c.since <= func.now() - written_for)
        of_part = select(TOTALS.c.day).where(TOTALS.c.day == c.day, TOTALS.c.part == c.part)
        with self._transaction() as connection:
            # Of days that a program of an earlier version dropped, which knew nothing of files.
            dropped = update(MOVED).where(c.state == KEPT, ~of_part.exists())
            connection.execute(dropped.values(state=GONE, since=func.now()))
            names = connection.scalars(select(c.name).where((c.state == GONE) | left).order_by(c.name)).all()
        return sum(map(self._remove, names))

    def _remove(self, name: str) -> bool:
        """Remove a file and its row, unless it is part of the spool by now."""
        with self._transaction() as connection:
            connection.execute(text(f"SET LOCAL lock_timeout = '{DROP_WAIT_SECONDS}s'"))
            keep_files(connection)
            rows = delete(MOVED).where(MOVED.c.name == name, MOVED.c.state != KEPT)
            if connection.execute(rows).rowcount:
                with file_errors(f"{self.tree.url}/{name}"):
                    self.tree.remove(name)
                return True
        return False


def _decoded(data: bytes) -> pa.Table:
    """The envelopes of a file. Raises pa.ArrowException and OSError for one that is damaged."""
    found = pq.read_table(pa.BufferReader(data), page_checksum_verification=True, use_threads=False)
    return found.combine_chunks()


def first_piece(connection: Connection, day: date, part: str, position: int) -> Piece | None:
    """The file that holds a position, or else the first behind it."""
    c = MOVED.c
    query = select(c.name, c.first_position, c.last_position).where(
        *of(MOVED, day, part), c.state == KEPT, c.last_position >= position
    )
    row = connection.execute(query.order_by(c.last_position).limit(1)).one_or_none()
    return None if row is None else Piece(*row)


def pieces_of(connection: Connection, day: date, part: str) -> list[Piece]:
    """The files of a part in order."""
    c = MOVED.c
    query = select(c.name, c.first_position, c.last_position).where(*of(MOVED, day, part), c.state == KEPT)
    return [Piece(*row) for row in connection.execute(query.order_by(c.first_position))]


def mark(connection: Connection, name: str, before: str, after: str) -> bool:
    """Have a file be in another state; false when it was not in the former any more. Raises SpoolError for one that somebody swept while it
    was written."""
    rows = update(MOVED).where(MOVED.c.name == name, MOVED.c.state == before)
    changed = connection.execute(rows.values(state=after, since=func.now())).rowcount == 1
    if not changed and before == WRITING:
        raise SpoolError(f"{name} was taken for left behind: its process stood still for too long")
    return changed


def _spooled(day: date, part: str, rows: pa.Table) -> Iterator[Spooled]:
    """Envelopes as they are read; without those that were erased."""
    for row in rows.to_pylist():
        if row["body"] is not None:
            moment, told = row["received_at"].astimezone(UTC), _decode(row["meta"])
            request = (row["project_id"], row["public_key"], row["event_id"], row["encoding"], row["items"])
            yield Spooled(day, part, row["position"], Receipt(moment, *request, row["body"], told))


def _end_within(piece: Piece, rows: pa.Table, after: int, max_envelopes: int, max_bytes: int) -> int:
    """The last position behind `after` within both limits, at least the first one."""
    start = after + 1 - piece.first
    sums = rows["size_through"].slice(start, max_envelopes).to_pylist()
    before = sums[0] - rows["size"][start].as_py()
    return after + max(1, sum(1 for through in sums if through - before <= max_bytes))


def _with(rows: pa.Table, places: Mapping[int, tuple[Any, ...]]) -> pa.Table:
    """The same envelopes with other encodings, event ids, meta and bodies at some places."""
    for number, name in enumerate(("encoding", "event_id", "meta", "body")):
        values = rows[name].to_pylist()
        for place, new in places.items():
            values[place] = new[number]
        at = SCHEMA.get_field_index(name)
        rows = rows.set_column(at, SCHEMA.field(at), pa.array(values, SCHEMA.field(at).type))
    return rows
