"""What lists of groups cost: `python -m benchmarks groups` prints one JSON object, CPU milliseconds in this process.

In SQLite, with as many groups as asked for in four projects: one in ten resolved, one in fifty ignored, one in a hundred merged, one in
a thousand discarded, each with the explanation that an event of 40 frames has. `count_cpu_ms` is what adding a batch to 200 of them takes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.grouping import explain
from tasks_pipeline.groups.counting import GroupCounts, count_events
from tasks_pipeline.groups.explanations import keep_explanation
from tasks_pipeline.groups.lists import list_groups
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import groups

PROJECTS, LIMIT, ROUNDS = 4, 50, 15
BATCH = 200
NOW = datetime(2020, 1, 1, tzinfo=UTC)


def fill(state: StateDatabase, count: int, chance: random.Random) -> None:
    """So many groups."""
    explanation = explain(_event())
    rows = [_row(n, chance) for n in range(1, count + 1)]
    for some in chunks(rows):
        with state.write() as connection:
            connection.execute(insert(groups), list(some))
            for row in some:
                keep_explanation(connection, row["id"], {**explanation, "group": row["id"]})


def _event() -> dict[str, Any]:
    frames = [
        {
            "function": f"handle_{n}",
            "module": f"shop.module_{n}",
            "filename": f"shop/module_{n}.py",
            "in_app": n % 2 == 0,
        }
        for n in range(40)
    ]
    return {
        "platform": "python",
        "exception": {"values": [{"type": "E", "value": "v", "stacktrace": {"frames": frames}}]},
    }


def _row(n: int, chance: random.Random) -> dict[str, Any]:
    first = NOW - timedelta(seconds=chance.randrange(90 * 86400))
    status = (
        "discarded"
        if n % 1000 == 0
        else "ignored"
        if n % 50 == 0
        else "resolved"
        if n % 10 == 0
        else "unresolved"
    )
    return {
        "id": n, "project_id": 1 + n % PROJECTS, "short_id": n, "title": f"PaymentError: card {n} was declined by the bank",
        "culprit": f"shop.payments.charge_{n}", "level": "error", "platform": "python", "type": "error",
        "metadata": {"type": "PaymentError", "value": f"card {n} was declined by the bank"}, "algorithm": "2027-01", "status": status,
        "merged_into": 1 if n % 100 == 1 and n > 1 else None, "times_seen": 0 if status == "discarded" else chance.randrange(1, 10_000),
        "users": chance.randrange(1000), "first_seen": first, "last_seen": first + timedelta(seconds=chance.randrange(86400)),
        "created_at": first,
    }  # fmt: skip


def cpu_ms(work: Callable[[], object]) -> float:
    """The median of some rounds."""
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        spent.append((time.process_time() - started) * 1000)
    return statistics.median(spent)


def count(state: StateDatabase, chance: random.Random) -> None:
    """A batch of events of BATCH groups."""
    counts: dict[int, GroupCounts] = {}
    with state.write() as connection:
        seen = select(groups.c.id).where(groups.c.id.in_([chance.randrange(1, 50_000) for _ in range(BATCH)]))
        for group_id in connection.execute(seen).scalars():
            counts[group_id] = GroupCounts()
            counts[group_id].add(NOW, (), {})
        count_events(state, connection, date(2020, 1, 1), counts)


def measure(root: Path, number: int) -> dict[str, float]:
    """All figures."""
    chance = random.Random(1)
    state, slugs = StateDatabase(Home(root)), {n + 1: f"shop-{n + 1}" for n in range(PROJECTS)}
    fill(state, number, chance)

    def listed(**options: Any) -> float:
        found = list_groups(state, slugs, limit=LIMIT, **options)
        if not found:
            raise SystemExit(f"no groups are listed with {options}")
        return cpu_ms(lambda: list_groups(state, slugs, limit=LIMIT, **options))

    figures = {
        "list_cpu_ms": listed(),
        "list_of_project_cpu_ms": listed(project_id=1),
        "list_of_project_unresolved_cpu_ms": listed(project_id=1, status="unresolved"),
        "list_of_project_ignored_cpu_ms": listed(project_id=3, status="ignored"),
        "list_discarded_cpu_ms": listed(status="discarded"),
        "count_cpu_ms": cpu_ms(lambda: count(state, chance)),
    }
    state.close()
    size = sum(file.stat().st_size for file in root.glob("state.sqlite*"))
    return {"groups": number, **{k: round(v, 2) for k, v in figures.items()}, "state_bytes": size}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks groups", description=__doc__)
    parser.add_argument("--groups", type=int, default=50_000)
    arguments = parser.parse_args()
    with temporary_root() as root:
        print(json.dumps(measure(root, arguments.groups)))


if __name__ == "__main__":
    main()
