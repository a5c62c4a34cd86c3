"""Raw retention: which days of the spool are over, and what goes as soon as it is processed."""

from __future__ import annotations

import logging
from datetime import date, timedelta

from tasks_pipeline.storage.ledger.backlog import backlog
from tasks_pipeline.storage.ledger.batches import Batch, done_batches
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)


def drop_expired_days(stores: Stores, today: date) -> dict[date, int]:
    """Remove days of raw envelopes older than retention.raw_days; gives the envelopes removed per day.

    With `raw_days` 7, today and the 7 days before it stay. A day on which something waits stays too: nothing accepted
    is thrown away unprocessed.
    """
    oldest_kept = today - timedelta(days=stores.config.retention.raw_days)
    dropped: dict[date, int] = {}
    for day in stores.spool.days():
        if day >= oldest_kept:
            continue
        waiting = backlog(stores.state, stores.spool, day)
        if waiting.envelopes:
            log.warning("%s is past its raw retention, but %d envelopes of it wait", day, waiting.envelopes)
            continue
        dropped[day] = stores.spool.drop_day(day)
    return dropped


def erase_batch(stores: Stores, batch: Batch) -> None:
    """Erase the raw envelopes of a batch that is done, if retention.raw_days is 0."""
    if stores.config.retention.raw_days == 0:
        stores.spool.erase(batch.day, batch.part, batch.first_position, batch.last_position)


def erase_done_batches(stores: Stores, day: date) -> None:
    """The same for every batch of a day, since whoever finished one may have died before it was erased."""
    if stores.config.retention.raw_days == 0:
        ends = {batch.part: batch.last_position for batch in done_batches(stores.state, day)}
        for part, last in ends.items():
            stores.spool.erase(day, part, 1, last)
