"""Places in lists, as texts that go into addresses: the next page begins behind one, whatever came meanwhile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"(-?)([0-9]{1,18}):([0-9]{1,18})")


class CursorError(ValueError):
    """The text is no place in this list."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list of groups: the value it is sorted by, and the group's id. `back`: the page before it is meant."""

    value: int
    id: int
    back: bool = False

    def __str__(self) -> str:
        return f"{'-' if self.back else ''}{self.value}:{self.id}"


def parse_cursor(text: str) -> Cursor:
    """A place from its text. Raises CursorError."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise CursorError(f"{text[:50]!r} is no place in a list of groups")
    return Cursor(int(match[2]), int(match[3]), bool(match[1]))


def microseconds(moment: datetime | None) -> int:
    """A moment as a number that sorts; of none 0."""
    return 0 if moment is None else max(0, (moment - _EPOCH) // timedelta(microseconds=1))


def moment_of(number: int) -> datetime:
    """The moment of a number. Raises CursorError for one that no calendar has."""
    try:
        return _EPOCH + timedelta(microseconds=number)
    except OverflowError:
        raise CursorError("no calendar has this time") from None
