"""The raw layer: envelopes as received, in order, a table per UTC day and part. The interface and its plain data.

A *part* is the append-only sequence of one receiver within a day. Positions in a part start at 1 and have no gaps, so
a range of positions names the same envelopes for ever. `sqlite.py` and `postgres.py` implement it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Protocol


class SpoolError(Exception):
    """The spool cannot do it now: the disk is full, the database is away, the claim is lost. The cause is chained."""


ERASED_RANGES = 200
"""Ranges that are erased in one transaction: a few milliseconds for those who append."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One accepted envelope on its way into the spool.

    `received_at` is aware (any zone; read back in UTC). `body` holds the bytes as sent, still compressed as `encoding`
    says ("" for plain). `items` counts the items that processing will account for. `event_id` is the id that was answered (32 lower-case hex) or None. `meta` holds what
    the request told beside the body, JSON-serialisable: client, user_agent, remote_addr, refused (categories that a
    quota refused) …
    """

    received_at: datetime
    project_id: int
    public_key: str
    event_id: str | None
    encoding: str
    items: int
    body: bytes
    meta: Mapping[str, object] = field(default_factory=dict)

    @property
    def day(self) -> date:
        """UTC day of receipt. Raises ValueError when `received_at` is naive."""
        if self.received_at.tzinfo is None:
            raise ValueError(f"received_at: found {self.received_at} without a zone")
        return self.received_at.astimezone(UTC).date()


@dataclass(frozen=True, slots=True)
class Spooled:
    """A receipt with its place: day, part and position (from 1, without gaps)."""

    day: date
    part: str
    position: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What stands in the place of an envelope's body and of the facts of its request."""

    encoding: str
    body: bytes
    meta: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PartTotals:
    """Sums over a part of a day; `bytes` are those of the bodies. They cost one row to read."""

    envelopes: int
    items: int
    bytes: int
    last_position: int
    last_received_at: datetime | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What lies behind a position of a part; `oldest` is when the first of it was received."""

    envelopes: int
    items: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Survey:
    """A day by its parts: the totals of those that can be read, and why the `broken` others cannot."""

    totals: Mapping[str, PartTotals]
    broken: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MovedDay:
    """What of a day lies in files beside a spool in a database: how many envelopes in how many files of how many bytes."""

    day: date
    envelopes: int
    files: int
    bytes: int


class SpoolWriter(Protocol):
    """The one writer of a part name; holds a claim on it that dies with the process. Safe to use from several threads."""

    part: str

    def append(self, receipts: Sequence[Receipt]) -> list[tuple[date, int]]:
        """Store receipts in one transaction per day; on return they are on disk. Gives (day, position) of each.

        Raises SpoolError when they could not be stored, and TypeError or ValueError for a receipt that cannot be
        (a naive time, meta that is not JSON). Then none of them is visible and the writer can be used again, with two
        exceptions: a Postgres connection lost during the commit leaves open which way it went, and with SQLite a
        batch across midnight may keep its first day. A client that sends again makes duplicates, not losses.
        """
        ...

    def close(self) -> None:
        """Give up the claim."""
        ...


class Spool(Protocol):
    """Reading side, and the way to a writer. Safe to use from several processes and threads.

    A day or part that is not there (any more) reads as empty. Every method raises SpoolError when the store cannot be
    reached or, if it is about a part, when that part cannot be read; and ValueError or finds nothing for a part that is
    not named r0, r1, …. What damages one part is no obstacle to reading the others.
    """

    def writer(self) -> SpoolWriter:
        """A writer on the first part name (r0, r1, …) that no living writer holds. Raises SpoolError if none is free."""
        ...

    def days(self) -> list[date]:
        """Days that have a table, oldest first."""
        ...

    def survey(self, day: date) -> Survey:
        """Totals of the parts of a day, and which parts cannot be read; empty when the day is not there."""
        ...

    def totals(self, day: date) -> Mapping[str, PartTotals]:
        """Totals of every part of a day that can be read; empty when the day is not there."""
        ...

    def await_growth(self, day: date, seen: int, by: int, seconds: float) -> int:
        """The size of a day, the sum of the last positions of its parts: as soon as it is `seen` and so many more, or less than
        `seen` because the day was dropped; else after so many seconds."""
        ...

    def waiting(self, day: date, part: str, after: int) -> Waiting:
        """What lies behind position `after`."""
        ...

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
        """Envelopes behind `after` in order, up to position `through`, at most so many and so many body bytes.

        The first is always returned, however large, so a reader makes progress.
        """
        ...

    def last_position(self, day: date, part: str, after: int, *, max_envelopes: int, max_bytes: int) -> int:
        """The position at which `read` with the same limits would end; `after` when nothing lies behind it.

        Reads sizes only, not bodies.
        """
        ...

    def erase(self, day: date, part: str, first: int, last: int) -> None:
        """Erase what was sent in envelopes from `first` to `last`: bodies, event ids and facts of the requests.

        Totals and what waits count on with them; `read` leaves them out. Erasing again changes nothing.
        """
        ...

    def erase_ranges(self, day: date, part: str, ranges: Sequence[tuple[int, int]]) -> None:
        """The same for many ranges (first, last)."""
        ...

    def rewrite(self, day: date, part: str, changed: Mapping[int, Rewritten]) -> None:
        """Have envelopes at positions that are still there hold other bytes; the former ones are overwritten as by `erase`. Sums over the
        part stay those of what was received."""
        ...

    def drop_day(self, day: date) -> int:
        """Remove a day for good, the disk space too; gives the number of envelopes removed (0 when not there).

        An append to that day afterwards makes it anew, with positions from 1: whoever drops a day forgets how far it
        was processed.
        """
        ...

    def move_day(self, day: date) -> bool:
        """Move a day on which nothing is expected any more out of the database of a spool that lies in one, into files of its own; gives
        whether all of it lies in such. Nothing else of it changes: it is read, erased and dropped as before, meanwhile too. What comes
        after all is appended, and can be moved as well."""
        ...

    def moved(self) -> list[MovedDay]:
        """What was moved, by day, oldest first."""
        ...

    def look_at_moved(self, seed: int, most: int) -> Iterator[str]:
        """What is wrong with some of the files that hold moved envelopes, of so many bytes at most, others for each seed: a sentence for each
        file, empty when all is well."""
        ...

    def sweep(self) -> int:
        """Remove files that are part of no day: what a killed process left behind, and what could not be removed before. Gives how many."""
        ...

    def close(self) -> None:
        """Close connections; writers are closed on their own."""
        ...
