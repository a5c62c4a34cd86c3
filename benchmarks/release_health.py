"""What lists of releases with their health cost: `python -m benchmarks release_health` prints one JSON object.

Two weeks of sessions, one a second: 5,000 releases that come and go, two environments, 20,000 users a day. CPU of a page of 50 and of all
releases at once, of adoption, and of telling the stages of a day again.
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

import pyarrow as pa

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.releases.adoption import adoption_at, tell_stages
from tasks_pipeline.releases.health_figures import last_days, releases_health
from tasks_pipeline.releases.spans import begin_of
from tasks_pipeline.storage.lake.tables import DERIVED_TABLES
from tasks_pipeline.storage.state.tables import health_days
from tasks_pipeline.stores import Stores, open_stores

FIRST = date(2026, 11, 1)
DAYS = 14
ENVIRONMENTS = ("production", "staging")
SLOTS_USED = 24  # of the 96 of a day, by a release in an environment
SESSIONS_PER_ROW = 4
ROUNDS = 7


def fill(stores: Stores, releases: int, active: int, users: int) -> dict[str, int]:
    """Health of two weeks; so many releases are active on a day, all of them on some."""
    chosen, rows = random.Random(1), 0
    for n in range(DAYS):
        day = FIRST + timedelta(days=n)
        versions = [f"shop@1.{(n * (releases // DAYS) + k) % releases}.0" for k in range(active)]
        tables = {
            "release_health": _health(day, versions, chosen),
            "session_users": _users(day, versions, users, chosen),
        }
        rows += sum(map(len, tables.values()))
        with stores.lake.writing(day, "benchmark") as files, stores.lake.lock():
            files.add({t: pa.Table.from_pylist(of, DERIVED_TABLES[t].arrow) for t, of in tables.items()})
            stores.lake.replace_derived(day, DERIVED_TABLES, files.finish())
        compute(stores, day)
    return {"rows": rows}


def compute(stores: Stores, day: date) -> None:
    """Say that a day was computed just now."""
    now = datetime.now(UTC)
    values = {"changed_at": now, "computed_at": now}
    more = {name: 1 for name in ("changes", "computed") if name in health_days.c}
    with stores.state.write() as connection:
        statement = stores.state.insert(health_days).values(day=day, **values, **more)
        connection.execute(statement.on_conflict_do_update(index_elements=["day"], set_=values))


def _health(day: date, versions: list[str], chosen: random.Random) -> list[dict[str, Any]]:
    states = {"healthy": SESSIONS_PER_ROW - 1, "errored": 0, "unhandled": 0, "abnormal": 0, "crashed": 1}
    return [
        {
            "day": day, "slot": begin_of(day) + slot * timedelta(minutes=15), "project_id": 1, "release": version,
            "environment": environment, "sessions": SESSIONS_PER_ROW, **states, "users": 3,
            "durations": [(chosen.randrange(300, 600), 1) for _ in range(SESSIONS_PER_ROW - 1)],
            "duration_sum_s": 60.0, "duration_max_s": 40.0,
        }
        for version in versions
        for environment in ENVIRONMENTS
        for slot in chosen.sample(range(96), SLOTS_USED)
    ]  # fmt: skip


def _users(day: date, versions: list[str], users: int, chosen: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "day": day, "project_id": 1, "release": chosen.choice(versions), "environment": chosen.choice(ENVIRONMENTS),
            "user_hash": chosen.randrange(users * 3), "states": [8 * chosen.randrange(96) + chosen.choice([1, 1, 1, 5])],
        }
        for _ in range(users)
    ]  # fmt: skip


def cpu_ms(work: Callable[[], object]) -> float:
    """The median CPU of doing it, after once for nothing."""
    work()
    spent = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        spent.append((time.process_time() - started) * 1000)
    return round(statistics.median(spent), 1)


def measure(root: Path, url: str, releases: int, active: int, users: int) -> dict[str, Any]:
    """All figures."""
    home = Home(root, database_url=url)
    root.mkdir(mode=0o700, exist_ok=True)
    now = begin_of(FIRST) + timedelta(days=DAYS) - timedelta(minutes=57)
    with open_stores(home) as stores:
        filled = fill(stores, releases, active, users)
        started = time.process_time()
        told = tell_stages(stores.state, stores.lake, now)
        first = time.process_time() - started
        span = last_days(DAYS, now)
        rows = [{"project_id": 1, "version": f"shop@1.{n}.0"} for n in range(releases)]

        def again() -> None:
            compute(stores, now.date())
            tell_stages(stores.state, stores.lake, now)

        return {
            "releases": releases, **filled, "users_a_day": users,
            "page_of_50_cpu_ms": cpu_ms(lambda: releases_health(stores.lake, rows[-50:], span)),
            "page_of_50_with_durations_cpu_ms": cpu_ms(lambda: releases_health(stores.lake, rows[-50:], span, durations=True)),
            "all_cpu_ms": cpu_ms(lambda: releases_health(stores.lake, rows, span)),
            "all_with_durations_cpu_ms": cpu_ms(lambda: releases_health(stores.lake, rows, span, durations=True)),
            "adoption_cpu_ms": cpu_ms(lambda: adoption_at(stores.lake, now.replace(minute=0), [1])),
            "stages_told": len(told.added), "stages_of_14_days_cpu_ms": round(first * 1000),
            "stages_of_today_again_cpu_ms": cpu_ms(again),
        }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks release_health", description=__doc__)
    parser.add_argument("--releases", type=int, default=5_000)
    parser.add_argument("--active", type=int, default=450, help="releases with sessions on a day")
    parser.add_argument("--users", type=int, default=20_000, help="rows of users a day")
    parser.add_argument("--database-url", default="", help="an empty database of Postgres; default: SQLite")
    chosen = parser.parse_args(arguments)
    with temporary_root() as root:
        print(json.dumps(measure(root, chosen.database_url, chosen.releases, chosen.active, chosen.users)))


if __name__ == "__main__":
    main()
