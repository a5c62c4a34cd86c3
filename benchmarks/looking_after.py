"""What looks after many stored events, timed: pages, cleanup and compaction, with a drain beside them. Each is called in a process of
its own, and puts what it measured into `found`."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.bare import one_event
from benchmarks.many_events import GROUPS, TODAY, noon
from tasks_pipeline.home import Home
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.retention.blobs import delete_old_file_attachments
from tasks_pipeline.retention.cleanup import cleanup_old_events
from tasks_pipeline.storage.lake.compaction import compact, of_past_days
from tasks_pipeline.storage.lake.events import newest_events
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.sizes import folder_size
from tasks_pipeline.stores import open_stores

GONE_DAYS = 10
PAGES = 25
SPOOLED = 10_000


def page_ms(root: Path) -> float:
    """Milliseconds of one group's newest fifty events, the median of some groups, in an open process."""
    with open_stores(Home(root)) as stores:
        newest_events(stores.state, stores.lake, 1, 50)
        return _median_ms(lambda n: newest_events(stores.state, stores.lake, 1 + 37 * n % GROUPS, 50))


def _median_ms(work: Callable[[int], object]) -> float:
    spent = []
    for n in range(PAGES):
        began = time.perf_counter()
        work(n)
        spent.append(time.perf_counter() - began)
    return round(median(spent) * 1000, 1)


@contextmanager
def locks_timed() -> Iterator[dict[str, float]]:
    """Milliseconds that the lake's lock was held at most, by who took it."""
    longest: dict[str, float] = defaultdict(float)
    original = Lake.lock

    @contextmanager
    def timed(lake: Lake) -> Iterator[None]:
        caller = sys._getframe(2)
        who = f"{Path(caller.f_code.co_filename).stem}.{caller.f_code.co_name}"
        with original(lake):
            began = time.monotonic()
            try:
                yield
            finally:
                longest[who] = max(longest[who], round((time.monotonic() - began) * 1000, 1))

    Lake.lock = timed  # type: ignore[method-assign]
    try:
        yield longest
    finally:
        Lake.lock = original  # type: ignore[method-assign]


def clean(root: Path, days: int, found: Any) -> None:
    """Remove the ten oldest days, and put into `found` what it took."""
    with open_stores(Home(root)) as stores:
        files, kept = Path(stores.home.lake_files), stores.config.retention.event_days
        now = noon(TODAY) + timedelta(days=GONE_DAYS + kept - days)
        gone = sum(each.size for each in stores.lake.day_totals()[: 2 * GONE_DAYS])
        before = folder_size(files)
        with locks_timed() as held:
            began, cpu = time.monotonic(), time.process_time()
            report = cleanup_old_events(stores, now)
            delete_old_file_attachments(stores, now)
            seconds, spent = time.monotonic() - began, time.process_time() - cpu
        with stores.lake.lock():  # a quarter of an hour later
            stores.lake.forget_before(datetime.now(UTC) + timedelta(minutes=1))
        found["cleanup"] = {
            "rows": report.rows, "days": report.days, "seconds": round(seconds, 1), "cpu_seconds": round(spent, 1), "peak_mib": _peak_mib(),
            "freed": round((before - folder_size(files)) / gone, 4), "lock_ms": dict(held),
        }  # fmt: skip


def merge(root: Path, payloads: int, found: Any) -> None:
    """Make one file of the many of a day of so many events, and put into `found` what it took."""
    with open_stores(Home(root)) as stores, locks_timed() as held:
        began, cpu = time.monotonic(), time.process_time()
        merged = compact(stores.lake, of_past_days(stores.lake, TODAY + timedelta(days=1)))
        found["compaction"] = {
            "payloads": payloads, "files": merged, "seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(time.process_time() - cpu, 1),
            "peak_mib": _peak_mib(), "lock_ms": dict(held),
        }  # fmt: skip


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def spool(root: Path, first: int) -> None:
    """SPOOLED envelopes of today, which wait."""
    with open_stores(Home(root)) as stores:
        writer = stores.spool.writer()
        for start in range(first, first + SPOOLED, 500):
            now = datetime.now(UTC)
            writer.append(
                [
                    one_event(now, {"id": str(n % 5_000)}, f"{n:032x}", f"Problem {n % 50}")
                    for n in range(start, start + 500)
                ]
            )
        writer.close()


def work_off(root: Path, name: str, found: Any) -> None:
    """Process what waits of today, and put into `found` how many events a second that were, and the longest wait for the lake."""
    with open_stores(Home(root)) as stores, waits_timed() as waits:
        began, cpu = time.monotonic(), time.process_time()
        report = drain(stores, datetime.now(UTC).date(), linger_seconds=0)
        seconds = time.monotonic() - began
        found[name] = {
            "events_per_s": round(report.envelopes / seconds, 1), "cpu_ms_per_event": round((time.process_time() - cpu) * 1000 / report.envelopes, 3),
            "lock_wait_ms": round(max(waits, default=0.0), 1),
        }  # fmt: skip


@contextmanager
def waits_timed() -> Iterator[list[float]]:
    """Milliseconds that each taking of the lake's lock took."""
    waits: list[float] = []
    original = Lake.lock

    @contextmanager
    def timed(lake: Lake) -> Iterator[None]:
        began = time.monotonic()
        with original(lake):
            waits.append((time.monotonic() - began) * 1000)
            yield

    Lake.lock = timed  # type: ignore[method-assign]
    try:
        yield waits
    finally:
        Lake.lock = original  # type: ignore[method-assign]


def look_after(root: Path, days: int, payloads: int, found: Any) -> None:
    """Cleanup, and then compaction."""
    clean(root, days, found)
    if payloads:
        merge(root, payloads, found)
