"""What the figures of a large day cost: `python -m benchmarks statistics` prints one JSON object.

Events and transactions of one day, in as many files as drains make, and their groups are put into lake and state; the day is
computed by a process of its own, whose CPU and largest memory count, and computed again as the schedule does after a batch.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
from sqlalchemy import insert

from benchmarks.health import DAY, FILES, peak_mb
from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.analytics.statistics.proofs import prove
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import EVENTS, OUTCOMES, TRANSACTIONS, LakeTable
from tasks_pipeline.storage.state.day_changes import note_day_changes
from tasks_pipeline.storage.state.tables import group_actions, groups
from tasks_pipeline.stores import Stores, open_stores

NOW = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=2)
BEGIN = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
RELEASES, ENVIRONMENTS, LEVELS = 5, ("production", "staging", None), ("error", "error", "warning", "fatal")


def _rows(table: LakeTable, places: range, values: Any) -> pa.Table:
    """Rows at these places of the spool; what a function does not say is null."""
    rows: dict[str, list[Any]] = {column.name: [] for column in table.columns}
    for place in places:
        found = {"day": DAY, "part": "r0", "position": place, "item": 0, **values(place)}
        for name, column in rows.items():
            column.append(found.get(name))
    return pa.table(rows, table.arrow)


def _event(
    random: Random, place: int, count: int, users: int, projects: int, of_groups: int
) -> dict[str, Any]:
    """Some users and groups have far more events than others, as it is; a user is one of a project."""
    user = int(users * random.random() ** 2)
    group = int(of_groups / projects * random.random() ** 3) * projects + user % projects
    return {
        "project_id": 1 + group % projects, "group_id": 1 + group, "received_at": BEGIN + timedelta(seconds=place * 86_399 / count),
        "level": LEVELS[group % len(LEVELS)], "release": f"shop@1.0.{user % RELEASES}",
        "environment": ENVIRONMENTS[user % len(ENVIRONMENTS)], "user_key": f"id:user-{user}", "handled": group % 2 == 0,
        "payload_bytes": 39_000,
    }  # fmt: skip


def _transaction(random: Random, place: int, count: int, users: int, projects: int) -> dict[str, Any]:
    return {
        "project_id": 1 + place % projects, "received_at": BEGIN + timedelta(seconds=place * 86_399 / count),
        "duration_ms": random.expovariate(0.004), "name": f"/page/{int(200 * random.random() ** 2)}", "op": "http.server",
        "status": "ok" if random.random() < 0.97 else "internal_error", "release": f"shop@1.0.{place % RELEASES}",
        "environment": "production", "user_key": f"id:user-{int(users * random.random())}",
    }  # fmt: skip


def _outcome(place: int) -> dict[str, Any]:
    slot = BEGIN + timedelta(minutes=15 * (place % 96))
    return {
        "item": -1, "project_id": 1 + place % 50, "hour": slot, "slot": slot, "public_key": "k", "category": "error", "outcome": "stored",
        "reason": "", "quantity": 200,
    }  # fmt: skip


def fill(home: Home, events: int, transactions: int, users: int, projects: int, of_groups: int) -> None:
    """Put all of it into lake and state."""
    random = Random(1)
    with open_stores(home) as stores:
        _fill_groups(stores, projects, of_groups)
        for number in range(FILES):
            some = range(number * events // FILES, (number + 1) * events // FILES)
            more = range(number * transactions // FILES, (number + 1) * transactions // FILES)
            tables = {
                "events": _rows(
                    EVENTS, some, lambda p: _event(random, p, events, users, projects, of_groups)
                ),
                "transactions": _rows(
                    TRANSACTIONS, more, lambda p: _transaction(random, p, transactions, users, projects)
                ),
                "outcomes": _rows(OUTCOMES, range(number * 250, (number + 1) * 250), _outcome),
            }
            with stores.lake.writing(DAY, "benchmark") as files:
                files.add(tables)
                files.finish()
                with stores.lake.lock():
                    stores.lake.register(files.finished)


def _fill_groups(stores: Stores, projects: int, of_groups: int) -> None:
    """Groups, a tenth of them made on the day, and a log with three entries of every second one."""
    text = {
        "title": "t",
        "culprit": "",
        "level": "error",
        "platform": "python",
        "type": "error",
        "metadata": {},
        "algorithm": "a",
    }
    made = [
        {
            "id": 1 + n, "project_id": 1 + n % projects, "short_id": 1 + n, **text, "times_seen": 1,
            "created_at": BEGIN + timedelta(seconds=n) - timedelta(days=n % 10),
        }
        for n in range(of_groups)
    ]  # fmt: skip
    log = [
        {
            "project_id": 1 + n % projects, "group_id": 1 + n, "action": action, "data": {}, "actor": "ann", "status": status,
            "at": BEGIN + timedelta(days=days, seconds=n),
        }
        for n in range(0, of_groups, 2)
        for action, status, days in (("resolve", "resolved", -3), ("regress", "regressed", -1), ("resolve", "resolved", 0))
    ]  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(insert(groups), made)
        connection.execute(insert(group_actions), log)
        note_day_changes(stores.state, connection, [DAY], "batch", NOW)


def _measured(home: Home, connection: Any) -> None:
    with open_stores(home) as stores:
        stores.lake.flushed_through()  # opening is not what is measured
        before = peak_mb()
        first, wall = time.process_time(), time.perf_counter()
        (report,) = compute_statistics(stores, [DAY], NOW)
        spent, waited, peak = time.process_time() - first, time.perf_counter() - wall, peak_mb()
        again = time.process_time()
        compute_statistics(stores, [DAY], NOW, everything=False)
        again = time.process_time() - again
        proofs = time.process_time()
        prove(stores, DAY)
        proofs = time.process_time() - proofs
        tables = {f.table: f.size for f in stores.lake.live_files() if f.table in report.rows}
        connection.send(
            {
                "errors": report.errors, "users": report.users, "cpu_s": round(spent, 2), "wall_s": round(waited, 2),
                "logs_alone_cpu_s": round(again, 2), "checks_cpu_s": round(proofs, 2), "memory_before_mb": before,
                "peak_memory_mb": peak, "rows_written": dict(report.rows), "bytes_written": tables,
            }
        )  # fmt: skip


def measure(root: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Fill a home in one process and compute in another."""
    home = Home(root / "home", database_url=chosen.database_url)
    home.root.mkdir(mode=0o700)
    context = multiprocessing.get_context(
        "fork"
    )  # functions of a module that runs as __main__ cannot be sent
    sizes = (chosen.events, chosen.transactions, chosen.users, chosen.projects, chosen.groups)
    filling = context.Process(target=fill, args=(home, *sizes))
    filling.start()
    filling.join()
    receiver, sender = context.Pipe(duplex=False)
    working = context.Process(target=_measured, args=(home, sender))
    working.start()
    figures: dict[str, Any] = receiver.recv()
    working.join()
    return {"events": chosen.events, "transactions": chosen.transactions, "groups": chosen.groups, **figures}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks statistics", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--transactions", type=int, default=200_000)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--projects", type=int, default=50)
    parser.add_argument("--groups", type=int, default=50_000)
    parser.add_argument("--database-url", default="", help="an empty database of Postgres; default: SQLite")
    chosen = parser.parse_args()
    with temporary_root() as root:
        print(json.dumps(measure(root, chosen)))


if __name__ == "__main__":
    main()
