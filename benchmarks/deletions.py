"""Deleting a person: `python -m benchmarks deletions` prints one JSON object.

Real envelopes of some days are processed; the older days go to an archive. A person with fifty long ids has some events in each day, and
stands in texts: of alerts, of Dagster's log. Seconds and CPU seconds of looking (`find`) and of the whole deletion, and what of it went to
each step; the floor is a plain search in as many envelopes.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.config.projects import Project
from tasks_pipeline.config.retention import ProjectRetention, Retention
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.erasure import archives, erase
from tasks_pipeline.home import Home
from tasks_pipeline.privacy import person as persons
from tasks_pipeline.privacy.delete import delete_person
from tasks_pipeline.privacy.identity import Identity
from tasks_pipeline.privacy.person import Person
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.retention.cleanup import cleanup_old_events
from tasks_pipeline.storage.lake.flush import flush
from tasks_pipeline.storage.spool.interface import Receipt
from tasks_pipeline.storage.state.tables import alerts
from tasks_pipeline.stores import Stores, open_stores

FIRST = date(2026, 1, 1)
THEIRS = 25
"""Of so many events one is the person's."""
STEPS: dict[str, tuple[Any, str]] = {
    "texts of the state database": (erase, "overwrite_texts"),
    "reports": (erase, "overwrite_reports"),
    "Dagster": (erase, "overwrite_dagster"),
    "logs": (erase, "overwrite_logs"),
    "files of the lake": (erase, "remove_rows"),
    "snapshots": (erase, "forget_files"),
    "raw envelopes": (persons, "envelopes_of"),
    "opening of archived days": (archives, "opened_day"),
}


def ids() -> list[str]:
    """Those of the person."""
    return [f"usr-{n:04}-{n * 7919 % 10**9:09}-planted" for n in range(50)]


