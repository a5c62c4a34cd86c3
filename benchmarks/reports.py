"""Weeks of traffic and what reports make of them: `python -m benchmarks reports` prints one JSON object.

Made-up traffic of two projects in three time zones, with a change of clocks, goes through a real spool and real drains at simulated
times. Printed are what was sent, counted item by item (`truth`), and the same from SQL (`stored`); the two must be equal. `--report`
computes statistics and reports too, sends them to a real mail server, heals an error by late symbols, and compares. `--year` times a
backfill of 365 daily and 52 weekly reports, `--projects` a weekly report of so many projects, and `--kills` kills the computing and the
sending at random moments.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.killed_reports import killed
from benchmarks.living import live
from benchmarks.told_reports import told
from benchmarks.truth import Truth
from benchmarks.weeks import Plan, configuration, many
from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.stores import Stores, open_stores

ROUNDS = 3
YEAR = 365
COUNTED = {"event": "events", "transaction": "transactions", "session": "sessions", "check_in": "check_ins"}
"""Tables of the lake by kind of item."""


def say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def lived(
    root: Path, plan: Plan, step: timedelta, *, smtp_port: int = 0, url: str = ""
) -> Iterator[tuple[Home, dict[str, Any]]]:
    """A home in which a plan was lived through, and what that cost."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    home = Home(root, database_url=url)
    home.config_path.write_text(configuration(plan, smtp_port=smtp_port or 9))
    began, cpu = time.monotonic(), time.process_time()

    def on_step(now: Any) -> None:
        if now.hour == 0:
            say(f"{now:%Y-%m-%d}")

    with open_stores(home) as stores:
        received = live(stores, plan, step=step, deliver=bool(smtp_port), on_step=on_step)
    yield (
        home,
        {
            "envelopes": received,
            "seconds": round(time.monotonic() - began, 1),
            "cpu_ms_per_envelope": round((time.process_time() - cpu) * 1000 / max(received, 1), 2),
        },
    )


def stored(stores: Stores, truth: Truth) -> dict[str, Any]:
    """By SQL over the lake: items by project and UTC day, as `truth` has them; whether nothing differs."""
    slugs = {project.id: project.slug for project in truth.plan.projects}
    found: dict[str, dict[str, dict[str, int]]] = {}
    for kind, table in COUNTED.items():
        at = "started" if kind == "session" else "received_at"
        rows = stores.lake.query(
            f"SELECT project_id, {at}::DATE AS day, count(*) AS n FROM lake.{table} GROUP BY ALL ORDER BY ALL"
        )
        for row in rows:
            of_project = found.setdefault(slugs[row["project_id"]], {})
            of_project.setdefault(row["day"].isoformat(), {})[kind] = row["n"]
    return {"by_day": found, "equal": found == json.loads(json.dumps(truth.as_json()["by_day"]))}


def weeks(root: Path, plan: Plan, step: timedelta, port: int, url: str, *, report: bool) -> dict[str, Any]:
    """Two weeks, and with `report` what is told of them."""
    from tests.support.outside import mail_server

    with nullcontext() if port or not report else mail_server() as server:
        smtp_port = server.port if server is not None else port
        with lived(root, plan, step, smtp_port=smtp_port, url=url) as (home, cost):
            truth = Truth(plan)
            with open_stores(home) as stores:
                found = {"cost": cost, "truth": truth.as_json(), "stored": stored(stores, truth)}
            if report:
                found["reports"] = told(home, truth, server)
    return found


