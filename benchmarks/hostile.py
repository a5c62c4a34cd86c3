"""Hostile envelopes mixed with good events, through a receiver, the spool and a drain: is every good event stored, and in how
much memory? `python -m benchmarks hostile` prints it.

The drain is a process of its own, whose peak of memory is its own alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.processing.books import books_of_lake, books_of_state
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.storage.ledger.backlog import backlog, backlogs
from tasks_pipeline.stores import open_stores
from tests.support.hostile import good_event, hostile_envelope
from tests.support.receiver import KEY, configure, serving


def send(url: str, hostile: int, good: int, seed: int) -> tuple[list[str], Counter[int]]:
    """Send them all, in an order of chance. Gives the ids of the good ones, and answers to the hostile ones by status."""
    chance, now = random.Random(seed), datetime.now(UTC)
    order = [True] * good + [False] * hostile
    chance.shuffle(order)
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    ids: list[str] = []
    statuses: Counter[int] = Counter()
    for number, is_good in enumerate(order):
        event_id, body = good_event(number) if is_good else ("", hostile_envelope(chance, now))
        connection.request("POST", f"/api/1/envelope/?sentry_key={KEY}", body)
        answer = connection.getresponse()
        answer.read()
        if not is_good:
            statuses[answer.status] += 1
        elif answer.status == 200:
            ids.append(event_id)
    return ids, statuses


def drained(root: Path) -> dict[str, Any]:
    """Drain every day of a home, in this process."""
    started = time.process_time()
    counts: Counter[str] = Counter()
    with open_stores(Home(root)) as stores:
        for day in stores.spool.days():
            while backlog(
                stores.state, stores.spool, day
            ).envelopes:  # a drain ends after its time, whatever waits
                counts.update(drain(stores, day, linger_seconds=0).counts)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "outcomes": dict(counts),
        "drain_cpu_s": round(time.process_time() - started, 1),
        "drain_peak_rss_mb": round(int(status["VmHWM"].split()[0]) / 1000),
    }


def measure(root: Path, hostile: int, good: int, seed: int) -> dict[str, Any]:
    """`good_stored` of `good_sent`, whether the books balance and nothing waits, and what the drain took."""
    home = Home(root)
    configure(home)
    with serving(create_app(home)) as url:
        ids, statuses = send(url, hostile, good, seed)
    command = [sys.executable, "-m", "benchmarks.hostile", "--drain", str(root)]
    figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    with open_stores(home) as stores:
        days = stores.spool.days()
        stored = {row["event_id"] for row in stores.lake.query("SELECT event_id FROM lake.events")}
        books = [books(stores, day).difference for books in (books_of_lake, books_of_state) for day in days]
        return {
            "hostile_sent": hostile,
            "hostile_answers": {str(status): n for status, n in sorted(statuses.items())},
            "good_sent": len(ids),
            "good_stored": len(stored.intersection(ids)),
            "books_balanced": not any(books),
            "waiting_envelopes": sum(waiting.envelopes for waiting in backlogs(stores.state, stores.spool)),
            **figures,
        }


def main(arguments: list[str]) -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks hostile", description=__doc__)
    parser.add_argument("--envelopes", type=int, default=10_000, help="hostile envelopes")
    parser.add_argument("--good", type=int, default=10_000, help="good events among them")
    parser.add_argument("--seed", type=int, default=1, help="of the chance that the envelopes are made of")
    parser.add_argument("--drain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.drain:
        print(json.dumps(drained(given.drain)))
        return
    with temporary_root() as root:
        print(json.dumps(measure(root, given.envelopes, given.good, given.seed)))


if __name__ == "__main__":
    main(sys.argv[1:])
