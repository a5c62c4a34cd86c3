"""Tags of a group: which there are, and their most frequent values, of its newest events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.reading.events import EventQuery, read_events
from tasks_pipeline.reading.filtered import Period
from tasks_pipeline.reading.lake import ReadLake

SAMPLE, SAMPLE_DAYS = 1_000, 14
"""So many events are looked at, of so many days; whoever shows tags says so."""
MOST_KEYS, MOST_VALUES = 100, 100
_COLUMNS = {
    "level": "level", "environment": "environment", "release": "release", "dist": "dist", "user": "user_key", "transaction": "transaction",
    "server_name": "server_name", "logger": "logger", "handled": "handled",
}  # fmt: skip
"""What is shown as a tag and has a column of its own."""


@dataclass(slots=True)
class TagValue:
    """A value of a tag: in how many of the events, the first and the last of these."""

    value: str
    count: int
    first_seen: datetime
    last_seen: datetime


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: in how many of the events it is, how many values it has, the most frequent of them."""

    key: str
    total: int
    unique: int
    values: Sequence[TagValue]


@dataclass(frozen=True, slots=True)
class Tags:
    """Tags of the newest events of a group, the most frequent first; `events` were looked at."""

    events: int
    tags: Sequence[Tag]


def tags_of(asked: Asked, lake: ReadLake, wanted: EventQuery) -> Tags:
    """Tags of the newest SAMPLE events that a query finds, of the last SAMPLE_DAYS days unless it names a period. Raises QueryError."""
    if wanted.period is None:
        days = Period(asked.now - timedelta(days=SAMPLE_DAYS), asked.now + timedelta(days=1))
        wanted = replace(wanted, period=days)
    rows = read_events(asked, lake, wanted, SAMPLE, upwards=False)
    found: dict[str, dict[str, TagValue]] = {}
    for row in rows:
        for key, value in _tags(row):
            values = found.setdefault(key, {})
            known = values.get(value)
            if known is None:
                values[value] = TagValue(value, 1, row["timestamp"], row["timestamp"])
            else:
                known.count += 1
                known.first_seen = min(known.first_seen, row["timestamp"])
                known.last_seen = max(known.last_seen, row["timestamp"])
    tags = [_tag(key, list(values.values())) for key, values in found.items()]
    tags.sort(key=lambda tag: (-tag.total, tag.key))
    return Tags(len(rows), tags[:MOST_KEYS])


def _tags(row: dict[str, Any]) -> Iterable[tuple[str, str]]:
    own = {
        key: row[column] for key, column in _COLUMNS.items() if row[column] is not None and row[column] != ""
    }
    shown = {key: str(value).lower() if isinstance(value, bool) else value for key, value in own.items()}
    return ({**(row["tags"] or {}), **shown}).items()


def _tag(key: str, values: list[TagValue]) -> Tag:
    values.sort(key=lambda each: (-each.count, each.value))
    return Tag(key, sum(each.count for each in values), len(values), values[:MOST_VALUES])
