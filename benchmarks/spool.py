"""What the spool on Postgres takes and gives a second: `python -m benchmarks spool` prints one JSON object.

In turns, so that both meet the same machine: envelopes of 5.3 KB appended in commits of some sizes and read again, by the spool and
by the way it once had (SQLAlchemy over psycopg2, `INSERT … VALUES`). CPU is of this process. Starts a server of its own, which syncs
what it commits, unless `--database-url` names a database.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, create_engine, insert, select, update

from benchmarks.servers import HELP, OWN, database
from tasks_pipeline.home import Home
from tasks_pipeline.storage.spool.interface import Receipt, Spool, Spooled
from tasks_pipeline.storage.spool.open import open_spool
from tasks_pipeline.storage.spool.postgres_tables import ENVELOPES, TOTALS, of

DAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BODY_BYTES = 5_300
FORMER = "former"
_META = {"client": "sentry.python/2.75.0", "user_agent": "sentry.python/2.75.0", "remote_addr": "127.0.0.1"}


def receipts(count: int) -> list[Receipt]:
    """Envelopes whose bodies do not compress, as those that came compressed."""
    return [
        Receipt(
            NOON + timedelta(milliseconds=n),
            1,
            "a" * 32,
            f"{n:032x}",
            "gzip",
            1,
            os.urandom(BODY_BYTES),
            _META,
        )
        for n in range(count)
    ]


def former_append(engine: Engine, batch: list[Receipt]) -> None:
    """A commit as it once was, to a part of its own."""
    with engine.begin() as connection:
        locked = select(TOTALS).where(*of(TOTALS, DAY, FORMER)).with_for_update()
        totals = dict(connection.execute(locked).mappings().one())
        rows = []
        for each in batch:
            totals["last_position"] += 1
            totals["items"] += each.items
            totals["bytes"] += len(each.body)
            totals["last_received_at"] = each.received_at
            rows.append(
                {
                    "day": DAY,
                    "part": FORMER,
                    "position": totals["last_position"],
                    "received_at": each.received_at,
                    "project_id": each.project_id,
                    "public_key": each.public_key,
                    "event_id": each.event_id,
                    "encoding": each.encoding,
                    "items": each.items,
                    "items_through": totals["items"],
                    "size": len(each.body),
                    "size_through": totals["bytes"],
                    "meta": msgspec.json.encode(each.meta).decode(),
                    "body": each.body,
                }
            )
        connection.execute(insert(ENVELOPES), rows)
        connection.execute(update(TOTALS).where(*of(TOTALS, DAY, FORMER)).values(totals))


def former_read(engine: Engine, after: int, count: int) -> list[Spooled]:
    """Envelopes as they were once read, without looking for the end of the batch before."""
    query = select(ENVELOPES).where(
        *of(ENVELOPES, DAY, FORMER), ENVELOPES.c.position.between(after + 1, after + count)
    )
    with engine.connect() as connection:
        return [
            Spooled(
                row.day,
                row.part,
                row.position,
                Receipt(
                    row.received_at.astimezone(UTC), row.project_id, row.public_key, row.event_id, row.encoding, row.items,
                    bytes(row.body), msgspec.json.decode(row.meta),
                ),
            )
            for row in connection.execute(query.order_by(ENVELOPES.c.position))
        ]  # fmt: skip


def paced(work: Callable[[], object], envelopes: int) -> tuple[float, float]:
    """Envelopes a second, and microseconds of CPU of this process for each."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    return envelopes / seconds, spent / envelopes * 1e6


def measure(home: Home, sizes: list[int], rounds: int, commits: int) -> dict[str, Any]:
    """Medians of the rounds, and how many times the former way the spool is."""
    engine = create_engine(home.postgres_url, executemany_mode="values_only")
    found: dict[str, list[tuple[float, float]]] = {}
    with closing(open_spool(home)) as spool, closing(spool.writer()) as writer:
        create_part(spool)
        for _ in range(rounds):
            for size in sizes:
                batch = receipts(size)
                times = max(1, commits if size < 1_000 else commits // 5)

                def spooled(batch: list[Receipt] = batch, times: int = times) -> None:
                    for _ in range(times):
                        writer.append(batch)

                def formerly(batch: list[Receipt] = batch, times: int = times) -> None:
                    for _ in range(times):
                        former_append(engine, batch)

                found.setdefault(f"append_{size}", []).append(paced(spooled, size * times))
                found.setdefault(f"append_{size}_{FORMER}", []).append(paced(formerly, size * times))
        for _ in range(2 * rounds):
            count = min(2_500, spool.totals(DAY)[FORMER].envelopes)
            read = partial(spool.read, DAY, writer.part, 0, max_envelopes=count, max_bytes=1 << 30)
            found.setdefault("read", []).append(paced(read, count))
            found.setdefault(f"read_{FORMER}", []).append(
                paced(partial(former_read, engine, 0, count), count)
            )
    engine.dispose()
    return figures(found)


def create_part(spool: Spool) -> None:
    """A part for the former way."""
    spool.create_day(DAY, FORMER)  # type: ignore[attr-defined]


def figures(found: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Medians by name, and ratios to the former way."""
    rates = {name: statistics.median(rate for rate, _ in each) for name, each in found.items()}
    cpu = {name: statistics.median(spent for _, spent in each) for name, each in found.items()}
    return {
        "times_former": {
            name: round(rate / rates[f"{name}_{FORMER}"], 2)
            for name, rate in rates.items()
            if f"{name}_{FORMER}" in rates
        },
        "per_s": {name: round(rate) for name, rate in rates.items()},
        "cpu_us": {name: round(spent, 1) for name, spent in cpu.items()},
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks spool", description=__doc__)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1, 10, 100, 1_000], help="envelopes to a commit"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--commits", type=int, default=30, help="of each size in a round; a fifth of it of 1,000"
    )
    parser.add_argument("--database-url", default=OWN, help=HELP)
    arguments = parser.parse_args()
    with database(arguments.database_url) as url:
        home = Home(Path("/nonexistent"), database_url=url)
        print(json.dumps(measure(home, arguments.sizes, arguments.rounds, arguments.commits)))


if __name__ == "__main__":
    main()
