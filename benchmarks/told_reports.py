"""What reports say of weeks that were lived through, against what was sent: computed, sent, healed by late symbols, told again.

At simulated times; people's looks and what they start go through the command line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner
from sqlalchemy import select

from benchmarks.clock import simulated
from benchmarks.truth import Truth
from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.sending import send_alert_notification
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import report_revisions, reports
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.uploads import inspect
from tasks_pipeline.uploads.known import add_bundle

if TYPE_CHECKING:
    from tests.support.outside import MailServer

SYMBOLS = Path(__file__).parents[1] / "tests" / "data" / "symbols" / "browser.bundle"
SCOPES = {"organisation": "organisation", "shop": "project:shop", "app": "project:app"}
COMPARED = ("errors", "users", "new_groups", "open_groups", "sessions", "check_ins")
"""Figures that a report and the truth both have under these names."""


def run(home: Home, now: datetime, *words: str) -> str:
    """What a command prints at a moment. Raises SystemExit with its words when it fails."""
    with simulated(now):
        done = CliRunner().invoke(main, ["--home", str(home.root), *words])
    if done.exit_code:
        raise SystemExit(f"tasks-pipeline {' '.join(words)}: {done.output}") from done.exception
    return done.stdout


def shown(home: Home, now: datetime, key: date, scope: str) -> dict[str, Any]:
    """The newest revision of a weekly report."""
    words = ("reports", "show", "week", key.isoformat(), "--scope", scope, "--json")
    found: dict[str, Any] = json.loads(run(home, now, *words))
    return found


def compute(home: Home, truth: Truth, now: datetime) -> None:
    """Figures of all days, and the weekly reports of all scopes: what sensors and schedules would have computed by then."""
    from tasks_pipeline.analytics.statistics.compute import compute_statistics
    from tasks_pipeline.reports.many import compute_reports

    plan = truth.plan
    with simulated(now), open_stores(home) as stores:
        compute_statistics(stores, [plan.first + timedelta(days=n) for n in range(plan.days)], now)
        list(compute_reports(stores, "week", truth.weeks("organisation"), now))


def send(home: Home, now: datetime) -> None:
    """Decide who gets which report, and send what waits, as the sensors would have it done."""
    from tasks_pipeline.reports.deliver import deliver_reports

    with simulated(now), open_stores(home) as stores:
        deliver_reports(stores, now)
        send_alert_notification(stores, linger_seconds=0, max_run_seconds=300)


def told(home: Home, truth: Truth, server: MailServer | None) -> dict[str, Any]:
    """What the reports say, and where it differs from what was sent; how many mails came, before and after a second revision."""
    now = truth.plan.end + timedelta(hours=14)  # eight in the morning has passed in all three zones
    newest = truth.weeks("organisation")[-1]
    compute(home, truth, now)
    send(home, now)
    before, mails = shown(home, now, newest, "organisation"), mails_of(server)
    differences = compared(home, truth, now)
    later = now + timedelta(hours=1)
    with open_stores(home) as stores:
        upload_symbols(stores)
    run(
        home,
        later,
        "backfill",
        "--stored",
        "--from",
        (truth.plan.first + timedelta(days=7)).isoformat(),
        "--to",
        newest_day(truth),
    )
    compute(home, truth, later)
    send(home, later)
    after = shown(home, later, newest, "organisation")
    return {
        "differences": differences,
        "mails": mails,
        "mails_after_the_revision": mails_of(server),
        "revisions": [before["revision"], after["revision"]],
        "largest_groups": [
            [(row["title"], row["events"]) for row in each["groups"]["new"]] for each in (before, after)
        ],
        "changed": changed(home, newest),
    }


def changed(home: Home, key: date) -> dict[str, list[Any]]:
    """By scope: what the newest revision of a weekly report says of what it changed."""
    query = (
        select(reports.c.scope, report_revisions.c.changes)
        .join(report_revisions, report_revisions.c.report_id == reports.c.id)
        .where(
            reports.c.kind == "week", reports.c.key == key, report_revisions.c.revision == reports.c.revision
        )
    )
    with closing(StateDatabase(home)) as state, state.read() as connection:
        return {row.scope: row.changes for row in connection.execute(query)}


def compared(home: Home, truth: Truth, now: datetime) -> list[str]:
    """Where reports of all scopes and weeks, the truth and SQL over the lake differ: nowhere."""
    found = []
    for scope, name in SCOPES.items():
        for key in truth.weeks(scope):
            start, end = truth.bounds(scope, key, 7)
            report, expected = shown(home, now, key, name), truth.figures(scope, start, end)
            found += [
                f"{name} {key}: {figure} is {report['figures'].get(figure)}, sent were {expected[figure]}"
                for figure in COMPARED
                if (report["figures"].get(figure) or 0) != expected[figure]
            ]
            ids = {"organisation": [1, 2], "shop": [1], "app": [2]}[scope]
            sql = (
                f"SELECT count(*) AS n FROM lake.events WHERE received_at >= '{start.isoformat()}' AND "
                f"received_at < '{end.isoformat()}' AND project_id IN ({', '.join(map(str, ids))})"
            )
            (row,) = json.loads(run(home, now, "sql", "--json", sql))
            if row["n"] != report["figures"]["errors"]:
                found.append(f"{name} {key}: errors are {report['figures']['errors']}, by SQL {row['n']}")
    return found


def upload_symbols(stores: Stores) -> None:
    """The source map that two groups of the plan waited for."""
    found = inspect.bundle(SYMBOLS, "100", str(2**20)).bundle
    assert found is not None
    digest, size = stores.blobs.put(SYMBOLS.read_bytes()), SYMBOLS.stat().st_size
    add_bundle(
        stores.state, [1], sha1="0" * 40, digest=digest, size=size, release=None, dist=None, bundle=found
    )


def newest_day(truth: Truth) -> str:
    """The last day of the plan."""
    return (truth.plan.first + timedelta(days=truth.plan.days - 1)).isoformat()


def mails_of(server: MailServer | None) -> dict[str, int] | None:
    """Mails about reports by recipient and subject; None where the server is somebody else's."""
    if server is None:
        return None
    pairs: Sequence[Any] = list(zip(server.recipients, server.mails, strict=True))
    return dict(
        Counter(f"{', '.join(to)}: {mail['Subject']}" for to, mail in pairs if mail["List-Unsubscribe-Post"])
    )
