"""The one place where archives of removed days are asked: rows that go have to go from them too."""

from __future__ import annotations

from collections.abc import Sequence

from tasks_pipeline.erasure.selection import Erased, Selection
from tasks_pipeline.stores import Stores


def erase_from_archives(stores: Stores, selection: Selection) -> Sequence[Erased]:
    """Remove rows that go from archives; gives what went. There are no archives yet."""
    return []
