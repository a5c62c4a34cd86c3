"""Every table of the command line on terminals of several widths: it fits, and no id, status or time is broken or cut."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from tasks_pipeline.cli import COMMANDS, main
from tasks_pipeline.home import Home
from tests.support.shop_home import EVENT_ID, OTHER_ID, shop_home

WIDTHS = (60, 80, 100, 140)
WHOLE = {
    "cleanup --dry-run": (),
    "groups list --status all": ("short_id", "status"),
    "groups log SHOP-3": ("at",),
    "groups keys SHOP-1B": ("key",),
    "groups similar": (),
    "groups links SHOP-2": ("key", "tracker"),
    "integrations list": ("tracker",),
    "integrations status": ("name",),
    "integrations check": (),
    "integrations test shop-issues": ("step",),
    "integrations sync": (),
    "groups preview-rules": (),
    "events list": ("event_id", "short_id"),
    "releases list --status all": ("project",),
    "releases show shop@2.0.0": (),
    "releases commits shop@2.0.0": (),
    "releases deploys shop@2.0.0": ("environment", "finished_at"),
    "releases health": ("sessions",),
    "releases health shop@2.0.0": ("sessions",),
    "releases adoption": (),
    "releases parse shop@1.10.0-rc.1+7 @scope/pkg@1.0rc1 deadbeefcafe": ("kind",),
    "reports list": (),
    "reports preview day": (),
    "reports period day": (),
    "analytics events": ("type", "at"),
    "analytics stats": (),
    "analytics types": ("name",),
    "status": (),
    "storage": ("store",),
    "storage --by day": (),
    "alerts list --since 7d": ("at", "group"),
    "alerts rules": ("project",),
    "alerts test everything --since 7d": (),
    "notifications log": ("id", "created_at", "status"),
    "notifications queue": ("channel",),
    "notifications test channel:dead": ("result",),
    "members list": ("email",),
    "members show ben@acme.example --group SHOP-2": (),
    "monitors list": ("monitor", "environment", "state"),
    "monitors show nightly": (),
    "monitors check": (),
    "watch": ("probe", "status"),
    "token list": ("id", "hint"),
    "debug-files list": (),
    "backfill --day YESTERDAY": ("day", "result"),
    "projects list": ("slug",),
    "privacy find --user-id 7": (),
    "privacy certificates": (),
    "sql": (),
    "sql 'SELECT * FROM events'": ("event_id",),
    "sql 'SELECT level, count(*) AS n FROM events GROUP BY ALL'": ("level", "n"),
}
"""What of each command's JSON stands in its table as it is, in one line, however narrow the terminal."""
NO_TABLE = frozenset(
    {
        *(
            f"groups {word}"
            for word in "resolve unresolve ignore assign merge unmerge discard merge-similar".split()
        ),
        *(f"groups {word}" for word in "link unlink create-issue comment".split()),
        *(f"integrations {word}" for word in "retry disable enable rename".split()),
        *(f"releases {word}" for word in "archive restore delete".split()),
        *("monitors mute", "monitors unmute", "notifications retry", "notifications send"),
        *(
            "config check",
            "config show",
            "token create",
            "token revoke",
            "members invite",
            "members sign-out",
        ),
        *(f"backup {word}" for word in "create list verify restore".split()),
        *("groups show", "events show", "reports show"),
        *(f"reports {word}" for word in "send export subscribe unsubscribe".split()),
        *("groups delete", "projects delete", "privacy delete", "privacy export"),
        *(f"archive {word}" for word in "list verify restore".split()),
        "analytics record",
    }
)
"""Commands that decide and say so in sentences, that print a file, or whose page has a test of its own, below or with what it shows."""
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[\d.]*Z")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Home]:
    with shop_home(new_home(tmp_path_factory.mktemp("shop"))) as home:
        CliRunner().invoke(
            main, ["--home", str(home.root), "groups", "assign", "SHOP-3", "--to", "anna@acme.example"]
        )
        yield home


