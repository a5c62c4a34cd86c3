"""Resolutions in releases and commits: what brings a group back, what the log and the message say of it, how people decide."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, select

from tasks_pipeline.cli import main
from tasks_pipeline.groups.decisions import (
    DecisionError,
    actions_of,
    log_action,
    resolve_groups,
    resolve_in_release,
)
from tasks_pipeline.groups.fixing import resolved_in_commits, settle_commit_resolutions
from tasks_pipeline.groups.lifecycle import fixed_in_commit
from tasks_pipeline.groups.lists import find_group
from tasks_pipeline.groups.merging import discard_groups, merge_groups
from tasks_pipeline.groups.shipped import resolution_of
from tasks_pipeline.home import DATABASE_VARIABLE, Home
from tasks_pipeline.releases.known import (
    Heard,
    delete_release,
    first_after,
    last_before,
    note_releases,
    save_release,
)
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.stores import open_stores
from tests.support.alerting import alert_rows, alerting
from tests.support.day import Day
from tests.support.events import event
from tests.support.plans import recorded
from tests.support.release_cases import cases, life_of

SHA = "8097195d3c2b4f7a9e1c5d6b8a0f2e4d6c8b0a1f"
HOUR = timedelta(hours=1)


def hear(day: Day, **releases: datetime) -> None:
    """Releases that the project has, by when they were first heard of."""
    with day.stores.state.write() as connection:
        heard = {version: Heard(at) for version, at in releases.items()}
        note_releases(day.stores.state, connection, day.project, heard)


def come(day: Day, *releases: str | None, seconds: float = 100) -> str:
    """An event of the day's group for each of these releases; gives the status of the group then."""
    day.spool(*(day.receipt(event("A", release=name), seconds=seconds) for name in releases))
    day.drain()
    return str(day.group()["status"])


def hold(day: Day, version: str, *shas: str) -> None:
    """A release holds these commits."""
    rows = [{"version": version, "position": n, "sha": sha} for n, sha in enumerate(shas)]
    with day.stores.state.write() as connection:
        connection.execute(insert(t.release_commits), rows)


def shown(day: Day) -> dict[str, Any]:
    with day.stores.state.read() as connection:
        found = find_group(day.stores.state, {}, group_id=day.group()["id"])
        assert found is not None
        return found | {"resolution": resolution_of(connection, found)}


def decide(day: Day, **how: Any) -> dict[str, Any]:
    (said,) = resolve_groups(day.stores.state, [day.group()["id"]], "ann", **how)
    return said


def last_entry(day: Day) -> dict[str, Any]:
    return actions_of(day.stores.state, day.group()["id"])[0]


@pytest.fixture
def one(day: Day) -> Day:
    """A day with one group, that was seen in shop@1.0, and the releases shop@1.0 and shop@1.1."""
    day.send(event("A", release="shop@1.0"))
    day.drain()
    hear(day, **{"shop@1.1": day.at(10)})
    return day


@cases("resolutions", "cases")
def test_resolutions(day: Day, case: dict[str, Any]) -> None:
    """Each case in a batch of its own, as events come."""
    day = Day(day.stores, date(2026, 11, 20), day.project)
    day.send(event("A", timestamp="2026-11-01T12:00:00Z"))
    day.drain()
    day.decide(life_of(case["resolution"]))
    for release in case["releases"]:
        hear(day, **{release["version"]: datetime.fromisoformat(release["created_at"])})
        if "released_at" in release:
            facts = {"released_at": datetime.fromisoformat(release["released_at"])}
            save_release(day.stores.state, [day.project], release["version"], facts)
    day.send(event("A", release=case["event"]["release"], timestamp=case["event"]["timestamp"]))
    day.drain()
    assert day.group()["status"] == ("regressed" if case["regressed"] else "resolved")


def test_the_log_and_the_message_say_how_it_came_back(one: Day) -> None:
    told = alerting(
        one,
        "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
        "alert_rules: [{name: all, when: [regression], notify: ['channel:hook']}]\n",
    )
    assert decide(told, in_release="shop@1.1") == {"release": "shop@1.1"}
    decided, at = last_entry(told), shown(told)["status_changed_at"]
    assert come(told, "shop@1.0") == "resolved"
    assert come(told, "shop@1.2") == "regressed"
    entry = last_entry(told)
    facts = {
        "resolution": "in_release", "release": "shop@1.2", "resolved_in": "shop@1.1", "compared": "version",
        "resolved_at": at.isoformat(), "resolved_by": "ann", "ends": decided["id"],
    }  # fmt: skip
    assert (entry["action"], entry["data"]) == ("regress", facts)
    (alert,) = alert_rows(told.stores, told.project)
    assert alert["data"]["regression"] == facts
    assert alert["data"]["changed"] == (
        "It is back in shop@1.2 (newer by version): it was resolved in shop@1.1 by ann "
        f"at {at:%Y-%m-%d %H:%M:%S} UTC."
    )
    assert shown(told)["resolution"] is None


