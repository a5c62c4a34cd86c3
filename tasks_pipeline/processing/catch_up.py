"""Catching up: days that were counted before releases or hours of groups were, and what they say of them, from the lake."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, func, select, text, update

from tasks_pipeline.groups.hours import HOURS_FOR
from tasks_pipeline.processing.replacements import finish_replacements, open_replacement
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.removals import removed_days
from tasks_pipeline.storage.state.tables import group_days, group_hours
from tasks_pipeline.stores import Stores
from tasks_pipeline.uploads.arrivals import last_arrival

PIECE = 2_000  # days of groups that are derived while the lake's lock is held once: about a second
PIECES = 30  # in one run: drains wait for the lock meanwhile
GONE = ""
"""The place of the first event of a day of which the lake holds none any more: nobody will ever know."""

_WITHOUT = text("first_place IS NULL")  # in the words of its index


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What a run did: days of groups that say their releases now, and how many are left; none, once all is done."""

    done: int
    left: int


def catch_up_releases(stores: Stores, pieces: int = PIECES) -> CaughtUp:
    """Let days of groups that do not say their first and last release learn them from the lake, the oldest first.

    Of a bounded number; whoever asks again goes on. A day is derived as after a replacement, so that it is right whatever
    comes meanwhile.
    """
    done = 0
    for _ in range(pieces):
        rows = _next_piece(stores)
        if not rows:
            return CaughtUp(done, 0)
        _derive(stores, rows)
        done += len(rows)
    with stores.state.read() as connection:
        left = select(func.count()).select_from(group_days).where(_WITHOUT)
        return CaughtUp(done, connection.execute(left).scalar_one())


def _next_piece(stores: Stores) -> list[Row[Any]]:
    """Days of groups, all of one day, that do not say their releases."""
    d = group_days.c
    with stores.state.read() as connection:
        query = select(d.day, d.group_id).where(_WITHOUT).order_by(d.day, d.group_id).limit(PIECE)
        rows = list(connection.execute(query))
    return [row for row in rows if row.day == rows[0].day]


def _derive(stores: Stores, rows: list[Row[Any]]) -> None:
    day, wanted = rows[0].day, {row.group_id for row in rows}
    _count_again(stores, day, wanted)
    # What is left of them: days of which the lake holds nothing any more keep what was counted.
    d = group_days.c
    with stores.state.write() as connection:
        for chunk in chunks(sorted(wanted)):
            of_piece = d.day == day, d.group_id.in_(chunk), _WITHOUT
            connection.execute(update(group_days).where(*of_piece).values(first_place=GONE))


def _count_again(stores: Stores, day: date, group_ids: Collection[int]) -> None:
    """Derive what a day counted of those of some groups that the lake holds events of."""
    state, lake = stores.state, stores.lake
    with lake.lock():
        finish_replacements(state, lake)
        query = "SELECT DISTINCT group_id FROM lake.events WHERE day = ?"
        held = {row["group_id"] for row in lake.query(query, [day])} & set(group_ids)
        if held:
            with state.read() as connection:
                arrived = last_arrival(connection)
            open_replacement(state, day, arrived, held, reason=None)
            finish_replacements(state, lake)


def catch_up_hours(stores: Stores, now: datetime, pieces: int = PIECES) -> int:
    """Let groups whose hours do not come to what was counted of a day learn them from the lake, the newest day first; gives how
    many days of groups were derived, of a bounded number. Such are days of before hours were counted, and of an older
    version that went on during an upgrade. Days of which retention took events keep what they have."""
    done = 0
    for day, group_ids in _days_without_hours(stores, now):
        _count_again(stores, day, group_ids)
        done += len(group_ids)
        pieces -= 1
        if not pieces:
            break
    return done


def _days_without_hours(stores: Stores, now: datetime) -> Iterator[tuple[date, list[int]]]:
    """Some groups of a day whose hours are missing or incomplete, PIECE at a time, each once."""
    d, first = group_days.c, (now - HOURS_FOR).date()
    with stores.state.read() as connection:
        days = connection.execute(select(d.day).where(d.day >= first).distinct().order_by(d.day.desc()))
        removed = removed_days(connection, "events", first, now.date())
        whole = [day for day in days.scalars() if day not in removed.projects]
    for day in whole:
        last = 0
        while found := _groups_without_hours(stores, day, last):
            yield day, found
            last = found[-1]


def _groups_without_hours(stores: Stores, day: date, after: int) -> list[int]:
    d, h = group_days.c, group_hours.c
    in_hours = select(func.sum(h.times_seen)).where(h.group_id == d.group_id, h.day == day).scalar_subquery()
    query = select(d.group_id).where(d.day == day, d.group_id > after)
    wrong = query.where(func.coalesce(in_hours, 0) != d.times_seen).order_by(d.group_id).limit(PIECE)
    with stores.state.read() as connection:
        return list(connection.execute(wrong).scalars())
