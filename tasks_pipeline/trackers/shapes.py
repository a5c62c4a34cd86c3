"""Shapes: the JSON of an answer as types. What is of another shape is never taken for nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from tasks_pipeline.trackers.answers import TrackerError
from tasks_pipeline.trackers.calls import Reply

T = TypeVar("T")


def part(reply: Reply, *names: str) -> Any:
    """A part of an answer's JSON; None, which fits no shape, where there is none."""
    value = reply.json
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def rows(reply: Reply, shape: type[T], *names: str) -> list[T]:
    """A list within an answer. A row of another shape than the others is left out; when all are, TrackerError is raised."""
    raw: Sequence[Any] = reply.shaped(list[Any], part(reply, *names))
    good = list(_good(reply, shape, raw))
    if raw and not good:
        reply.shaped(shape, raw[0])
    return good


def ids_listed(reply: Reply, *names: str) -> set[str] | None:
    """Ids of all rows of a list, those of another shape too; None when one has none, so that it may be any."""
    raw: Sequence[Any] = reply.shaped(list[Any], part(reply, *names))
    ids = [row.get("id") if isinstance(row, dict) else None for row in raw]
    return {str(one) for one in ids} if all(is_number(str(one)) for one in ids) else None


def not_listed(asked: Sequence[str], listed: set[str] | None) -> list[str]:
    """Of ids that were asked for those that are certainly not there: what nobody can read is no proof of that."""
    return [] if listed is None else [one for one in asked if one not in listed]


def _good(reply: Reply, shape: type[T], raw: Sequence[Any]) -> Iterator[T]:
    for row in raw:
        try:
            yield reply.shaped(shape, row)
        except TrackerError:
            continue


def lines(text: str | None) -> str:
    """A text with plain line ends."""
    return (text or "").replace("\r\n", "\n")


def aware(at: datetime | None) -> datetime | None:
    """A time; in UTC where it says no zone. None for one that no zone can be reckoned with."""
    if at is None or not 1970 <= at.year < 9999:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def is_number(text: str) -> bool:
    """Whether a text is a number as it may stand in a path."""
    return text.isascii() and text.isdecimal()
