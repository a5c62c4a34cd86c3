"""What an installation of a size needs: `python -m benchmarks scale` measures what an event and a batch cost, and reckons with it.

The whole service on PostgreSQL (with `--data-url`, object storage too): a flood, for what an event costs, then `--rate` events a second for
`--seconds`, for what a batch costs, whatever it holds. Then the raw envelopes are moved out of the database. Prints one JSON object: `constants`, and
`sizes` by events a second; docs/operations.md has them as a table.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2

from benchmarks.outside import send, stored, wait_until_stored
from benchmarks.processes import cpu_seconds
from benchmarks.servers import HELP, OBJECTS_HELP, OWN, database, objects, server_of
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.locks import _key
from tasks_pipeline.stores import Stores, open_stores

DAY = 86_400
SIZES = (100, 1_000, 10_000)
LARGEST_BATCH = 2_500
LOOK_SECONDS = 0.01
_LOCKED = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = %s::oid AND classid = 0 AND objsubid = 1"


@dataclass
class Spent:
    """What a stretch of time cost: seconds of CPU by process, seconds for which the lake's lock was held, bytes of the server's log."""

    events: int = 0
    batches: int = 0
    cpu: dict[str, float] = field(default_factory=dict)
    locked: float = 0.0
    wal: int = 0


def asked(url: str, query: str, *parameters: object) -> Any:
    """The one value of a query."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return (cursor.fetchone() or (None,))[0]


@contextmanager
def watched(url: str, pid: int, stores: Stores) -> Iterator[Spent]:
    """What the block costs."""
    server, spent, over = server_of(url), Spent(), threading.Event()
    assert server is not None

    def cpu() -> dict[str, float]:
        return cpu_seconds(pid) | {"postgres": server.cpu_seconds()}

    def look() -> None:
        seen = held = 0
        began = time.monotonic()
        with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not over.wait(LOOK_SECONDS):
                cursor.execute(_LOCKED, (_key("lake"),))
                seen, held = seen + 1, held + bool((cursor.fetchone() or (0,))[0])
        spent.locked = (time.monotonic() - began) * held / max(1, seen)

    def counts() -> tuple[int, int, int]:
        batches = asked(url, "SELECT count(*) FROM state.batches WHERE status = 'done'")
        return stored(stores), batches, int(asked(url, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))

    before, cpu_before = counts(), cpu()
    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield spent
    finally:
        over.set()
        looking.join()
    spent.events, spent.batches, spent.wal = (now - then for now, then in zip(counts(), before, strict=True))
    spent.cpu = {name: seconds - cpu_before.get(name, 0.0) for name, seconds in cpu().items()}


def constants(flood: Spent, trickle: Spent) -> dict[str, float]:
    """Milliseconds and bytes of an event, and of a batch beside its events."""

    def of_event(name: str) -> float:
        return flood.cpu.get(name, 0.0) / flood.events

    def of_batch(whole: float, event: float) -> float:
        return max(0.0, whole - event * trickle.events) / trickle.batches

    found = {f"{name}_ms_per_event": of_event(name) * 1000 for name in ("receiver", "run", "postgres")} | {
        f"{name}_ms_per_batch": of_batch(trickle.cpu.get(name, 0.0), of_event(name)) * 1000
        for name in ("run", "postgres")
    }
    lock, wal = flood.locked / flood.events, flood.wal / flood.events
    return found | {
        "lock_ms_per_event": lock * 1000,
        "lock_ms_per_batch": of_batch(trickle.locked, lock) * 1000,
        "wal_bytes_per_event": wal,
        "wal_bytes_per_batch": of_batch(trickle.wal, wal),
        "flood_batches": flood.batches,
        "trickle_batches": trickle.batches,
    }


