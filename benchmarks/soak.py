"""Weeks of a trickle: N days of R events a second, in batches as a drain makes them. `python -m benchmarks soak` prints what
each day cost.

Time is an argument: nothing is waited for. A batch holds what comes in a second (`PACE_SECONDS` of the drain), at least one
event. With `--hours` each day has only so many hours of traffic, for machines with less patience. Figures of size are what
the day added: `catalog_rows`, `state_bytes` and `dagster_bytes` are compared between days, so a day that costs what the first
one did adds the same.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from sqlalchemy import select

from tasks_pipeline.alerts.windows import evaluate_windows
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.demo.traffic import PUBLIC_KEY, shop_events
from tasks_pipeline.home import Home
from tasks_pipeline.processing.drain import PACE_SECONDS
from tasks_pipeline.processing.process_batch import process_batch
from tasks_pipeline.processing.upkeep import Upkeep
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.retention.spool import erase_batch
from tasks_pipeline.service.dagster_home import dagster_yaml
from tasks_pipeline.storage.lake.compaction import compact, of_past_days
from tasks_pipeline.storage.lake.events import find_event, newest_events
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.ledger.batches import claim_batch
from tasks_pipeline.storage.ledger.drains import beat, end_drain, start_drain
from tasks_pipeline.storage.sizes import folder_size, store_sizes
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.state.tables import groups
from tasks_pipeline.stores import Stores, open_stores

LOOKS = 5
FILES_EVERY = 500  # batches between two counts of files
CONFIG = f"""\
projects: [{{slug: shop, id: 1, platform: python, keys: [{{public_key: "{PUBLIC_KEY}"}}]}}]
processing: {{linger_seconds: 0}}
channels: [{{name: hook, type: webhook, url: "http://127.0.0.1:9/"}}]
alert_rules:
  - {{name: told, when: [new_group, regression, escalation, {{type: events, count: 100000, window_minutes: 60}}], notify: ["channel:hook"]}}
"""


class Clock:
    """The time of the simulation."""

    moment = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.moment


def forget_all(lake: Lake) -> None:
    """Forget all snapshots but the newest: the machine's clock hardly moves between them."""
    with lake.lock():
        lake.forget_before(datetime.now(UTC))


class DagsterBooks:
    """What a day of drains adds to Dagster's own data: a real run of the day, times as many runs as its hours take."""

    def __init__(self, home: Home, first_day: date) -> None:
        self.folder = home.root / "dagster-of-the-soak"
        self.folder.mkdir()
        (self.folder / "dagster.yaml").write_text(dagster_yaml())
        stores = StoresResource(home=str(home.root))
        defs = build_defs({"stores": stores}, first_day=first_day)
        self.job = defs.resolve_job_def("process_events")
        self.run_config = {
            "ops": {"process_event": {"config": {"mode": "drain"}}},
            "loggers": {"console": {"config": {"log_level": "ERROR"}}},
        }
        self.instance = dg.DagsterInstance.from_config(str(self.folder))

    def bytes_of(self, day: date, hours: float, run_seconds: float) -> int:
        before = folder_size(self.folder)
        self.job.execute_in_process(
            instance=self.instance, partition_key=day.isoformat(), run_config=self.run_config
        )
        return round((folder_size(self.folder) - before) * hours * 3600 / run_seconds)


def bodies() -> Iterator[tuple[str, bytes]]:
    """Ids and envelopes of the shop's events, for ever."""
    for event in shop_events(sys.maxsize):
        yield event.event_id, event.body


def soak(root: Path, days: int, rate: float, hours: float) -> Iterator[dict[str, Any]]:
    """What each simulated day came to."""
    home = Home.resolve(root)
    home.root.mkdir(parents=True, exist_ok=True)
    home.config_path.write_text(CONFIG)
    first = datetime.now(UTC).date() - timedelta(days=days - 1)
    source, chance, clock = bodies(), random.Random(1), Clock()
    with open_stores(home) as stores, Upkeep(stores, clock, forget_all) as upkeep:
        books = DagsterBooks(home, first - timedelta(days=1))
        books.bytes_of(first - timedelta(days=1), hours, 1)  # the tables themselves
        run_seconds = stores.config.processing.max_run_seconds
        sizes = _sizes(stores, home)
        for number in range(days):
            day = first + timedelta(days=number)
            began = datetime(day.year, day.month, day.day, tzinfo=UTC)
            ids, cpu, most_files = _day(stores, upkeep, clock, day, began, rate, hours, source)
            cpu += _night(stores, upkeep, day)
            grown = _sizes(stores, home)
            found = {
                "cpu_ms_per_event": round(cpu / len(ids) * 1000, 2),
                "files": most_files,
                "catalog_rows": grown["catalog_rows"] - sizes["catalog_rows"],
                "bytes_per_event": round((grown["bytes"] - sizes["bytes"]) / len(ids)),
                "state_bytes": grown["state_bytes"] - sizes["state_bytes"],
                "dagster_bytes": books.bytes_of(day, hours, run_seconds),
                **_costs(stores, day, ids, chance),
                "events": len(ids),
                "in_all": grown,
            }
            sizes = grown
            print(json.dumps({"day": number + 1, **found}), file=sys.stderr, flush=True)
            yield found


