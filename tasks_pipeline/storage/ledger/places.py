"""Where rows of the lake lie in the spool: positions of the ledger as positions of a part, by the batches that claimed them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import date

from sqlalchemy import Connection, select

from tasks_pipeline.storage.ledger.cursors import cursors_of
from tasks_pipeline.storage.state.tables import batches


def spool_positions(
    connection: Connection, day: date, places: Iterable[tuple[str, int]]
) -> Mapping[str, list[int]]:
    """Positions in the spool, by part and in order, of (part, position) of the ledger. Those whose raw envelopes are gone are left
    out: the day was dropped since they were claimed."""
    gone = {part: cursor.gone for part, cursor in cursors_of(connection, day).items()}
    b = batches.c
    claimed: dict[str, list[tuple[int, int, int]]] = {}
    query = select(b.part, b.first_position, b.last_position, b.base).where(b.day == day)
    for part, first, last, base in connection.execute(query.order_by(b.part, b.first_position)):
        claimed.setdefault(part, []).append((first, last, base))
    found: dict[str, list[int]] = {}
    for part, position in sorted(set(places)):
        ranges = claimed.get(part, [])
        number = bisect_right(ranges, position, key=lambda each: each[0]) - 1
        if number < 0:
            continue
        first, last, base = ranges[number]
        if first <= position <= last and first > gone.get(part, 0):
            found.setdefault(part, []).append(position - base)
    return found


def ranges_of(positions: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of positions that follow one another; they come in order."""
    found: list[tuple[int, int]] = []
    for position in positions:
        if found and position <= found[-1][1] + 1:
            found[-1] = found[-1][0], position
        else:
            found.append((position, position))
    return found
