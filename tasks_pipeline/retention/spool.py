"""Raw retention: which days of the spool are over, and what goes as soon as it is processed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tasks_pipeline.facts.record import record
from tasks_pipeline.facts.types import RetentionDropped
from tasks_pipeline.storage.ledger.backlog import backlog
from tasks_pipeline.storage.ledger.batches import Batch, done_batches
from tasks_pipeline.storage.ledger.cursors import forget_day
from tasks_pipeline.storage.spool.interface import MovedDay, SpoolError
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)


def drop_expired_days(stores: Stores, today: date, *, dry_run: bool = False) -> dict[date, int]:
    """Remove days of raw envelopes older than retention.raw_days; gives the envelopes removed per day. A `dry_run` only
    gives what would be removed.

    With `raw_days` 7, today and the 7 days before it stay. A day on which something waits stays too, and one that cannot
    be read: nothing accepted is thrown away unprocessed. What is wrong with one day keeps no other.
    """
    oldest_kept = today - timedelta(days=stores.config.retention.raw_days)
    dropped: dict[date, int] = {}
    for day in stores.spool.days():
        if day >= oldest_kept:
            continue
        try:
            envelopes = _drop_day(stores, day, dry_run)
        except SpoolError:
            log.exception("%s is past its raw retention, but cannot be dropped", day)
            continue
        if envelopes is not None:
            dropped[day] = envelopes
    return dropped


def _drop_day(stores: Stores, day: date, dry_run: bool) -> int | None:
    """Remove a day; gives the envelopes removed, None when it has to stay. Raises SpoolError."""
    waiting = backlog(stores.state, stores.spool, day)
    if waiting.envelopes or waiting.broken:
        log.warning(
            "%s is past its raw retention, but %d envelopes of it wait%s",
            day,
            waiting.envelopes,
            f", and it cannot be read ({waiting.broken})" if waiting.broken else "",
        )
        return None
    if dry_run:
        return sum(part.last_position for part in stores.spool.totals(day).values())
    envelopes = stores.spool.drop_day(day)
    with stores.state.write() as connection:
        forget_day(connection, day)
        fact = RetentionDropped(what="envelopes", day=day.isoformat(), rows=envelopes)
        record(stores.state, connection, fact, at=datetime.now(UTC))
    return envelopes


@dataclass(frozen=True, slots=True)
class Moved:
    """What lies in files after finished days were moved there, which days `could_not` be moved and why, and how many files of no day
    were `swept`."""

    days: list[MovedDay]
    could_not: dict[date, str]
    swept: int


def move_finished_days(stores: Stores, today: date) -> Moved:
    """Move raw envelopes of days that are older than retention.raw_database_days out of a spool in a database. A day on which something
    waits stays. Raises SpoolError when the database cannot be asked."""
    oldest_kept = today - timedelta(days=stores.config.retention.raw_database_days)
    could_not: dict[date, str] = {}
    for day in stores.spool.days():
        if day >= oldest_kept:
            break
        waiting = backlog(stores.state, stores.spool, day)
        if waiting.envelopes or waiting.broken:
            continue  # who looks for what waits tells of it
        try:
            stores.spool.move_day(day)
        except SpoolError as error:
            could_not[day] = str(error)
    return Moved(stores.spool.moved(), could_not, stores.spool.sweep())


def erase_batch(stores: Stores, batch: Batch) -> None:
    """Erase the raw envelopes of a batch that is done, if retention.raw_days is 0."""
    if stores.config.retention.raw_days == 0:
        stores.spool.erase(batch.day, batch.part, batch.after + 1, batch.through)


def erase_done_batches(stores: Stores, day: date) -> None:
    """The same for every batch of a day, since whoever finished one may have died before it was erased."""
    if stores.config.retention.raw_days == 0:
        ends = {batch.part: batch.through for batch in done_batches(stores.state, day)}
        for part, last in ends.items():
            try:
                stores.spool.erase(day, part, 1, last)
            except SpoolError:  # the next drain comes by again
                log.exception("what was sent on %s in part %s cannot be erased now", day, part)
