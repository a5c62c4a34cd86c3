"""The books: of the items that were accepted on a day, what became of each. And other facts that must hold for a day."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from sqlalchemy import exists, func, not_, select

from tasks_pipeline.storage.lake.tables import RECEIVED_TABLES
from tasks_pipeline.storage.ledger.backlog import backlog
from tasks_pipeline.storage.ledger.batches import COUNTS, accepted_items, counts_of_day, outside_open_ranges
from tasks_pipeline.storage.state.removals import Removed, removed_of
from tasks_pipeline.storage.state.tables import group_days
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

READ_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Books:
    """Items of a day.

    `accepted` is what the receivers counted (where the raw envelopes are gone or cannot be read, what the batches counted
    when they were done), `waiting` what is not processed yet, the rest what became of the others. `failed_attempts` were
    made at what waits; `broken` says what of the day cannot be read, `gone` what was removed of it since, and why.
    """

    day: date
    accepted: int
    stored: int
    duplicate: int
    filtered: int
    discarded: int
    invalid: int
    waiting: int
    oldest_waiting: datetime | None = None
    failed_attempts: int = 0
    broken: str = ""
    gone: str = ""

    @property
    def difference(self) -> int:
        """Items missing (positive) or too many (negative); 0 in every state of the pipeline."""
        known = self.stored + self.duplicate + self.filtered + self.discarded + self.invalid + self.waiting
        return self.accepted - known

    def as_dict(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def books_of_state(stores: Stores, day: date) -> Books:
    """The books by the counters of the state database: cheap, for showing."""
    return replace(
        _read(stores, day, lambda: counts_of_day(stores.state, day)), gone=_said(_removed(stores, day))
    )


def books_of_lake(stores: Stores, day: date) -> Books:
    """The books by what lies in the lake, under its lock: for proof. Where retention took that, they are those of the batches."""
    with stores.lake.lock():
        removed = _removed(stores, day)
        gone = _said(removed)
        if not any(each.name == "outcomes" for each in removed):
            return replace(_read(stores, day, lambda: _lake_counts(stores, day)), gone=gone)
    return replace(books_of_state(stores, day), gone=f"{gone}: the books are those of its batches")


def _removed(stores: Stores, day: date) -> list[Removed]:
    with stores.state.read() as connection:
        return removed_of(connection, day, tuple(RECEIVED_TABLES))


def _said(removed: Iterable[Removed]) -> str:
    return "; ".join(map(str, removed))


def _read(stores: Stores, day: date, counts: Callable[[], dict[str, int]]) -> Books:
    """Receivers and drains go on meanwhile: read again until nothing moved between the first and the last look."""
    for _ in range(READ_ATTEMPTS):
        found = counts()  # not between the looks at the spool: under load it grows while this takes its time
        before = stores.spool.totals(day)
        accepted = accepted_items(stores.state, stores.spool, day, before)
        waiting = backlog(stores.state, stores.spool, day)
        if stores.spool.totals(day) == before and counts() == found:
            break
    else:
        log.warning(
            "the books of %s moved during each of %d readings; they may not balance", day, READ_ATTEMPTS
        )
    return Books(
        day=day,
        accepted=accepted,
        waiting=waiting.items,
        oldest_waiting=waiting.oldest,
        failed_attempts=waiting.failed_attempts,
        broken=waiting.broken,
        gone="",
        **found,
    )


def _lake_counts(stores: Stores, day: date) -> dict[str, int]:
    with stores.state.read() as connection:
        done = outside_open_ranges(connection, day)  # a batch that died before it was done still waits
    rows = stores.lake.query(
        f"SELECT outcome, sum(quantity)::BIGINT AS quantity FROM lake.outcomes WHERE day = ? AND {done} GROUP BY outcome",
        [day],
    )
    found = {row["outcome"]: row["quantity"] for row in rows}
    return {name: found.get(name, 0) for name in COUNTS}


def not_stored(stores: Stores, since: date) -> list[dict[str, Any]]:
    """What was received since a day and is not stored, or was never sent, the most first: category, outcome, reason, quantity.

    Beside the books are types of items that are not kept (`unsupported`), what the receiver refused, and what clients say they
    dropped themselves. Of the many reasons that strangers can make up the first hundred.
    """
    return stores.lake.query(
        "SELECT category, outcome, reason, sum(quantity)::BIGINT AS quantity FROM lake.outcomes "
        "WHERE day >= ? AND outcome <> 'stored' GROUP BY ALL ORDER BY quantity DESC, category, outcome, reason LIMIT 100",
        [since],
    )


def row_counts(stores: Stores, day: date) -> dict[str, int]:
    """Rows of a day in every table of the lake."""
    union = " UNION ALL ".join(
        f"SELECT '{name}' AS name, count(*) AS rows FROM lake.{name} WHERE day = $day"
        for name in RECEIVED_TABLES
    )
    return {row["name"]: row["rows"] for row in stores.lake.query(union, {"day": day})}


def repeated_event_ids(stores: Stores, day: date) -> list[dict[str, Any]]:
    """Event ids that stand more than once in `events` of a day: project_id, event_id, times. Must be empty."""
    return stores.lake.query(
        "SELECT project_id, event_id, count(*) AS times FROM lake.events WHERE day = ? "
        "GROUP BY project_id, event_id HAVING count(*) > 1 ORDER BY times DESC LIMIT 20",
        [day],
    )


def odd_timestamps(stores: Stores, day: date, late_days: int = 1) -> dict[str, int]:
    """How many events of a day say they happened after their receipt (future), or long before it (late)."""
    rows = stores.lake.query(
        "SELECT count(*) FILTER (timestamp > received_at + INTERVAL 1 MINUTE) AS future, "
        "count(*) FILTER (timestamp < received_at - INTERVAL 1 DAY * ?) AS late, count(*) AS events "
        "FROM lake.events WHERE day = ?",
        [late_days, day],
    )
    return rows[0]


def group_figures(stores: Stores, day: date) -> dict[str, int]:
    """Groups that got events on a day, and how many of them are new on it."""
    earlier = group_days.alias("earlier")
    before = exists().where(earlier.c.group_id == group_days.c.group_id, earlier.c.day < day)
    with stores.state.read() as connection:
        touched = connection.execute(select(func.count()).where(group_days.c.day == day)).scalar_one()
        new = connection.execute(
            select(func.count()).where(group_days.c.day == day, not_(before))
        ).scalar_one()
    return {"groups": int(touched), "new_groups": int(new)}
