"""Numbers of groups: their hours and days as series without gaps, and what they were seen with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import func, select

from tasks_pipeline.groups.counting import VALUE_KINDS
from tasks_pipeline.groups.hours import full_hour
from tasks_pipeline.reading.asked import Asked
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import (
    batches,
    group_days,
    group_hours,
    group_values,
    release_environments,
)

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Hours = list[tuple[datetime, int]]
Days = list[tuple[date, int]]


def hours_of(asked: Asked, group_ids: Collection[int], hours: int = 24) -> dict[int, Hours]:
    """Events of groups in each of the last so many hours, the one at work included, the oldest first, by when they happened. Of thirty
    days of receipt at most."""
    last = full_hour(asked.now)
    first = last - (hours - 1) * HOUR
    h, counted = group_hours.c, dict[tuple[int, datetime], int]()
    with asked.state.read() as connection:
        for some in chunks(sorted(group_ids)):
            query = select(h.group_id, h.hour, func.sum(h.times_seen)).where(
                h.group_id.in_(some), h.hour >= first, h.hour <= last
            )
            rows = connection.execute(query.group_by(h.group_id, h.hour)).tuples()
            counted |= {(group_id, hour): int(n) for group_id, hour, n in rows}
    moments = [first + n * HOUR for n in range(hours)]
    return {each: [(m, counted.get((each, m), 0)) for m in moments] for each in group_ids}


def days_of(asked: Asked, group_ids: Collection[int], days: int = 14) -> dict[int, Days]:
    """Events of groups on each of the last so many days of receipt, today included, the oldest first."""
    last = asked.now.date()
    first = last - (days - 1) * DAY
    d, counted = group_days.c, dict[tuple[int, date], int]()
    with asked.state.read() as connection:
        for some in chunks(sorted(group_ids)):
            query = select(d.group_id, d.day, d.times_seen).where(
                d.group_id.in_(some), d.day >= first, d.day <= last
            )
            rows = connection.execute(query).tuples()
            counted |= {(group_id, day): n for group_id, day, n in rows}
    each_day = [first + n * DAY for n in range(days)]
    return {each: [(day, counted.get((each, day), 0)) for day in each_day] for each in group_ids}


@dataclass(frozen=True, slots=True)
class Values:
    """What a group was seen with, of one kind: the most frequent with their numbers of events, and how many there are."""

    most: list[tuple[str, int]]
    count: int


def values_of(asked: Asked, group_id: int, kind: str, limit: int = 10) -> Values:
    """Users, releases or environments (`kind`: user, release, environment) of a group. Users may be very many: asked on demand."""
    assert kind in VALUE_KINDS, kind
    v, total = group_values.c, func.sum(group_values.c.times_seen)
    of_kind = v.group_id == group_id, v.kind == kind
    with asked.state.read() as connection:
        rows = connection.execute(
            select(v.value, total)
            .where(*of_kind)
            .group_by(v.value)
            .order_by(total.desc(), v.value)
            .limit(limit)
        )
        most = [(value, int(n)) for value, n in rows]
        count = len(most)
        if count == limit:
            distinct = select(func.count(func.distinct(v.value))).where(*of_kind)
            count = int(connection.execute(distinct).scalar_one())
    return Values(most, count)


def seen_with(asked: Asked, group_ids: Collection[int], kind: str) -> dict[int, list[str]]:
    """Releases or environments (`kind`: release, environment) of groups, the most frequent first. Not for users, who may be very
    many."""
    assert kind in ("release", "environment"), kind
    v, found = group_values.c, {group_id: list[str]() for group_id in group_ids}
    total = func.sum(v.times_seen)
    with asked.state.read() as connection:
        for some in chunks(sorted(found)):
            rows = connection.execute(
                select(v.group_id, v.value)
                .where(v.group_id.in_(some), v.kind == kind)
                .group_by(v.group_id, v.value)
                .order_by(v.group_id, total.desc(), v.value)
            )
            for group_id, value in rows:
                found[group_id].append(value)
    return found


def known_environments(asked: Asked, limit: int = 50) -> list[str]:
    """Names of environments that releases of the projects that may be seen were in, in their order."""
    e = release_environments.c
    query = select(e.environment).where(e.environment != "", e.project_id.in_(asked.project_ids()))
    with asked.state.read() as connection:
        return list(connection.execute(query.distinct().order_by(e.environment).limit(limit)).scalars())


def events_of(asked: Asked, day: date) -> int:
    """How many events were stored of a day of receipt, those of all projects."""
    stored = select(func.coalesce(func.sum(batches.c.stored), 0)).where(batches.c.day == day)
    with asked.state.read() as connection:
        return int(connection.execute(stored).scalar_one())
