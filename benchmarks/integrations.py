"""Links to issues at size, against the stand-in of GitHub: `python -m benchmarks integrations --links 10000` for what polling them for an
hour costs; `--kills 100` for what is missing, doubled or out of step after so many SIGKILLs in bad weather (`killed_sync.py`), there
or with `--tracker redmine` in a real Redmine.

The tracker is a process of its own: the CPU is that of sync alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from benchmarks.__main__ import say
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.home import Home
from tasks_pipeline.integrations.sync import sync_integrations
from tasks_pipeline.storage.state.database import chunks
from tasks_pipeline.storage.state.tables import groups, issue_links, projects, tracker_cursors
from tasks_pipeline.stores import Stores, open_stores
from tests.support.stand_ins import FarSide, folder

REPOSITORY = "acme/shop"
ROUNDS = 12
"""Polls of an hour, one every five minutes."""
CONFIGURATION = """\
projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]
integrations: [{{name: hub, type: github, url: "{url}", token: "${{env:HUB_TOKEN}}", allow_insecure: true, allow_private: true}}]
trackers: [{{name: shop-issues, integration: hub, repository: acme/shop}}]
"""
TOKEN = "ghp_bot"
SOMEBODY = "ghp_ann"


@contextmanager
def opened(root: Path, url: str) -> Iterator[Stores]:
    """Stores with a tracker at an address."""
    os.environ["HUB_TOKEN"] = TOKEN
    home = Home(root / "home")
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.config_path.write_text(CONFIGURATION.format(url=url))
    with open_stores(home) as stores:
        yield stores


def without_limits(side: FarSide) -> None:
    """People may write as much as they like: what sync may is counted here."""
    side.ask(
        "POST", "/_standin/set", {"content_per_minute": 10**6, "content_per_hour": 10**6, "per_hour": 10**6}
    )


@contextmanager
def full_side(many: int) -> Iterator[FarSide]:
    """A stand-in with so many issues, numbered from 1. They are put into its memory: to make and touch them by its API would take as
    long as all else. `touch_all` changes each of them."""
    command = [sys.executable, "-c", _FULL, str(folder()), str(many)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        side = FarSide(json.loads(process.stdout.readline()))
        side.process = process
        try:
            yield side
        finally:
            side.close()
            process.terminate()
            process.wait()


_FULL = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import standin
side, server = standin.start("github")
repo = next(each for each in side.repos.values() if each["name"] == "shop")
for number in range(1, int(sys.argv[2]) + 1):
    at = side._time()
    side.issues[repo["id"], number] = {
        "id": side.new_id(), "number": number, "title": f"It fails ({number})", "body": "x" * 1500, "user": "tasks-bot", "state": "open",
        "state_reason": None, "locked": False, "labels": [], "assignees": [], "created_at": at, "updated_at": at, "closed_at": None,
        "closed_by": None, "pull": False, "touched": time.time(),
    }
repo["last"] = int(sys.argv[2])
print(json.dumps({"url": side.base_url}), flush=True)
for line in sys.stdin:
    for issue in side.issues.values():
        issue["title"] += "!"
        issue["updated_at"] = side._time()
        issue["touched"] = time.time()
    print("touched", flush=True)
"""


def latency(stores: Stores, side: FarSide, many: int) -> float:
    """Seconds from a decision here until the issue is closed there, while a run lingers; the median of five."""
    running = threading.Thread(
        target=lambda: sync_integrations(stores, linger_seconds=5, max_run_seconds=120)
    )
    running.start()
    seconds = []
    for number in range(many - 5, many):
        time.sleep(2)
        began = time.monotonic()
        resolve_groups(stores.state, [number], "ann")
        while side.ask("GET", f"/repos/{REPOSITORY}/issues/{number}", token=SOMEBODY)["state"] != "closed":
            time.sleep(0.05)
        seconds.append(time.monotonic() - began)
    running.join()
    return round(statistics.median(seconds), 2)


def touch_all(side: FarSide) -> None:
    """Everything changes behind one cursor, at once."""
    assert side.process is not None
    assert side.process.stdin is not None
    assert side.process.stdout is not None
    side.process.stdin.write("touch\n")
    side.process.stdin.flush()
    side.process.stdout.readline()