def bytes_of(url: str, stores: Stores, events: int) -> dict[str, float]:
    """Of an event in each store; raw envelopes in the database and, once they are moved, in files."""
    spool = asked(url, "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relname LIKE 'envelopes_2%%' AND c.relkind = 'r'")  # fmt: skip
    ids = asked(url, "SELECT pg_total_relation_size('state.event_ids')")
    lake = sum(t.size for t in stores.lake.day_totals() if t.table in ("events", "event_payloads"))
    began, cpu = time.monotonic(), time.process_time()
    for day in stores.spool.days():
        stores.spool.move_day(day)
    cpu = time.process_time() - cpu
    moved = stores.spool.moved()
    envelopes = sum(day.envelopes for day in moved)
    return {
        "spool_bytes_per_event": float(spool) / events,
        "event_ids_bytes_per_event": float(ids) / events,
        "lake_bytes_per_event": lake / events,
        "raw_file_bytes_per_event": sum(day.bytes for day in moved) / envelopes,
        "moving_ms_per_event": cpu / envelopes * 1000,
        "moving_events_per_s": envelopes / (time.monotonic() - began),
    }


def size_of(rate: int, c: dict[str, float]) -> dict[str, float]:
    """What so many events a second take. Batches come once a second from each drain, and hold LARGEST_BATCH at most."""
    per_event = rate * c["run_ms_per_event"] / 1000
    drains = math.ceil(per_event / 0.7)
    batches = max(drains, rate / LARGEST_BATCH)
    return {
        "events_a_day_millions": rate * DAY / 1e6,
        "receiver_cores": rate * c["receiver_ms_per_event"] / 1000,
        "drain_cores": per_event + batches * c["run_ms_per_batch"] / 1000,
        "drains": drains,
        "batches_per_s": batches,
        "lock_busy_percent": (rate * c["lock_ms_per_event"] + batches * c["lock_ms_per_batch"]) / 10,
        "postgres_cores": (rate * c["postgres_ms_per_event"] + batches * c["postgres_ms_per_batch"]) / 1000,
        "wal_mb_per_s": (rate * c["wal_bytes_per_event"] + batches * c["wal_bytes_per_batch"]) / 1e6,
        "spool_in_database_gb": rate * DAY * 2 * c["spool_bytes_per_event"] / 1e9,
        "raw_in_files_gb": rate * DAY * 6 * c["raw_file_bytes_per_event"] / 1e9,
        "lake_gb_a_day": rate * DAY * c["lake_bytes_per_event"] / 1e9,
        "event_ids_90_days_gb": rate * DAY * 90 * c["event_ids_bytes_per_event"] / 1e9,
    }


def rounded(figures: dict[str, float]) -> dict[str, float]:
    """Three digits that count."""
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


def main() -> None:
    """Measure, reckon and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--events", type=int, default=6000, help="of the flood")
    parser.add_argument("--rate", type=float, default=20, help="events a second after it")
    parser.add_argument("--seconds", type=float, default=40)
    parser.add_argument("--database-url", default=OWN, help=HELP)
    parser.add_argument("--data-url", default="", help=OBJECTS_HELP)
    arguments = parser.parse_args()
    with (
        temporary_root() as root,
        database(arguments.database_url) as url,
        objects(arguments.data_url) as data_url,
    ):
        home = Home(root, database_url=url, data_url=data_url)
        with (
            running_demo_service(home, linger_seconds=30) as (process, service),
            open_stores(home) as stores,
        ):
            send(service.receiver_url, 500)
            wait_until_stored(stores, 500)
            with watched(url, process.pid, stores) as flood:
                send(service.receiver_url, arguments.events)
                wait_until_stored(stores, 500 + arguments.events)
            count = int(arguments.rate * arguments.seconds)
            with watched(url, process.pid, stores) as trickle:
                send(service.receiver_url, count, rate=arguments.rate)
                wait_until_stored(stores, 500 + arguments.events + count)
        with open_stores(home) as stores:
            found = constants(flood, trickle) | bytes_of(url, stores, 500 + arguments.events + count)
    sizes = {str(rate): rounded(size_of(rate, found)) for rate in SIZES}
    print(json.dumps({"constants": rounded(found), "sizes": sizes}))


if __name__ == "__main__":
    main()
