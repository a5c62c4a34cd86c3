"""Cleanup of many small events: `python -m benchmarks cleanup --events 1000000 --days 100`.

Events are written straight as files of the lake, with the ids that own them; then the oldest ten days go. Printed are seconds, peak
memory of this process, how much of what those days took on disk is free again, and the longest that the lake's lock was held.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tasks_pipeline.home import Home
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.cleanup import cleanup_old_events
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.sizes import folder_size
from tasks_pipeline.storage.state.tables import event_ids
from tasks_pipeline.stores import Stores, open_stores

TODAY = date(2026, 11, 30)
PIECE = 20_000
GONE_DAYS = 10
_PAYLOAD = '{"event_id":"%s","message":"payment of order %d failed","extra":{"digest":"%s"}}'


def fill(stores: Stores, events: int, days: int) -> None:
    """So many events over so many days, the newest of which is today."""
    for n in range(days):
        day = TODAY - timedelta(days=days - 1 - n)
        with stores.lake.writing(day, "bench") as files:
            for start in range(0, events // days, PIECE):
                rows = [_event(day, number) for number in range(start, min(start + PIECE, events // days))]
                payloads = [_payload(row) for row in rows]
                files.add(to_arrow({"events": rows, "event_payloads": payloads}))
                ids = [
                    {**{k: row[k] for k in ("project_id", "day", "part", "position", "item")}, "event_id": bytes.fromhex(row["event_id"])}
                    for row in rows
                ]  # fmt: skip
                with stores.state.write() as connection:
                    connection.execute(event_ids.insert(), ids)
            files.finish()
            with stores.lake.lock():
                stores.lake.register(files.finished)


def _event(day: date, number: int) -> dict[str, Any]:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=number % 86_400)
    return {
        "day": day, "part": "bench", "position": number + 1, "item": 0, "project_id": 1 + number % 5, "group_id": 1 + number % 997,
        "event_id": blake2b(f"{day}{number}".encode(), digest_size=16).hexdigest(), "received_at": at, "timestamp": at,
        "type": "error", "level": "error", "platform": "python", "title": f"PaymentFailed: order {number % 997}",
        "culprit": "shop.orders in pay", "payload_bytes": 400,
    }  # fmt: skip


def _payload(row: dict[str, Any]) -> dict[str, Any]:
    digest = blake2b(row["event_id"].encode(), digest_size=32).hexdigest()
    text = _PAYLOAD % (row["event_id"], row["position"], digest)
    place = {k: row[k] for k in ("day", "part", "position", "item", "project_id", "event_id")}
    return place | {"payload": text.encode()}


@contextmanager
def locks_timed() -> Iterator[list[float]]:
    """Seconds that the lake's lock was held, each time."""
    held: list[float] = []
    original = Lake.lock

    @contextmanager
    def timed(lake: Lake) -> Iterator[None]:
        with original(lake):
            began = time.monotonic()
            try:
                yield
            finally:
                held.append(time.monotonic() - began)

    Lake.lock = timed  # type: ignore[method-assign]
    try:
        yield held
    finally:
        Lake.lock = original  # type: ignore[method-assign]


def main() -> None:
    """Fill a home of its own, remove ten days, and say what it took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks cleanup", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_stores(Home(root=Path(folder))) as stores:
        fill(stores, options.events, options.days)
        files, kept = Path(stores.home.lake_files), stores.config.retention.event_days
        now = datetime(TODAY.year, TODAY.month, TODAY.day, 2, tzinfo=UTC)
        now += timedelta(days=GONE_DAYS + kept + 1 - options.days)
        gone = sum(each.size for each in stores.lake.day_totals()[: 2 * GONE_DAYS])
        before = folder_size(files)
        with locks_timed() as held:
            began = time.monotonic()
            report = cleanup_old_events(stores, now)
            delete_old_file_attachments(stores, now)
            seconds = time.monotonic() - began
        with stores.lake.lock():  # a quarter of an hour later
            stores.lake.forget_before(datetime.now(UTC) + timedelta(minutes=1))
        freed = (before - folder_size(files)) / gone
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{report.rows:,} rows of {report.days} days in {seconds:.1f} s, {memory:.0f} MiB at most; {freed:.1%} of what they took is "
            f"free; the lake's lock was held for {max(held) * 1000:.0f} ms at most, {len(held)} times"
        )


if __name__ == "__main__":
    main()