def link_all(stores: Stores, repository_id: int, numbers: list[int]) -> None:
    """A group and a link for each issue."""
    now = datetime.now(UTC)
    with stores.state.write() as connection:
        connection.execute(projects.insert().values(id=1, slug="shop", last_short_id=len(numbers)))
        for chunk in chunks(numbers):
            rows = [
                {
                    "id": n, "project_id": 1, "short_id": n, "title": "It fails", "culprit": "here", "level": "error",
                    "platform": "python", "type": "error", "metadata": {}, "algorithm": "v1", "created_at": now,
                    "times_seen": 1, "first_seen": now, "last_seen": now - timedelta(days=1),
                }
                for n in chunk
            ]  # fmt: skip
            connection.execute(groups.insert(), rows)
            links = [
                {
                    "project_id": 1, "group_id": n, "integration": "hub", "tracker": "shop-issues",
                    "external_id": f"{repository_id}#{n}", "shown_key": f"{REPOSITORY}#{n}", "state": "linked",
                    "origin": "created", "marker": f"m{n}", "agreed_state": "open", "agreed_group": n, "agreed_assignee": "",
                    "theirs": {"state": "open"}, "title": f"It fails ({n})", "url": f"https://github.com/{REPOSITORY}/issues/{n}",
                    "turns": [], "created_at": now,
                }
                for n in chunk
            ]  # fmt: skip
            connection.execute(issue_links.insert(), links)


def an_hour(stores: Stores, side: FarSide, changed: int) -> dict[str, Any]:
    """Twelve polls; before each, people close some issues, and once somebody touches all of them."""
    figures: dict[str, Any] = {}
    requests = len(side.ask("GET", "/_standin/log"))
    cpu = time.process_time()
    for number in range(ROUNDS):
        for issue in range(number * changed + 1, number * changed + changed + 1):
            side.ask("PATCH", f"/repos/{REPOSITORY}/issues/{issue}", {"state": "closed"}, token=SOMEBODY)
        if number == ROUNDS // 2:
            say("somebody labels all issues ...")
            touch_all(side)
        with stores.state.write() as connection:
            connection.execute(
                update(tracker_cursors).where(tracker_cursors.c.tracker != "").values(polled_at=None)
            )
        began, used = time.monotonic(), time.process_time()
        report = sync_integrations(stores, linger_seconds=0, max_run_seconds=600)
        say(
            f"poll {number + 1}: {time.monotonic() - began:.1f} s, CPU {time.process_time() - used:.1f} s, {dict(report.counts)}"
        )
    figures["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    log = [each for each in side.ask("GET", "/_standin/log")[requests:] if _is_ours(each)]
    figures["requests"] = len(log)
    figures["requests_not_modified"] = sum(each["status"] == 304 for each in log)
    figures["cpu_s"] = round(time.process_time() - cpu, 1)
    return figures


def _is_ours(entry: dict[str, Any]) -> bool:
    return str(entry["request_headers"].get("user-agent", "")).startswith("tasks-pipeline")


def measure(root: Path, many: int, changed: int) -> dict[str, Any]:
    """Links of an hour."""
    say(f"{many} issues ...")
    with full_side(many) as side:
        without_limits(side)
        repository = side.ask("GET", f"/repos/{REPOSITORY}", token=TOKEN)
        with opened(root, side.url) as stores:
            link_all(stores, repository["id"], list(range(1, many + 1)))
            figures = an_hour(stores, side, changed)
            figures["resolved_there_s"] = latency(stores, side, many)
            with stores.state.read() as connection:
                resolved = select(func.count()).where(groups.c.status == "resolved")
                figures["groups_resolved"] = connection.execute(resolved).scalar_one()
                looked = select(func.count()).where(issue_links.c.last_looked_at.is_not(None))
                figures["links_looked_at"] = connection.execute(looked).scalar_one()
    figures |= {"links": many, "closed_there": changed * ROUNDS}
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks integrations", description=__doc__)
    parser.add_argument("--links", type=int, default=10_000)
    parser.add_argument("--changed", type=int, default=20, help="issues that people close between two polls")
    parser.add_argument("--kills", type=int, default=0, help="kill sync so often, in bad weather, instead")
    parser.add_argument("--tracker", choices=("github", "redmine"), default="github", help="for --kills")
    arguments = parser.parse_args()
    with temporary_root() as root:
        if arguments.kills:
            from benchmarks.killed_sync import killed

            print(json.dumps(killed(root, arguments.kills, arguments.tracker)))
        else:
            print(json.dumps(measure(root, arguments.links, arguments.changed)))


if __name__ == "__main__":
    main()
