"""The command line: its help, its manners with mistakes of users, and how rows are printed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.cli import COMMANDS, SECTIONS, main
from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.texts import printable


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(importlib.import_module(f"tasks_pipeline.{module}"), attribute)
        subcommands = command.commands if isinstance(command, click.Group) else {}
        found += [(name, sub) for sub in subcommands] if subcommands else [(name,)]
    return found


def test_the_list_of_commands_imports_none_of_them() -> None:
    heavy = [
        "dagster",
        "duckdb",
        "pandas",
        "pydantic",
        "sqlalchemy",
        "httpx",
        "rich",
        "starlette",
        "tasks_pipeline.commands",
    ]
    code = (
        "import sys; from tasks_pipeline.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"sys.exit(repr([name for name in {heavy!r} if name in sys.modules]))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == "[]"
    assert all(name in process.stdout for name in COMMANDS)


def test_the_service_is_supervised_by_a_lean_process() -> None:
    code = (
        "import sys, tasks_pipeline.service.service\n"
        "sys.exit(repr([name for name in 'dagster duckdb pandas sqlalchemy httpx'.split() if name in sys.modules]))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == "[]"


@pytest.mark.parametrize("command", every_command(), ids=" ".join)
def test_help_teaches_by_example(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"tasks-pipeline {command[0]}" in result.output or f" {command[0]} " in result.output


def every_page() -> list[tuple[str, ...]]:
    """Commands and groups of them, and the front page."""
    return [(), *dict.fromkeys((words[0],) for words in every_command()), *every_command()]


@pytest.mark.parametrize("page", every_page(), ids=lambda page: " ".join(page) or "all")
def test_help_fits_80_columns_and_cuts_no_sentence(page: tuple[str, ...]) -> None:
    output = CliRunner().invoke(main, [*page, "--help"], env={"COLUMNS": "80"}).output
    assert [line for line in output.splitlines() if len(line) > 80] == []
    assert [line for line in output.splitlines() if line.endswith("...") and "Usage" not in line] == []


def test_commands_stand_in_order_of_use_below_headings() -> None:
    assert [name for names in SECTIONS.values() for name in names] == list(COMMANDS)
    output = CliRunner().invoke(main, ["--help"]).output
    assert [line for line in output.splitlines() if line.removesuffix(":") in SECTIONS] == [
        f"{h}:" for h in SECTIONS
    ]
    of_groups = CliRunner().invoke(main, ["groups", "--help"]).output
    order = [
        of_groups.index(f"\n  {name} ") for name in ("list", "show", "resolve", "assign", "discard", "merge ")
    ]
    assert order == sorted(order)


def test_every_command_of_a_group_is_listed() -> None:
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(importlib.import_module(f"tasks_pipeline.{module}"), attribute)
        if isinstance(command, click.Group):
            listed = command.list_commands(click.Context(command, info_name=name))
            assert sorted(listed) == sorted(command.commands)


PLAIN = {
    *("init", "run", "receive", "web", "worker", "dagster", "migrate", "health"),
    *("demo", "dsn", "send-test-event", "grouping eval", "config schema"),
}
"""Commands that stay, print one word or line, or print JSON anyway."""


@pytest.mark.parametrize("command", [c for c in every_command() if " ".join(c) not in PLAIN], ids=" ".join)
def test_whatever_looks_or_decides_takes_json(command: tuple[str, ...]) -> None:
    assert "--json" in CliRunner().invoke(main, [*command, "--help"]).output


def test_the_shell_completes_commands() -> None:
    env = {
        "_TASKS_PIPELINE_COMPLETE": "bash_complete",
        "COMP_WORDS": "tasks-pipeline groups re",
        "COMP_CWORD": "2",
    }
    result = CliRunner().invoke(main, env=env, prog_name="tasks-pipeline")
    assert result.output.splitlines() == ["plain,resolve"]


@pytest.mark.parametrize("words", ["groups list --search", "releases show", "groups list --assignee", "sql"])
def test_what_is_no_utf8_is_refused_in_a_line(words: str) -> None:
    result = CliRunner().invoke(main, [*words.split(), "a\udcff"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith("'a\\udcff' is not UTF-8\n")


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--port", "70000"], ["dsn", "--nonsense"]])
def test_a_wrong_call_ends_with_status_2_and_a_line(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", [["groups", "list", "--limit"], ["run", "--port"], ["token", "revoke"]])
def test_what_is_no_number_is_told_in_plain_words(command: list[str]) -> None:
    assert "'xx' is not a valid whole number." in CliRunner().invoke(main, [*command, "xx"]).stderr


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(main, ["--home", str(tmp_path / "file" / "home"), "dsn"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


ROWS = [
    {"id": "SHOP-1", "events": 3, "seen": datetime(2026, 11, 22, 10, 0, tzinfo=UTC), "title": "a\nb"},
    {"id": "SHOP-22", "events": 1_000, "seen": None, "title": "x" * 300},
]


def test_rows_are_lines_outside_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table(ROWS, {"id": "group", "events": "events", "title": "title"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["group", "events", "title"]
    assert lines[1].split() == ["SHOP-1", "3", "a", "b"]
    assert lines[2].split() == ["SHOP-22", "1000", "x" * 300]
    assert len(lines) == 3


def test_json_is_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    table(ROWS, ["id", "seen"], as_json=True)
    assert msgspec.json.decode(capsys.readouterr().out) == [
        {"id": "SHOP-1", "seen": "2026-11-22T10:00:00Z"},
        {"id": "SHOP-22", "seen": None},
    ]


def test_no_rows_are_an_empty_list_and_an_empty_table(capsys: pytest.CaptureFixture[str]) -> None:
    table([], ["id"], as_json=True)
    assert capsys.readouterr().out == "[]\n"
    table([], ["id"])
    assert capsys.readouterr().out.split() == ["id"]


def test_what_strangers_sent_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"title": "\x1b]0;owned\x07 [red]not markup[/red] \u202egnp.exe"}], ["title"])
    out = capsys.readouterr().out
    assert "\\x1b]0;owned\\x07 [red]not markup[/red] \\u202egnp.exe" in out


@given(st.text())
def test_a_cell_is_one_printable_line(text: str) -> None:
    assert printable(text).isprintable()


def test_dates_are_shown_without_noise() -> None:
    assert cell(datetime(2026, 11, 22, 10, 0, 5, 123, tzinfo=UTC)) == "2026-11-22 10:00:05"
    assert cell(date(2026, 11, 22)) == "2026-11-22"
    assert cell(None) == ""
