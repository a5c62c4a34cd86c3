"""Sections of reports by a few facts that are counted by hand: deploys, monitors and messages, the same in JSON, mail, page and text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from sqlalchemy import insert

from tasks_pipeline.home import Home
from tasks_pipeline.reports.files import report_json
from tasks_pipeline.reports.generate import generate_analytics_report
from tasks_pipeline.reports.periods import period_of
from tasks_pipeline.reports.rendering.mail import mail_html
from tasks_pipeline.reports.rendering.page import report_page
from tasks_pipeline.reports.rendering.text import report_text
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import Stores, open_stores
from tests.support.figure_rows import Error, Facts, write_figures
from tests.support.health_rows import bucket

FIRST = datetime(2026, 11, 1, tzinfo=UTC)
OCTOBER = FIRST - timedelta(minutes=15)
NOW = datetime(2026, 12, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIG = """
projects:
  - {id: 1, slug: shop, keys: [{public_key: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk}]}
  - {id: 2, slug: site, keys: [{public_key: llllllllllllllllllllllllllllllll}]}
"""


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 11, day, hour, tzinfo=UTC)


def moved(
    moment: datetime, version: str, move: str = "deployed", environment: str = "production", project: int = 1
) -> dict[str, Any]:
    return {
        "day": moment.date(), "project_id": project, "version": version, "at": moment, "move": move,
        "environment": environment, "commits": 0, "authors": 0,
    }  # fmt: skip


def watched(moment: datetime, monitor: str, kind: str, environment: str, **counts: float) -> dict[str, Any]:
    none = dict.fromkeys(
        ("expected", "ok", "error", "missed", "timed_out", "down_seconds", "observed_seconds"), 0
    )
    place = {"project_id": 1, "monitor": monitor, "kind": kind, "environment": environment}
    return {"day": moment.date(), "slot": moment, **place, **none, **counts, "durations": []}


def messages(
    moment: datetime, status: str, count: int, channel: str = "mail", rule: str = "", seconds: float = 0
) -> dict[str, Any]:
    return {
        "day": moment.date(), "slot": moment, "project_id": 1, "rule": rule, "channel": channel, "channel_type": "mail",
        "kind": "alert", "status": status, "count": count, "seconds": [(bucket(seconds), count)] if seconds else [],
    }  # fmt: skip


ROWS = {
    "release_moves": [
        moved(at(3, 12), "shop@1"), moved(at(4, 12), "shop@1"), moved(at(5), "shop@1", environment="staging"),
        moved(at(10, 12), "shop@2"), moved(at(20, 12), "shop@3"), moved(at(21), "shop@4"),
        moved(at(6), "site@1", "finalised", "", 2), moved(at(7), "site@2", "finalised", "", 2), moved(OCTOBER, "shop@0"),
    ],
    "monitor_stats": [
        watched(at(2), "nightly", "cron", "production", expected=6, ok=5, error=1),
        watched(at(30, 23), "nightly", "cron", "production", expected=4, ok=2, missed=2),
        watched(at(2), "front", "uptime", "", expected=100, ok=99, error=1, down_seconds=600, observed_seconds=60_000),
        watched(OCTOBER, "nightly", "cron", "production", expected=50, error=50),
    ],
    "notification_stats": [
        messages(at(2), "sent", 12, rule="all new", seconds=2), messages(at(3), "sent", 3, "ops", "spikes", 60),
        messages(at(3), "skipped", 4, rule="all new"), messages(at(4), "digest", 2), messages(at(4), "dead", 1, "ops"),
        messages(OCTOBER, "sent", 100, rule="all new", seconds=900),
    ],
}  # fmt: skip


@pytest.fixture
def stores(home: Home) -> Iterator[Stores]:
    home.config_path.write_text(CONFIG)
    with open_stores(home) as stores:
        facts = Facts([Error(at(2))], rows=ROWS)
        write_figures(stores, facts, {row["day"] for rows in ROWS.values() for row in rows}, now=NOW)
        put_state(stores)
        yield stores


def put_state(stores: Stores) -> None:
    """Commits of the first deploys; group 1 is new in shop@2 and resolved after six hours, 2 comes back in shop@3 and stays, 3 is
    new in shop@4 but of too few users; three incidents, and one of October."""
    group = {
        "project_id": 1, "title": "E", "culprit": "", "level": "error", "platform": "python", "type": "error", "metadata": {},
        "algorithm": "a",
    }  # fmt: skip
    act = {"project_id": 1, "data": {}, "actor": "anna@acme.example"}
    authored = {"a": ("shop@1", at(2, 12)), "b": ("shop@1", at(1, 12)), "c": ("shop@2", at(10, 6))}
    monitor = {
        "project_id": 1,
        "name": "",
        "config": {},
        "source": "file",
        "created_at": FIRST,
        "updated_at": FIRST,
    }
    incident = {"project_id": 1, "reason": "missed", "detail": ""}
    with stores.state.write() as connection:
        connection.execute(
            insert(t.commits),
            [{"sha": sha, "committed_at": when, "created_at": when} for sha, (_, when) in authored.items()],
        )
        connection.execute(
            insert(t.release_commits),
            [{"version": v, "position": n, "sha": sha} for n, (sha, (v, _)) in enumerate(authored.items())],
        )
        connection.execute(
            insert(t.groups),
            [
                {**group, "id": n, "short_id": n, "first_release": release, "created_at": when, "users": users}
                for n, release, when, users in (
                    (1, "shop@2", at(10, 15), 12), (2, "shop@1", OCTOBER, 50), (3, "shop@4", at(21, 1), 9),
                )
            ],
        )  # fmt: skip
        connection.execute(
            insert(t.group_actions),
            [
                {**act, "group_id": 1, "action": "resolve", "at": at(10, 18), "release": None},
                {**act, "group_id": 2, "action": "regress", "at": at(20, 13), "release": "shop@3"},
            ],
        )
        connection.execute(
            insert(t.monitors),
            [
                {**monitor, "id": 1, "slug": "nightly", "type": "cron"},
                {**monitor, "id": 2, "slug": "front", "type": "uptime"},
            ],
        )
        connection.execute(
            insert(t.monitor_environments),
            [
                {"id": n, "monitor_id": n, "environment": e, "status": "ok", "data": {}}
                for n, e in ((1, "production"), (2, ""))
            ],
        )
        connection.execute(
            insert(t.incidents),
            [
                {**incident, "kind": kind, "environment_id": n, "opened_at": when}
                for kind, n, when in (
                    ("cron", 1, at(2)),
                    ("cron", 1, at(30, 23)),
                    ("uptime", 2, at(2)),
                    ("cron", 1, OCTOBER),
                )
            ],
        )


class Rows(HTMLParser):
    """The rows of all tables of a page, as lists of texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "td" and self.rows:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def test_deploys_monitors_and_messages(stores: Stores) -> None:
    report = generate_analytics_report(
        stores, period_of("month", date(2026, 11, 1), "UTC"), "organisation", NOW
    )
    told = json.loads(report_json(report))
    releases, monitors, sent = told["releases"], told["monitors"], told["notifications"]
    # Five to production, and two releases of the project that sends none, in 30 days; two of five broke something.
    assert (releases["deploys"], releases["deploys_per_week"]) == (5, round(7 / (30 / 7), 3))
    assert (
        releases["lead_time_seconds"] == 24 * 3600
    )  # of 6, 24 and 48 hours; a release ships its commits once
    assert releases["change_failure_rate"] == 0.4
    assert releases["restore_seconds"] == 9 * 3600  # of 6 hours until resolved and 12 until the next deploy
    assert (monitors["failed"], monitors["incidents"]) == (2, 3)
    nightly, front = monitors["rows"]
    counts = ("expected", "ok", "error", "missed", "timed_out", "incidents", "uptime")
    assert [nightly[name] for name in counts] == [10, 7, 1, 2, 0, 2, None]
    assert [front[name] for name in counts] == [100, 99, 1, 0, 0, 1, 0.99]
    assert (sent["sent"], sent["failed"], sent["held_back"]) == (15, 1, {"skipped": 4, "digest": 2})
    assert (sent["by_channel"], sent["noisy_rules"]) == ({"mail": 12, "ops": 3}, {"all new": 12})
    assert (sent["p50_seconds"], sent["p95_seconds"]) == pytest.approx((2, 60), rel=0.01)
    rows = {
        "mail": Rows(mail_html(report, (), why="", unsubscribe="")).rows,
        "page": Rows(report_page(report)).rows,
        "text": [re.split(r" {2,}", line.strip()) for line in report_text(report).splitlines()],
    }
    for place, found in rows.items():
        for row in (
            ["Deploys to production", "5"], ["Deploys a week", "1.63"], ["From commit to production, median", "1 d"],
            ["Deploys that broke something", "40 %"], ["Until it was restored, median", "9 h"],
            ["nightly", "production", "–", "2", "1", "2"], ["front", "–", "99 %", "0", "1", "1"],
            ["Sent", "15"], ["Failed", "1"], ["From the alert until sent, median", "2 s"], ["Held back: skipped", "4"],
            ["Held back: digest", "2"], ["Rule “all new”", "12"],
        ):  # fmt: skip
            assert row in found, (place, row)
