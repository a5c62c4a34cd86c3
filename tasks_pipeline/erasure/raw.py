"""Raw envelopes in the spool: what of them still waits, and erasing those that rows which go came in."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import date, datetime

from tasks_pipeline.erasure.lake_rows import doomed_envelopes
from tasks_pipeline.erasure.selection import Selection
from tasks_pipeline.storage.ledger.backlog import backlogs
from tasks_pipeline.storage.ledger.places import ranges_of, spool_positions
from tasks_pipeline.stores import Stores
from tasks_pipeline.words import counted

LOOK_SECONDS = 0.5


class Waits(Exception):
    """Envelopes that were received before the request are not processed yet, or cannot be read: what is in them is not known. The
    message says of which day, and what to do."""


def refuse_waiting(stores: Stores, before: datetime) -> None:
    """Raise Waits while anything waits that was received before a moment."""
    for each in backlogs(stores.state, stores.spool):
        if each.broken:
            raise Waits(
                f"envelopes of {each.day} cannot be read ({each.broken}): what is in them cannot be looked for"
            )
        if each.envelopes and (each.oldest is None or each.oldest < before):
            raise Waits(
                f"{counted(each.envelopes, 'envelope')} of {each.day} {'waits' if each.envelopes == 1 else 'wait'} to be processed; "
                "what is deleted now could come back with them: start the service (tasks-pipeline run), or wait, and ask again"
            )


def await_waiting(stores: Stores, before: datetime, patience: float) -> None:
    """Wait for so many seconds at most until nothing waits that was received before a moment: where a service runs, its drains come to
    it. Raises Waits."""
    until = time.monotonic() + patience
    while True:
        try:
            return refuse_waiting(stores, before)
        except Waits:
            if time.monotonic() > until:
                raise
        time.sleep(LOOK_SECONDS)


def erase_envelopes(stores: Stores, day: date, places: Iterable[tuple[str, int]]) -> int:
    """Overwrite the raw envelopes at places (part, position) of the ledger that are still there; gives how many. Books count on with
    them. Raises SpoolError."""
    with stores.state.read() as connection:
        found = spool_positions(connection, day, places)
    for part, positions in found.items():
        stores.spool.erase_ranges(day, part, ranges_of(positions))
    return sum(map(len, found.values()))


def count_envelopes(stores: Stores, selection: Selection) -> int:
    """How many raw envelopes go: those that rows which go came in, and further ones, of days that the spool still has. Within
    `doomed_rows`."""
    kept, seen = set(stores.spool.days()), set[date]()
    count = 0
    for day, places in doomed_envelopes(stores.lake):
        if day in kept:
            seen.add(day)
            count += _there(stores, day, {*places, *selection.envelopes.get(day, ())})
    for day in kept & set(selection.envelopes) - seen:
        count += _there(stores, day, selection.envelopes[day])
    return count


def _there(stores: Stores, day: date, places: Iterable[tuple[str, int]]) -> int:
    with stores.state.read() as connection:
        return sum(map(len, spool_positions(connection, day, places).values()))
