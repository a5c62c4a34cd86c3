"""A running service with real issue trackers: an error of the SDK is filed in each by a rule, and they stay in step."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.demo.show import running_demo_service
from tasks_pipeline.home import Home
from tasks_pipeline.trackers.issue import Issue, IssueState
from tasks_pipeline.trackers.provider import open_provider
from tests.end_to_end.conftest import Installation
from tests.support.far_sides import FarSide, RoundupSide
from tests.support.waiting import wait_for

CLIENT = Path(__file__).with_name("far_client.py")
OPEN, CLOSED = IssueState.OPEN, IssueState.CLOSED
ANNA = "anna@acme.example"


@pytest.fixture(scope="module")
def sides(roundup: RoundupSide, request: pytest.FixtureRequest) -> dict[str, FarSide]:
    """Roundup, and Redmine where there is one."""
    try:
        return {"roundup": roundup, "redmine": request.getfixturevalue("redmine")}
    except pytest.skip.Exception:
        return {"roundup": roundup}


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, sides: dict[str, FarSide]
) -> Iterator[Installation]:
    """A service of its own, since the secrets of integrations are in its environment."""
    home = Home(Path(tmp_path_factory.mktemp("service")))
    with pytest.MonkeyPatch.context() as patch:
        for name, side in sides.items():
            patch.setenv(f"{name.upper()}_SECRET", side.secret)
        with running_demo_service(home, linger_seconds=5) as (process, service):
            with home.config_path.open("a") as file:
                file.write(_configuration(sides))
            yield Installation(home, service, process.pid)


def _configuration(sides: dict[str, FarSide]) -> str:
    entries = [side.settings(name) for name, side in sides.items()]
    accounts = ", ".join(f"{name}: '{side.ann}'" for name, side in sides.items())
    rules = ", ".join(
        f"{{name: file in {name}, when: [new_group], create_issue: {name}-issues, every_minutes: 0}}"
        for name in sides
    )
    return (
        f"integrations: [{', '.join(one for one, _ in entries)}]\n"
        f"trackers: [{', '.join(one for _, one in entries)}]\n"
        f"members: [{{email: {ANNA}, name: Anna, accounts: {{{accounts}}}}}]\n"
        f"alert_rules: [{rules}]\n"
    )


@dataclass(frozen=True)
class Watched:
    """What is stored of the one group of a service, read as it is at the moment: a command costs a process for each look."""

    home: Home

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.home.root / 'state.sqlite'}?mode=ro", uri=True)) as state:
            return state.execute(sql).fetchall()

    def has(self, what: str, sql: str, wanted: list[Any]) -> None:
        wait_for(what, lambda: self.rows(sql) == wanted, every=0.25)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_and_its_issues_go_through_life_together(
    installation: Installation, sides: dict[str, FarSide]
) -> None:
    stored, names = Watched(installation.home), sorted(sides)
    environment = {**os.environ, "SENTRY_DSN": installation.cli("dsn").strip()}
    subprocess.run([sys.executable, str(CLIENT), "2026"], env=environment, check=True, timeout=60)
    stored.has(
        "the rule files an issue in each",
        "SELECT tracker, state FROM issue_links ORDER BY tracker",
        [(f"{name}-issues", "linked") for name in names],
    )
    shown = installation.json("groups", "list")[0]
    group = shown["short_id"]
    numbers = dict(stored.rows("SELECT replace(tracker, '-issues', ''), external_id FROM issue_links"))

    with ExitStack() as stack:
        open_ = {name: stack.enter_context(open_provider(sides[name].integration())) for name in names}

        def there(name: str) -> Issue:
            found = open_[name].read(sides[name].tracker(), numbers[name])
            assert found is not None
            return found

        def all_there(what: str, is_so: Callable[[str, Issue], bool]) -> None:
            for name in names:
                wait_for(f"{name}: {what}", lambda name=name: is_so(name, there(name)), every=0.5)

        assert {name: (there(name).state, "2026" in there(name).title) for name in names} == dict.fromkeys(
            names, (OPEN, True)
        )

        installation.cli("groups", "resolve", group)
        began = time.monotonic()
        all_there("a resolve closes it", lambda _, issue: issue.state is CLOSED)
        print(f"a resolve was in each after {time.monotonic() - began:.1f} s")

        first = names[0]
        sides[first].reopen(numbers[first])
        sides[first].assign(numbers[first], sides[first].ann)
        sides[first].comment(numbers[first], "I am on it")
        installation.cli("groups", "comment", group, "it is the new price list")
        stored.has(
            "what was done there is here: reopened and assigned",
            "SELECT status, assignee FROM groups",
            [("unresolved", ANNA)],
        )
        stored.has("and said", "SELECT side FROM issue_comments ORDER BY side", [("ours",), ("theirs",)])
        all_there(
            "it is open again, hers, and has our comment",
            lambda name, issue: (
                issue.state is OPEN
                and [person.login for person in issue.assignees] == [sides[name].ann]
                and any("price list" in one.body for one in issue.comments or ())
            ),
        )
    told = installation.json("groups", "show", group)
    assert (told["status"], told["assignee"], len(told["comments"])) == ("unresolved", ANNA, 2)
    assert sorted(one["state"] for one in told["external_issues"]) == ["open"] * len(names)
