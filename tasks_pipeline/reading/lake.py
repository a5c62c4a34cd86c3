"""What of a lake is asked by those who read, whoever opened it: `Lake` in commands, `LakeReader` in a process that serves many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tasks_pipeline.storage.lake.tail import Place


class ReadLake(Protocol):
    """An open lake."""

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """Rows of a query as dicts; its parameters are `?`."""
        ...

    def payloads_at(self, places: Sequence[Place]) -> dict[Place, bytes]:
        """The JSON of events at these places that are in files."""
        ...
