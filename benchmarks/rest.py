"""What a whole service costs that has nothing to do: `python -m benchmarks rest --minutes 5` prints one JSON object.

CPU is of all its processes (receiver, code server and its warm process, daemon, webserver, nudge, supervisor), bytes are what
its home grows by on disk. Before it measures the service settles for so long that what is kept for a while (ticks that
skipped) is dropped as fast as it comes. `--postgres direct` or `pooled` has everything on a PostgreSQL of its own, `pooled` with
Dagster's storage behind PgBouncer, and tells new sessions a second and the CPU of the server besides.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_seconds, memory_mb
from benchmarks.servers import OWN, Server, database
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.home import Home
from tests.support.pooler import running_pooler

SETTLE_MINUTES = 12.0
DAY_SECONDS = 86_400


DIRECT, POOLED = "direct", "pooled"
NOTHING = (0.0, 0.0)


@contextmanager
def home_at(root: Path, postgres: str) -> Iterator[tuple[Home, Server | None]]:
    """An empty home, and its server where it has one."""
    if not postgres:
        yield Home(root), None
        return
    with ExitStack() as stack:
        url = stack.enter_context(database(OWN))
        through = stack.enter_context(running_pooler(url)) if postgres == POOLED else ""
        yield Home(root, database_url=url, dagster_database_url=through), Server(url)


def measure_rest(home: Home, server: Server | None, minutes: float, settle_minutes: float) -> dict[str, Any]:
    """CPU, growth and memory of a service in an empty home."""
    root = home.root
    with running_demo_service(home, linger_seconds=30) as (process, _):
        time.sleep(settle_minutes * 60)
        started, cpu, size = time.monotonic(), cpu_seconds(process.pid), _bytes_on_disk(root)
        before = (server.sessions(), server.cpu_seconds()) if server else NOTHING
        time.sleep(minutes * 60)
        seconds = time.monotonic() - started
        after = (server.sessions(), server.cpu_seconds()) if server else NOTHING
        spent = {role: used - cpu.get(role, 0.0) for role, used in cpu_seconds(process.pid).items()}
        grown = {name: used - size.get(name, 0) for name, used in _bytes_on_disk(root).items()}
        memory = memory_mb(process.pid)
    return {
        "cpu_percent_of_a_core": round(sum(spent.values()) / seconds * 100, 2),
        "bytes_per_day": round(sum(grown.values()) / seconds * DAY_SECONDS),
        "memory_mb": memory["sum"],
        "cpu_percent_by_process": {role: round(used / seconds * 100, 2) for role, used in spent.items()},
        "bytes_by_file": {name: change for name, change in grown.items() if change},
        "memory_by_process_mb": memory,
        "minutes": round(seconds / 60, 1),
        "load": round(os.getloadavg()[0], 1),
    } | (
        {
            "postgres_sessions_per_s": round((after[0] - before[0]) / seconds, 2),
            "postgres_cpu_percent_of_a_core": round((after[1] - before[1]) / seconds * 100, 2),
        }
        if server
        else {}
    )


def _bytes_on_disk(root: Path) -> dict[str, int]:
    """Bytes in use on disk by file, logs of processes included; without what SQLite writes ahead, which is bounded."""
    sizes = {}
    for path in root.rglob("*"):
        if path.name.endswith(("-wal", "-shm")):
            continue
        try:
            sizes[str(path.relative_to(root))] = path.lstat().st_blocks * 512
        except FileNotFoundError:  # it was temporary
            continue
    return sizes


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks rest", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to measure")
    parser.add_argument(
        "--settle-minutes", type=float, default=SETTLE_MINUTES, help="how long to wait before"
    )
    parser.add_argument("--postgres", default="", choices=[DIRECT, POOLED], help="on a server of its own")
    chosen = parser.parse_args(arguments)
    with temporary_root() as root, home_at(root, chosen.postgres) as (home, server):
        print(json.dumps(measure_rest(home, server, chosen.minutes, chosen.settle_minutes)))


if __name__ == "__main__":
    main(sys.argv[1:])