def words_of(home: Home, command: str) -> list[str]:
    import shlex
    from datetime import UTC, datetime, timedelta

    yesterday = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    return ["--home", str(home.root), *shlex.split(command.replace("YESTERDAY", yesterday))]


def on_terminal(words: list[str], width: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a command prints on a terminal of this width."""
    with monkeypatch.context() as patched:
        patched.setenv("COLUMNS", str(width))
        patched.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stdout>")
        result = CliRunner().invoke(main, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return re.sub(r"\x1b\[[0-9;]*m", "", result.stdout).splitlines()


@pytest.mark.parametrize("command", WHOLE)
def test_a_table_fits_and_what_names_a_thing_is_whole(
    shop: Home, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_of(shop, command)
    keys = WHOLE[command]
    rows = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout) if keys else []
    assert rows or not keys
    for width in WIDTHS:
        lines = on_terminal(words, width, monkeypatch)
        assert lines
        assert [line for line in lines if cell_len(line) > width] == [], width
        assert [line for line in lines if line != line.rstrip()] == []
        shown = [line.replace("✓", " ").split() for line in lines]
        for value in (_TIME.sub(r"\1 \2", str(row[key])) for row in rows for key in keys):
            assert any(all(part in line for part in value.split()) for line in shown), (width, value)


def test_no_table_is_left_out() -> None:
    tried = {" ".join(command.split()[:2]) for command in WHOLE} | {command.split()[0] for command in WHOLE}
    assert {name for name in _with_json() if name not in tried} == NO_TABLE


def _with_json() -> Iterator[str]:
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(importlib.import_module(f"tasks_pipeline.{module}"), attribute)
        pages = {name: command}
        if isinstance(command, click.Group):
            pages = {f"{name} {sub}": found for sub, found in command.commands.items()}
        yield from (title for title, page in pages.items() if any("--json" in o.opts for o in page.params))


@pytest.mark.parametrize("width", WIDTHS)
def test_a_group_is_a_line(shop: Home, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = on_terminal(words_of(shop, "groups list --status all"), width, monkeypatch)
    assert len(lines) == 2 + 9
    (wide,) = [line for line in lines if line.startswith("SHOP-3 ")]
    assert "日本" in wide
    assert "…" in wide
    assert ("first seen" in lines[0]) == (width >= 140)


@pytest.mark.parametrize("width", WIDTHS)
def test_ids_to_copy_are_whole(shop: Home, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of_group = on_terminal(words_of(shop, "groups show SHOP-2"), width, monkeypatch)
    assert any(EVENT_ID in line.split() for line in of_group)
    of_event = on_terminal(words_of(shop, f"events show {OTHER_ID}"), width, monkeypatch)
    assert any(f"{OTHER_ID}," in line.split() for line in of_event)


def test_what_came_but_is_not_kept_is_told(shop: Home) -> None:
    result = CliRunner().invoke(main, words_of(shop, "status"))
    assert "not stored: 1 log_item (unsupported: log)\n" in result.stdout
    found = json.loads(CliRunner().invoke(main, words_of(shop, "status --json")).stdout)
    assert [(one["category"], one["reason"], one["quantity"]) for one in found["not_stored"]] == [
        ("log_item", "log", 1)
    ]


def test_elsewhere_a_row_is_one_line_and_whole(shop: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    lines = CliRunner().invoke(main, words_of(shop, "groups list --status all")).stdout.splitlines()
    assert len(lines) == 1 + 9
    assert not any("…" in line for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []


def test_sql_that_does_not_fit_has_a_line_for_each_value(shop: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    statement = f"sql \"SELECT * FROM events WHERE event_id = '{EVENT_ID}'\""
    lines = on_terminal(words_of(shop, statement), 80, monkeypatch)
    assert [line.split()[1] for line in lines if line.startswith("event_id ")] == [EVENT_ID]
    numbers = on_terminal(
        words_of(shop, "sql 'SELECT 0.1::DOUBLE + 0.2 AS a, 23.384999999999998::DOUBLE AS b'"),
        80,
        monkeypatch,
    )
    assert numbers[-1].split() == ["0.3", "23.385"]