def _envelope(day: date, n: int) -> Receipt:
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(seconds=n)
    user = ids()[n // THEIRS % 50] if n % THEIRS == 0 else f"user-{n}"
    event_id = f"{day.toordinal():08x}{n:024x}"
    event = {
        "event_id": event_id, "platform": "python", "level": "error", "timestamp": at.timestamp(), "user": {"id": user},
        "exception": {"values": [{"type": f"E{n % 40}", "value": f"refused {user} at {n}"}]}, "extra": {"filler": "x" * 400, "n": n},
    }  # fmt: skip
    payload = json.dumps(event).encode()
    head = json.dumps({"event_id": event_id}).encode()
    item = json.dumps({"type": "event", "length": len(payload)}).encode()
    return Receipt(at, 2, "0" * 32, event_id, "", 1, b"\n".join((head, item, payload)), {})


def fill(root: Path, days: int, events: int) -> None:
    """Days of events, processed, the older half of them archived."""
    with open_stores(Home(root / "home")) as stores:
        for n in range(days):
            day = FIRST + timedelta(days=n)
            with closing(stores.spool.writer()) as writer:
                writer.append([_envelope(day, number) for number in range(events)])
            drain(stores, day, linger_seconds=0)
        _say(stores)
        flush(stores.state, stores.lake)
        until = FIRST + timedelta(days=days // 2 + 90)
        night = datetime(until.year, until.month, until.day, 2, tzinfo=UTC)
        for n in range(days):  # what is not final is not archived
            compute_health(stores.lake, stores.state, FIRST + timedelta(days=n))
            compute_statistics(stores, [FIRST + timedelta(days=n)], night)
        cleanup_old_events(archiving(stores, root), night)


def archiving(stores: Stores, root: Path) -> Stores:
    """The same installation with an archive."""
    (first, *others) = stores.config.projects
    own = Project(id=2, slug="own", keys=first.keys, retention=ProjectRetention(event_days=90))
    retention = Retention(archive_url=str(root / "archive"))
    changed = stores.config.model_copy(update={"retention": retention, "projects": (own, *others)})
    return replace(stores, config=changed)


def _say(stores: Stores) -> None:
    now = datetime.now(UTC)
    alert = {
        "project_id": 2, "rule": "new", "kind": "new_group", "status": "firing", "severity": "warning", "thread": "t", "at": now,
    }  # fmt: skip
    rows = [
        {**alert, "key": f"k{n}", "data": {"title": f"refused user-{n}", "culprit": "shop.orders in pay", "times_seen": n}}
        for n in range(5_000)
    ]  # fmt: skip
    with stores.state.write() as connection:
        connection.execute(alerts.insert(), rows)
    (folder := stores.home.dagster_home / "history" / "runs").mkdir(parents=True)
    with closing(sqlite3.connect(folder / "index.db")) as connection, connection:
        connection.execute("CREATE TABLE event_logs (id INTEGER PRIMARY KEY, event TEXT)")
        logged = [
            (json.dumps({"message": f"step {n}", "error": f"of user-{n}" * 20}),) for n in range(20_000)
        ]
        logged[7] = (json.dumps({"message": f"refused {ids()[0]}"}),)
        connection.executemany("INSERT INTO event_logs (event) VALUES (?)", logged)


@contextmanager
def steps_timed() -> Iterator[dict[str, float]]:
    """Seconds of each step, in all its calls."""
    spent: dict[str, float] = defaultdict(float)
    originals = {step: getattr(module, name) for step, (module, name) in STEPS.items()}

    def timed(step: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            began = time.perf_counter()
            found = work(*args, **options)
            spent[step] += time.perf_counter() - began
            if hasattr(found, "__enter__"):
                return _entered(found, step, spent)
            return _taken(found, step, spent) if hasattr(found, "__next__") else found

        return call

    for step, (module, name) in STEPS.items():
        setattr(module, name, timed(step, originals[step]))
    try:
        yield spent
    finally:
        for step, (module, name) in STEPS.items():
            setattr(module, name, originals[step])


def _taken(found: Iterator[Any], step: str, spent: dict[str, float]) -> Iterator[Any]:
    while True:
        began = time.perf_counter()
        each = next(found, None)
        spent[step] += time.perf_counter() - began
        if each is None:
            return
        yield each


@contextmanager
def _entered(found: Any, step: str, spent: dict[str, float]) -> Iterator[Any]:
    began = time.perf_counter()
    value = found.__enter__()
    spent[step] += time.perf_counter() - began
    spent[f"{step}, times"] += 1
    try:
        yield value
    finally:
        found.__exit__(None, None, None)


def _floor(events: int) -> float:
    """CPU seconds of searching so many envelopes for each id, without anything of ours."""
    bodies, wanted = (
        [_envelope(FIRST, n).body for n in range(min(events, 1000))],
        [each.encode() for each in ids()],
    )
    began = time.process_time()
    for body in bodies:
        any(each in body for each in wanted)
    return (time.process_time() - began) * events / len(bodies)


def measure(root: Path, days: int, events: int) -> dict[str, Any]:
    """All of it, in folders below."""
    fill(root, days, events)
    person = Identity.of(ids())
    with open_stores(Home(root / "home")) as opened:
        stores = archiving(opened, root)
        began, cpu = time.perf_counter(), time.process_time()
        found = Person(person).look(stores)
        looked, looked_cpu = time.perf_counter() - began, time.process_time() - cpu
        with steps_timed() as spent:
            began, cpu = time.perf_counter(), time.process_time()
            done = delete_person(stores, person, "benchmark")
            took, took_cpu = time.perf_counter() - began, time.process_time() - cpu
    places = {each.where: each.rows for each in done.erased}
    return {
        "days": days, "events": days * events, "find_s": round(looked, 2), "find_cpu_s": round(looked_cpu, 2),
        "delete_s": round(took, 2), "delete_cpu_s": round(took_cpu, 2), "floor_cpu_s": round(_floor(events * days), 3),
        "steps_s": {step: round(seconds, 2) for step, seconds in sorted(spent.items())},
        "events_deleted": places.get("lake.events", 0) + places.get("archive.events", 0), "events_found": found.events,
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks deletions", description=__doc__)
    parser.add_argument("--days", type=int, default=20, help="so many; the older half is archived")
    parser.add_argument("--events", type=int, default=500, help="of each day")
    chosen = parser.parse_args(arguments)
    with temporary_root() as root:
        print(json.dumps(measure(root, chosen.days, chosen.events), indent=1))


if __name__ == "__main__":
    main()
