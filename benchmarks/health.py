"""What the health of a large day costs: `python -m benchmarks health` prints one JSON object.

Updates of sessions of one day, in as many files as drains make, are put into a lake; the day is computed by a process of its own, whose
CPU and largest memory count, and computed again as a schedule does when some rows came.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.releases.proofs import prove
from tasks_pipeline.storage.lake.tables import SESSIONS
from tasks_pipeline.stores import open_stores

DAY = date(2020, 1, 1)
RELEASES, ENVIRONMENTS = 20, ("production", "staging", None)
FILES = 20
FRACTION_OF_CRASHES = 0.01


def updates(first: int, count: int, sessions: int, users: int) -> pa.Table:
    """Rows of so many updates: each session has about count / sessions of them, and one of the users."""
    random, begin = Random(first), datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    rows: dict[str, list[Any]] = {column.name: [] for column in SESSIONS.columns}
    for place in range(first, first + count):
        session = random.randrange(sessions)
        started = begin + timedelta(seconds=session * 86_400 / sessions)
        crashed = random.random() < FRACTION_OF_CRASHES
        values = {
            "day": DAY, "part": "r0", "position": place, "item": 0, "project_id": 1 + session % users % 3, "received_at": started,
            "session_id": f"{session * 0x9E3779B97F4A7C15 % 2**128:032x}", "user_hash": (session % users) * 0x9E3779B97F4A7C15 % 2**63,
            "seq": random.choice((0, place)), "init": False, "started": started, "timestamp": started,
            "duration_s": random.random() * 1000, "status": "crashed" if crashed else random.choice(("ok", "exited")),
            "errors": int(crashed), "quantity": 1, "abnormal_mechanism": None, "release": f"shop@1.0.{session % RELEASES}",
            "environment": ENVIRONMENTS[session % len(ENVIRONMENTS)],
        }  # fmt: skip
        for name, value in values.items():
            rows[name].append(value)
    return pa.table(rows, SESSIONS.arrow)


def fill(home: Home, count: int, sessions: int, users: int) -> None:
    """Put the updates into the lake."""
    with open_stores(home) as stores:
        for number in range(FILES):
            with stores.lake.writing(DAY, "benchmark") as files:
                files.add({"sessions": updates(number * count // FILES, count // FILES, sessions, users)})
                files.finish()
                with stores.lake.lock():
                    stores.lake.register(files.finished)


def _measured(home: Home, connection: Any) -> None:
    with open_stores(home) as stores:
        stores.lake.flushed_through()  # opening is not what is measured
        before = peak_mb()
        cpu, wall = time.process_time(), time.perf_counter()
        report = compute_health(stores.lake, stores.state, DAY)
        spent = time.process_time() - cpu, time.perf_counter() - wall
        cpu = time.process_time()
        prove(stores.lake, stores.state, DAY)
        proofs = time.process_time() - cpu
        tables = {f.table: f.size for f in stores.lake.live_files() if f.table in report.written}
        connection.send(
            {
                "sessions": report.sessions, "users": report.users, "rows": report.rows, "cpu_s": round(spent[0], 2),
                "wall_s": round(spent[1], 2), "checks_cpu_s": round(proofs, 2), "memory_before_mb": before,
                "peak_memory_mb": peak_mb(),
                "rows_written": report.written, "bytes_written": tables,
            }
        )  # fmt: skip


def peak_mb() -> int:
    """The largest that this process was so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(root: Path, count: int, sessions: int, users: int, url: str) -> dict[str, Any]:
    """Fill a home in one process and compute in another."""
    home = Home(root / "home", database_url=url)
    home.root.mkdir(mode=0o700)
    context = multiprocessing.get_context(
        "fork"
    )  # functions of a module that runs as __main__ cannot be sent
    filling = context.Process(target=fill, args=(home, count, sessions, users))
    filling.start()
    filling.join()
    receiver, sender = context.Pipe(duplex=False)
    working = context.Process(target=_measured, args=(home, sender))
    working.start()
    figures: dict[str, Any] = receiver.recv()
    working.join()
    return {"updates": count, **figures}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks health", description=__doc__)
    parser.add_argument("--updates", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=300_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--database-url", default="", help="an empty database of Postgres; default: SQLite")
    arguments = parser.parse_args()
    with temporary_root() as root:
        figures = measure(
            root, arguments.updates, arguments.sessions, arguments.users, arguments.database_url
        )
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