def _sizes(stores: Stores, home: Home) -> dict[str, int]:
    """What lake and state hold in all."""
    found = store_sizes(home, stores.state)
    lake, state = found["lake"] or 0, found["state"] or 0
    return {"catalog_rows": stores.lake.catalog_rows(), "state_bytes": state, "bytes": lake + state}


def _day(
    stores: Stores,
    upkeep: Upkeep,
    clock: Clock,
    day: date,
    began: datetime,
    rate: float,
    hours: float,
    source: Iterator[tuple[str, bytes]],
) -> tuple[list[str], float, int]:
    """Process a day; gives the ids of its events, the seconds of CPU that the drain's part took, and the most files that a
    table had of it."""
    interval = max(PACE_SECONDS, 1 / rate)
    ids: list[str] = []
    cpu, most_files = 0.0, 0
    drain_id = start_drain(stores.state, day, None)
    with closing(stores.spool.writer()) as writer:
        for batch_number in range(int(hours * 3600 / interval)):
            moment = began + timedelta(seconds=batch_number * interval)
            receipts = []
            for event_id, body in itertools.islice(source, max(1, round(rate * interval))):
                receipts.append(Receipt(moment, 1, PUBLIC_KEY, event_id, "gzip", 1, body))
                ids.append(event_id)
            writer.append(receipts)
            clock.moment = moment
            started = time.process_time()
            if batch_number % 2 == 0:
                beat(stores.state, drain_id)
            _batch(stores, upkeep, day, drain_id)
            cpu += time.process_time() - started
            if batch_number % FILES_EVERY == 0:
                most_files = max(most_files, _files(stores, day))
    end_drain(stores.state, drain_id)
    return ids, cpu, max(most_files, _files(stores, day))


def _night(stores: Stores, upkeep: Upkeep, day: date) -> float:
    """What the hours after midnight do with a day: its tail reaches the lake, its files become one. Gives seconds of CPU."""
    started = time.process_time()
    upkeep.wait()
    flush(stores.state, stores.lake)
    compact(stores.lake, of_past_days(stores.lake, day + timedelta(days=1)))
    forget_all(stores.lake)
    return time.process_time() - started


def _files(stores: Stores, day: date) -> int:
    """Live files of a day in the table that has most of them."""
    tables = [file.table for file in stores.lake.live_files() if file.day == day]
    return max(map(tables.count, set(tables)), default=0)


def _batch(stores: Stores, upkeep: Upkeep, day: date, drain_id: str) -> None:
    settings = stores.config.processing
    batch = claim_batch(
        stores.state,
        stores.spool,
        day,
        drain_id,
        max_envelopes=settings.batch_envelopes,
        max_bytes=settings.batch_bytes,
        patient=True,
    )
    assert batch is not None
    result = process_batch(stores, batch)
    erase_batch(stores, batch)
    upkeep.after_batch(result.in_files)


def _costs(stores: Stores, day: date, ids: list[str], chance: random.Random) -> dict[str, float]:
    """What it costs to look at it."""
    group_id = _largest_group(stores)
    now = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=23, minutes=59)
    return {
        "group_page_ms": _cost(lambda: newest_events(stores.state, stores.lake, group_id, 50)),
        "event_ms": _cost(lambda: find_event(stores.state, stores.lake, chance.choice(ids))),
        "window_look_ms": _cost(lambda: evaluate_windows(stores, now)),
    }


def _cost(look: Callable[[], object]) -> float:
    """Milliseconds of CPU, the median of some looks after a first one."""
    look()
    spent = []
    for _ in range(LOOKS):
        gc.collect()
        started = time.process_time()
        look()
        spent.append(time.process_time() - started)
    return round(statistics.median(spent) * 1000, 1)


def _largest_group(stores: Stores) -> int:
    with stores.state.read() as connection:
        query = select(groups.c.id).order_by(groups.c.times_seen.desc()).limit(1)
        return int(connection.execute(query).scalar_one())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--days", type=int, default=2, help="days to simulate")
    parser.add_argument("--rate", type=float, default=1.0, help="events a second")
    parser.add_argument("--hours", type=float, default=24.0, help="hours of traffic of each day")
    arguments = parser.parse_args()
    with temporary_root() as root:
        days = list(soak(root, arguments.days, arguments.rate, arguments.hours))
    print(json.dumps({"days": days}))


if __name__ == "__main__":
    main()
