"""notification_stats: messages to people, by the slot in which they were decided on, with what became of them since."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from tasks_pipeline.analytics.statistics.work import Work, counts_map
from tasks_pipeline.releases.durations import bucket_of
from tasks_pipeline.releases.spans import slot_of
from tasks_pipeline.storage.state.tables import notifications

TABLES = ("notification_stats",)
_KEY = ("slot", "project_id", "rule", "channel", "channel_type", "kind", "status")


def write(work: Work, wanted: Collection[str]) -> None:
    """Add the rows of the table. Entries of digests are dropped after a while, and all of it when its retention is over: a day
    of which fewer messages are known than were counted keeps what it has."""
    counts, seconds = _counted(work)
    former = work.former("notification_stats")
    if sum(row["count"] for row in former) > counts.total():
        work.add_rows("notification_stats", [row | {"seconds": counts_map(row["seconds"])} for row in former])
        return
    work.add_rows(
        "notification_stats",
        (
            dict(zip(_KEY, key, strict=True)) | {"count": n, "seconds": counts_map(seconds[key])}
            for key, n in counts.items()
        ),
    )


def _counted(work: Work) -> tuple[Counter[tuple[Any, ...]], dict[tuple[Any, ...], Counter[int]]]:
    types = {channel.name: channel.type for channel in work.stores.config.channels}
    n = notifications.c
    columns = [
        n[name] for name in ("created_at", "project_id", "rule", "channel", "type", "status", "sent_at")
    ]
    query = select(*columns).where(n.created_at >= work.begin, n.created_at < work.end)
    counts: Counter[tuple[Any, ...]] = Counter()
    seconds: dict[tuple[Any, ...], Counter[int]] = defaultdict(Counter)
    with work.stores.state.read() as connection:
        for row in connection.execute(query.execution_options(yield_per=10_000)):
            of_channel = row.channel, types.get(row.channel, "")
            key = (slot_of(row.created_at), row.project_id, row.rule, *of_channel, row.type, row.status)
            counts[key] += 1
            if row.sent_at is not None:
                seconds[key][bucket_of((row.sent_at - row.created_at).total_seconds() * 1000)] += 1
    return counts, seconds