def year(root: Path, plan: Plan, url: str) -> dict[str, Any]:
    """A backfill of 365 daily and 52 weekly reports of one organisation."""
    from benchmarks.told_reports import run

    last = plan.first + timedelta(days=plan.days - 1)
    with lived(root, plan, timedelta(days=1), url=url) as (home, cost):
        now = plan.end + timedelta(days=1)

        def backfill(*words: str, days: int = plan.days) -> tuple[float, float]:
            """Of the newest days, in commands of a year at most."""
            seconds = cpu = 0.0
            for number in range(days, 0, -YEAR):
                first = last - timedelta(days=number - 1)
                to = min(first + timedelta(days=YEAR - 1), last)
                work = partial(
                    run, home, now, "backfill", *words, "--from", first.isoformat(), "--to", to.isoformat()
                )
                took, spent = timed(work)
                seconds, cpu = seconds + took, cpu + spent
            return round(seconds, 1), round(cpu, 1)

        spent = {
            "statistics": backfill("--statistics"),
            "daily": backfill("--report", "day", days=YEAR),
            "weekly": backfill("--report", "week"),
            "daily_again": backfill(
                "--report", "day", days=YEAR
            ),  # what is unchanged is neither drawn nor written
            "weekly_again": backfill("--report", "week"),
        }
    return {
        "days": plan.days,
        "cost": cost,
        "seconds": {name: seconds for name, (seconds, _) in spent.items()},
        "cpu_seconds": {name: cpu for name, (_, cpu) in spent.items()},
        "reports_seconds": round(spent["daily"][0] + spent["weekly"][0], 1),
    }


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds that it takes, and of CPU."""
    began, cpu = time.monotonic(), time.process_time()
    work()
    return round(time.monotonic() - began, 1), round(time.process_time() - cpu, 1)


def projects(root: Path, count: int, a_day: float, url: str) -> dict[str, Any]:
    """A weekly report of an organisation of so many projects, from the tables: CPU and seconds, the median of some."""
    from tasks_pipeline.analytics.statistics.compute import compute_statistics
    from tasks_pipeline.reports.generate import generate_analytics_report
    from tasks_pipeline.reports.periods import period_of

    plan = Plan(days=14, a_day=a_day, projects=many(count))
    with lived(root, plan, timedelta(hours=12), url=url) as (home, cost), open_stores(home) as stores:
        days = [plan.first + timedelta(days=n) for n in range(plan.days)]
        compute_statistics(stores, days, plan.end)
        period = period_of("week", plan.first + timedelta(days=7), "UTC", "monday")
        spent = []
        for _ in range(ROUNDS):
            began, cpu = time.monotonic(), time.process_time()
            report = generate_analytics_report(stores, period, "organisation", plan.end)
            spent.append((time.process_time() - cpu, time.monotonic() - began))
        return {
            "projects": count,
            "cost": cost,
            "errors": report.figures["errors"],
            "report_cpu_s": round(median(cpu for cpu, _ in spent), 2),
            "report_s": round(median(seconds for _, seconds in spent), 2),
        }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks reports", description=__doc__)
    parser.add_argument("--weeks", type=int, default=2, help="weeks of traffic; the first begins on a Monday")
    parser.add_argument(
        "--first",
        type=date.fromisoformat,
        default=Plan().first,
        help="that Monday; default: before clocks go back",
    )
    parser.add_argument(
        "--rate", type=float, default=400, help="errors a day; twice as many transactions and sessions"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--step-minutes", type=int, default=60, help="how often what came is processed; divides a day"
    )
    parser.add_argument("--home", type=Path, help="keep the home in this folder")
    parser.add_argument("--database-url", default="", help="an empty database of Postgres; default: SQLite")
    parser.add_argument("--report", action="store_true", help="compute statistics and reports, and send them")
    parser.add_argument(
        "--smtp-port", type=int, default=0, help="a mail server of this machine; default: one of its own"
    )
    parser.add_argument("--year", action="store_true", help="time the backfill of a year instead")
    parser.add_argument(
        "--projects", type=int, default=0, help="time a weekly report of so many projects instead"
    )
    parser.add_argument("--kills", type=int, default=0, help="kill computing and sending so often instead")
    chosen = parser.parse_args(arguments)
    plan = Plan(chosen.first, 7 * chosen.weeks, chosen.rate, chosen.seed)
    step = timedelta(minutes=chosen.step_minutes)
    with nullcontext(chosen.home) if chosen.home else temporary_root() as root:
        if chosen.year:
            found = year(
                root,
                Plan(chosen.first - timedelta(days=364), 371, chosen.rate, chosen.seed),
                chosen.database_url,
            )
        elif chosen.projects:
            found = projects(root, chosen.projects, chosen.rate, chosen.database_url)
        elif chosen.kills:
            found = killed(root, plan, step, chosen.kills)
        else:
            found = weeks(root, plan, step, chosen.smtp_port, chosen.database_url, report=chosen.report)
        print(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
