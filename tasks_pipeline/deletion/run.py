"""Planning and doing deletions of groups, releases and projects; and finishing those that a killed process left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tasks_pipeline.deletion.chosen import Chosen, Kind
from tasks_pipeline.deletion.groups import Groups
from tasks_pipeline.deletion.projects import Project
from tasks_pipeline.deletion.releases import Release
from tasks_pipeline.deletion.waiting import PATIENCE_SECONDS
from tasks_pipeline.erasure.erase import end, erase
from tasks_pipeline.erasure.lake_rows import count_going, doomed_envelopes, doomed_rows
from tasks_pipeline.erasure.requests import Request, open_request, open_requests
from tasks_pipeline.erasure.selection import Erased, Subject
from tasks_pipeline.stores import Stores


class Deletion(Subject, Protocol):
    """A subject that knows what is chosen."""

    chosen: Chosen

    def begin(self, stores: Stores) -> None:
        """What comes first: nothing new belongs to it from here on. Doing it again changes nothing. Raises Waits."""
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
    with subject.selected(stores) as selection, doomed_rows(stores.lake, selection) as conditions:
        for going in count_going(stores.lake, conditions):
            rows[f"lake.{going.table}", "deleted"] += going.rows
        envelopes = {day: set(places) for day, places in selection.envelopes.items()}
        for day, places in doomed_envelopes(stores.lake):
            envelopes.setdefault(day, set()).update(places)
        kept = set(stores.spool.days())
        rows["spool", "erased"] += sum(len(places) for day, places in envelopes.items() if day in kept)
    for each in subject.left(stores):
        rows[each.where, each.how] += each.rows
    return [Erased(where, count, how) for (where, how), count in sorted(rows.items()) if count]


@dataclass(frozen=True, slots=True)
class Done:
    """A deletion that is done: what went, and the number of its certificate."""

    erased: list[Erased]
    certificate: str


class LeftOver(RuntimeError):
    """Something of what was to go came back each time. The request stays open, and whoever comes next goes on."""


def delete(
    stores: Stores, chosen: Chosen, by: str, on_erased: Callable[[Erased], None] = lambda _erased: None
) -> Done:
    """Delete what is chosen, for good. Raises Waits, and LeftOver; the request stays open then."""
    subject = subject_of(chosen)
    request = open_request(stores.state, subject.kind, chosen.as_dict(), by)
    return finish(stores, request, subject, on_erased)


def finish(
    stores: Stores,
    request: Request,
    subject: Deletion,
    on_erased: Callable[[Erased], None] = lambda _erased: None,
) -> Done:
    """Do what is left to do of a request. Raises Waits and LeftOver."""
    rows: Counter[tuple[str, str]] = Counter()
    for _ in range(MOST_ROUNDS):
        subject.begin(stores)
        for each in erase(stores, request, subject, on_erased, patience=PATIENCE_SECONDS):
            rows[each.where, each.how] += each.rows
        left = subject.left(stores)
        if not left:
            break
    else:
        raise LeftOver(f"{left[0].where} has {left[0].rows} rows of it again")
    end(stores, request)
    return Done([Erased(where, count, how) for (where, how), count in sorted(rows.items())], request.id)


def finish_open(stores: Stores) -> list[Done]:
    """Finish the deletions that a killed process left, or that had to wait. Raises Waits and LeftOver."""
    return [
        finish(stores, request, SUBJECTS[request.kind](request.data))
        for request in open_requests(stores.state)
        if request.kind in SUBJECTS
    ]
