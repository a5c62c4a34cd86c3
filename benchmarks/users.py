"""What a batch costs when many users are known: `python -m benchmarks users` prints one JSON object.

A batch of 500 events with as many new users, CPU of all of it (staging, settling, files, catalog, counters), in an empty store and in one
whose group has so many users already.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text

from benchmarks.bare import one_event
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.processing.process_batch import process_batch
from tasks_pipeline.storage.ledger.batches import claim_batch
from tasks_pipeline.storage.ledger.drains import start_drain
from tasks_pipeline.stores import Stores, open_stores

CONFIG = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
DAY = date(2020, 1, 1)
EVENTS = 500
WARM, ROUNDS = 3, 15
_users = count()


def batch_cpu_ms(stores: Stores, drain_id: str) -> float:
    """CPU milliseconds of one batch of new users."""
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    receipts = [one_event(noon, {"id": f"new-{next(_users)}"}, uuid4().hex) for _ in range(EVENTS)]
    with closing(stores.spool.writer()) as writer:
        writer.append(receipts)
    batch = claim_batch(stores.state, stores.spool, DAY, drain_id, max_envelopes=EVENTS, max_bytes=2**30)
    if batch is None:
        raise SystemExit("no batch was there")
    started = time.process_time()
    result = process_batch(stores, batch)
    spent = (time.process_time() - started) * 1000
    if result.counts["stored"] != EVENTS:
        raise SystemExit(f"{result.counts} is not {EVENTS} stored events")
    return spent


def medians_ms(*homes: tuple[Stores, str]) -> list[float]:
    """The median of each: batches in turn, since the machine's own speed moves from minute to minute."""
    rounds = [[batch_cpu_ms(*home) for home in homes] for _ in range(WARM + ROUNDS)][WARM:]
    return [statistics.median(of_home) for of_home in zip(*rounds, strict=True)]


def fill(stores: Stores, users: int) -> None:
    """So many users of the group, seen on the day before."""
    numbers = (
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :users) "
        if stores.state.is_sqlite
        else "WITH numbers AS (SELECT generate_series(1, :users) AS n) "
    )
    insert = text(
        "INSERT INTO group_values (group_id, kind, value, day, times_seen) "
        f"{numbers} SELECT (SELECT min(id) FROM groups), 'user', 'id:' || n, :day, 1 FROM numbers"
    )
    with stores.state.write() as connection:
        before = DAY - timedelta(days=1)
        connection.execute(
            insert, {"users": users, "day": before.isoformat() if stores.state.is_sqlite else before}
        )


def measure(root: Path, users: int, urls: tuple[str, str]) -> dict[str, float]:
    """Both figures and their ratio."""
    with ExitStack() as stack:
        homes = []
        for name, url in zip(("empty", "full"), urls, strict=True):
            home = Home(root / name, database_url=url)
            home.root.mkdir(mode=0o700)
            home.config_path.write_text(CONFIG)
            stores = stack.enter_context(open_stores(home))
            homes.append((stores, start_drain(stores.state, DAY, None)))
        batch_cpu_ms(*homes[1])  # makes the group
        fill(homes[1][0], users)
        empty, full = medians_ms(*homes)
    return {
        "users": users,
        "events": EVENTS,
        "batch_cpu_ms_at_0": round(empty, 1),
        "batch_cpu_ms_at_n": round(full, 1),
        "ratio": round(full / empty, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks users", description=__doc__)
    parser.add_argument("--users", type=int, default=2_000_000)
    parser.add_argument(
        "--database-urls", nargs=2, default=("", ""), help="two empty databases of Postgres; default: SQLite"
    )
    arguments = parser.parse_args()
    with temporary_root() as root:
        print(json.dumps(measure(root, arguments.users, tuple(arguments.database_urls))))


if __name__ == "__main__":
    main()
