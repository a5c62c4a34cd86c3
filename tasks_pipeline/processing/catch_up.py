"""Catching up: days that were counted before releases of groups were, and what they say of them, from the lake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select, text, update

from tasks_pipeline.processing.replacements import finish_replacements, open_replacement
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import group_days
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
    state, lake, day = stores.state, stores.lake, rows[0].day
    wanted = {row.group_id for row in rows}
    with lake.lock():
        finish_replacements(state, lake)
        query = "SELECT DISTINCT group_id FROM lake.events WHERE day = ?"
        held = {row["group_id"] for row in lake.query(query, [day])} & wanted
        if held:
            with state.read() as connection:
                arrived = last_arrival(connection)
            open_replacement(state, day, arrived, held, reason=None)
            finish_replacements(state, lake)
    # What is left of them: days of which the lake holds nothing any more keep what was counted.
    d = group_days.c
    with state.write() as connection:
        for chunk in chunks(sorted(wanted)):
            of_piece = d.day == day, d.group_id.in_(chunk), _WITHOUT
            connection.execute(update(group_days).where(*of_piece).values(first_place=GONE))
