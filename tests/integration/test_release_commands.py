"""`tasks-pipeline releases`: what it lists and says, on SQLite and Postgres."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from tasks_pipeline.cli import main
from tasks_pipeline.home import DATABASE_VARIABLE, Home
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.known import Heard, note_releases, save_release
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import releases
from tests.support.release_cases import cases

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIG = """\
projects:
  - {id: 1, slug: shop, keys: [{public_key: abcd}]}
  - {id: 2, slug: office, keys: [{public_key: efgh}]}
"""
ATTACK = "\x1b]0;owned\x07[red]x"
FIELDS = (
    "version short_version package project status latest date_created date_released order_date commit_count deploy_count new_groups "
    "events users sessions crash_free_sessions crash_free_users adoption stages"
).split()


class Releases:
    """Releases of two projects, and the command line over them."""

    def __init__(self, home: Home, state: StateDatabase) -> None:
        self.home, self.state = home, state

    def hear(self, project: int, **ages: datetime) -> None:
        with self.state.write() as connection:
            heard = {version: Heard(at, at, at) for version, at in ages.items()}
            note_releases(self.state, connection, project, heard)

    def call(self, *arguments: str) -> Result:
        environment = {DATABASE_VARIABLE: self.home.database_url}
        return CliRunner(env=environment).invoke(
            main, ["--home", str(self.home.root), "releases", *arguments]
        )

    def json(self, *arguments: str) -> Any:
        result = self.call(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def known(any_home: Home) -> Iterator[Releases]:
    (any_home.root / "tasks_pipeline.yaml").write_text(CONFIG, encoding="utf-8")
    with closing(StateDatabase(any_home)) as state:
        found = Releases(any_home, state)
        found.hear(1, **{"shop@2.0.0": NOON, "shop@1.9.1+a86d127c4b2f23a0": NOON + HOUR})
        found.hear(2, **{"shop@2.0.0": NOON - HOUR})
        yield found


def test_the_list_says_which_is_the_latest_and_why(known: Releases) -> None:
    add_deploy(known.state, [1], "shop@2.0.0", {"environment": "production"})
    rows = known.json("list")
    assert [(r["version"], r["project"], r["latest"]) for r in rows] == [
        ("shop@1.9.1+a86d127c4b2f23a0", "shop", False), ("shop@2.0.0", "shop", True), ("shop@2.0.0", "office", True),
    ]  # fmt: skip
    assert set(FIELDS) <= rows[0].keys()
    assert (rows[0]["short_version"], rows[0]["package"]) == ("1.9.1 (a86d127c4b2f)", "shop")
    assert [r["deploy_count"] for r in rows] == [0, 1, 0]
    assert rows[0]["date_created"] == rows[0]["order_date"] == "2026-11-22T13:00:00Z"
    assert rows[0]["events"] is None
    lines = known.call("list").stdout.splitlines()
    assert lines[1].split()[:2] == ["shop@1.9.1+a86d127c4b2f23a0", "shop"]
    assert lines[2].split()[:3] == ["shop@2.0.0", "shop", "latest"]
    assert lines[-2] == (
        "latest of shop: shop@2.0.0 (the highest version of its package, of which shop@1.9.1+a86d127c4b2f23a0 is the newest by date)"
    )
    assert lines[-1] == "latest of office: shop@2.0.0 (the newest by date)"


def test_the_list_can_be_narrowed(known: Releases) -> None:
    assert [r["project"] for r in known.json("list", "--project", "OFFICE")] == ["office"]
    assert len(known.json("list", "--limit", "1")) == 1
    assert known.call("list", "--project", "nope").exit_code == 1
    assert known.call("list", "--status", "archived").stderr == "no releases\n"
    assert known.json("list", "--status", "archived") == []


def test_archiving_and_restoring(known: Releases) -> None:
    known.hear(1, **{"shop@999.9.9": NOON - HOUR})
    assert known.json("show", "shop@999.9.9")["latest"] is True
    assert "shop@999.9.9 in shop is archived" in known.call("archive", "shop@999.9.9").stdout
    assert "shop@999.9.9" not in known.call("list").stdout
    (archived,) = known.json("list", "--status", "archived")
    assert (archived["status"], archived["latest"]) == ("archived", False)
    assert [r["version"] for r in known.json("list", "--project", "shop") if r["latest"]] == ["shop@2.0.0"]
    assert known.json("restore", "shop@999.9.9") == [
        {"version": "shop@999.9.9", "project": "shop", "status": "open"}
    ]
    assert known.json("list")[1]["version"] == "shop@2.0.0"
    assert [r["version"] for r in known.json("list", "--project", "shop") if r["latest"]] == ["shop@999.9.9"]


def test_one_project_may_archive_what_another_has(known: Releases) -> None:
    known.call("archive", "shop@2.0.0", "--project", "office")
    assert [r["project"] for r in known.json("list", "--status", "archived")] == ["office"]


def test_a_deleted_release_is_made_again_by_its_next_event(known: Releases) -> None:
    said = known.call("delete", "shop@2.0.0")
    assert "shop@2.0.0 in shop, office is deleted" in said.stdout
    assert "archive" in said.stdout
    assert known.call("show", "shop@2.0.0").exit_code == 1
    known.hear(1, **{"shop@2.0.0": NOON + 2 * HOUR})
    assert known.json("show", "shop@2.0.0")["date_created"] == "2026-11-22T14:00:00Z"


def test_showing_one(known: Releases) -> None:
    save_release(known.state, [1], "shop@2.0.0", {"url": "https://ci/7", "released_at": NOON})
    add_deploy(known.state, [1], "shop@2.0.0", {"environment": "staging", "finished_at": NOON})
    several = known.call("show", "shop@2.0.0")
    assert several.exit_code == 1
    assert "--project says which: shop, office" in several.stderr
    found = known.json("show", "shop@2.0.0", "--project", "shop")
    assert [deploy["environment"] for deploy in found["deploys"]] == ["staging"]
    assert found["deploys"] == known.json("deploys", "shop@2.0.0", "--project", "shop")
    assert {
        "commits",
        "authors",
        "groups_new",
        "groups_resolved",
        "groups_regressed",
        "health",
    } <= found.keys()
    text = known.call("show", "shop@2.0.0", "--project", "shop").stdout
    for said in (
        "shop@2.0.0  2.0.0",
        "highest version",
        "released        2026-11-22 12:00:00 UTC",
        "https://ci/7",
        "staging",
    ):
        assert said in text


def test_a_release_names_those_beside_it(known: Releases) -> None:
    known.hear(1, **{"shop@2.1.0": NOON + 2 * HOUR, "shop@3.0.0": NOON + 3 * HOUR})
    for version, sha in (("shop@2.0.0", "a"), ("shop@3.0.0", "b")):
        with known.state.write() as connection:
            sent = SentCommit(sha * 40, "acme/shop", "m", "Ann", None, NOON, ())
            set_commits(known.state, connection, version, [sent])
    with known.state.write() as connection:
        connection.execute(
            update(releases)
            .where(releases.c.version.in_(("shop@2.0.0", "shop@3.0.0")))
            .values(commit_count=1)
        )
    beside = ("previous", "next", "previous_with_commits")
    found = known.json("show", "shop@3.0.0")
    assert [found[name] for name in beside] == ["shop@2.1.0", None, "shop@2.0.0"]
    found = known.json("show", "shop@2.0.0", "--project", "shop")
    assert [found[name] for name in beside] == ["shop@1.9.1+a86d127c4b2f23a0", "shop@2.1.0", None]
    lines = [line.split() for line in known.call("show", "shop@3.0.0").stdout.splitlines()]
    assert ["previous", "shop@2.1.0"] in lines
    assert ["commits", "1", "since", "shop@2.0.0"] in lines


def test_commits_and_deploys(known: Releases) -> None:
    sent = [
        SentCommit(
            "b" * 40,
            "acme/shop",
            f"{ATTACK}\n\nmore",
            ATTACK,
            "jo@example.com",
            NOON,
            (("a.py", "M"), ("b.py", "A")),
        ),
        SentCommit("a" * 40, "acme/shop", None, "Ann", None, NOON - HOUR, (("a.py", "A"),)),
    ]
    with known.state.write() as connection:
        set_commits(known.state, connection, "shop@2.0.0", sent)
    facts = {"environment": "production", "name": ATTACK, "started_at": NOON, "finished_at": NOON + HOUR}
    add_deploy(known.state, [1, 2], "shop@2.0.0", facts)
    first, second = known.json("commits", "shop@2.0.0")
    assert (first["sha"], first["author_email"], first["committed_at"], first["files"]) == (
        "b" * 40, "jo@example.com", "2026-11-22T12:00:00Z", 2,
    )  # fmt: skip
    assert (second["message"], second["author_name"], second["author_email"]) == (None, "Ann", None)
    text = known.call("commits", "shop@2.0.0").stdout
    assert text.splitlines()[-1] == "2 commits by 2 authors, 2 files changed"
    (deploy,) = known.json("deploys", "shop@2.0.0")
    assert (deploy["environment"], deploy["duration_seconds"]) == ("production", 3600.0)
    listed = known.call("deploys", "shop@2.0.0").stdout
    assert "1 h 0 min" in listed
    assert "\x1b" not in text + listed
    assert known.json("commits", "shop@2.0.0", "--limit", "1") == [first]
    assert [r["commit_count"] for r in known.json("list")] == [0, 2, 2]
    shown = known.json("show", "shop@2.0.0", "--project", "shop")
    assert shown["deploys"] == [deploy]
    text = known.call("show", "shop@2.0.0", "--project", "shop").stdout
    (authors,) = [line for line in text.splitlines() if line.startswith("authors")]
    assert authors.endswith("(1), Ann (1)")
    assert "\x1b" not in text
    assert (shown["commits"], shown["authors"][1]) == (
        [first, second],
        {"name": "Ann", "email": None, "commits": 1},
    )
    assert known.call("deploys", "shop@1.9.1+a86d127c4b2f23a0").stderr == "no deploys\n"


@pytest.mark.parametrize("command", ["show", "commits", "deploys", "archive", "restore", "delete"])
def test_what_is_not_there(known: Releases, command: str) -> None:
    refused = known.call(command, ATTACK)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "there is no release" in refused.stderr
    assert "\x1b" not in refused.stderr


# ── names


@pytest.fixture
def nothing(home: Home) -> Releases:
    return Releases(home, None)  # type: ignore[arg-type]


@cases("parsing", "cases")
def test_parse(nothing: Releases, case: dict[str, Any]) -> None:
    (found,) = nothing.json("parse", case["release"])
    assert found == {name: case[name] for name in ("package", "kind", "numbers", "pre", "build", "short")}


@cases("ordering", "chains")
def test_parse_sorted(nothing: Releases, case: dict[str, Any]) -> None:
    ascending = case["ascending"]
    assert nothing.json("parse", "--sort", *reversed(ascending)) == nothing.json("parse", *ascending)


def test_parse_for_people(nothing: Releases) -> None:
    shown = nothing.call("parse", "web@1.0rc2+5", ATTACK)
    assert shown.stdout.splitlines()[1].split() == "web@1.0rc2+5 web version 1.0 rc.2 5 1.0rc2 (5)".split()
    assert "\x1b" not in shown.stdout
    assert "\x1b" not in nothing.call("parse", ATTACK, "--json").stdout
    assert nothing.call("parse").exit_code == 2
