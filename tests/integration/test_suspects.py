"""Suspect commits: stored with the group when it is new, told in its messages, and found later where commits came late."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from sqlalchemy import insert, select, update

from tasks_pipeline.cli import main
from tasks_pipeline.definitions import build_defs
from tasks_pipeline.groups.decisions import actions_of, assign_groups_to, ignore_groups, resolve_groups
from tasks_pipeline.groups.suspects import (
    due_groups,
    look_again,
    suspects_due,
    suspects_of,
    to_look_at_again,
)
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.composing import message_of
from tasks_pipeline.notifications.rendering import render
from tasks_pipeline.processing import settle as settling
from tasks_pipeline.releases.commits import set_commits
from tasks_pipeline.releases.known import Heard, delete_release, note_releases
from tasks_pipeline.releases.sent_commits import SentCommit
from tasks_pipeline.releases.suspects import Changes
from tasks_pipeline.resources.stores import StoresResource
from tasks_pipeline.shipping import suspects as finding
from tasks_pipeline.shipping.loop import ship_releases
from tasks_pipeline.shipping.suspects import find_due_suspects
from tasks_pipeline.storage.state import tables as t
from tasks_pipeline.storage.state.passed_over import passed_over
from tasks_pipeline.stores import open_stores
from tests.support.alerting import alert_rows, alerting, outbox, send
from tests.support.commits import commit, ship
from tests.support.day import Day
from tests.support.events import event
from tests.support.outside import http_receiver
from tests.support.plans import recorded, scans

SHA = "8097195d3f8f4f0c9c1f0f1e2d3c4b5a69788796"
CONFIG = """
channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]
members: [{email: jo@acme.example, notifications: {channel: hook}}, {email: ann@acme.example, notifications: {channel: hook}}]
alert_rules: [{name: all, when: [new_group, regression], notify: [TARGETS], every_minutes: 0}]
"""


@pytest.fixture
def day(own_day: Day) -> Day:
    return own_day


def told(day: Day, targets: str = "'channel:hook'", more: str = "") -> Day:
    return alerting(day, CONFIG.replace("TARGETS", targets), more)


def seen(day: Day) -> None:
    """As the counting of batches notes in which release a group was first seen."""
    with day.stores.state.write() as connection:
        events = day.stores.lake.query(
            "SELECT group_id, arg_min(release, timestamp) AS release FROM lake.events GROUP BY 1"
        )
        for row in events:
            of_group = update(t.groups).where(t.groups.c.id == row["group_id"])
            connection.execute(of_group.values(first_release=row["release"]))


def suspects(day: Day) -> list[dict[str, Any]]:
    with day.stores.state.read() as connection:
        return suspects_of(connection, [day.group()["id"]]).get(day.group()["id"], [])


def test_a_new_group_is_told_with_the_commit_that_is_suspected(day: Day) -> None:
    with http_receiver() as http:
        told_day = alerting(
            day, CONFIG.replace("TARGETS", "'channel:hook'").replace("http://127.0.0.1:9", http.url)
        )
        ship(
            day.stores.state,
            [day.project],
            "shop@1",
            commit(SHA, "src/shop/orders.py", message="Round <b>totals</b>\n\nmore"),
        )
        told_day.send(event("Boom", release="shop@1"))
        told_day.drain()
        assert send(told_day.stores).sent == 1
        document = http.posted[0].json
    assert document["changed"] == "Likely from 8097195d3f8f by Jo: Round <b>totals</b>"
    (suspect,) = document["data"]["suspect_commits"]
    assert {name: suspect[name] for name in ("sha", "author", "path", "frame", "score", "release")} == {
        "sha": SHA, "author": {"name": "Jo", "email": "jo@acme.example"}, "path": "src/shop/orders.py", "frame": 0, "score": 2,
        "release": "shop@1",
    }  # fmt: skip
    assert document["facts"]["Suggested"] == "jo@acme.example"
    (row,) = outbox(day.stores, day.project)
    message = message_of(told_day.stores, row)
    assert "Likely from 8097195d3f8f by Jo: Round &lt;b&gt;totals&lt;/b&gt;" in render(
        "mail.html", message, None
    )
    assert "Likely from 8097195d3f8f by Jo" in render("mail.txt", message, None)


def test_releases_before_are_looked_at_and_later_ones_are_not(day: Day) -> None:
    state, at = day.stores.state, day.at(-86400)
    for n in range(6):
        ship(
            state,
            [day.project],
            f"shop@{n}",
            commit(f"c{n}", "shop/orders.py", at=at + timedelta(hours=n)),
            at=at + timedelta(hours=n),
        )
    ship(state, [day.project], "shop@9", commit("later", "shop/orders.py", at=at), at=at + timedelta(days=9))
    ship(state, [day.project + 1], "other@1", commit("other", "shop/orders.py", at=at), at=at)
    day.send(event("Boom", release="shop@5"))
    day.drain()
    assert [s["sha"] for s in suspects(day)] == ["c5", "c4", "c3"]
    with day.stores.state.write() as connection:
        c = t.commit_files.c
        connection.execute(
            update(t.commit_files).where(c.sha != "c0", c.sha != "c1").values(path="shop/other.py")
        )
        connection.execute(update(t.groups).values(suspects_at=None, first_release="shop@5"))
    find_due_suspects(day.stores)
    assert [s["sha"] for s in suspects(day)] == ["c1"], "five releases are looked at"


def test_suspects_are_a_target_and_nobody_where_none_is_a_member(day: Day) -> None:
    told_day = told(day, "suspects")
    ship(
        day.stores.state,
        [day.project],
        "shop@1",
        commit(SHA, "shop/orders.py"),
        commit("b", "shop/cart.py", by="stranger"),
    )
    cart = event("Cart", release="shop@1")
    cart["exception"]["values"][0]["stacktrace"]["frames"][0]["filename"] = "shop/cart.py"
    told_day.send(event("Boom", release="shop@1"), cart)
    told_day.drain()
    assert len(alert_rows(day.stores, day.project)) == 2
    assert [row["target"] for row in outbox(day.stores, day.project)] == ["member:jo@acme.example"]


def test_a_regression_is_told_with_them_too(day: Day) -> None:
    told_day = told(day, "suspects")
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    told_day.send(event("Boom", release="shop@1"))
    told_day.drain()
    with day.stores.state.write() as connection:
        resolved = update(t.groups).where(t.groups.c.id == day.group()["id"])
        connection.execute(resolved.values(status="resolved", status_changed_at=day.at(-86400)))
    told_day.spool(told_day.receipt(event("Boom", release="shop@1"), seconds=60))
    told_day.drain()
    rows = outbox(day.stores, day.project)
    assert [row["target"] for row in rows] == ["member:jo@acme.example"] * 2
    changed = message_of(told_day.stores, rows[1]).changed
    assert changed.startswith("It is back")
    assert changed.endswith("Likely from 8097195d3f8f by Jo: Change it")


ASSIGN = "suspect_commits: {assign: true}"


def test_a_group_is_assigned_where_the_project_wants_it(day: Day) -> None:
    told_day = told(day, "assignee", ASSIGN)
    ship(
        day.stores.state,
        [day.project],
        "shop@1",
        commit("x", "shop/orders.py", by="stranger"),
        commit(SHA, "shop/orders.py", at=None),
    )
    told_day.send(event("Boom", release="shop@1"))
    told_day.drain()
    group = day.group()
    assert group["assignee"] == "jo@acme.example", (
        "as the configuration spells it, and of the likeliest member"
    )
    (action,) = actions_of(day.stores.state, group["id"])
    assert (action["actor"], action["data"]) == (
        "tasks-pipeline",
        {"assignee": "jo@acme.example", "commit": SHA},
    )
    assert [row["target"] for row in outbox(day.stores, day.project)] == ["member:jo@acme.example"]


@pytest.mark.parametrize(
    "more",
    ["suspect_commits: {assign: false}", f"{ASSIGN}, ownership: [{{path: '*', owners: [ann@acme.example]}}]"],
)
def test_a_group_is_not_assigned_unasked_nor_over_owners(day: Day, more: str) -> None:
    told_day = told(day, more=more)
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    told_day.send(event("Boom", release="shop@1"))
    told_day.drain()
    assert day.group()["assignee"] is None
    assert suspects(day) != []
    (row,) = outbox(day.stores, day.project)
    owned = "ownership" in more
    assert dict(message_of(told_day.stores, row).facts)["Suggested"] == (
        "ann@acme.example" if owned else "jo@acme.example"
    )


@pytest.mark.parametrize("before", ["ann@acme.example", None])
def test_what_a_person_decided_stays(day: Day, before: str | None) -> None:
    told_day = told(day, more=ASSIGN)
    told_day.send(event("Boom", release="shop@1"))
    told_day.drain()
    assign_groups_to(day.stores.state, [day.group()["id"]], "ann", "ann@acme.example")
    assign_groups_to(day.stores.state, [day.group()["id"]], "ann", before)
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    seen(day)
    assert find_due_suspects(told_day.stores).suspected == 1
    assert day.group()["assignee"] == before


def test_only_open_groups_are_assigned(day: Day) -> None:
    told_day = told(day, more=ASSIGN)
    names = ("Open", "Resolved", "Ignored")
    told_day.send(*(event(name, release="shop@1") for name in names))
    told_day.drain()
    ids = {group["title"].partition(":")[0]: group["id"] for group in day.groups()}
    resolve_groups(day.stores.state, [ids["Resolved"]], "ann")
    ignore_groups(day.stores.state, [ids["Ignored"]], "ann")
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    seen(day)
    assert find_due_suspects(told_day.stores).figures() == {
        "groups_looked_at": 3, "groups_with_suspects": 3, "groups_assigned": 1,
    }  # fmt: skip
    assert [g["id"] for g in day.groups() if g["assignee"]] == [ids["Open"]]


def test_commits_that_come_late_are_found_by_the_asset(day: Day) -> None:
    told_day = told(day, more=ASSIGN)
    told_day.send(event("Boom", release="shop@2"), event("Other"))
    told_day.drain()
    seen(day)
    state = day.stores.state
    assert find_due_suspects(told_day.stores).looked_at == 0, "where no commits are known nothing is done"
    assert not suspects_due(state)
    ship(state, [day.project], "shop@0", commit("elsewhere", "a.py"))
    assert suspects_due(state)
    report = find_due_suspects(told_day.stores)
    assert (report.looked_at, report.suspected) == (1, 0)
    assert find_due_suspects(told_day.stores).looked_at == 0, "nothing is due any more"
    assert not suspects_due(state)
    ship(state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    with state.write() as connection:
        again = to_look_at_again(connection, day.project, "shop@1")
        assert len(again) == 1
        look_again(connection, again)
    report = find_due_suspects(told_day.stores)
    assert report.figures() == {"groups_looked_at": 1, "groups_with_suspects": 1, "groups_assigned": 1}
    with state.read() as connection:
        assert due_groups(connection, 9) == []
        (held,) = connection.execute(select(t.suspect_commits))
    assert (held.sha, held.version, held.rank) == (SHA, "shop@1", 0)


def test_a_release_that_changed_too_much_waits_for_the_asset(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_FILES_AT_ONCE", 2)
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py", "a", "b"))
    day.send(event("Boom", release="shop@1"))
    day.drain()
    assert suspects(day) == []
    seen(day)
    assert find_due_suspects(day.stores).suspected == 1
    assert [s["sha"] for s in suspects(day)] == [SHA]


def test_a_drain_looks_at_few_of_many_new_groups(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SUSPECTED", 2)
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    day.send(*(event(name, release="shop@1") for name in "ABCD"))
    day.drain()
    monkeypatch.setattr(settling, "SUSPECTED_SIZE", 1)
    day.send(*(event(name, release="shop@1") for name in "EF"))
    day.drain()
    with day.stores.state.read() as connection:
        of_groups = select(t.suspect_commits.c.group_id).distinct()
        assert len(connection.execute(of_groups).all()) == 3
    assert find_due_suspects(day.stores).suspected == 3, "the others are due"


def test_a_group_whose_earliest_event_tells_no_release_has_no_suspects(day: Day) -> None:
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    day.send(event("Boom", release="shop@1"))
    day.drain()
    assert suspects(day) != []
    day.send(event("Boom", timestamp=day.at(-60).timestamp()))
    day.drain()
    assert day.group()["first_release"] is None
    assert suspects(day) == []


def test_a_look_that_fails_costs_itself(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ValueError("as if a path could not be compared")

    monkeypatch.setattr(Changes, "suspects", fails)
    told_day = told(day)
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    told_day.send(event("Boom", release="shop@1"))
    told_day.drain()
    assert len(outbox(day.stores, day.project)) == 1
    with day.stores.state.read() as connection:
        names = list(connection.execute(select(t.probes.c.name)).scalars())
    assert "passed_over:suspect commits" in names


def test_changes_are_read_before_others_have_to_wait(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long look at a release lets others write; what they change of it meanwhile is not lost."""
    told_day = told(day)
    told_day.send(event("Boom", release="shop@1"))
    told_day.drain()
    seen(day)
    state = day.stores.state
    ship(state, [day.project], "shop@1", commit("early", "shop/orders.py"))
    look, again = Changes.suspects, list[int]()

    def meanwhile(self: Changes, *given: Any) -> Any:
        if not again:
            again.append(day.group()["id"])
            ship(state, [day.project], "shop@0", commit(SHA, "src/shop/orders.py"))
        return look(self, *given)

    monkeypatch.setattr(Changes, "suspects", meanwhile)
    assert find_due_suspects(told_day.stores).looked_at == 0
    assert suspects_due(state), "it is looked at again"
    assert find_due_suspects(told_day.stores).suspected == 1
    assert {s["sha"] for s in suspects(day)} == {SHA, "early"}