def test_a_regression_ends_the_decision_and_not_what_came_of_it(one: Day) -> None:
    """Neither the release that held its commit nor the assignee of another group is who resolved it."""
    sha = "e" * 40
    decide(one, in_commit=sha)
    decided, group_id = last_entry(one), one.group()["id"]
    hear(one, **{"shop@1.2": one.at(20)})
    with one.stores.state.write() as connection:
        waiting = resolved_in_commits(connection, one.project, [sha])
        assert settle_commit_resolutions(one.stores.state, connection, one.project, "shop@1.2", waiting) == [
            group_id
        ]
        log_action(
            one.stores.state,
            connection,
            one.project,
            group_id,
            "inherit",
            {"from": [7], "what": ["assignee"]},
        )
    assert come(one, "shop@1.2") == "regressed"
    back = last_entry(one)["data"]
    assert (back["ends"], back["resolved_by"], back["resolved_in"]) == (decided["id"], "ann", "shop@1.2")


def test_a_backport_of_an_older_line_lacks_the_fix(one: Day) -> None:
    hear(one, **{"shop@2.0": one.at(20)})
    decide(one, in_release="shop@2.0")
    assert come(one, "shop@1.1.1", "shop@1.9", None, "latest") == "resolved"
    assert come(one, "shop@2.0") == "regressed"


def test_a_release_that_is_still_to_come_has_to_be_a_version(one: Day) -> None:
    for name, why in (("c0ffee", "still to come"), ("v" * 201, "longer than 200"), ("a\nb", "cannot be")):
        with pytest.raises(DecisionError, match=why):
            decide(one, in_release=name)
    assert decide(one, in_release="shop@3.0") == {"release": "shop@3.0"}
    assert shown(one)["resolution"]["release_date"] is None
    hear(one, **{"web@9": one.at(30)})
    assert come(one, "shop@2.9", "web@9") == "resolved"
    assert come(one, "shop@3.0.1") == "regressed"


def test_the_latest_release_is_that_of_the_packages_the_group_was_seen_in(one: Day) -> None:
    hear(one, **{"web@9": one.at(30), "shop@999.0": one.at(20)})
    assert decide(one, in_release="Latest") == {"release": "shop@999.0"}
    save_release(one.stores.state, [one.project], "shop@999.0", {"status": "archived"})
    assert decide(one, in_release="latest") == {"release": "shop@1.1"}
    assert come(one, "shop@999.0") == "regressed"  # archived ones are newer as they were


def test_a_deleted_release_brings_nothing_back(one: Day) -> None:
    state = one.stores.state
    hear(one, f00=one.at(40), bad=one.at(20))
    decide(one, in_release="f00")
    assert delete_release(state, [one.project], "f00")
    assert come(one, "bad") == "resolved"  # its date is kept with the resolution
    hear(one, c0ffee=one.at(50))
    assert come(one, "c0ffee") == "regressed"
    decide(one, in_next_release=True)
    after = shown(one)["resolution"]["release"]
    assert delete_release(state, [one.project], after)
    assert come(one, "shop@0.9") == "resolved"
    assert come(one, after) == "resolved"


def test_a_deleted_release_that_its_next_event_made_again_is_no_younger(day: Day) -> None:
    day.send(event("A", release="f00"))
    day.drain()
    decide(day, in_next_release=True)
    delete_release(day.stores.state, [day.project], "f00")
    hear(day, bad=day.at(50))
    assert come(day, "f00", seconds=90) == "resolved"
    assert come(day, "bad") == "regressed"


def test_late_events_are_judged_by_their_release(one: Day) -> None:
    decide(one, in_next_release=True)
    late = (one.at() - timedelta(hours=5)).isoformat()
    one.send(event("A", release="shop@1.2", timestamp=late))
    one.drain()
    assert one.group()["status"] == "regressed"


# ── in a commit


def test_a_commit_that_no_release_holds_tells_nothing(one: Day) -> None:
    assert decide(one, in_commit=SHA.upper(), repository="acme/shop") == {
        "commit": SHA, "repository": "acme/shop",
    }  # fmt: skip
    assert come(one, "shop@1.1", "shop@7.0", None) == "resolved"
    assert shown(one)["resolution"] | {"at": None} == {
        "kind": "in_commit", "at": None, "release": None, "release_date": None, "commit": SHA, "resolved_in": None,
    }  # fmt: skip


