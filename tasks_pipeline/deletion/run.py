"""Planning and doing deletions of groups, releases and projects; and finishing those that a killed process left."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tasks_pipeline.deletion.certificate import certificate_of_deletion
from tasks_pipeline.deletion.chosen import Chosen, Kind
from tasks_pipeline.deletion.groups import Groups
from tasks_pipeline.deletion.projects import Project
from tasks_pipeline.deletion.releases import Release
from tasks_pipeline.deletion.waiting import PATIENCE_SECONDS
from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.erase import end, erase, left_in_archives
from tasks_pipeline.erasure.lake_rows import count_going, doomed_envelopes
from tasks_pipeline.erasure.raw import Waits
from tasks_pipeline.erasure.requests import Request, open_request, open_requests
from tasks_pipeline.erasure.selection import Erased, Selection, Subject
from tasks_pipeline.privacy.certificate import write_certificate
from tasks_pipeline.privacy.delete import NotAllGone
from tasks_pipeline.retention.lake import DayChanging
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)


class Deletion(Subject, Protocol):
    """A subject that knows what is chosen."""

    chosen: Chosen

    def begin(self, stores: Stores) -> None:
        """What comes first: nothing new belongs to it from here on. Doing it again changes nothing."""
        ...

    def counted(self, stores: Stores) -> Sequence[Erased]:
        """What of it is in the state database and in reports."""
        ...


SUBJECTS: Mapping[str, Callable[[Mapping[str, Any]], Deletion]] = {
    "group": Groups,
    "release": Release,
    "project": Project,
}
"""How a subject is made of the data of a request, by its kind."""
MOST_ROUNDS = 3
"""A report that was being computed, or a message that was being composed, may name what goes once more."""
_OF: Mapping[Kind, str] = {"groups": "group", "release": "release", "project": "project"}


def subject_of(chosen: Chosen) -> Deletion:
    """The subject of what is chosen."""
    return SUBJECTS[_OF[chosen.kind]](chosen.as_dict())


def plan(stores: Stores, chosen: Chosen) -> list[Erased]:
    """What would go now, by place; nothing is changed. Rows that follow others in the state database are counted when they go."""
    subject = subject_of(chosen)
    rows: Counter[tuple[str, str]] = Counter()
    archives = Archives(stores, subject)
    with subject.selected(stores) as selection, archives.doomed(selection) as conditions:
        for going in count_going(stores.lake, conditions):
            rows[f"lake.{going.table}", "deleted"] += going.rows
        rows["spool", "erased"] += sum(_envelopes(stores, selection))
        for each in archives.count():
            rows[each.where, each.how] += each.rows
    for each in subject.counted(stores):
        rows[each.where, each.how] += each.rows
    return [Erased(where, count, how) for (where, how), count in sorted(rows.items()) if count]


def _envelopes(stores: Stores, selection: Selection) -> Iterator[int]:
    """How many raw envelopes go of each day that the spool still has."""
    kept, seen = set(stores.spool.days()), set()
    for day, places in doomed_envelopes(stores.lake):
        if day in kept:
            seen.add(day)
            yield len({*places, *selection.envelopes.get(day, ())})
    for day in kept & set(selection.envelopes) - seen:
        yield len(selection.envelopes[day])


@dataclass(frozen=True, slots=True)
class Done:
    """A deletion that is done: what went, and where its certificate lies."""

    erased: list[Erased]
    certificate: Path


def delete(
    stores: Stores,
    chosen: Chosen,
    by: str,
    on_erased: Callable[[Erased], None] = lambda _erased: None,
    *,
    patience: float = PATIENCE_SECONDS,
) -> Done:
    """Delete what is chosen, for good. Raises Waits where something waits for `patience` seconds, and NotAllGone; the request stays open
    then, and the nightly cleanup goes on with it."""
    request = open_request(stores.state, _OF[chosen.kind], chosen.as_dict(), by)
    subject = SUBJECTS[request.kind](request.data)  # of one that is open: it knows keys that are gone by now
    return _finish(stores, request, subject, on_erased, patience)


def finish_open(stores: Stores, on_waiting: Callable[[str], None] = log.warning) -> list[Done]:
    """Finish the deletions that a killed process left, or that had to wait. What cannot be done now is done the next time; `on_waiting`
    hears why."""
    done = []
    for request in open_requests(stores.state):
        if request.kind in SUBJECTS:
            try:
                subject = SUBJECTS[request.kind](request.data)
                done.append(_finish(stores, request, subject, lambda _erased: None, 0))
            except (Waits, NotAllGone, DayChanging) as error:
                on_waiting(f"deletion {request.id} stays open: {error}")
    return done


def _finish(
    stores: Stores, request: Request, subject: Deletion, on_erased: Callable[[Erased], None], patience: float
) -> Done:
    for _ in range(MOST_ROUNDS):
        subject.begin(stores)
        erased = erase(stores, request, subject, on_erased, patience=patience)
        (request,) = [each for each in open_requests(stores.state) if each.id == request.id]
        left = [*subject.left(stores), *left_in_archives(stores, request, subject)]
        if not left:
            break
    else:
        where = ", ".join(f"{each.rows} in {each.where}" for each in left)
        raise NotAllGone(f"still found: {where}; the nightly cleanup goes on with it, or ask again")
    if subject.chosen.kind != "release":  # groups that go show nothing any more
        erased = [each for each in erased if each.how != "another event"]
    path = write_certificate(stores.home, certificate_of_deletion(request, subject.chosen, erased))
    end(stores, request)
    return Done(erased, path)
