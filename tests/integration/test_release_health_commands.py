"""`releases health` and `releases adoption`, and what `list` and `show` say of sessions: on SQLite and Postgres."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.commands.common.bars import bar
from tasks_pipeline.commands.releases.health import duration_text
from tasks_pipeline.home import DATABASE_VARIABLE
from tasks_pipeline.releases.adoption import tell_stages
from tasks_pipeline.releases.health_days import note_days_changed
from tasks_pipeline.releases.known import save_release
from tasks_pipeline.releases.spans import begin_of
from tasks_pipeline.storage.lake.lake import Lake
from tasks_pipeline.stores import Stores
from tests.support.health_rows import Seen, write_health

HOUR = timedelta(hours=1)
ATTACK = "\x1b]0;owned\x07[red]x"
CONFIG = """\
projects:
  - {id: 1, slug: shop, keys: [{public_key: abcd}]}
  - {id: 2, slug: office, keys: [{public_key: efgh}]}
"""


def call(stores: Stores, *arguments: str) -> Result:
    environment = {DATABASE_VARIABLE: stores.home.database_url}
    return CliRunner(env=environment).invoke(main, ["--home", str(stores.home.root), "releases", *arguments])


def as_json(stores: Stores, *arguments: str) -> Any:
    result = call(stores, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def shop(own: Stores) -> Stores:
    """Sessions of a few hours ago and of long ago."""
    (own.home.root / "tasks_pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    for version in ("shop@1.0", "shop@2.0", "shop@3.0"):
        save_release(own.state, [1], version, {})
    at = datetime.now(UTC).replace(minute=5) - 3 * HOUR
    write_health(
        own.state,
        own.lake,
        [
            Seen(at, "shop@1.0", user=1, sessions=9),
            Seen(at, "shop@1.0", user=2, state="crashed"),
            Seen(at, "shop@1.0", "", user=3, seconds=2.5),
            Seen(at, "shop@2.0", user=1, sessions=90, seconds=0.1),
            Seen(at, ATTACK, project=2, user=1),
            Seen(begin_of(at.date()) - 20 * timedelta(days=1), "shop@3.0", user=4),
        ],
    )
    tell_stages(own.state, own.lake, datetime.now(UTC))
    own.lake.close()
    return own


def test_lists_say_how_sessions_fared(shop: Stores) -> None:
    found = {row["version"]: row for row in as_json(shop, "list")}
    names = ("sessions", "crash_free_sessions", "crash_free_users", "adoption", "stages")
    assert {version: tuple(row[name] for name in names) for version, row in found.items()} == {
        "shop@1.0": (11, pytest.approx(10 / 11), pytest.approx(2 / 3), pytest.approx(11 / 101), {"production": "adopted"}),
        "shop@2.0": (90, 1.0, 1.0, pytest.approx(90 / 101), {"production": "adopted"}),
        "shop@3.0": (0, None, None, None, {"production": "replaced"}),
    }  # fmt: skip
    lines = [line.split() for line in call(shop, "list").stdout.splitlines()]
    (first,) = [line for line in lines if line[:1] == ["shop@1.0"]]
    assert "90.909" in first
    assert "10.891" in first
    assert "adopted" in first


def test_without_health_the_lake_stays_closed(own: Stores) -> None:
    (own.home.root / "tasks_pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    save_release(own.state, [1], "shop@1.0", {})
    with patch.object(Lake, "query", side_effect=AssertionError("asked")):
        (row,) = as_json(own, "list")
        assert (row["sessions"], row["crash_free_sessions"], row["stages"]) == (0, None, {})
        assert as_json(own, "show", "shop@1.0")["health"] == {}


def test_one_release_by_environment(shop: Stores) -> None:
    health = as_json(shop, "show", "shop@1.0")["health"]
    production, unnamed = health["production"], health[""]
    names = ("sessions", "healthy", "errored", "unhandled", "abnormal", "crashed", "users", "crashed_users")
    assert [production[name] for name in names] == [10, 9, 0, 0, 0, 1, 2, 1]
    assert (production["durations"], production["final"]) == (None, False)
    assert unnamed["durations"] == dict.fromkeys(
        ("p50", "p75", "p90", "p95", "p99", "mean", "max"), pytest.approx(2.5, rel=0.02)
    )
    assert (datetime.fromisoformat(unnamed["until"]) - datetime.fromisoformat(unnamed["since"])).days == 14
    text = call(shop, "show", "shop@1.0").stdout
    assert "sessions of the last 14 days" in text
    assert "90 %" in text


def test_health(shop: Stores) -> None:
    rows = as_json(shop, "health")
    assert [(row["version"], row["project"], row["environment"], row["sessions"]) for row in rows] == [
        ("shop@2.0", "shop", None, 90), ("shop@1.0", "shop", None, 11), (ATTACK, "office", None, 1),
    ]  # fmt: skip
    named = as_json(shop, "health", "shop@1.0")
    assert {row["environment"]: (row["sessions"], row["users"]) for row in named} == {
        None: (11, 3), "production": (10, 2), "": (1, 1),
    }  # fmt: skip
    assert [row["sessions"] for row in as_json(shop, "health", "--environment", "none")] == [1]
    assert [row["version"] for row in as_json(shop, "health", "--days", "40", "--limit", "9")][
        -1
    ] == "shop@3.0"
    assert as_json(shop, "health", "--since", "90m") == []
    (last,) = as_json(shop, "health", "shop@3.0", "--days", "40", "--environment", "production")
    assert last["final"] is False
    shown = call(shop, "health")
    assert "90.909 %" in shown.stdout
    assert "not final yet" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "no sessions that began" in call(shop, "health", "nope").stderr
    assert call(shop, "health", "--days", "3", "--since", "1d").exit_code == 2
    assert call(shop, "health", "--since", "2019-01-01").exit_code == 2
    assert call(shop, "health", "--project", "nope").exit_code == 1


def test_adoption(shop: Stores) -> None:
    rows = as_json(shop, "adoption", "--project", "shop", "--environment", "production")
    assert [(row["version"], row["adoption"], row["stage"]) for row in rows] == [
        ("shop@2.0", 0.9, "adopted"), ("shop@1.0", 0.1, "adopted"),
    ]  # fmt: skip
    assert (rows[1]["adoption_users"], rows[1]["all"]) == (1.0, {"sessions": 100, "users": 2})
    assert rows[1]["since"] == rows[1]["adopted_at"]
    assert rows[1]["unadopted_at"] is None
    assert {row["environment"] for row in as_json(shop, "adoption")} == {None, "production", ""}
    text = call(shop, "adoption").stdout
    assert "10 %" in text
    assert "\x1b" not in text
    assert "no sessions" in call(shop, "adoption", "--environment", "nope").stderr


def test_bars() -> None:
    assert (bar(None), bar(0.0), bar(1.0)) == ("", "", "█" * 10)
    assert (bar(1e-9), bar(0.99999)) == ("▏", "█" * 9 + "▉")
    assert bar(0.5, 4) == "██"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0004, "0 ms"), (0.25, "250 ms"), (12.53, "12.5 s"), (119, "119 s"), (192, "3.2 min"), (5400, "90 min"), (86400, "24 h")],
)  # fmt: skip
def test_lengths_of_time(seconds: float | None, text: str) -> None:
    assert duration_text(seconds) == text


def test_figures_say_that_sessions_came_which_they_do_not_hold(shop: Stores) -> None:
    said = "sessions came that are not counted yet: those of today and yesterday are every 15 minutes, others at night"
    commands = (["list"], ["health"], ["health", "nope"])
    assert not [each for each in commands if said in call(shop, *each).output]
    now = datetime.now(UTC)
    with shop.state.write() as connection:
        note_days_changed(shop.state, connection, [now.date()], now)
    assert [each for each in commands if said in call(shop, *each).output] == [*commands]
    assert said not in call(shop, "list", "--json").stdout