def test_a_commit_that_is_sent_in_capitals_settles_it(one: Day) -> None:
    sha = "FA" * 20
    decide(one, in_commit=sha)
    with one.stores.state.write() as connection:
        waiting = resolved_in_commits(connection, one.project, [sha])
        assert settle_commit_resolutions(one.stores.state, connection, one.project, "shop@1.1", waiting) == [
            one.group()["id"]
        ]


def test_then_it_is_fixed_in_the_first_release_that_holds_it(one: Day) -> None:
    other = Day(one.stores, one.date, one.project + 400_000)
    decide(one, in_commit=SHA)
    hear(one, **{"shop@1.2": one.at(20), "shop@1.3": one.at(30)})
    hear(other, **{"other@1.0": one.at(1)})
    for version in ("shop@1.3", "shop@1.2", "other@1.0"):
        hold(one, f"{version}", "x" * 40, SHA)
    assert shown(one)["resolution"]["resolved_in"] == "shop@1.2"
    assert come(one, "shop@1.1") == "resolved"
    assert come(one, "shop@1.2") == "regressed"
    data = last_entry(one)["data"]
    assert (data["resolved_in"], data["compared"], data["commit"]) == ("shop@1.2", "version", SHA)
    with one.stores.state.write() as connection:
        connection.execute(t.release_commits.delete())


def test_the_beginning_of_a_known_commit_is_enough(own_day: Day) -> None:
    day = own_day
    day.send(event("A"))
    day.drain()
    rows = [
        {"sha": sha, "created_at": day.at()}
        for sha in (SHA, f"8097195{'0' * 33}", "ab" * 20, "CD" * 20, "123456789")
    ]
    with day.stores.state.write() as connection:
        connection.execute(insert(t.commits), rows)
    assert decide(day, in_commit="8097195D") == {"commit": SHA}
    assert decide(day, in_commit="ABABABA") == {"commit": "ab" * 20}
    assert decide(day, in_commit="CD" * 20) == {"commit": "CD" * 20}, "as it was sent"
    assert decide(day, in_commit="12345") == {"commit": "12345"}, "a number is the beginning of none"
    assert decide(day, in_commit="123456789") == {"commit": "123456789"}
    assert decide(day, in_commit="r1047") == {"commit": "r1047"}
    for name, why in (
        ("8097195", "several commits"), ("fffffff", "all of its 40 digits"), ("ffff", "give 7 of its digits"), ("", "cannot be"), ("a b", "cannot be"), ("x" * 65, "cannot be"),
    ):  # fmt: skip
        with pytest.raises(DecisionError, match=why):
            decide(day, in_commit=name)


# ── in a transaction of others


def test_resolving_in_a_release_leaves_alone_what_is_resolved_or_discarded(day: Day) -> None:
    day.send(*(event(name) for name in "ABCDE"))
    day.drain()
    hear(day, **{"shop@2": day.at(7)})
    state, ids = day.stores.state, {g["title"][0]: g["id"] for g in day.groups()}
    resolve_groups(state, [ids["A"]], "ann")
    discard_groups(state, [ids["B"]], "ann")
    merge_groups(state, ids["C"], [ids["D"]], "ann")
    said = {"commit": SHA}
    with state.write() as connection:
        reasons = dict.fromkeys(ids.values(), ("commit 8097195d3c2b (Jo)", said))
        fixed = resolve_in_release(state, connection, reasons, "shop@2")
    assert fixed == [ids["C"], ids["E"]]
    entry = actions_of(state, ids["C"])[0]
    assert (entry["actor"], entry["data"]) == (
        "commit 8097195d3c2b (Jo)", {"commit": SHA, "release": "shop@2"},
    )  # fmt: skip
    found = find_group(state, {}, group_id=ids["E"])
    assert found is not None
    assert (found["status"], found["resolution"]) == ("resolved", "in_release")
    assert (found["resolved_in_release"], found["resolved_release_date"]) == ("shop@2", day.at(7))
    with state.write() as connection:
        assert resolve_in_release(state, connection, reasons, "shop@3") == []


# ── what it costs


