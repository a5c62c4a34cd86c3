"""`python -m benchmarks`: starts the service in a temporary home, measures it from outside, prints one JSON object.
`python -m benchmarks hostile` sends hostile envelopes instead (`benchmarks/hostile.py`), `python -m benchmarks soak` simulates
weeks of a trickle (`benchmarks/soak.py`), `python -m benchmarks celery` kills workers (`benchmarks/celery.py`), `hosts` whole hosts (`benchmarks/hosts.py`).

`python -m benchmarks rest` measures it with nothing to do instead.
Times depend on the machine and on what else it does; the floor is measured in the same run to compare with.
"""

from __future__ import annotations

import argparse
import json
import runpy
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from benchmarks.floor import floor_cpu_ms
from benchmarks.outside import (
    PATIENCE_SECONDS,
    POLL_SECONDS,
    as_fast_as_possible,
    over_floor,
    send,
    stored,
    wait_until_stored,
)
from benchmarks.processes import memory_mb
from benchmarks.servers import BROKER_HELP, HELP, OBJECTS_HELP, broker, database, objects, server_of
from tasks_pipeline.demo.hook import Hook, listening_hook
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.demo.traffic import PUBLIC_KEY
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.events import find_event
from tasks_pipeline.stores import Stores, open_stores

REST_SECONDS = 15


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


def latency(stores: Stores, url: str, hook: Hook) -> tuple[float, float]:
    """Seconds from sending one event of a new group until it can be read back, and until its alert reached the webhook."""
    event_id = uuid4().hex
    exception = {"type": "BenchmarkError", "value": f"benchmark {event_id}"}
    event = {
        "event_id": event_id,
        "platform": "python",
        "level": "error",
        "fingerprint": [event_id],
        "exception": {"values": [exception]},
    }
    started = time.perf_counter()
    httpx.post(f"{url}/api/1/store/?sentry_key={PUBLIC_KEY}", json=event, timeout=30).raise_for_status()
    while find_event(stores.state, stores.lake, event_id) is None:
        if time.perf_counter() - started > PATIENCE_SECONDS:
            raise SystemExit("an event never became visible")
        time.sleep(POLL_SECONDS)
    visible = time.perf_counter() - started
    posted = hook.await_text(event_id, PATIENCE_SECONDS)
    if posted is None:
        raise SystemExit("the alert of an event never reached the webhook")
    return visible, posted.at - started


def alone(module: str) -> dict[str, float]:
    """What a module measures, in a process of its own: what this one has loaded would slow the garbage collector."""
    command = [sys.executable, "-m", f"benchmarks.{module}"]
    result: dict[str, float] = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )
    return result


def bytes_below(folder: Path) -> int:
    """Bytes of the files in a folder and below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def lake_bytes(stores: Stores) -> int:
    """Bytes of the files of events; in object storage of those that the catalog names."""
    if stores.home.far:
        return sum(t.size for t in stores.lake.day_totals() if t.table in ("events", "event_payloads"))
    lake = Path(stores.home.lake_files) / "main"
    return bytes_below(lake / "events") + bytes_below(lake / "event_payloads")


def measure(
    root: Path, count: int, database_url: str = "", data_url: str = "", broker_url: str = ""
) -> dict[str, Any]:
    """All figures; the keys without unit in their name are in the unit that docs/benchmarks.md says."""
    home = Home(root, database_url=database_url, data_url=data_url, broker_url=broker_url)
    server = server_of(database_url)
    with (
        listening_hook() as hook,
        running_demo_service(home, linger_seconds=30, hook_url=hook.url, alerts=100_000) as (
            process,
            service,
        ),
        open_stores(home) as stores,
    ):
        say(f"at rest for {REST_SECONDS} s ...")
        time.sleep(REST_SECONDS)
        memory = memory_mb(process.pid)
        say("cold and warm latency ...")
        cold, cold_alert = latency(stores, service.receiver_url, hook)
        warmed = [latency(stores, service.receiver_url, hook) for _ in range(5)]
        say(f"{count} events as fast as possible ...")
        figures, seconds = as_fast_as_possible(stores, process.pid, service.receiver_url, count, server)
        say("half load ...")
        before = stored(stores)
        half = send(service.receiver_url, int(count / seconds / 2 * 10), rate=count / seconds / 2)
        total = before + half["sent"]
        wait_until_stored(stores, total)
        raw = server.bytes_of("spool") if server else bytes_below(root / "spool")
        return figures | {
            "bytes_per_event": round(lake_bytes(stores) / total),
            "receive_p95_ms": half["p95_ms"],
            "cold_latency_s": round(cold, 2),
            "warm_latency_s": round(statistics.median(visible for visible, _ in warmed), 2),
            "cold_alert_s": round(cold_alert, 2),
            "warm_alert_s": round(statistics.median(alert for _, alert in warmed), 2),
            "rest_memory_mb": memory["sum"],
            "rest_memory_by_process_mb": memory,
            "raw_bytes_per_event": round(raw / total),
            "events": total,
        }


def main() -> None:
    """Measure and print; a first word names one of the other modules, which is run with the rest."""
    if len(sys.argv) > 1 and sys.argv[1].isidentifier():
        name = sys.argv.pop(1)
        runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--events", type=int, default=12_000, help="events of the throughput part")
    parser.add_argument("--database-url", default="", help=HELP)
    parser.add_argument("--data-url", default="", help=OBJECTS_HELP)
    parser.add_argument("--broker", default="", help=BROKER_HELP)
    arguments = parser.parse_args()
    say("grouping, scrubbing, symbolication ...")
    steps = alone("grouping") | alone("scrubbing") | alone("symbolication")
    say("monitors; notifications beside a dead channel, and from senders that are killed ...")
    steps |= alone("monitors") | alone("notifications")
    floor = floor_cpu_ms()
    with (
        temporary_root() as root,
        database(arguments.database_url) as url,
        objects(arguments.data_url) as data_url,
        broker(arguments.broker) as broker_url,
    ):
        figures = measure(root, arguments.events, url, data_url, broker_url)
    print(json.dumps(figures | steps | over_floor(figures, floor)))


if __name__ == "__main__":
    main()
