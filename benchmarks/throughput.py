"""What an event costs from the socket to the lake: `python -m benchmarks throughput` prints one JSON object.

The part of `python -m benchmarks` about the cost of an event, alone: the whole service, so many events as fast as they
are answered, CPU of all its processes, and the floor.
"""

from __future__ import annotations

import argparse
import json

from benchmarks.floor import floor_cpu_ms
from benchmarks.outside import as_fast_as_possible, over_floor
from benchmarks.servers import HELP, OBJECTS_HELP, database, objects, server_of
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.stores import open_stores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--events", type=int, default=6000)
    parser.add_argument("--warm", type=int, default=500, help="events sent before the clock starts")
    parser.add_argument("--database-url", default="", help=HELP)
    parser.add_argument("--data-url", default="", help=OBJECTS_HELP)
    arguments = parser.parse_args()
    floors = [floor_cpu_ms()]
    with (
        temporary_root() as root,
        database(arguments.database_url) as url,
        objects(arguments.data_url) as data_url,
    ):
        home, server = Home(root, database_url=url, data_url=data_url), server_of(url)
        with (
            running_demo_service(home, linger_seconds=30) as (process, service),
            open_stores(home) as stores,
        ):
            as_fast_as_possible(stores, process.pid, service.receiver_url, arguments.warm)
            figures, _ = as_fast_as_possible(
                stores, process.pid, service.receiver_url, arguments.events, server
            )
            floors.append(floor_cpu_ms())
    floor = min(floors, key=lambda parts: parts["sum"])
    print(json.dumps(figures | over_floor(figures, floor)))


if __name__ == "__main__":
    main()
