"""pipeline_stats: what the pipeline itself did of what was received in a slot: how much, and how long it waited."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import select

from tasks_pipeline.analytics.statistics.outcomes import SLOT
from tasks_pipeline.analytics.statistics.work import Work, counts_map, slot_sql
from tasks_pipeline.releases.durations import bucket_of
from tasks_pipeline.releases.spans import slot_of
from tasks_pipeline.storage.ledger.batches import COUNTS
from tasks_pipeline.storage.state.tables import batches, drains

TABLES = ("pipeline_stats",)
_NOTHING = {"accepted": 0, "stored": 0, "bytes": 0, "batches": 0, "drains": 0}


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table. Drains are forgotten after a day: slots keep those that were counted before."""
    found: dict[datetime, dict[str, Any]] = defaultdict(lambda: {**_NOTHING, "lag": []})
    for row in (*_items(work), *_bytes(work)):
        found[row["slot"]].update(row)
    for slot, lags in _lags(work).items():
        found[slot].update(batches=lags.total(), lag=counts_map(lags))
    for slot, count in _drains(work).items():
        found[slot]["drains"] = count
    for row in work.former("pipeline_stats"):
        if row["drains"]:
            known = found[row["slot"]]
            known["drains"] = max(known["drains"], row["drains"])
    work.add_rows("pipeline_stats", ({**row, "slot": slot} for slot, row in found.items()))


def _items(work: Work) -> list[dict[str, Any]]:
    """Items by slot: all that were accepted and are processed, and those that are stored."""
    of_books = ", ".join(f"'{name}'" for name in COUNTS)
    return work.stores.lake.query(
        f"SELECT {SLOT} AS slot, coalesce(sum(quantity) FILTER (outcome IN ({of_books})), 0)::BIGINT AS accepted, "
        "coalesce(sum(quantity) FILTER (outcome = 'stored'), 0)::BIGINT AS stored "
        f"FROM lake.outcomes WHERE {work.of_day} GROUP BY ALL"
    )


def _bytes(work: Work) -> list[dict[str, Any]]:
    return work.stores.lake.query(
        f"SELECT {slot_sql('received_at')} AS slot, coalesce(sum(payload_bytes), 0)::BIGINT AS bytes "
        f"FROM lake.events WHERE {work.of_day} GROUP BY ALL"
    )


def _lags(work: Work) -> dict[datetime, Counter[int]]:
    """By slot in which their first item was received: how many batches waited how long until they were stored."""
    b = batches.c
    query = select(b.received_at, b.done_at).where(
        b.day == work.day, b.status == "done", b.received_at.is_not(None)
    )
    found: dict[datetime, Counter[int]] = defaultdict(Counter)
    with work.stores.state.read() as connection:
        for received_at, done_at in connection.execute(query.execution_options(yield_per=10_000)):
            found[slot_of(received_at)][bucket_of((done_at - received_at).total_seconds() * 1000)] += 1
    return found


def _drains(work: Work) -> Counter[datetime]:
    """Drains that began on the day, by slot."""
    query = select(drains.c.started_at).where(
        drains.c.heartbeat_at >= work.begin, drains.c.started_at >= work.begin, drains.c.started_at < work.end
    )
    with work.stores.state.read() as connection:
        return Counter(slot_of(at) for at in connection.execute(query).scalars())
