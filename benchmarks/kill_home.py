"""The installation that `kills` kills processes in: two projects, days that are over and days that stay, something of everything that a
cleanup, a deletion or a backup has to find."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tasks_pipeline.analytics.statistics.compute import compute_statistics
from tasks_pipeline.home import Home
from tasks_pipeline.releases.health import compute_health
from tasks_pipeline.releases.health_days import due_days
from tasks_pipeline.reports.many import compute_reports
from tasks_pipeline.stores import Stores, open_stores

SHOP, OTHER = 1000, 1001
ANN = "usr-48151623"
"""A user of both projects, whom somebody wants deleted."""
AGES = (150, 149, 3)
"""Days of the installation, so many days ago. The first two are over where events are kept for 90 days, but for those of OTHER of the second."""
EVENTS = 12
"""Of each project and day, three of them Ann's."""
_SHOP = "- {id: 1000, slug: shop, keys: [{public_key: abcdef}]}\n"


def configuration(days: int, archive: Path | None, *, shop: bool = True) -> str:
    """The configuration file: what was received is kept for so many days, of OTHER a day that would be over too."""
    of_archive = "" if archive is None else f", archive_url: '{archive}'"
    kept = f"{{event_days: {days}, attachment_days: {days}, session_days: {days}, outcome_days: {days}{of_archive}}}"
    other = max(days, AGES[1])
    return (
        f"retention: {kept}\nprojects:\n{_SHOP if shop else ''}"
        f"- {{id: 1001, slug: other, keys: [{{public_key: fedcba}}], retention: {{event_days: {other}}}}}\n"
        "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
        "alert_rules: [{name: all, when: [new_group], notify: ['channel:hook']}]\n"
    )


def fill(home: Home) -> list[date]:
    """Live through the days; gives them. Each is in several files, and rows of the last are in the tail too."""
    from tests.support.crash import nothing_is_small
    from tests.support.day import Day

    today = datetime.now(UTC).date()
    days = [today - timedelta(days=age) for age in AGES]
    with open_stores(home) as stores:
        for on in days:
            day = Day(stores, on, SHOP)
            with nothing_is_small():
                for first in range(0, EVENTS, EVENTS // 2):
                    _send(day, first, EVENTS // 2)
                    day.drain()
            _send(day, EVENTS, 2)
            day.drain()
        _figures(stores, days)
    return days


def _figures(stores: Stores, days: list[date]) -> None:
    now = datetime.now(UTC)
    with stores.state.read() as connection:
        due = due_days(connection)
    for day in due:
        compute_health(stores.lake, stores.state, day)
    compute_statistics(stores, days, now, everything=True)
    list(compute_reports(stores, "day", days[-1:], now))


def _send(day: object, first: int, count: int) -> None:
    """So many envelopes of each project from a number on, with events of four groups, attachments, sessions and transactions."""
    from tests.support.day import Day
    from tests.support.events import event, item
    from tests.support.figures import transaction
    from tests.support.sessions import session

    assert isinstance(day, Day)
    for project in (SHOP, OTHER):
        of = replace(day, project=project)
        receipts = []
        for number in range(first, first + count):
            user = ANN if number % 4 == 1 else f"user-{number}"
            sent = event(
                f"Problem {number % 4}",
                user={"id": user},
                release=f"shop@{number % 2}",
                environment="production",
            )
            sent["event_id"] = f"{project:08x}{of.date.toordinal():08x}{number:016x}"
            text = f"{of.date} {project} {number // 2}".encode()
            unique = (project - SHOP) * 10**9 + of.date.toordinal() * 100 + number
            began = session(of, unique, release=f"shop@{number % 2}", did=user)
            receipts.append(of.receipt(sent, item("attachment", text, filename="core"), seconds=number))
            receipts.append(
                of.receipt(began, transaction(of, 10**12 + unique, 20, user={"id": user}), seconds=number)
            )
        of.spool(*receipts)


def age_files(root: Path) -> None:
    """A day and more passes for all files that processes may have left."""
    import os

    for path in [*root.rglob("*"), *root.rglob(".*")]:
        if path.is_file() and not path.is_symlink():
            os.utime(path, (10**9, 10**9))
