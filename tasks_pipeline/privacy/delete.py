"""Deleting a person: the request, the erasure, the look that finds nothing, the certificate; and finishing what a killed process began."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks_pipeline.erasure.erase import end, erase, open_subjects, remembered_texts
from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.erasure.requests import Request, open_request, open_requests
from tasks_pipeline.erasure.selection import Erased
from tasks_pipeline.privacy.certificate import certificate_of, write_certificate
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

TIMES = 3
"""So often what is still found is deleted."""


_RECEIVED = frozenset(f"lake.{name}" for name in RECEIVED_TABLES)


class NotAllGone(Exception):
    """Something of the person is still found after it was deleted; the request stays open, and the message says where."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What went, what came of the person since (it stays), and where the certificate lies."""

    erased: Sequence[Erased]
    since: Sequence[Erased]
    certificate: Mapping[str, Any]
    path: Path


def delete_person(
    stores: Stores,
    person: Identity,
    requested_by: str,
    on_erased: Callable[[Erased], None] = lambda _erased: None,
    *,
    patience: float = 0,
) -> Deleted:
    """Delete all that there is of a person. Raises Waits where something waits for `patience` seconds, NotAllGone; then the request stays, and
    the nightly cleanup goes on with it."""
    request = open_request(stores.state, Person.kind, person.data, requested_by)
    return _finish(stores, request, Person.of(request.data), on_erased, patience)


def finish_open(stores: Stores, on_waiting: Callable[[str], None] = log.warning) -> list[Deleted]:
    """Finish requests that a killed process left, or that had to wait. What cannot be done now is done the next time; `on_waiting` hears
    why."""
    done = []
    for request, person in open_subjects(stores, {Person.kind: Person.of}):
        assert isinstance(person, Person)
        try:
            done.append(_finish(stores, request, person, lambda _erased: None, 0))
        except (Waits, NotAllGone) as error:
            on_waiting(f"deletion {request.id} stays open: {error}")
    return done


def _all_came_since(stores: Stores, identity: Identity, left: Sequence[Erased], began: datetime) -> bool:
    """Whether all that is left came since a moment: the person's programs go on sending, and no deletion ends that."""

    def received(found: Sequence[Erased]) -> bool:
        return any(each.where == "spool" or each.where in _RECEIVED for each in found)

    archived = any(each.where.startswith("archive.") for each in left)  # nothing goes there within days
    return not archived and received(left) and not received(Person(identity, before=began).left(stores))


def _finish(
    stores: Stores, request: Request, person: Person, on_erased: Callable[[Erased], None], patience: float
) -> Deleted:
    identity = person.identity
    for _ in range(TIMES):
        began = datetime.now(UTC)
        erased = erase(stores, request, person, on_erased, patience=patience)
        (request,) = [each for each in open_requests(stores.state) if each.id == request.id]
        left = Person(identity, remembered_texts(request)).left(stores)
        if not left or _all_came_since(stores, identity, left, began):
            break
    else:
        where = ", ".join(f"{each.rows} in {each.where}" for each in left)
        raise NotAllGone(f"still found: {where}; the nightly cleanup goes on with it, or ask again")
    project = (
        None
        if identity.project_id is None
        else stores.slugs.get(identity.project_id, str(identity.project_id))
    )
    certificate = certificate_of(request, identity.kinds, project, erased, left)
    path = write_certificate(stores.home, certificate)
    end(stores, request)
    return Deleted(erased, left, certificate, path)