def test_a_batch_asks_of_releases_only_for_what_is_resolved_in_one(one: Day) -> None:
    """And once for all groups of a project, not for each."""
    one.send(*(event(f"Kind{chr(65 + n)}", release="shop@1.0") for n in range(10)))
    one.drain()

    def asked() -> list[str]:
        one.send(*(event(f"Kind{chr(65 + n)}", release="shop@1.0") for n in range(10)))
        with recorded(one.stores.state) as statements:
            one.drain()
        return [s for s in statements if "FROM releases" in s or "release_commits" in s]

    ids = [g["id"] for g in one.groups()]
    assert asked() == []
    resolve_groups(one.stores.state, ids, "ann", in_release="shop@1.1")
    assert len(asked()) == 1
    assert {g["status"] for g in one.groups()} == {"resolved"}


# ── what people type and read


@pytest.fixture
def shop(any_home: Home) -> Home:
    """A group SHOP-1 of shop@1.0, and the releases shop@1.0 and shop@1.1."""
    with open_stores(any_home) as stores:
        day = Day(stores, datetime.now(UTC).date() - timedelta(days=1), 1)
        day.send(event("A", release="shop@1.0"))
        day.drain()
        hear(day, **{"shop@1.1": day.at(10)})
    return any_home


def typed(home: Home, *words: str, fails: bool = False) -> Result:
    runner = CliRunner(env={DATABASE_VARIABLE: home.database_url})
    result = runner.invoke(main, ["--home", str(home.root), *words])
    assert (result.exit_code != 0) is fails, result.output
    return result


def test_people_resolve_in_a_release(shop: Home) -> None:
    said = typed(shop, "groups", "resolve", "shop-1", "--in-release", "latest", "--actor", "ann")
    assert said.stdout.startswith("SHOP-1 is resolved in shop@1.1: A")
    found = json.loads(typed(shop, "groups", "show", "SHOP-1", "--json").stdout)
    assert {n: v for n, v in found["resolution"].items() if n != "at"} == {
        "kind": "in_release", "release": "shop@1.1", "commit": None, "resolved_in": "shop@1.1",
        "release_date": found["resolution"]["release_date"],
    }  # fmt: skip
    assert found["resolution"]["release_date"].endswith("Z")
    assert (found["first_release"], found["last_release"]) == ("shop@1.0", "shop@1.0")
    assert (found["commits"], found["suspect_commits"]) == ([], [])
    text = typed(shop, "groups", "show", "SHOP-1").stdout
    assert "resolved in shop@1.1, error" in text
    assert "first in      shop@1.0" in text
    with open_stores(shop) as stores:
        day = Day(stores, datetime.now(UTC).date() - timedelta(days=1), 1)
        assert come(day, "shop@1.1") == "regressed"
    log = typed(shop, "groups", "log", "SHOP-1").stdout
    assert "resolved in shop@1.1" in log
    assert (
        "regressed: it is back in shop@1.1 (the same release): it was resolved in shop@1.1 by ann at" in log
    )
    entries = json.loads(typed(shop, "groups", "log", "SHOP-1", "--json").stdout)
    assert entries[0]["data"]["ends"] == entries[1]["id"]


def test_the_next_release_is_shown_once_there_is_one(shop: Home) -> None:
    typed(shop, "groups", "resolve", "SHOP-1", "--in-next-release")
    assert "resolved in the release after shop@1.1" in typed(shop, "groups", "show", "SHOP-1").stdout
    with open_stores(shop) as stores:
        day = Day(stores, datetime.now(UTC).date() - timedelta(days=1), 1)
        hear(
            day,
            **{"shop@3.0": day.at(20), "shop@1.0.9": day.at(30), "shop@2.0": day.at(40), "web@1": day.at(50)},
        )
        save_release(stores.state, [1], "shop@2.0", {"status": "archived"})
    assert (
        "resolved in shop@3.0, the release after shop@1.1" in typed(shop, "groups", "show", "SHOP-1").stdout
    )
    found = json.loads(typed(shop, "groups", "show", "SHOP-1", "--json").stdout)["resolution"]
    assert (found["kind"], found["release"], found["resolved_in"]) == ("next_release", "shop@1.1", "shop@3.0")


def test_people_resolve_in_a_commit(shop: Home) -> None:
    said = typed(shop, "groups", "resolve", "SHOP-1", "--in-commit", SHA, "--repository", "acme/shop")
    assert "SHOP-1 is resolved in the first release with commit 8097195d3c2b" in said.stdout
    text = typed(shop, "groups", "show", "SHOP-1").stdout
    assert "resolved by commit 8097195d3c2b, which no release holds yet" in text
    assert "resolved by commit 8097195d3c2b of acme/shop" in text
    with open_stores(shop) as stores:
        hold(Day(stores, datetime.now(UTC).date(), 1), "shop@1.1", SHA)
    text = typed(shop, "groups", "show", "SHOP-1").stdout
    assert "resolved in shop@1.1, with commit 8097195d3c2b" in text


