"""Every example of the help pages, of docs/cli.md and of the README is run on a home like that of a small shop."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tasks_pipeline.cli import COMMANDS, main
from tasks_pipeline.home import Home
from tests.support.shop_home import shop_home

PROJECT = Path(__file__).parents[2]
NOT_RUN = {
    "tasks-pipeline backup create --to /mnt/backups": "writes where the reader keeps backups",
    "tasks-pipeline backup create --to /mnt/backups --keep 7": "writes where the reader keeps backups",
    "tasks-pipeline backup list --from /mnt/backups": "needs what that one made",
    "tasks-pipeline backup verify --from /mnt/backups": "needs what that one made",
    "tasks-pipeline --home /srv/new backup restore --from /mnt/backups": "needs what that one made",
    "tasks-pipeline privacy delete --email ann@example.org": "asks on a terminal",
    "tasks-pipeline privacy export --email ann@example.org --to ~/ann.zip": "writes where the reader wants it",
    "tasks-pipeline --home /tmp/trial run": "stays until it is stopped",
    "tasks-pipeline init /tmp/trial": "writes where the reader wants it; test_wheel.py does",
    "tasks-pipeline migrate": "makes Dagster's tables, which takes seconds; test_roles.py does",
    "tasks-pipeline run": "stays until it is stopped",
    "tasks-pipeline --home ./trial run --port 0 --ui-port 0": "stays until it is stopped",
    "tasks-pipeline receive --host 0.0.0.0 --port 9000": "stays until it is stopped",
    "tasks-pipeline web": "stays until it is stopped",
    "tasks-pipeline web --host 0.0.0.0 --drain-seconds 10": "stays until it is stopped",
    "tasks-pipeline receive --host 0.0.0.0 --web http://web:9080": "stays until it is stopped",
    "tasks-pipeline dagster": "stays until it is stopped",
    "tasks-pipeline demo --keep /tmp/demo": "starts a service; has a test of its own",
    "tasks-pipeline --home /tmp/demo groups list": "needs what the demo keeps",
    "tasks-pipeline send-test-event": "needs a service",
    'tasks-pipeline send-test-event --message "card declined"': "needs a service",
    'tasks-pipeline events show "$(tasks-pipeline send-test-event)" --json': "needs a service",
    "tasks-pipeline reports show week 2026-W47": "needs a week that was computed",
    "tasks-pipeline reports show month 2026-11 --scope project:shop --json": "needs a month that was computed",
    "tasks-pipeline reports show day 2026-11-22 --html day.html": "needs a day that was computed",
    "tasks-pipeline groups unmerge SHOP-2 --key 0f3a… --key 77c1…": "keys are those of the group",
}
"""Examples that are not run, and why."""
FAILS = {
    "tasks-pipeline worker events --concurrency 3": "no broker is configured in this home",
    "tasks-pipeline worker notifications monitoring": "no broker is configured in this home",
    "tasks-pipeline health receiver": "none runs",
    "tasks-pipeline health dagster": "none runs",
    "tasks-pipeline notifications test channel:dead": "the example shows what fails",
    "tasks-pipeline notifications retry 17 18": "there need be no such messages",
    "tasks-pipeline notifications retry --channel slack": "nothing of it is given up",
    "tasks-pipeline groups unmerge SHOP-3": "it is not merged yet",
    "tasks-pipeline groups discard --undo SHOP-3": "it is not discarded yet",
    "tasks-pipeline archive verify 2026-08-31": "nothing is archived of it",
    "tasks-pipeline archive restore 2026-08-31": "nothing is archived of it",
    "tasks-pipeline archive restore 2026-08-31 --project shop --keep-days 7": "nothing is archived of it",
    "tasks-pipeline projects delete shop --dry-run": "it is in the configuration",
    "tasks-pipeline projects delete 7 --yes": "nothing is stored of it",
    "tasks-pipeline groups link SHOP-2 https://github.com/acme/shop/issues/12": "its tracker is elsewhere in this home",
    "tasks-pipeline groups link SHOP-2 acme/shop#12 --take theirs": "what answers here is no GitHub",
    "tasks-pipeline groups link SHOP-2 17 --tracker shop-issues": "what answers here is no GitHub",
    "tasks-pipeline integrations check": "what answers here is no GitHub",
    "tasks-pipeline integrations check hub": "what answers here is no GitHub",
    "tasks-pipeline integrations test shop-issues": "what answers here is no GitHub",
    "tasks-pipeline integrations test shop-issues --create": "what answers here is no GitHub",
    "tasks-pipeline integrations sync": "what answers here is no GitHub",
    "tasks-pipeline integrations sync shop-issues --full": "what answers here is no GitHub",
}
"""Examples that end with 1 on this home, in a line that says why."""
MAY_FAIL = {
    "tasks-pipeline watch": "while something is in trouble, as the disk of this machine",
    "tasks-pipeline backfill --report day --from 2026-09-07": "in the first hours of a day nobody has closed the one before in this home",
    **dict.fromkeys(
        (
            "tasks-pipeline reports send week 2026-11-16",
            "tasks-pipeline reports send week 2026-W47 --to anna@acme.example --again",
            "tasks-pipeline reports export week 2026-11-16 --format html --to /tmp",
            "tasks-pipeline reports export month 2026-11 --scope project:shop --to out",
        ),
        "no such report is stored in this home",
    ),
}
_TODAY = datetime.now(UTC).date()
_SHELL = re.compile(
    r"^(?:export \w+=\$\()?(?:echo '(?P<input>[^']*)' \| )?(?P<command>tasks-pipeline .*?)\)?"
    r"(?: < \S+)?(?: > \S+)?(?:   +#.*)?$"
)


@dataclass(frozen=True)
class Example:
    """A line as it stands in a page; `refused` when the page shows it with an error."""

    line: str
    refused: bool = False


def help_examples() -> Iterator[tuple[str, Example]]:
    for name, (module, attribute, _) in COMMANDS.items():
        command = getattr(importlib.import_module(f"tasks_pipeline.{module}"), attribute)
        pages = {name: command}
        if isinstance(command, click.Group):
            pages = {f"{name} {sub}": found for sub, found in command.commands.items()}
        for title, page in pages.items():
            for line in (page.help or "").splitlines():
                if re.match(r"  \s*(tasks-pipeline|export|echo) ", line):
                    yield f"{title} --help", Example(line.strip())


def page_examples(name: str) -> Iterator[tuple[str, Example]]:
    lines = (PROJECT / name).read_text(encoding="utf-8").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        shown = line.removeprefix("$ ").replace(".venv/bin/", "")
        if line.startswith("$ ") and _SHELL.match(shown):
            yield name, Example(shown, following.startswith("Error: "))
        if line.startswith("| `"):
            yield from ((name, Example(said)) for said in re.findall(r"`(tasks-pipeline [^`…]+)`", line))


def examples() -> list[Example]:
    found = [*help_examples(), *page_examples("docs/cli.md"), *page_examples("README.md")]
    return list(dict.fromkeys(example for _, example in found))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, new_home: Callable[[Path], Home]) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("examples") / "home"
    with shop_home(new_home(root)) as home:
        shutil.copytree(root, root.with_name("kept"))
        yield home


@pytest.fixture
def shop(filled: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """The home as it was filled: an example sees nothing of the one before."""
    shutil.rmtree(filled.root)
    shutil.copytree(filled.root.with_name("kept"), filled.root)
    monkeypatch.chdir(filled.root)
    for name in ("tasks_pipeline.yaml", "new.yaml"):
        if not Path(name).exists():
            shutil.copy(filled.config_path, name)
    return filled


def todays(text: str) -> str:
    """The example with days of this home: those of the past as yesterday, those to come some weeks ahead."""

    def moved(found: re.Match[str]) -> str:
        past = date.fromisoformat(found[0]) < date(2026, 12, 1)
        return (_TODAY + timedelta(days=-1 if past else 60)).isoformat()

    return re.sub(r"\d{4}-\d\d-\d\d", moved, text)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.line)
def test_an_example_does_what_it_says(shop: Home, example: Example) -> None:
    if example.line in NOT_RUN:
        return
    parts = _SHELL.match(example.line)
    assert parts is not None, "not a line that a shell takes"
    words = shlex.split(todays(parts["command"]))[1:]
    given = parts["input"] or "SELECT 1 AS one"
    result = CliRunner().invoke(main, ["--home", str(shop.root), *words], input=given)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    if example.line not in MAY_FAIL:
        assert result.exit_code == int(example.refused or example.line in FAILS), result.output
    assert result.output.strip()


def sql_of_pages() -> Iterator[str]:
    """Each statement of the blocks of SQL in the documents."""
    for page in sorted((PROJECT / "docs").glob("*.md")):
        for block in re.findall(
            r"^```sql\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            code = re.sub(r"^\s*--.*\n", "", block, flags=re.MULTILINE)
            yield from (each.strip() for each in code.split(";") if each.strip())


def test_the_sql_of_documents_runs(filled: Home) -> None:
    refused = {}
    for statement in sql_of_pages():
        result = CliRunner().invoke(main, ["--home", str(filled.root), "sql", statement])
        if result.exit_code:
            refused[statement] = result.output
    assert refused == {}


def test_what_is_not_run_is_still_there() -> None:
    lines = {example.line for example in examples()}
    assert {*NOT_RUN, *FAILS, *MAY_FAIL} - lines == set()


@pytest.mark.parametrize("name", ["docs/cli.md", "README.md"])
def test_pages_have_examples(name: str) -> None:
    assert len(list(page_examples(name))) > 5
