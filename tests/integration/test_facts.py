"""Facts: recorded once, in the transaction that makes them so, with nothing private in them, and never in the way of it."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import msgspec
import pytest
from sqlalchemy import select

from tasks_pipeline.access.tokens import create_token, revoke_token
from tasks_pipeline.config import parse_config
from tasks_pipeline.facts import record as recording
from tasks_pipeline.facts.actors import hashed
from tasks_pipeline.facts.configuration import note_configuration
from tasks_pipeline.facts.record import LEFT_OUT, record
from tasks_pipeline.facts.types import CommandUsed, FeedbackReceived, GroupCreated, TokenCreated
from tasks_pipeline.groups.decisions import (
    assign_groups_to,
    ignore_groups,
    resolve_groups,
    unresolve_groups,
)
from tasks_pipeline.groups.merging import discard_groups, merge_groups, unmerge_group
from tasks_pipeline.home import Home
from tasks_pipeline.processing.reprocess import reprocess_events
from tasks_pipeline.receiver.refusals import Refusals, refusals_receipt
from tasks_pipeline.releases.deploys import add_deploy
from tasks_pipeline.releases.known import save_release
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.facts import probe
from tasks_pipeline.storage.state.tables import analytics_dead, analytics_outbox, groups
from tasks_pipeline.stores import Stores
from tasks_pipeline.web.app import create_web
from tests.support.alerting import alerting, send
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.facts import facts, of_type, types
from tests.support.outside import http_receiver
from tests.support.receiver import configure, serving

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECRETS = ("anna@acme.example", "Marker of a title", "user-4711", "203.0.113.77", "what I wrote")


def test_a_batch_records_what_is_new_and_nothing_for_known_groups(day: Day) -> None:
    first = event("A", release="shop@1.0", environment="production", user={"id": "user-4711"})
    report = item("user_report", {"event_id": first["event_id"], "comments": "what I wrote", "name": "Anna"})
    day.spool(day.receipt(first), day.receipt(event("B")), day.receipt(report, event_id=first["event_id"]))
    day.drain()
    found = facts(day.stores, day.project)
    firsts = {row["data"]["what"] for row in found if row["type"] == "project.first"}
    assert firsts == {"event", "user", "release", "feedback"}
    created = {row["data"]["release"]: row["data"] for row in found if row["type"] == "group.created"}
    assert created["shop@1.0"]["environment"] == "production"
    assert set(created) == {"shop@1.0", None}
    assert types(day.stores, day.project)["release.created"] == 1
    assert types(day.stores, day.project)["feedback.received"] == 1
    assert {(row["source"], row["actor_kind"]) for row in found if row["type"] == "group.created"} == {
        ("drain", "client")
    }

    day.send(event("A", release="shop@1.0"), event("B", user={"id": "another"}))
    day.drain()
    assert facts(day.stores, day.project) == found


def test_computing_a_day_again_records_that_it_was_and_nothing_twice(day: Day) -> None:
    day.send(event("A"), event("B", release="shop@1.0"))
    day.drain()
    before = types(day.stores, day.project)
    day.recompute()
    day.recompute()
    reprocess_events(day.stores, day.date)
    assert types(day.stores, day.project) == before
    again = [row for row in facts(day.stores) if (row["data"] or {}).get("day") == day.date.isoformat()]
    assert [row["type"] for row in again] == ["day.recomputed", "day.recomputed", "day.reprocessed"]
    assert again[0]["data"]["stored"] == again[0]["data"]["envelopes"] == 2
    assert again[2]["data"]["events"] == 2


def test_a_group_that_only_a_recomputation_makes_is_recorded_too(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    with day.stores.state.write() as connection:  # as if nothing of it had been counted, nor told
        connection.execute(analytics_outbox.delete().where(analytics_outbox.c.type == "group.created"))
        of_project = groups.c.project_id == day.project
        connection.execute(groups.update().where(of_project).values(last_seen=None, times_seen=0))
    day.recompute()
    (created,) = of_type(day.stores, day.project, "group.created")
    assert created["data"]["group"] == day.group()["id"]
    assert created["data"]["platform"] == "python"


def test_decisions_say_who_and_how_but_no_name(day: Day) -> None:
    day.send(event("A"), event("B"), event("C"))
    day.drain()
    a, b, c = (group["id"] for group in day.groups())
    state = day.stores.state
    resolve_groups(state, [a], "anna@acme.example")
    unresolve_groups(state, [a], "anna@acme.example")
    ignore_groups(state, [b], "Anna@acme.example ", more_events=5)
    assign_groups_to(state, [a, b], "ben", "anna@acme.example")
    assign_groups_to(state, [a], "ben", "team:payments")
    assign_groups_to(state, [a], "ben", None)
    merge_groups(state, a, [b], "ben")
    unmerge_group(state, b, "ben")
    discard_groups(state, [c], "ben")
    found = [row for row in facts(day.stores, day.project) if row["type"].startswith("group.")]
    with state.read() as connection:
        anna = hashed(state, connection, "anna@acme.example")
        ben = hashed(state, connection, "ben")
    resolved, unresolved, ignored = (
        of_type(day.stores, day.project, f"group.{n}")[0] for n in ("resolved", "unresolved", "ignored")
    )
    assert (
        (resolved["actor_kind"], resolved["actor"])
        == ("member", anna)
        == (ignored["actor_kind"], ignored["actor"])
    )
    assert resolved["data"]["how"] == "now"
    assert resolved["data"]["events"] == 1
    assert resolved["data"]["open_seconds"] is not None
    assert unresolved["data"]["by"] == "person"
    assert ignored["data"]["until"] == "events"
    given = [row["data"]["to"] for row in found if row["type"] == "group.assigned"]
    assert given == [anna, anna, "team:payments", ""]
    assert {row["actor"] for row in found if row["type"] == "group.assigned"} == {ben}
    (merged,), (unmerged,), (discarded,) = (
        of_type(day.stores, day.project, f"group.{n}") for n in ("merged", "unmerged", "discarded")
    )
    assert (merged["data"]["group"], merged["data"]["into"]) == (b, a)
    assert (unmerged["data"]["group"], unmerged["data"]["of"]) == (b, a)
    assert discarded["data"]["group"] == c
    assert len(anna) == 16
    assert anna != ben


def test_a_resolved_group_that_is_back_says_how_long_it_was_closed(day: Day) -> None:
    day.send(event("A"))
    day.drain()
    resolve_groups(day.stores.state, [day.group()["id"]], "anna@acme.example", in_release="shop@1.1")
    day.send(event("A", release="shop@1.2"), event("A", release="shop@1.2"))
    day.drain()
    (back,) = of_type(day.stores, day.project, "group.regressed")
    assert back["data"]["release"] == "shop@1.2"
    assert back["data"]["closed_seconds"] is not None
    (resolved,) = of_type(day.stores, day.project, "group.resolved")
    assert (resolved["data"]["how"], resolved["data"]["release"]) == ("release", "shop@1.1")


def test_alerts_and_messages_are_facts_without_anybody_s_address(day: Day) -> None:
    with http_receiver() as http:
        text = f"""
