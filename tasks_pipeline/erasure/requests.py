"""Requests to erase: stored before anything goes, so that whoever is killed is followed by another who finishes."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import null, select, text, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import erasures

REMEMBERED = frozenset({"found", "done", "going", "owners", "superseded", "keys", "short_ids"})
"""What of `data` was found, and not asked for."""
_e = erasures.c


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
        for known in _open(connection):
            if known.kind == kind and _asked(known.data) == _asked(data):
                return known
        request = Request(uuid.uuid4().hex, kind, dict(data), requested_by, datetime.now(UTC))
        connection.execute(
            erasures.insert().values(
                id=request.id, kind=kind, data=dict(data), requested_by=requested_by[:200], requested_at=request.requested_at,
            )
        )  # fmt: skip
    return request


def open_requests(state: StateDatabase) -> list[Request]:
    """Requests that are at work, the oldest first."""
    with state.read() as connection:
        return _open(connection)


def is_open(state: StateDatabase, kind: str, data: Mapping[str, Any]) -> bool:
    """Whether the same request is at work."""
    return any(each.kind == kind and _asked(each.data) == _asked(data) for each in open_requests(state))


def _open(connection: Any) -> list[Request]:
    query = select(erasures).where(text("ended_at IS NULL")).order_by(_e.requested_at, _e.id)
    return [
        Request(row.id, row.kind, row.data or {}, row.requested_by, row.requested_at)
        for row in connection.execute(query)
    ]


def _asked(data: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked for, without what was found since."""
    return {name: value for name, value in data.items() if name not in REMEMBERED}


def remember(state: StateDatabase, request: Request, **what: Any) -> Request:
    """Keep what has to be known when the rows it follows from are gone: what was `found`, and what is `done`."""
    data = {**request.data, **what}
    with state.write() as connection:
        connection.execute(update(erasures).where(_e.id == request.id).values(data=data))
    return replace(request, data=data)


def end_request(state: StateDatabase, request: Request) -> None:
    """It is done: nothing stays that says whose it was. What stays are proofs of archived manifests that are over, by which a copy from
    before is known when somebody restores it."""
    over = sorted(request.data.get("superseded") or ())
    with state.write() as connection:
        ended = {"data": {"superseded": over} if over else null(), "ended_at": datetime.now(UTC)}
        connection.execute(update(erasures).where(_e.id == request.id).values(ended))
