"""Merging files beside appenders that are killed: `python -m benchmarks appends` prints one JSON object.

Processes of their own register files of a day with a lake on PostgreSQL, one merges them in a loop, and every now and then one of all
is killed with SIGKILL and started again. `lost` are rows that were acknowledged and are not there, `doubled` rows that are there twice,
`failures` what anybody was told. `--shared` has all of them hold the lake's lock together, which the pipeline does not: who is first
commits, and the others try again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from unittest.mock import patch

import psycopg

from benchmarks.servers import HELP, OWN, database
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.arrow import to_arrow
from tasks_pipeline.storage.lake.compaction import merge_files
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.storage.state import locks
from tasks_pipeline.storage.state.database import StateDatabase

DAY = date(2026, 11, 22)
TABLE = "dead_letters"
ROWS = 50
"""Rows of an append; their items say which they are."""
CROWDED = 8
MERGER = "merger"


@dataclass
class Worker:
    """A process that appends, or merges, and what it said so far."""

    name: str
    command: list[str]
    process: subprocess.Popen[str] | None = None
    next: int = 1
    done: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    def start(self) -> None:
        """Go on where it was killed."""
        self.process = subprocess.Popen([*self.command, str(self.next)], stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                continue
            kind, _, rest = line.strip().partition(" ")
            if kind == "begun":
                self.next = int(rest) + 1  # what was under way when it was killed is not done again
            elif kind == "done":
                self.done.append(int(rest))
            else:
                self.failures.append(rest)

    def kill(self) -> None:
        """As the machine would."""
        assert self.process is not None
        assert self.reader is not None
        self.process.kill()
        self.process.wait()
        self.reader.join()


@contextmanager
def shared_lock(home: Home, name: str, _engine: object = None) -> Iterator[None]:
    """The lake's lock, held with others."""
    with closing(psycopg.connect(home.postgres_url.replace("+psycopg2", "", 1))) as connection:
        connection.execute("SELECT pg_advisory_xact_lock_shared(%s)", (locks._key(name),))
        yield


def work(home: Home, name: str, first: int, shared: bool) -> None:
    """Append, or merge, until killed; says what was begun and done."""
    with closing(StateDatabase(home)) as state, closing(Lake(home, state)) as lake:
        if shared:
            lake._stored.execute("SET ducklake_max_retry_count = 100")
        together = (
            patch("tasks_pipeline.storage.lake.lake.process_lock", shared_lock) if shared else nullcontext()
        )
        number = first
        with together:
            while True:
                print(f"begun {number}", flush=True)
                try:
                    done = merge(lake) if name == MERGER else append(lake, name, number)
                except Exception as error:  # noqa: BLE001 - counted
                    print(f"failed {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
                else:
                    if done:
                        print(f"done {number}", flush=True)
                number += 1


def append(lake: Lake, part: str, number: int) -> bool:
    """A file with rows that name their append."""
    common = {
        "day": DAY,
        "part": part,
        "position": number,
        "project_id": 1,
        "item_type": "event",
        "reason": "x",
    }
    with lake.writing(DAY, part) as files:
        files.add(to_arrow({TABLE: [{**common, "item": item} for item in range(ROWS)]}))
        finished = files.finish()[:]
        with lake.lock():
            lake.register(finished)
            files.finished.clear()
    return True


def merge(lake: Lake) -> bool:
    """The smallest files become one, where there are several."""
    files = sorted((file for file in lake.live_files() if file.table == TABLE), key=lambda file: file.size)
    if len(files) < CROWDED:
        time.sleep(0.1)
        return False
    return merge_files(lake, files[: 3 * CROWDED])


def measure(
    home: Home, appenders: int, seconds: float, kill_every: float, shared: bool, seed: int
) -> dict[str, object]:
    """Let them work, kill some, count."""
    with closing(StateDatabase(home)) as state, closing(Lake(home, state)) as lake:
        _ = lake.live_files()
    words = [
        sys.executable,
        "-m",
        "benchmarks.appends",
        "--home",
        str(home.root),
        "--database-url",
        home.database_url,
    ]
    words += ["--shared"] if shared else []
    workers = [
        Worker(name, [*words, "--work", name]) for name in [*(f"r{n}" for n in range(appenders)), MERGER]
    ]
    chance, kills = random.Random(seed), Counter[str]()
    for worker in workers:
        worker.start()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(chance.uniform(0.5, 1.5) * kill_every)
        chosen = chance.choice(workers)
        if chosen.done:  # it is at work, and not on its way there
            chosen.kill()
            kills[MERGER if chosen.name == MERGER else "appenders"] += 1
            chosen.start()
    for worker in workers:
        worker.kill()
    return judge(home, workers) | {
        "kills": dict(kills),
        "seconds": seconds,
        "load": round(os.getloadavg()[0], 1),
    }


def judge(home: Home, workers: list[Worker]) -> dict[str, object]:
    """What was acknowledged beside what is there."""
    with closing(StateDatabase(home)) as state, closing(Lake(home, state)) as lake:
        rows = lake.query(
            f"SELECT part, position, count(*) AS n, count(DISTINCT item) AS items FROM lake.{TABLE} GROUP BY ALL"
        )
        files = len([file for file in lake.live_files() if file.table == TABLE])
    there = {(row["part"], row["position"]): row for row in rows}
    appended = [
        (worker.name, number) for worker in workers if worker.name != MERGER for number in worker.done
    ]
    failures = [f"{worker.name}: {failure}" for worker in workers for failure in worker.failures]
    return {
        "appends": len(appended),
        "merges": sum(len(worker.done) for worker in workers if worker.name == MERGER),
        "lost": sum(place not in there or there[place]["items"] != ROWS for place in appended),
        "doubled": sum(row["n"] != row["items"] for row in rows),
        "in_part": sum(row["items"] != ROWS for row in rows),
        "failures": len(failures),
        "first_failures": failures[:3],
        "files": files,
    }


def main() -> None:
    """Measure and print; with --work be one of the processes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks appends", description=__doc__)
    parser.add_argument("first", type=int, nargs="?", default=1, help=argparse.SUPPRESS)
    parser.add_argument("--appenders", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kill-every", type=float, default=2, help="seconds, in the mean")
    parser.add_argument("--shared", action="store_true", help="hold the lake's lock together")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--database-url", default=OWN, help=HELP)
    parser.add_argument("--work", default="", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.work:
        work(Home(chosen.home, database_url=chosen.database_url), chosen.work, chosen.first, chosen.shared)
    with temporary_root() as root, database(chosen.database_url) as url:
        home = Home(root, database_url=url)
        print(
            json.dumps(
                measure(home, chosen.appenders, chosen.seconds, chosen.kill_every, chosen.shared, chosen.seed)
            )
        )


if __name__ == "__main__":
    main()
