"""What the largest list of commits costs: `python -m benchmarks commits` prints one JSON object, seconds of wall time and of CPU.

As it comes in a request (JSON of 2,000 commits with 50,000 changed files) until it is stored: new, exactly the same again, with other
files, with the groups that its messages fix, and until the release is deleted. In SQLite, or in `--database-url`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.groups.fixing import link_fixes
from tasks_pipeline.home import Home
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.known import delete_release, save_release
from tasks_pipeline.releases.sent_commits import MAX_COMMITS, MAX_PATHS, read_commits
from tasks_pipeline.storage.state.database import StateDatabase

VERSION = "shop@1.0.0"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def body(commits: int, paths: int, folder: str = "src") -> bytes:
    """A list as sentry-cli sends it."""
    each = paths // commits
    sent: list[dict[str, Any]] = [
        {
            "id": f"{n:040x}",
            "repository": "acme/shop",
            "message": f"shop: change {n}\n\nWhat it does in a few more words.\n\nFixes SHOP-{n}\n",
            "author_name": f"Author {n % 50}",
            "author_email": f"author{n % 50}@acme.example",
            "timestamp": (NOW - timedelta(minutes=n)).isoformat(),
            "patch_set": [
                {"path": f"{folder}/module_{i % 97}/file_{n}_{i}.py", "type": "M"} for i in range(each)
            ],
        }
        for n in range(commits)
    ]
    return json.dumps({"commits": sent}).encode()


def seconds(name: str, work: Callable[[], object]) -> dict[str, float]:
    """How long it takes, and how much of it is CPU of this process."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    spent = time.perf_counter() - started, time.process_time() - cpu
    return {f"{name}_s": round(spent[0], 3), f"{name}_cpu_s": round(spent[1], 3)}


def measure(home: Home, commits: int, paths: int) -> dict[str, float]:
    """All figures."""
    state = StateDatabase(home)
    save_release(state, [1], VERSION, {})

    def put(raw: bytes) -> None:
        sent = read_commits(decode_json(raw)["commits"])
        with state.write() as connection:
            set_commits(state, connection, VERSION, sent)

    def fix() -> None:
        with state.write() as connection:
            state.serialise(connection, "group_hashes")
            link_fixes(state, connection, {1: "shop"}, (), VERSION)

    raw, other = body(commits, paths), body(commits, paths, "lib")
    found = {
        "body_mb": round(len(raw) / 1e6, 1),
        **seconds("new", lambda: put(raw)),
        **seconds("again", lambda: put(raw)),
        **seconds("other_files", lambda: put(other)),
        **seconds("fixes", fix),
        **seconds("delete", lambda: delete_release(state, [1], VERSION)),
    }
    state.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks commits", description=__doc__)
    parser.add_argument("--commits", type=int, default=MAX_COMMITS)
    parser.add_argument("--paths", type=int, default=MAX_PATHS)
    parser.add_argument("--database-url", default="", help="postgresql://…; SQLite when absent")
    arguments = parser.parse_args()
    with temporary_root() as root:
        home = Home(root, database_url=arguments.database_url)
        print(json.dumps(measure(home, arguments.commits, arguments.paths)))


if __name__ == "__main__":
    main()
