"""Decisions and merges as people make them: on the command line, and as the job in the UI."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.home import DATABASE_VARIABLE, Home
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.stores import open_stores
from tests.integration.test_merging_similar import deep
from tests.support.day import Day
from tests.support.events import event

CONFIG = """\
projects: [{id: 1, slug: shop, keys: [{public_key: abcd}]}]
members: [{email: Ann@acme.example}]
teams: [{slug: shop, members: [Ann@acme.example]}]
"""
ATTACK = "\x1b]0;owned\x07 | [x](http://evil.example)"


@dataclass(frozen=True)
class Shop:
    """A home with SHOP-1 and SHOP-2, which are alike, and SHOP-3 with a hostile title; two events each, by two users."""

    home: Home

    def call(self, *arguments: str) -> Result:
        """Run `groups` on this home."""
        runner = CliRunner(env={DATABASE_VARIABLE: self.home.database_url})
        return runner.invoke(main, ["--home", str(self.home.root), "groups", *arguments])

    def lines(self, *arguments: str) -> list[str]:
        """What a command that works prints."""
        result = self.call(*arguments)
        assert result.exit_code == 0, result.output
        assert all(line.isprintable() for line in result.stdout.splitlines())
        return result.stdout.splitlines()

    def json(self, *arguments: str) -> Any:
        """What a command prints with --json."""
        return json.loads("\n".join(self.lines(*arguments, "--json")))

    def refused(self, *arguments: str) -> str:
        """The line in which a command says why not."""
        result = self.call(*arguments)
        assert result.exit_code == 1, result.output
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1
        return lines[0]


@pytest.fixture
def shop(any_home: Home) -> Shop:
    any_home.config_path.write_text(CONFIG)
    with open_stores(any_home) as stores:
        day = Day(stores, datetime.now(UTC).date() - timedelta(days=1), 1)
        for problem in (deep("total"), deep("grand_total"), event(ATTACK)):
            day.send(
                *(
                    {**problem, "event_id": f"{n}" + problem["event_id"][1:], "user": {"id": str(n)}}
                    for n in (1, 2)
                )
            )
        day.drain()
    return Shop(any_home)


def test_merging_showing_and_unmerging(shop: Shop) -> None:
    said = shop.lines("merge", "shop-1", "SHOP-2", "SHOP-3", "--actor", "ann")
    assert [line.partition(":")[0] for line in said] == [
        "SHOP-1 with SHOP-2, SHOP-3 was seen 6 times by 2 users"
    ]
    assert titles(shop).keys() == {"SHOP-1"}

    result = shop.call("show", "SHOP-3")
    assert "SHOP-3 was merged into SHOP-1" in result.stderr
    assert "with          SHOP-2, SHOP-3" in result.stdout
    assert "ann: SHOP-2, SHOP-3 merged into it" in result.stdout
    assert shop.json("show", "SHOP-3")["short_id"] == "SHOP-1"
    assert shop.json("show", "SHOP-1")["merged"] == ["SHOP-2", "SHOP-3"]

    said = shop.lines("unmerge", "SHOP-3", "--actor", "bob")
    assert [line.partition(":")[0] for line in said] == [
        "SHOP-3 was seen 2 times by 2 users",
        "SHOP-1 was seen 4 times by 2 users",
    ]
    assert [entry["action"] for entry in shop.json("log", "SHOP-3")] == ["unmerge", "merge"]
    assert shop.json("log", "SHOP-3")[0]["data"] == {"from": "SHOP-1", "keys": 1}
    assert shop.lines("log", "SHOP-1")[1].split()[2:] == ["bob", "SHOP-3", "taken", "out"]


def titles(shop: Shop) -> dict[str, str]:
    return {g["short_id"]: g["title"] for g in shop.json("list")}


def test_keys_are_taken_into_a_group_of_their_own(shop: Shop) -> None:
    shop.lines("merge", "SHOP-1", "SHOP-2")
    (key,) = [row["key"] for row in shop.json("keys", "SHOP-1") if row["origin"] == "SHOP-2"]
    assert shop.lines("unmerge", "SHOP-1", "--key", key)[0].startswith("SHOP-4 was seen 2 times")
    assert "has no key 'nonsense'" in shop.refused("unmerge", "SHOP-1", "--key", "nonsense")


def test_what_is_refused_says_why(shop: Shop) -> None:
    assert "one group already" in shop.refused("merge", "SHOP-1", "SHOP-1")
    assert "no group SHOP-99" in shop.refused("merge", "SHOP-1", "SHOP-99")
    assert "not merged" in shop.refused("unmerge", "SHOP-1")
    assert "is nobody" in shop.refused("assign", "SHOP-1", "--to", "bob")
    assert "no release" in shop.refused("resolve", "SHOP-1", "--in-next-release")
    shop.lines("discard", "SHOP-1")
    assert "discarded" in shop.refused("resolve", "SHOP-2", "SHOP-1")
    assert shop.json("show", "SHOP-2")["status"] == "unresolved"  # all or none
    assert shop.call("assign", "SHOP-2").exit_code == 2
    assert shop.call("ignore", "SHOP-2", "--times", "2", "--users", "2").exit_code == 2
    assert shop.call("merge", "SHOP-2").exit_code == 2


def test_several_groups_at_once(shop: Shop) -> None:
    said = shop.lines("ignore", "SHOP-1", "2", "shop-1", "--users", "3", "--actor", "ann")
    assert [line.partition(":")[0] for line in said] == [
        "SHOP-1 is ignored until 3 users more have seen it",
        "SHOP-2 is ignored until 3 users more have seen it",
    ]
    shop.lines("assign", "SHOP-1", "SHOP-2", "--to", "team:shop")
    shown = shop.json("show", "SHOP-2")
    assert (shown["status"], shown["ignored_until_users"], shown["assignee"]) == ("ignored", 5, "team:shop")
    assert [action["action"] for action in shown["actions"]] == ["assign", "ignore"]
    assert "status        ignored until 5 users saw it" in shop.call("show", "SHOP-2").stdout
    assert "assigned to   team:shop" in shop.call("show", "SHOP-2").stdout


def test_discarding_and_keeping(shop: Shop) -> None:
    said = shop.lines("discard", "SHOP-3")
    assert said[0].startswith("SHOP-3 is discarded, 2 events were removed: ")
    assert titles(shop).keys() == {"SHOP-1", "SHOP-2"}
    assert [g["short_id"] for g in shop.json("list", "--status", "discarded")] == ["SHOP-3"]
    assert shop.lines("discard", "--undo", "SHOP-3")[0].startswith("SHOP-3 is kept again: ")
    assert "not discarded" in shop.refused("discard", "--undo", "SHOP-3")


def test_on_a_terminal_discarding_asks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stdin>")
    command = ["--home", str(shop.home.root), "groups", "discard", "SHOP-1", "SHOP-2"]
    runner = CliRunner(env={DATABASE_VARIABLE: shop.home.database_url})
    for answer in ("n\n", "\n", ""):
        refused = runner.invoke(main, command, input=answer)
        assert refused.exit_code == 1
        assert "4 events will be removed" in refused.stderr
        assert "SHOP-2  2 events of 2 users: CartError: it went wrong" in refused.stderr
    assert titles(shop).keys() == {"SHOP-1", "SHOP-2", "SHOP-3"}
    assert runner.invoke(main, command, input="y\n").exit_code == 0
    assert runner.invoke(main, [*command[:-2], "--yes", "SHOP-3"], input="").exit_code == 0
    assert titles(shop) == {}


@pytest.mark.parametrize("nobody", ["team:nope", "nobody@acme.example", "bob", "team:", "member:bob"])
def test_only_members_and_teams_take_care(shop: Shop, nobody: str) -> None:
    refused = shop.refused("assign", "SHOP-1", "--to", nobody)
    assert refused.endswith(f"{nobody!r} is nobody; members and teams are: ann@acme.example, team:shop")
    assert shop.json("show", "SHOP-1")["assignee"] is None


def test_a_member_is_spelled_in_one_case(shop: Shop) -> None:
    (group,) = shop.json("assign", "SHOP-1", "--to", "ann@ACME.example")
    assert (group["short_id"], group["assignee"]) == ("SHOP-1", "ann@acme.example")


def test_decisions_tell_programs_what_became_of_the_groups(shop: Shop) -> None:
    resolved = shop.json("resolve", "SHOP-1", "SHOP-2")
    assert [(g["short_id"], g["status"]) for g in resolved] == [
        ("SHOP-1", "resolved"),
        ("SHOP-2", "resolved"),
    ]
    assert [g["status"] for g in shop.json("unresolve", "SHOP-1")] == ["unresolved"]
    assert [g["status"] for g in shop.json("ignore", "SHOP-2")] == ["ignored"]
    assert [g["times_seen"] for g in shop.json("merge", "SHOP-1", "SHOP-2")] == [4]
    assert [g["times_seen"] for g in shop.json("unmerge", "SHOP-2")] == [2, 2]
    assert [g["status"] for g in shop.json("discard", "SHOP-3")] == ["discarded"]
    assert shop.json("merge-similar", "--dry-run")["merged"] == []


def test_similar_groups(shop: Shop) -> None:
    assert shop.lines("similar") == []
    assert shop.lines("merge-similar") == ["3 groups compared for the first time, 1 pair proposed, 0 merged"]
    (pair,) = shop.json("similar", "SHOP-2")
    assert (pair["group"]["short_id"], pair["similar"]["short_id"]) == ("SHOP-1", "SHOP-2")
    assert shop.json("similar", "SHOP-3") == []
    assert shop.lines("similar")[1].startswith(f"SHOP-1  SHOP-2   {pair['similarity']:.2f}")
    assert shop.lines("merge-similar", "--above", "0.7", "--dry-run")[-1].endswith("1 would be merged")
    assert shop.lines("merge-similar", "--above", "0.7")[-1].endswith("1 merged")
    assert titles(shop).keys() == {"SHOP-1", "SHOP-3"}


def test_the_job_shows_what_it_did(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, shop.home.database_url)
    definitions = build_defs({"stores": StoresResource(home=str(shop.home.root))})
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("merge_events").execute_in_process(instance=instance)
        assert result.success
        (done,) = result.asset_materializations_for_node("similar_groups")
    figures = {name: value.value for name, value in done.metadata.items() if not name.startswith("dagster/")}
    assert (figures["signed_groups"], figures["new_proposals"], figures["open_proposals"]) == (3, 1, 1)
    assert (figures["days_that_learned_releases"], figures["days_without_releases"]) == (0, 0)
    assert figures["merged_pairs"] == 0
    (record,) = figures["proposed"].records
    assert (record.data["group"], record.data["similar"]) == ("SHOP-1", "SHOP-2")
    assert "evil" not in str(done.metadata)
