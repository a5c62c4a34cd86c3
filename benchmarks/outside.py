"""The service as benchmarks see it from outside: what it has stored, and what an event costs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.processes import cpu_seconds
from benchmarks.servers import Server
from tasks_pipeline.processing.books import books_of_state
from tasks_pipeline.stores import Stores

POLL_SECONDS = 0.05
PATIENCE_SECONDS = 600


def stored(stores: Stores) -> int:
    """Items stored so far."""
    return sum(books_of_state(stores, day).stored for day in stores.spool.days())


def wait_until_stored(stores: Stores, count: int) -> float:
    """Seconds since 1970 at which so many items are stored and visible."""
    deadline = time.time() + PATIENCE_SECONDS
    while stored(stores) < count:
        if time.time() > deadline:
            raise SystemExit(f"only {stored(stores)} of {count} items were stored in {PATIENCE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    return time.time()


def send(url: str, count: int, rate: float = 0) -> dict[str, Any]:
    """Send shop events from a process of their own."""
    command = [sys.executable, "-m", "benchmarks.send", url, str(count), "--rate", str(rate)]
    result: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return result


def as_fast_as_possible(
    stores: Stores, pid: int, url: str, count: int, server: Server | None = None
) -> tuple[dict[str, Any], float]:
    """So many events through the service of a process: figures, and the seconds it took. The CPU of its database's server counts
    with it."""

    def spent_so_far() -> dict[str, float]:
        return cpu_seconds(pid) | ({"postgres": server.cpu_seconds()} if server else {})

    before, cpu_before = stored(stores), spent_so_far()
    sent = send(url, count)
    seconds = wait_until_stored(stores, before + count) - sent["started"]
    cpu = {role: spent - cpu_before.get(role, 0.0) for role, spent in spent_so_far().items()}
    figures = {
        "end_to_end_events_per_s": round(count / seconds, 1),
        "cpu_ms_per_event": round(sum(cpu.values()) / count * 1000, 3),
        "cpu_ms_per_event_by_process": {role: round(s / count * 1000, 3) for role, s in cpu.items()},
        "receive_per_s": round(sent["sent"] / (sent["ended"] - sent["started"]), 1),
        "receive_p95_ms_full_load": sent["p95_ms"],
    }
    return figures, seconds


def over_floor(figures: dict[str, Any], floor: dict[str, float]) -> dict[str, Any]:
    """The floor, and how many times as much an event costs."""
    return {
        "floor_cpu_ms_per_event": round(floor["sum"], 3),
        "floor_parts_ms": {name: round(value, 3) for name, value in floor.items()},
        "cpu_over_floor": round(figures["cpu_ms_per_event"] / floor["sum"], 2),
    }
