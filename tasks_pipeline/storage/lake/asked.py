"""What rows can be asked of with SQL on the tables of `lake`: the lake itself, or what is archived of a day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Asked(Protocol):
    """The part of `Lake` that only reads, and temporary tables beside it."""

    def query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), *, payloads: bool = False
    ) -> list[dict[str, Any]]:
        """Rows of a query as dicts."""
        ...

    def kept(
        self, name: str, sql: str, slices: Iterable[Mapping[str, Any]], *, payloads: bool = False
    ) -> AbstractContextManager[None]:
        """Have the rows of a query as a table of that name within the block."""
        ...

    def given(self, name: str, rows: Iterable[pa.Table]) -> AbstractContextManager[None]:
        """Have rows that are not there as a table of that name within the block."""
        ...
