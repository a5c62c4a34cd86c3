"""What the drain alone costs: `python -m benchmarks drain` prints one JSON object.

So many shop events are put into a spool and drained in this process, beside the floor, a few times in turn: CPU of the
drain by stage, over the floor. No receiver and no Dagster: it takes seconds, and a change of a step is seen in it.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import sys
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from benchmarks.floor import floor_cpu_ms
from benchmarks.varied import events
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.demo.traffic import PUBLIC_KEY
from tasks_pipeline.home import Home
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.stores import Stores, open_stores

CONFIG = f"projects: [{{id: 1, slug: shop, keys: [{{public_key: {PUBLIC_KEY}}}]}}]\n"
WARM = 500
"""Events drained before the clock starts: compiled rules and first groups are paid once a run."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many events, and how they differ from one another (`benchmarks/varied.py`)."""

    count: int
    varied: bool = False
    new_percent: float = 0


def fill(stores: Stores, traffic: Traffic) -> date:
    """Put so many events into the spool, as received now; gives the day."""
    day = datetime.now(UTC).date()
    with closing(stores.spool.writer()) as writer:
        writer.append(
            [
                # Received when it was made: a minute later its clock would seem wrong, and it would be mended.
                Receipt(datetime.now(UTC), 1, PUBLIC_KEY, event.event_id, "gzip", 1, event.body)
                for event in events(traffic.count, varied=traffic.varied, new_percent=traffic.new_percent)
            ]
        )
    return day


def drained_cpu_ms(
    stores: Stores, traffic: Traffic, profiler: cProfile.Profile | None = None
) -> tuple[float, dict[str, float]]:
    """CPU milliseconds an event of draining so many, all threads together, and milliseconds of its stages."""
    day, count = fill(stores, traffic), traffic.count
    started = time.process_time()
    with profiler or nullcontext():
        report = drain(stores, day, linger_seconds=0)
    spent = time.process_time() - started
    if report.counts["stored"] != count:
        raise SystemExit(f"{dict(report.counts)} is not {count} stored events")
    return spent / count * 1000, {name: s / count * 1000 for name, s in report.seconds.items()}


def measure(root: Path, traffic: Traffic, rounds: int, profile: bool) -> dict[str, Any]:
    """The least of each figure: what else the machine does only adds."""
    home = Home(root)
    home.root.mkdir(mode=0o700, exist_ok=True)
    home.config_path.write_text(CONFIG)
    costs, floors, stages = [], [], []
    profiler = cProfile.Profile() if profile else None
    with open_stores(home) as stores:
        drained_cpu_ms(stores, replace(traffic, count=WARM))
        for _ in range(rounds):
            floors.append(floor_cpu_ms(500))
            spent, by_stage = drained_cpu_ms(stores, traffic, profiler)
            costs.append(spent)
            stages.append(by_stage)
    if profiler is not None:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    floor = {name: min(each[name] for each in floors) for name in floors[0]}
    return {
        "events": traffic.count,
        "drain_cpu_ms_per_event": round(min(costs), 3),
        "floor_cpu_ms_per_event": round(floor["sum"], 3),
        "floor_parts_ms": {name: round(value, 3) for name, value in floor.items()},
        "drain_cpu_over_floor": round(min(costs) / floor["sum"], 2),
        "stage_ms": {name: round(min(each[name] for each in stages), 3) for name in stages[0]},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks drain", description=__doc__)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--varied", action="store_true", help="each event has ids, numbers and variables of its own"
    )
    parser.add_argument(
        "--new", type=float, default=0, help="so many in a hundred have stacks never seen before"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes, and wrong figures")
    arguments = parser.parse_args()
    traffic = Traffic(arguments.events, arguments.varied, arguments.new)
    with temporary_root() as root:
        print(json.dumps(measure(root, traffic, arguments.rounds, arguments.profile)))


if __name__ == "__main__":
    main()
