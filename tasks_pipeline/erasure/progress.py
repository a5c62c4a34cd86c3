"""What an erasure did so far, and what its request remembers of it: processes that follow one another tell the sum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tasks_pipeline.erasure.archives import Archives
from tasks_pipeline.erasure.selection import Erased, Subject
from tasks_pipeline.erasure.texts import Texts
from tasks_pipeline.storage.state.erasures import Request, remember
from tasks_pipeline.stores import Stores

Report = Callable[[Erased], None]
"""Hears of each step."""


def archives_of(stores: Stores, request: Request, subject: Subject) -> Archives:
    """Archives, with what a process remembered that could not look there."""
    owners = [(int(project), str(event)) for project, event in request.data.get("owners") or ()]
    return Archives(stores, subject, owners, remembered_texts(request))


def remembered_texts(request: Request) -> Texts:
    """Texts of what went, that the request remembers for as long as it is at work."""
    return Texts.of((request.data.get("found") or {}).get("texts", ()))


class Superseded:
    """Manifests that are over, with what went of each: remembered before that, so that nothing is forgotten or told twice."""

    def __init__(self, stores: Stores, request: Request) -> None:
        self._stores, self.request = stores, request

    def note(self, gone: Mapping[str, list[dict[str, Any]]]) -> None:
        known = self.request.data.get("superseded") or {}
        self.request = remember(self._stores.state, self.request, superseded={**known, **gone})


def told_of_archives(request: Request) -> list[Erased]:
    rows = Counter[tuple[str, str]]()
    for gone in (request.data.get("superseded") or {}).values():
        for each in gone:
            rows[each["where"], each["how"]] += each["rows"]
    return [Erased(where, count, how) for (where, how), count in sorted(rows.items())]


class Progress:
    """What went, by where and how."""

    def __init__(self, on_erased: Report, before: Iterable[Mapping[str, Any]]) -> None:
        self._rows = Counter({(each["where"], each["how"]): each["rows"] for each in before})
        self._on_erased = on_erased

    def add(self, found: Iterable[Erased]) -> None:
        for each in found:
            if each.rows:
                self._rows[each.where, each.how] += each.rows
                self._on_erased(each)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The same, for the request to remember."""
        return [each.as_dict() for each in self.all]

    @property
    def all(self) -> list[Erased]:
        return [Erased(where, rows, how) for (where, how), rows in sorted(self._rows.items())]
