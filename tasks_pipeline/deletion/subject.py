"""What groups, a release and a project have in common as subjects of an erasure: all are found by numbers and names that are chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any, ClassVar

from tasks_pipeline.archive.opened import OpenedDay
from tasks_pipeline.deletion.chosen import Chosen
from tasks_pipeline.erasure.erase import left_in_archives
from tasks_pipeline.erasure.selection import Certified, Erased, Reason, Selection
from tasks_pipeline.groups.regrouping import finish_regroupings
from tasks_pipeline.storage.state.erasures import Request
from tasks_pipeline.stores import Stores


class Deletion(ABC):
    """A subject that knows what is chosen."""

    kind: ClassVar[str]
    about: ClassVar[str]
    """What certificates call it."""
    reason: ClassVar[Reason] = "deleted"
    is_whole: bool = False

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.chosen = Chosen.of(data)

    @property
    def projects(self) -> Collection[int] | None:
        """Those that it is in."""
        return self.chosen.projects

    def begin(self, stores: Stores) -> None:
        """Have events of merged groups be where they belong."""
        with stores.lake.lock():
            finish_regroupings(stores.state, stores.lake)

    @abstractmethod
    def selected(self, stores: Stores) -> AbstractContextManager[Selection]:
        """Its rows, and what follows them."""

    @contextmanager
    @abstractmethod
    def archived(self, stores: Stores, day: OpenedDay) -> Iterator[Mapping[str, str]]:
        """The same rows of an archived day."""
        yield {}

    @abstractmethod
    def forget(self, stores: Stores) -> Sequence[Erased]:
        """Everything of it in the state database, and what reports and messages say of it."""

    @abstractmethod
    def counted(self, stores: Stores) -> Sequence[Erased]:
        """What of it is in the state database, in reports and messages."""

    @abstractmethod
    def found(self, stores: Stores) -> Sequence[Erased]:
        """What of it is still there, but for archives."""

    def left(self, stores: Stores, request: Request) -> Sequence[Erased]:
        """What of it is still there."""
        return [*self.found(stores), *left_in_archives(stores, request, self)]

    def came_since(self, stores: Stores, left: Sequence[Erased], began: datetime) -> bool:
        """Nothing new belongs to it: what is left has to go."""
        return False

    def certified(self, stores: Stores, erased: Sequence[Erased], since: Sequence[Erased]) -> Certified:
        """Groups and projects by their numbers; not its name, and nothing of what it held."""
        chosen = self.chosen
        return Certified(
            f"deletion of {self.about} with everything of {'them' if chosen.kind == 'groups' else 'it'}",
            {self.kind: len(chosen.groups) or 1},
            {"projects": list(chosen.projects), "groups": list(chosen.groups)},
            self.told(erased),
            {
                "what": "it was looked for again in the lake, the archive, the state database and reports",
                "found": [],
            },
        )

    def told(self, erased: Sequence[Erased]) -> Sequence[Erased]:
        """What of it went, as people are told. Groups that go show no other event."""
        return [each for each in erased if each.how != "another event"]
