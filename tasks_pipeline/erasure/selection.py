"""What an erasure is about: a subject, which says which rows of the lake go, whose figures, and which texts are nowhere afterwards."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.erasure.texts import NOTHING, Texts
from tasks_pipeline.storage.state.erasures import Request
from tasks_pipeline.stores import Stores

Reason = Literal["privacy", "deleted"]
"""Why rows went: a person asked for it; a group, a project or a release was deleted."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What went, or was found: `where` names a store and table (`lake.events`, `state.alerts`, `spool`, `blobs`, `reports`, `mails`, `dagster`, `logs`);
    `how` it went: `deleted` (rows, files), `erased` (what was sent is overwritten, its place still counted), `overwritten` (a text within
    what stays), `pseudonymised` (a pseudonym stands in its place), `another event` (people see that of another one now)."""

    where: str
    rows: int
    how: str

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Selection:
    """What goes.

    `rows`: by table of the lake a condition in DuckDB's SQL on its columns; it may name temporary tables that the subject made
    (`Lake.kept`, `Lake.given`). Payloads, attachments and user reports of events
    and transactions that go follow by themselves. Tables of figures may be named too.
    `envelopes`: further raw envelopes, (part, position) in the ledger by day: those from which no row came.
    `user_keys`: by project, keys of users (`id:…`) that groups do not count any more. `user_hashes`: the same in figures.
    `project_id`: rows of other projects keep texts.
    `further`: what the subject has to know when rows are gone; the request remembers it as part of `found`.
    `texts`: what is overwritten wherever it is found in rows that stay: of the state database, in Dagster's store, in logs.
    """

    reason: Reason
    rows: Mapping[str, str] = field(default_factory=dict)
    envelopes: Mapping[date, Collection[tuple[str, int]]] = field(default_factory=dict)
    user_keys: Mapping[int, Collection[str]] = field(default_factory=dict)
    user_hashes: Mapping[int, Collection[int]] = field(default_factory=dict)
    texts: Texts = NOTHING
    project_id: int | None = None
    further: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Certified:
    """What a certificate says of a subject that is gone: what kind of thing it was, how many `identifiers` of each kind named it, further
    fields that name no more than numbers and projects, what went of it, and what the last look found."""

    about: str
    identifiers: Mapping[str, int]
    named: Mapping[str, Any]
    erased: Sequence[Erased]
    check: Mapping[str, Any]


@runtime_checkable
class WithOwnWay(Protocol):
    """A subject of which not everything goes: it does itself what `erase` does for others, with the same promises."""

    def erase(
        self, stores: Stores, request: Request, on_erased: Callable[[Erased], None], *, patience: float = 0
    ) -> tuple[list[Erased], Request]:
        """Do all of a request but its end; gives what became of what, and the request with what it remembers."""
        ...


class Subject(Protocol):
    """Who or what an erasure is about. Made of the `data` of a request by its kind; a process that goes on with the work of another
    makes it anew, so all it needs is there."""

    kind: ClassVar[str]
    reason: ClassVar[Reason]

    def begin(self, stores: Stores) -> None:
        """What comes first: nothing new belongs to it from here on, where that can be. Doing it again changes nothing."""
        ...

    def selected(self, stores: Stores) -> AbstractContextManager[Selection]:
        """What goes, as the stores are now; temporary tables that it names are there within the block."""
        ...

    @property
    def projects(self) -> Collection[int] | None:
        """The projects that it is in; None for all."""
        ...

    @property
    def is_whole(self) -> bool:
        """Whether all that there is of its projects goes."""
        ...

    def archived(self, stores: Stores, day: OpenedDay) -> AbstractContextManager[Mapping[str, str]]:
        """What goes of an archived day: the conditions of `Selection.rows`, on its rows. Temporary tables that they name are made there,
        within the block."""
        ...

    def forget(self, stores: Stores) -> Sequence[Erased]:
        """Remove rows of the state database that are the subject's own, after those of the lake went. Doing it again changes nothing."""
        ...

    def left(self, stores: Stores, request: Request) -> Sequence[Erased]:
        """Look for the subject once more, also in archives: what is still there. Empty when all of it is gone. Raises Waits where an archive
        cannot be looked at."""
        ...

    def came_since(self, stores: Stores, left: Sequence[Erased], began: datetime) -> bool:
        """Whether all that is left came since a moment, and may stay."""
        ...

    def certified(self, stores: Stores, erased: Sequence[Erased], since: Sequence[Erased]) -> Certified:
        """What its certificate says; `since` is what came of it meanwhile, and stays."""
        ...