def test_what_is_refused(shop: Home) -> None:
    for words, why in (
        (["--in-release", "c0ffee"], "still to come"),
        (["--in-release", "\x1b[31m@1\n"], "cannot be the name"),
        (["--in-release", "1.0.0", "--in-next-release"], "cannot be combined"),
        (["--repository", "x"], "goes with --in-commit"),
        (["--in-commit", "abc1234"], "no known commit"),
    ):
        refused = typed(shop, "groups", "resolve", "SHOP-1", *words, fails=True)
        assert why in refused.stderr
        assert "\x1b" not in refused.stderr
    assert "unresolved" in typed(shop, "groups", "show", "SHOP-1").stdout


def test_commits_that_concern_a_group_are_shown(shop: Home) -> None:
    hostile = "Fixes SHOP-1 \x1b]0;owned\x07"
    with open_stores(shop) as stores, stores.state.write() as connection:
        group_id = connection.execute(select(t.groups.c.id)).scalar_one()
        at = datetime(2026, 1, 1, tzinfo=UTC)
        connection.execute(insert(t.commit_authors), [{"author_key": "jo@x", "name": "Jo", "email": "jo@x"}])
        commit = {"sha": SHA, "message": f"{hostile}\nmore", "author_key": "jo@x", "created_at": at}
        connection.execute(insert(t.commits), [commit])
        link = {"group_id": group_id, "version": "shop@1.1", "at": at, "resolved": True}
        connection.execute(insert(t.group_commits), [link | {"sha": SHA}, link | {"sha": "unknown"}])
        suspect = {
            "group_id": group_id,
            "rank": 0,
            "sha": SHA,
            "version": "shop@1.0",
            "path": "a/b.py",
            "frame": 0,
            "score": 2,
        }
        connection.execute(insert(t.suspect_commits), [suspect])
    found = json.loads(typed(shop, "groups", "show", "SHOP-1", "--json").stdout)
    assert found["commits"][0] == {
        "sha": SHA, "release": "shop@1.1", "at": "2026-01-01T00:00:00Z", "resolved": True, "message": f"{hostile}\nmore",
        "author": {"name": "Jo", "email": "jo@x"},
    }  # fmt: skip
    assert (found["commits"][1]["sha"], found["commits"][1]["author"]) == ("unknown", None)
    (suspected,) = found["suspect_commits"]
    assert (suspected["sha"], suspected["release"], suspected["path"], suspected["score"]) == (
        SHA, "shop@1.0", "a/b.py", 2,
    )  # fmt: skip
    text = typed(shop, "groups", "show", "SHOP-1").stdout
    assert "commits       8097195d3c2b Fixes SHOP-1" in text
    assert "(Jo), in shop@1.1" in text
    assert "\x1b" not in text


def test_the_release_after_one(day: Day) -> None:
    hear(day, **{
        "shop@1.0": day.at(1), "shop@1.0+abc": day.at(2), "shop@2.0": day.at(3), "shop@1.5": day.at(4), "f00": day.at(5), "bad": day.at(6),
        "1.0": day.at(7), "1.1": day.at(8),
    })  # fmt: skip
    with day.stores.state.read() as connection:

        def after(version: str, seconds: float | None) -> str | None:
            date = None if seconds is None else day.at(seconds)
            return first_after(connection, day.project, version, date)

        assert after("shop@1.0", 1) == "shop@1.0+abc"
        assert after("shop@1.0", None) == "shop@1.5"  # nothing is known of it
        assert after("shop@1.5", 4) == "shop@2.0"
        assert after("shop@2.0", 3) is None
        assert after("f00", 5) == "bad"
        assert after("gone", None) is None
        assert after("1.0", 7) == "1.1"

        def before(version: str, seconds: float | None) -> str | None:
            date = None if seconds is None else day.at(seconds)
            return last_before(connection, day.project, version, date)

        assert before("shop@1.0", 1) is None
        assert before("shop@1.0+abc", 2) == "shop@1.0"
        assert before("shop@1.5", None) == before("shop@1.5", 4) == "shop@1.0+abc"
        assert before("shop@2.0", 3) == "shop@1.5"
        assert before("bad", 6) == "f00"
        assert before("f00", 5) == "shop@1.5"
        assert before("1.1", 8) == "1.0"


def test_a_commit_of_a_life_is_stored(one: Day) -> None:
    one.decide(fixed_in_commit(one.at(), SHA))
    assert shown(one)["resolution"]["commit"] == SHA