channels: [{{name: hook, type: webhook, url: '{http.url}'}}]
members:
  - {{email: anna@acme.example, notifications: {{channel: hook}}}}
  - {{email: ben@acme.example, notifications: {{channel: hook, delivery: none}}}}
alert_rules: [{{name: new errors, when: [new_group], notify: [members]}}]
"""
        told = alerting(day, text)
        told.send(event("A"))
        told.drain()
        send(told.stores, run_id="the-run")
    (fired,) = of_type(day.stores, day.project, "alert.fired")
    assert (fired["actor_kind"], fired["actor"]) == ("rule", "new errors")
    (sent,) = of_type(day.stores, day.project, "notification.sent")
    assert (sent["source"], sent["run_id"], sent["data"]["channel_type"]) == ("sender", "the-run", "webhook")
    (skipped,) = of_type(day.stores, day.project, "notification.skipped")
    assert skipped["data"]["reason"] == "wants no notifications"


def test_nothing_private_is_recorded(day: Day) -> None:
    secret = event(
        "A",
        exception={"values": [{"type": "Marker of a title", "value": "Marker of a title"}]},
        user={"id": "user-4711", "email": "anna@acme.example", "ip_address": "203.0.113.77"},
        environment="anna@acme.example",
        transaction="Marker of a title",
    )
    report = item(
        "user_report",
        {"event_id": secret["event_id"], "comments": "what I wrote", "email": "anna@acme.example"},
    )
    day.spool(day.receipt(secret, report))
    day.drain()
    group_id = day.group()["id"]
    assign_groups_to(day.stores.state, [group_id], "anna@acme.example", "anna@acme.example")
    resolve_groups(day.stores.state, [group_id], "anna@acme.example")
    rows = str([*facts(day.stores, day.project), *facts(day.stores)])
    assert [text for text in SECRETS if text in rows] == []
    assert "(address)" in rows


def test_a_broken_fact_is_a_dead_letter_and_the_drain_goes_on(
    day: Day, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tasks_pipeline.processing.batch_facts.GroupCreated",
        lambda **_: GroupCreated(group="anna@acme.example"),  # type: ignore[arg-type]
    )
    day.send(event("A"))
    with pytest.raises(msgspec.ValidationError):
        day.drain()
    monkeypatch.setattr(recording, "raise_broken", False)
    day.drain()
    assert day.group()["times_seen"] == 1
    assert "group.created" not in types(day.stores, day.project)
    assert types(day.stores, day.project)["project.first"] == 1  # the others of the batch are there
    with day.stores.state.read() as connection:
        dead = connection.execute(select(analytics_dead).order_by(analytics_dead.c.id.desc())).first()
    assert dead is not None
    assert (dead.type, dead.data["group"]) == ("group.created", "str")
    assert "acme" not in str(tuple(dead))


def test_what_comes_to_nothing_is_not_recorded(own: Stores) -> None:
    def undone() -> None:
        with own.state.write() as connection:
            record(own.state, connection, TokenCreated(token=1), at=NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    assert facts(own) == []


def test_with_too_many_waiting_what_may_be_spared_is_counted(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MOST_WAITING", 3)
    for n in range(6):
        with own.state.write() as connection:
            record(own.state, connection, CommandUsed(command="token create"), at=NOW + timedelta(seconds=n))
            record(own.state, connection, FeedbackReceived(feedback=f"{n:032x}"), at=NOW)
    found = Counter(row["type"] for row in facts(own))
    assert found["feedback.received"] == 6
    assert found["command.used"] < 6
    with own.state.read() as connection:
        left_out = probe(connection, LEFT_OUT)
    assert left_out is not None
    assert found["command.used"] + left_out["value"] == 6


def test_releases_and_tokens_are_told_once_each(day: Day) -> None:
    state, project = day.stores.state, day.project
    for _ in range(2):
        save_release(state, [project], "shop@2.0", {"released_at": NOW})
        add_deploy(
            state, [project], "shop@2.0", {"environment": "production", "started_at": NOW, "finished_at": NOW}
        )
        save_release(state, [project], "shop@2.0", {"status": "archived"})
    found = types(day.stores, project)
    names = ("created", "finalised", "deployed", "archived")
    assert [found[f"release.{name}"] for name in names] == [1, 1, 1, 1]
    assert found["project.first"] == 1
    number, _ = create_token(state, "http://127.0.0.1", "acme", "ci", ["org:read"])
    assert revoke_token(state, number)
    assert revoke_token(state, number)
    told = [row["type"] for row in facts(day.stores) if (row["data"] or {}).get("token") == number]
    assert told == ["token.created", "token.revoked"]


def test_facts_of_the_web_api_say_so(home: Home) -> None:
    configure(home)
    with closing(StateDatabase(home)) as state, serving(create_web(home)) as url:
        _, token = create_token(state, "http://test", "acme", "ci", ["project:releases"])
        sent = {"version": "shop@2.0", "projects": ["shop"]}
        headers = {"authorization": f"Bearer {token}"}
        answer = httpx.post(
            f"{url}/api/0/organizations/acme/releases/", json=sent, headers=headers, timeout=120
        )
        assert answer.status_code == 201, answer.text
        with state.read() as connection:
            o = analytics_outbox.c
            rows = connection.execute(select(o.type, o.source).order_by(o.id)).all()
    assert [tuple(row) for row in rows] == [
        ("token.created", "cli"),
        ("release.created", "web_api"),
        ("project.first", "web_api"),
    ]


def test_a_quota_is_told_of_once_an_hour_with_its_key(day: Day) -> None:
    refusals = Refusals()
    refusals.add((day.project, "abcdef"), "rate_limited", "key_quota", {"error": 3})
    refusals.add((day.project, "abcdef"), "refused", "too_large", {"error": 1})
    for _ in range(2):
        for source, sums in refusals.take().items():
            day.spool(replace(refusals_receipt(source, sums), received_at=day.at()))
        refusals.add((day.project, "abcdef"), "rate_limited", "key_quota", {"error": 5})
        day.drain()
    (reached,) = of_type(day.stores, day.project, "quota.reached")
    assert reached["data"] == {"key": "abcdef", "category": "error", "scope": "key_quota", "refused": 3}
    assert reached["at"] == day.at().replace(minute=0)
    rows = day.stores.lake.query(
        "SELECT DISTINCT public_key FROM lake.outcomes WHERE day = ? AND outcome = 'rate_limited'", [day.date]
    )
    assert rows == [{"public_key": "abcdef"}]


def test_a_configuration_that_changed_says_where_and_not_what(own: Stores) -> None:
    texts = ("shop, name: Anna", "shop, name: Ben", "shop, name: Ben", "shop, name: Anna")
    for n, slug in enumerate(texts):
        config = parse_config(f"projects: [{{id: 1, slug: {slug}, keys: [{{public_key: abcdef}}]}}]")
        note_configuration(own.state, config, NOW + timedelta(minutes=n))
    changed = of_type(own, None, "config.changed")
    assert [row["data"]["sections"] for row in changed] == ["projects", "projects"]
    assert "Ben" not in str(changed)
