"""`analytics stats` and `backfill --statistics`: figures of days as people and programs read them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.commands.analytics.stats import TABLES
from tasks_pipeline.home import Home
from tasks_pipeline.storage.lake.tables import STATISTICS_TABLES
from tasks_pipeline.stores import open_stores
from tests.support.day import Day
from tests.support.events import event

ATTACK = "\x1b]0;owned\x07[red]x"
CONFIG = "projects: [{id: 1, slug: shop, keys: [{public_key: abcd}]}, {id: 2, slug: office, keys: [{public_key: efgh}]}]"
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)


@pytest.fixture
def filled(home: Home) -> Home:
    """Yesterday and today with events, stored and not counted."""
    home.config_path.write_text(CONFIG, encoding="utf-8")
    with open_stores(home) as stores:
        for number in (1, 0):
            day = Day(stores, TODAY - timedelta(days=number), 1)
            day.send(*(event("A", user={"id": str(n)}, release=ATTACK) for n in range(3)))
            day.spool(day.receipt(event("B"), project=2))
            day.drain()
    return home


def call(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.root), *arguments])


def as_json(home: Home, *arguments: str) -> Any:
    result = call(home, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_command_knows_every_table() -> None:
    assert tuple(STATISTICS_TABLES) == TABLES


def test_days_are_counted_and_shown(filled: Home) -> None:
    assert as_json(filled, "analytics", "stats") == []
    assert "backfill --statistics" in call(filled, "analytics", "stats").stdout
    counted = as_json(filled, "backfill", "--statistics", "--from", YESTERDAY.isoformat())
    assert [(r["day"], r["result"], r["errors"], r["users"], r["version"]) for r in counted] == [
        (day.isoformat(), "done", 4, 3, 1) for day in (YESTERDAY, TODAY)
    ]
    rows = as_json(filled, "analytics", "stats")
    assert [(r["day"], r["errors"], r["users"], r["open_groups"], r["hours"][12]) for r in rows] == [
        (day.isoformat(), 4, 3, 2, 4) for day in (YESTERDAY, TODAY)
    ]
    assert rows[0]["state"] == "closed"
    (row,) = as_json(filled, "analytics", "stats", YESTERDAY.isoformat(), "--project", "office")
    assert (row["errors"], row["users"], row["new_groups"]) == (1, 0, 1)
    table = call(filled, "analytics", "stats")
    assert "▁▁▁▁▁▁▁▁▁▁▁▁█" in table.stdout
    assert len(as_json(filled, "analytics", "stats", "--table", "group_moves")) == 2
    shown = call(filled, "analytics", "stats", "--table", "event_stats")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout


def test_mistakes_are_told(filled: Home) -> None:
    for arguments, said in (
        (["analytics", "stats", "2026-01-01", "--since", "2026-01-01"], "give either a day"),
        (
            ["analytics", "stats", "--since", "2026-02-01", "--until", "2026-01-01"],
            "--until is before --since",
        ),
        (["analytics", "stats", "--table", "nonsense"], "nonsense"),
        (["backfill", "--statistics", "--stored", "--day", "2026-01-01"], "exclude each other"),
        (
            ["backfill", "--statistics", "--day", "2016-01-01"],
            "nothing was received on 2016-01-01, or before",
        ),
    ):
        result = call(filled, *arguments)
        assert result.exit_code in (1, 2), arguments
        assert said in result.stderr
