"""What a whole service costs that has nothing to do: `python -m benchmarks rest --minutes 5` prints one JSON object.

CPU is of all its processes (receiver, code server and its warm process, daemon, webserver, nudge, supervisor), bytes are what
its home grows by on disk. Before it measures the service settles for so long that what is kept for a while (ticks that
skipped) is dropped as fast as it comes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import cpu_seconds, memory_mb
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.home import Home

SETTLE_MINUTES = 12.0
DAY_SECONDS = 86_400


def measure_rest(root: Path, minutes: float, settle_minutes: float) -> dict[str, Any]:
    """CPU, growth and memory of a service in an empty home."""
    with running_demo_service(Home(root), linger_seconds=30) as (process, _):
        time.sleep(settle_minutes * 60)
        started, cpu, size = time.monotonic(), cpu_seconds(process.pid), _bytes_on_disk(root)
        time.sleep(minutes * 60)
        seconds = time.monotonic() - started
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
    }


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
    chosen = parser.parse_args(arguments)
    with temporary_root() as root:
        print(json.dumps(measure_rest(root, chosen.minutes, chosen.settle_minutes)))


if __name__ == "__main__":
    main(sys.argv[1:])
