"""What a tick of check_monitors costs: `python -m benchmarks.monitors` prints one JSON object.

10,000 monitors of hourly jobs are overdue at once, in a SQLite database of its own. The floor is what recording as many runs and
planning as many monitors costs in bare statements. `opening` is the same when each of 1,000 of them opens an incident, with its group,
alert and message.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import bindparam, delete, select, update

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.storage.state.tables import monitor_check_ins, monitor_environments, monitors
from tasks_pipeline.stores import Stores, open_stores

CONFIG = (
    "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
    "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
    "alert_rules: [{name: jobs, when: [monitor], notify: ['channel:hook']}]\n"
)


def fill(stores: Stores, count: int, threshold: int, due: datetime) -> None:
    """So many monitors that are due."""
    schedule = {"type": "crontab", "value": "0 * * * *"}
    config = {"schedule": schedule, "checkin_margin": 1, "failure_issue_threshold": threshold}
    with stores.state.write() as connection:
        connection.execute(delete(monitor_check_ins))
        connection.execute(delete(monitor_environments))
        connection.execute(delete(monitors))
        rows = [
            {
                "project_id": 1, "slug": f"job-{n}", "type": "cron", "name": f"Job {n}", "config": config, "source": "check_in",
                "status": "active", "created_at": due, "updated_at": due,
            }
            for n in range(count)
        ]  # fmt: skip
        connection.execute(monitors.insert(), rows)
        ids = list(connection.execute(select(monitors.c.id)).scalars())
        late = due + timedelta(minutes=1)
        environments = [
            {
                "monitor_id": i,
                "environment": "production",
                "status": "ok",
                "next_at": due,
                "late_at": late,
                "data": {},
            }
            for i in ids
        ]
        connection.execute(monitor_environments.insert(), environments)


def tick(root: Path, count: int, threshold: int) -> float:
    """Seconds of one check of so many overdue monitors."""
    due = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with open_stores(Home(root)) as stores:
        fill(stores, count, threshold, due)
        report = check_monitors(stores, due + timedelta(minutes=2))
        if report.missed != count:
            raise SystemExit(f"{report.missed} of {count} monitors were found")
        return report.seconds


def floor(root: Path, count: int) -> float:
    """Seconds of recording and planning as many in bare statements."""
    due = datetime.now(UTC)
    with open_stores(Home(root)) as stores:
        fill(stores, count, 1, due)
        started = time.monotonic()
        with stores.state.write() as connection:
            ids = list(connection.execute(select(monitor_environments.c.id)).scalars())
            runs = [
                {"environment_id": i, "status": "missed", "started_at": due, "expected_at": due} for i in ids
            ]
            connection.execute(monitor_check_ins.insert(), runs)
            planned = update(monitor_environments).where(monitor_environments.c.id == bindparam("row"))
            values = [{"row": i, "next": due, "late": due} for i in ids]
            connection.execute(planned.values(next_at=bindparam("next"), late_at=bindparam("late")), values)
        return time.monotonic() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitors", description=__doc__)
    parser.add_argument("--monitors", type=int, default=10_000)
    arguments = parser.parse_args()
    with temporary_root() as root:
        Home(root).config_path.write_text(CONFIG)
        bare = floor(root, arguments.monitors)
        seconds = tick(root, arguments.monitors, threshold=5)
        opening = tick(root, arguments.monitors // 10, threshold=1)
    figures = {
        "monitors": arguments.monitors,
        "monitors_tick_s": seconds,
        "monitors_floor_s": bare,
        "monitors_opening_a_tenth_s": opening,
    }
    print(
        json.dumps(
            {k: round(v, 3) for k, v in figures.items()}
            | {"monitors_tick_over_floor": round(seconds / bare, 2)}
        )
    )


if __name__ == "__main__":
    main()
