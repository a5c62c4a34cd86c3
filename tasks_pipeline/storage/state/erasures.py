"""Erasures: deletions that were asked for. Stored before anything goes, so that whoever is killed is followed by another who finishes.

Who reads rows and writes what follows from them (figures, reports, groups) notes the generation before, and writes only while it is the
same: a deletion begins a new one when its rows are gone, and looks for what is left after that. So what was read before it is written
either before that look, or not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, null, select, text, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe, set_probe
from tasks_pipeline.storage.state.tables import erasures

REMEMBERED = frozenset(
    {"found", "done", "going", "owners", "superseded", "keys", "short_ids", "pseudonym_key"}
)
"""What of `data` was found, and not asked for."""
GENERATION = "erasures"
"""The fact, and the lock, of the generation."""
_e = erasures.c
_OPEN = text("ended_at IS NULL")


class DeletedMeanwhile(Exception):
    """A deletion took rows after they were read: what follows from them must not be written, but made again."""

    def __init__(self) -> None:
        super().__init__("rows were deleted on purpose while they were read")


def generation(connection: Connection) -> int:
    """How many times rows went on purpose."""
    row = probe(connection, GENERATION)
    return 0 if row is None else int(row["value"] or 0)


def refuse_other(connection: Connection, known: int) -> None:
    """Raise DeletedMeanwhile where the generation is not the known one. The caller holds the lake's lock, so it stays what it is."""
    if generation(connection) != known:
        raise DeletedMeanwhile


def hold_generation(state: StateDatabase, connection: Connection, known: int) -> None:
    """The same for who writes in the state database alone: it stays what it is until the transaction ends."""
    state.serialise(connection, GENERATION)
    refuse_other(connection, known)


def begin_generation(state: StateDatabase) -> None:
    """Have nobody write any more what follows from rows that were read before. Where that is in the lake the caller holds its lock."""
    with state.write() as connection:
        state.serialise(connection, GENERATION)
        number = generation(connection) + 1
        set_probe(state, connection, GENERATION, datetime.now(UTC), status="ok", value=number)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is at work: `data` says whose, and what must be remembered between two processes (`found`, `done`)."""

    id: str
    kind: str
    data: Mapping[str, Any]
    requested_by: str
    requested_at: datetime


def open_request(state: StateDatabase, kind: str, data: Mapping[str, Any], requested_by: str) -> Request:
    """Store a request, unless the same one is at work; gives it."""
    with state.write() as connection:
        for known in open_requests(connection):
            if known.kind == kind and _asked(known.data) == _asked(data):
                return known
        request = Request(uuid.uuid4().hex, kind, dict(data), requested_by, datetime.now(UTC))
        connection.execute(
            erasures.insert().values(
                id=request.id, kind=kind, data=dict(data), requested_by=requested_by[:200], requested_at=request.requested_at,
            )
        )  # fmt: skip
    return request


def open_requests(connection: Connection) -> list[Request]:
    """Requests that are at work, the oldest first."""
    query = select(erasures).where(_OPEN).order_by(_e.requested_at, _e.id)
    return [
        Request(row.id, row.kind, row.data or {}, row.requested_by, row.requested_at)
        for row in connection.execute(query)
    ]


def open_since(connection: Connection) -> list[datetime]:
    """When the requests that are at work were stored, the oldest first; without what they remember, which may be much."""
    return list(connection.execute(select(_e.requested_at).where(_OPEN).order_by(_e.requested_at)).scalars())


def as_it_is(state: StateDatabase, request: Request) -> Request | None:
    """A request with what it remembers by now; None when somebody ended it."""
    with state.read() as connection:
        row = connection.execute(select(_e.data).where(_e.id == request.id, _OPEN)).first()
    return None if row is None else replace(request, data=row.data or {})


def is_open(state: StateDatabase, kind: str, data: Mapping[str, Any]) -> bool:
    """Whether the same request is at work."""
    with state.read() as connection:
        return any(
            each.kind == kind and _asked(each.data) == _asked(data) for each in open_requests(connection)
        )


def _asked(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without what was found since."""
    return {name: value for name, value in data.items() if name not in REMEMBERED}


def remember(state: StateDatabase, request: Request, **what: Any) -> Request:
    """Keep what has to be known when the rows it follows from are gone: what was `found`, and what is `done`. One that ended remembers
    nothing: it would say again whose it was."""
    data = {**request.data, **what}
    with state.write() as connection:
        connection.execute(update(erasures).where(_e.id == request.id, _OPEN).values(data=data))
    return replace(request, data=data)


def end_request(state: StateDatabase, request: Request) -> None:
    """It is done: nothing stays that says whose it was. What stays are proofs of archived manifests that are over, by which a copy from
    before is known when somebody restores it."""
    over = sorted(request.data.get("superseded") or ())
    with state.write() as connection:
        ended = {"data": {"superseded": over} if over else null(), "ended_at": datetime.now(UTC)}
        connection.execute(update(erasures).where(_e.id == request.id).values(ended))


def superseded(connection: Connection) -> set[str]:
    """Proofs of archived manifests that are over since a deletion took rows out of them."""
    found = connection.execute(select(_e.data).where(_e.data.is_not(None))).scalars()
    return {proof for data in found for proof in data.get("superseded") or ()}
