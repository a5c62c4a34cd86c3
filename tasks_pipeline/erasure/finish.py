"""Finishing requests: the erasure, the look that finds nothing, the certificate, the end. Whoever asked does it, or the nightly cleanup goes
on with what was killed or had to wait; what stays open then is told to operators."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tasks_pipeline.erasure.certificate import certificate_of, read_certificate, write_certificate
from tasks_pipeline.erasure.erase import erase
from tasks_pipeline.erasure.physical import empty_pages
from tasks_pipeline.erasure.progress import Report
from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.erasure.selection import Erased, Subject, WithOwnWay
from tasks_pipeline.retention.lake import DayChanging
from tasks_pipeline.storage.state.erasures import Request, as_it_is, end_request, open_requests
from tasks_pipeline.storage.state.locks import process_lock
from tasks_pipeline.stores import Stores
from tasks_pipeline.upkeep.findings import OPEN_DELETIONS, note_finding

log = logging.getLogger(__name__)

LOCK = "erasure"
"""One erasure at a time, from its first step to its end: taken before that of archives, and this before the lake's."""
MOST_ROUNDS = 3
"""So often what is still found is deleted: a report that was being computed, or a message that was being composed, may name it once more."""
Make = Callable[[Mapping[str, Any]], Subject]
"""Makes the subject of a request from its data."""


class NotAllGone(Exception):
    """Something is still found after it was deleted; the request stays open, and the message says where."""


@dataclass(frozen=True, slots=True)
class Done:
    """What went, what came since (it stays), and the certificate with where it lies."""

    erased: Sequence[Erased]
    since: Sequence[Erased]
    certificate: Mapping[str, Any]
    path: str


def finish(
    stores: Stores,
    request: Request,
    make: Make,
    on_erased: Report = lambda _erased: None,
    *,
    patience: float = 0,
) -> Done:
    """Do all of a request; `on_erased` hears of each step. Raises Waits where something waits for `patience` seconds, DayChanging, and
    NotAllGone; then it stays open, and the nightly cleanup goes on with it."""
    with process_lock(stores.home, LOCK):
        current = as_it_is(stores.state, request)
        if current is None:  # somebody else finished it meanwhile
            return _told(stores, request)
        for _ in range(MOST_ROUNDS):
            subject, began = make(current.data), datetime.now(UTC)
            subject.begin(stores)
            if isinstance(subject, WithOwnWay):
                erased, current = subject.erase(stores, current, on_erased, patience=patience)
            else:
                erased, current = erase(stores, current, subject, on_erased, patience=patience)
            subject = make(current.data)
            left = subject.left(stores, current)
            if not left or subject.came_since(stores, left, began):
                return _end(stores, current, subject, erased, left)
    where = ", ".join(f"{each.rows} in {each.where}" for each in left)
    raise NotAllGone(f"still found: {where}; the nightly cleanup goes on with it, or ask again")


def finish_open(stores: Stores, kinds: Mapping[str, Make]) -> Iterator[Done]:
    """Finish the requests of these kinds that are open; gives each that is. One that cannot be finished now costs itself alone: the next
    night tries again, and until then operators are told why."""
    with stores.state.read() as connection:
        found = open_requests(connection)
    problems = []
    for request in found:
        if request.kind in kinds:
            try:
                done = finish(stores, request, kinds[request.kind])
            except Exception as error:  # whatever it is, it must not keep the others from being finished
                problems.append(f"deletion {request.id} stays open: {_why(error)}")
                log.warning(problems[-1], exc_info=not isinstance(error, EXPECTED))
            else:
                yield done
    note_finding(stores.state, OPEN_DELETIONS, problems, datetime.now(UTC))


EXPECTED = (Waits, NotAllGone, DayChanging)
"""What keeps a request open and says why; all else is a fault."""


def _why(error: Exception) -> str:
    """Only what says nothing of whose data it is."""
    if isinstance(error, DayChanging):
        return f"others keep writing files of {error}"
    return str(error) if isinstance(error, EXPECTED) else f"{type(error).__name__}, see the log"


def _end(
    stores: Stores, request: Request, subject: Subject, erased: Sequence[Erased], since: Sequence[Erased]
) -> Done:
    """Certify and end a request: what it said of whom goes too."""
    told = subject.certified(stores, erased, since)
    certificate = certificate_of(request, told)
    path = write_certificate(stores.home, certificate)
    end_request(stores.state, request)
    empty_pages(stores)
    return Done(told.erased, since, certificate, path)


def _told(stores: Stores, request: Request) -> Done:
    certificate, path = read_certificate(stores.home, request.id)
    return Done([Erased(**each) for each in certificate["erased"]], (), certificate, path)
