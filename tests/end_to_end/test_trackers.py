"""A running service with real issue trackers: an error of the SDK is filed in each by a rule, and they stay in step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.demo.show import running_demo_service
from tasks_pipeline.home import Home
from tasks_pipeline.trackers.issue import Issue, IssueState
from tasks_pipeline.trackers.provider import open_provider
from tests.end_to_end.conftest import Installation
from tests.support.far_sides import FarSide, RedmineSide, RoundupSide
from tests.support.trackers import TrackerMissing, real_redmine
from tests.support.waiting import wait_for

CLIENT = Path(__file__).with_name("far_client.py")
OPEN, CLOSED = IssueState.OPEN, IssueState.CLOSED
ANNA = "anna@acme.example"


@pytest.fixture(scope="module")
def sides(roundup: RoundupSide) -> Iterator[dict[str, FarSide]]:
    """Roundup, and Redmine where there is one."""
    try:
        with real_redmine() as real:
            redmine = RedmineSide(real)
            yield {"roundup": roundup, "redmine": redmine}
            redmine.hang_up()
    except TrackerMissing:
        yield {"roundup": roundup}


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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_error_and_its_issues_go_through_life_together(
    installation: Installation, sides: dict[str, FarSide]
) -> None:
    environment = {**os.environ, "SENTRY_DSN": installation.cli("dsn").strip()}
    subprocess.run([sys.executable, str(CLIENT), "2026"], env=environment, check=True, timeout=60)
    group = wait_for("the group", lambda: next(iter(installation.json("groups", "list")), None))["short_id"]

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = installation.json("groups", "show", group)
        return found

    def issues() -> dict[str, Any] | None:
        found = {one["tracker"].removesuffix("-issues"): one for one in shown()["external_issues"]}
        return found if len(found) == len(sides) and all(one["url"] for one in found.values()) else None

    made = wait_for("the rule files an issue in each", issues)

    def there(name: str) -> Issue:
        with open_provider(sides[name].integration()) as provider:
            return provider.find(sides[name].tracker(), made[name]["url"])

    def all_there(what: str, is_so: Callable[[Issue], bool]) -> None:
        for name in sides:
            wait_for(f"{name}: {what}", lambda name=name: is_so(there(name)))

    all_there(
        "it is open, with the error as its title", lambda issue: issue.state is OPEN and "2026" in issue.title
    )

    installation.cli("groups", "resolve", group)
    began = time.monotonic()
    all_there("a resolve closes it", lambda issue: issue.state is CLOSED)
    print(f"a resolve was in each after {time.monotonic() - began:.1f} s")

    first = next(iter(sides))
    number = there(first).external_id
    sides[first].reopen(number)
    wait_for("a reopening there brings the group back", lambda: shown()["status"] == "unresolved")
    all_there("and with it the others", lambda issue: issue.state is OPEN)

    sides[first].assign(number, sides[first].ann)
    wait_for("an assignment there is one here", lambda: shown()["assignee"] == ANNA)
    for name, side in sides.items():
        wait_for(
            "and in the others",
            lambda name=name, side=side: [p.login for p in there(name).assignees] == [side.ann],
        )

    installation.cli("groups", "comment", group, "it is the new price list")
    sides[first].comment(number, "I am on it")
    all_there("ours is there", lambda issue: any("price list" in one.body for one in issue.comments or ()))
    wait_for("and theirs is here", lambda: len(shown()["comments"]) == 2)
