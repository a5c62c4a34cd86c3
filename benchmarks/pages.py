"""What reading costs: `python -m benchmarks.pages --events N --groups M` prints one JSON object, times of pages and calls of the Web API.

A home is filled (`benchmarks/page_home.py`; `--keep DIR` keeps it, and takes it again when it is there), `tasks-pipeline web` is started
for it, and each address is asked some rounds, one request at a time over one connection: wall times p50 and p95 in milliseconds, CPU of
the web process for one answer, and its size. Times say something on a machine with nothing else to do; CPU does so on any. It fails
when an answer costs more CPU than half more than the budget that its p50 has (docs/pages.md).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import select

from benchmarks.page_home import fill
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups

ROUNDS, WARM = 20, 2
SPARE = 1.5
ORGANISATION = "acme"  # of a configuration that names none
TOKEN_SCOPES = ("org:read", "project:read", "event:read", "team:read")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Asked:
    """An address, and the milliseconds in which half of its answers should come, and nearly all."""

    name: str
    path: str
    p50: int
    p95: int


def addresses(big: str, rare: str, big_id: int, event_id: str) -> list[Asked]:
    """Pages, and calls of clients, with the budgets of their kind."""
    org, project = f"/api/0/organizations/{ORGANISATION}", f"/api/0/projects/{ORGANISATION}/shop"
    return [
        Asked("list", "/groups/", 15, 50),
        Asked("list, all by events", "/groups/?query=&sort=events", 15, 50),
        Asked("list, environment", "/groups/?query=is:unresolved+environment:staging", 40, 100),
        Asked("list, release", "/groups/?query=release:shop@1.0.1", 40, 100),
        Asked("list, words", "/groups/?query=invalid+literal", 40, 100),
        Asked("list, words nowhere", "/groups/?query=zzzzqqqq", 40, 100),
        Asked("list, filter on events, 24 h", "/groups/?query=server_name:web-1&period=24h", 60, 150),
        Asked("list, filter on events, 14 d", "/groups/?query=server_name:web-1&period=14d", 250, 600),
        Asked("group with its newest event", f"/groups/{big}/", 60, 150),
        Asked("rare group with its newest event", f"/groups/{rare}/", 60, 150),
        Asked("event by id", f"/groups/{big}/events/{event_id}/", 50, 120),
        Asked("events of a group", f"/groups/{big}/events/", 40, 150),
        Asked("tags of a group", f"/groups/{big}/tags/", 40, 150),
        Asked("activity", f"/groups/{big}/activity/", 15, 80),
        Asked("releases", "/releases/", 15, 80),
        Asked("monitors", "/monitors/", 15, 80),
        Asked("pipeline", "/pipeline/", 15, 80),
        Asked("API: issues", f"{org}/issues/?query=is:unresolved&limit=25&statsPeriod=14d", 15, 50),
        Asked("API: issues of a project", f"{project}/issues/?statsPeriod=24h", 15, 50),
        Asked("API: issue", f"{org}/issues/{big_id}/", 60, 150),
        Asked("API: newest event", f"{org}/issues/{big_id}/events/latest/", 50, 120),
        Asked("API: recommended event", f"{org}/issues/{big_id}/events/recommended/", 60, 150),
        Asked("API: events of an issue", f"{org}/issues/{big_id}/events/", 40, 150),
        Asked("API: events of a project", f"{project}/events/", 40, 150),
    ]


def facts_of(home: Home) -> tuple[str, str, int]:
    """Short ids of the group with most events and of one with few, the number of the first."""
    with closing(StateDatabase(home)) as state, state.read() as connection:
        g = groups.c
        found = select(g.id, g.short_id).where(g.times_seen > 0, g.merged_into.is_(None))
        big = connection.execute(found.order_by(g.times_seen.desc()).limit(1)).one()
        rare = connection.execute(found.where(g.times_seen < 10).order_by(g.last_seen.desc()).limit(1)).one()
    return _short(big.short_id), _short(rare.short_id), big.id


def _short(number: int) -> str:
    from tasks_pipeline.groups.short_id import format_short_id

    return format_short_id("shop", number)


@contextmanager
def web(home: Home) -> Iterator[tuple[str, int]]:
    """The web process of a home: its address, its process number."""
    command = [sys.executable, "-m", "tasks_pipeline.cli", "--home", str(home.root), "web", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"https?://\S+", line):
                yield found[0].rstrip("/"), process.pid
                return
        raise SystemExit("the web process ended before it said where it listens")
    finally:
        process.terminate()
        process.wait(30)


def cpu_seconds(pid: int) -> float:
    """What a process has used until now, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mb(pid: int) -> float:
    """Proportional set size of a process."""
    return round(psutil.Process(pid).memory_full_info().pss / 1e6, 1)


def measure(client: httpx.Client, pid: int, asked: Asked) -> dict[str, Any]:
    """Times of one address. An answer that is none, or an error, is said and not measured."""
    for _ in range(WARM):
        answer = client.get(asked.path)
    if answer.status_code != 200:
        return {"status": answer.status_code}
    spent, before = [], cpu_seconds(pid)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        client.get(asked.path)
        spent.append((time.perf_counter() - started) * 1000)
    cpu = (cpu_seconds(pid) - before) / ROUNDS * 1000
    return {
        "p50_ms": round(statistics.median(spent), 1),
        "p95_ms": round(statistics.quantiles(spent, n=20)[18], 1),
        "cpu_ms": round(cpu, 1),
        "bytes": len(answer.content),
        "dear": cpu > SPARE * asked.p50,
    }


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--groups", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="keep the home here, or use the one that is here already")
    parser.add_argument("--only", default="", help="names of pages that hold this text")
    arguments = parser.parse_args()
    with nullcontext(arguments.keep) if arguments.keep else temporary_root() as root:
        home = Home(root)
        if not (root / "filled").exists():
            fill(home, arguments.events, arguments.groups, arguments.days)
            (root / "filled").touch()
        from tasks_pipeline.access.tokens import create_token

        with closing(StateDatabase(home)) as state:
            _, token = create_token(state, "http://127.0.0.1", ORGANISATION, "benchmark", TOKEN_SCOPES)
        facts = facts_of(home)
        with (
            web(home) as (url, pid),
            httpx.Client(base_url=url, timeout=60, headers={"authorization": f"Bearer {token}"}) as client,
        ):
            at_rest = memory_mb(pid)
            pages = {}
            newest = client.get(
                f"/api/0/organizations/{ORGANISATION}/issues/{facts[2]}/events/latest/"
            ).json()
            for asked in addresses(*facts, newest["eventID"]):
                if arguments.only in asked.name:
                    pages[asked.name] = measure(client, pid, asked)
                    print(f"{asked.name:40} {pages[asked.name]}", file=sys.stderr, flush=True)
            result = {
                "events": arguments.events, "groups": arguments.groups, "days": arguments.days, "load": round(os.getloadavg()[0], 1),
                "memory_mb_at_rest": at_rest, "memory_mb": memory_mb(pid), "pages": pages,
            }  # fmt: skip
    print(json.dumps(result))
    if dear := [name for name, found in pages.items() if found.get("dear")]:
        raise SystemExit(f"dearer than half more than their budget: {', '.join(dear)}")


if __name__ == "__main__":
    main()