@pytest.mark.parametrize("how", ["cleared", "deleted"])
def test_suspects_go_with_the_commits_of_their_release(day: Day, how: str) -> None:
    state = day.stores.state
    day.send(event("Boom", release="shop@1"))
    day.drain()
    seen(day)
    ship_releases(day.stores, linger_seconds=0)
    with state.write() as connection:
        note_releases(state, connection, day.project, {"shop@0": Heard(day.at(-9e6))})
        sent = SentCommit(SHA, None, "Change it", "Jo", None, day.at(-9e6), (("shop/orders.py", "M"),))
        set_commits(state, connection, "shop@0", [sent])
    ship_releases(day.stores, linger_seconds=0)
    find_due_suspects(day.stores)
    assert [s["sha"] for s in suspects(day)] == [SHA]
    if how == "cleared":
        with state.write() as connection:
            set_commits(state, connection, "shop@0", [])
    else:
        delete_release(state, [day.project], "shop@0")
    ship_releases(day.stores, linger_seconds=0)
    assert suspects_due(state)
    find_due_suspects(day.stores)
    assert suspects(day) == []
    assert not suspects_due(state)


def test_a_group_that_fails_costs_itself(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    told_day = told(day)
    cart = event("Cart", release="shop@1")
    cart["exception"]["values"][0]["stacktrace"]["frames"][0]["filename"] = "shop/cart.py"
    other = event("Other", release="shop@1")
    other["exception"]["values"][0]["stacktrace"]["frames"][0]["filename"] = "shop/other.py"
    told_day.send(event("Boom", release="shop@1"), cart, other)
    told_day.drain()
    seen(day)
    state = day.stores.state
    ship(state, [day.project], "shop@1", commit(SHA, "shop/orders.py", "shop/cart.py", "shop/other.py"))
    look, read = Changes.suspects, finding.frames_of

    def fails(self: Changes, frames: Any, happened: datetime) -> Any:
        if any(frame.parts[-1] == "cart.py" for frame in frames):
            raise ValueError("as if a path could not be compared")
        return look(self, frames, happened)

    def unreadable(payload: Any) -> Any:
        if "other.py" in str(payload):
            raise ValueError("as if an event had no frames that can be read")
        return read(payload)

    monkeypatch.setattr(Changes, "suspects", fails)
    monkeypatch.setattr(finding, "frames_of", unreadable)
    report = find_due_suspects(told_day.stores)
    assert (report.looked_at, report.suspected) == (3, 1)
    assert not suspects_due(state), "nor do they stop those that come later"
    with state.read() as connection:
        (told_of,) = passed_over(connection, datetime.now(UTC))
    assert (told_of["kind"], told_of["count"]) == ("suspect commits", 2)


def test_of_releases_that_changed_too_much_fewer_are_looked_at(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_FILES_A_LOOK", 2)
    state, at = day.stores.state, day.at(-86400)
    day.send(event("Boom", release="shop@2"))
    day.drain()
    seen(day)
    for n in range(3):
        made = at + timedelta(hours=n)
        ship(state, [day.project], f"shop@{n}", commit(f"c{n}", "shop/orders.py", at=made), at=made)
    find_due_suspects(day.stores)
    assert [s["sha"] for s in suspects(day)] == ["c2", "c1"]


def test_storing_the_day_again_changes_nothing(day: Day) -> None:
    ship(day.stores.state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    day.send(event("Boom", release="shop@1"))
    day.drain()
    before = suspects(day)
    day.recompute()
    assert suspects(day) == before != []


def test_every_look_finds_its_rows_by_an_index(day: Day) -> None:
    told_day = told(day, "suspects", ASSIGN)
    state = day.stores.state
    ship(state, [day.project], "shop@1", commit(SHA, "shop/orders.py"))
    many = range(3000)
    with state.write() as connection:
        connection.execute(
            insert(t.commits), [{"sha": f"s{n}", "files": 1, "created_at": day.at()} for n in many]
        )
        connection.execute(
            insert(t.commit_files), [{"sha": f"s{n}", "path": "a/b.py", "type": "M"} for n in many]
        )
        connection.execute(
            insert(t.release_commits), [{"version": f"v{n}", "position": 0, "sha": f"s{n}"} for n in many]
        )
        old = {
            "project_id": day.project,
            "created_at": day.at(),
            "order_date": day.at(-9e6),
            "processed_at": day.at(),
        }
        connection.execute(insert(t.releases), [{**old, "version": f"v{n}"} for n in many])
    with recorded(state) as statements:
        told_day.send(event("Boom", release="shop@1"))
        told_day.drain()
        seen(day)
        with state.write() as connection:
            look_again(connection, to_look_at_again(connection, day.project, "shop@1"))
        find_due_suspects(told_day.stores)
        (row, *_) = outbox(day.stores, day.project)
        message_of(told_day.stores, row)
    ours = {s: p for s, p in statements.items() if "commit" in s or "suspects_at" in s}
    assert len(ours) > 8
    assert scans(state, ours) == []


def test_groups_show_says_who_or_why_none(home: Home) -> None:
    at = datetime.now(UTC)
    with open_stores(home) as stores:
        day = Day(stores, at.date() - timedelta(days=1), 1)  # noon of today may be still to come
        day.send(event("None"))
        day.send(event("Early", release="shop@0"))
        day.drain()
        ship(
            stores.state,
            [1],
            "shop@1",
            commit(SHA, "shop/orders.py", at=at, message="Round \x1b[31mtotals"),
            at=at,
        )
        day.send(event("Boom", release="shop@1"))
        other = event("Far", release="shop@1")
        other["exception"]["values"][0]["stacktrace"]["frames"][0]["filename"] = "lib/other.py"
        day.send(other)
        day.drain()
        seen(day)

    def show(group: str, *words: str) -> str:
        result = CliRunner().invoke(main, ["--home", str(home.root), "groups", "show", group, *words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "none: its first event tells no release" in show("SHOP-1")
    assert "none: shop@0 has no commits" in show("SHOP-2")
    assert "likely from   8097195d3f8f by Jo: Round" in show("SHOP-3")
    assert "\x1b[31mtotals" not in show("SHOP-3")
    assert "none: no commit changed a file of its frames" in show("SHOP-4")
    (found,) = json.loads(show("SHOP-3", "--json"))["suspect_commits"]
    assert {"sha", "author", "message", "path", "frame", "score", "release"} <= found.keys()
    assert json.loads(show("SHOP-1", "--json"))["suspect_commits"] == []


def test_a_run_of_the_asset(home: Home) -> None:
    with open_stores(home) as stores:
        day = Day(stores, datetime.now(UTC).date(), 1)
        day.send(event("Boom", release="shop@1"))
        day.drain()
        seen(day)
        ship(stores.state, [1], "shop@1", commit(SHA, "shop/orders.py", at=datetime.now(UTC)))
    definitions = build_defs({"stores": StoresResource(home=str(home.root))})
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey("suspect_commits")]
        )
        (made,) = result.asset_materializations_for_node("suspect_commits")
    assert made.metadata["groups_with_suspects"].value == 1
