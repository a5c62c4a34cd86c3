"""What messages say to whoever is on call: the story of the event, and commands that work as they stand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.monitors.check import check_monitors
from tasks_pipeline.monitors.clock import beat_clock
from tasks_pipeline.notifications.composing import message_of
from tasks_pipeline.notifications.digests import send_digest
from tasks_pipeline.notifications.message import Message
from tasks_pipeline.notifications.what_to_do import about_pipeline, typed
from tasks_pipeline.storage.state.tables import notifications
from tasks_pipeline.stores import Stores, open_stores
from tasks_pipeline.watch.facts import DagsterFacts, Failing
from tasks_pipeline.watch.probes import DESCRIPTIONS
from tasks_pipeline.watch.watching import tell_directly, watch_pipeline
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.outside import http_receiver

TODAY = datetime.now(UTC).date()
CONFIG = """\
projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]
channels:
  - {name: hook, type: webhook, url: 'URL/'}
  - {name: mail, type: mail, host: localhost, sender: e@acme.example}
members:
  - {email: anna@acme.example, timezone: Europe/Berlin}
  - {email: dora@acme.example, notifications: {delivery: digest, digest: {min_delay_minutes: 0, max_delay_minutes: 1}}}
teams: [{slug: web, members: [anna@acme.example], channel: hook}]
notifications: {ui_url: 'https://dagster.example/'}
watch: {operators: ['channel:hook'], fallback_channel: hook, consecutive_readings: 1}
alert_rules:
  - name: "new ones; it's --all"
    when: [new_group]
    if: {none: [{category: cron}]}
    notify: ['member:anna@acme.example', 'member:dora@acme.example', 'team:web', 'channel:hook']
    storm: {alerts: 2, window_minutes: 0.001}
  - {name: jobs, when: [monitor], notify: ['member:anna@acme.example']}
"""
HOURLY = {"schedule": {"type": "crontab", "value": "0 * * * *"}, "checkin_margin": 5}


@pytest.fixture
def day(home: Home) -> Iterator[Day]:
    """Today of a home that is not the default one, with rules, people and monitors."""
    home.config_path.write_text(CONFIG.replace("URL", "http://127.0.0.1:9"))
    with open_stores(home) as stores:
        yield Day(stores, TODAY, 1)


def messages(stores: Stores, target: str = "") -> list[Message]:
    """The messages in the outbox, oldest first."""
    n = notifications.c
    with stores.state.read() as connection:
        rows = [dict(row._mapping) for row in connection.execute(select(notifications).order_by(n.id))]
    told = [row for row in rows if row["status"] in ("waiting", "collapsed")]
    return [message_of(stores, row) for row in told if target in row["target"]]


def run(command: str) -> str:
    """What a command prints when it is pasted as it stands."""
    name, *words = shlex.split(command)
    assert name == "tasks-pipeline"
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, f"{command}: {result.output}"
    return result.output


def silent_job(day: Day) -> None:
    """A job that checked in once, long ago, and is missed."""
    then = datetime.now(UTC) - timedelta(hours=3)
    early = Day(day.stores, then.date(), 1)
    check_in = item("check_in", {"monitor_slug": "nightly", "status": "ok", "monitor_config": HOURLY})
    early.spool(early.receipt(check_in, seconds=(then - early.at()).total_seconds()))
    early.drain()
    now = datetime.now(UTC)
    beat_clock(day.stores.state, now)
    check_monitors(day.stores, now)


def test_a_message_holds_the_whole_story(day: Day) -> None:
    (sent,) = day.send(
        event(
            "Boom",
            release="shop@1.2",
            server_name="web-3",
            user={"id": "77"},
            tags={"area": "checkout"},
            request={"method": "GET", "url": "https://shop.example/pay?u=77&password=hunter2"},
            breadcrumbs=[{"timestamp": f"{TODAY}T10:00:00Z", "category": "query", "message": "SELECT 1"}],
        )
    )
    day.drain()
    message = messages(day.stores, "anna")[0]
    assert message.data["event_id"] == sent
    facts = dict(message.facts)
    assert (facts["Event"], facts["Server"]) == (sent, "web-3")
    assert (facts["Release"], facts["First seen in"]) == ("shop@1.2", "shop@1.2")
    found = {section.title: dict(section.rows) for section in message.sections}
    assert found["Request"]["GET"] == "https://shop.example/pay?u=77&password=[Filtered]"
    assert found["User"]["id"] == "77"
    assert found["Tags"] == {"area": "checkout"}
    (crumb,) = found["Breadcrumbs, the last first"].items()
    assert crumb in (("11:00:00", "query SELECT 1"), ("12:00:00", "query SELECT 1"))
    assert sent in message.text(brief=True)
    page, link = message.links
    assert page[0] == f"Open {message.data['short_id']}"
    assert page[1].endswith(f"/groups/{message.data['short_id']}/events/{message.data['event_id']}/")
    assert link[1] == f"https://dagster.example/assets/events?view=partitions&partition={TODAY}"


def test_the_release_in_which_a_group_was_first_seen_is_told(day: Day) -> None:
    day.send(event("Boom", release="shop@1"))
    day.drain()
    day.send(event("Boom", release="shop@2"))
    day.drain()
    (group,) = day.groups()
    run(typed(day.stores.home, "groups", "resolve", group["short_id"]))
    shown = json.loads(run(typed(day.stores.home, "groups", "show", group["short_id"], "--json")))
    assert shown["first_release"] == "shop@1"


def test_every_command_of_every_message_works_as_it_stands(day: Day) -> None:
    day.send(*(event(f"Problem{letter}") for letter in "ABCD"))
    day.drain()
    silent_job(day)
    failing = DagsterFacts(ticks=(Failing("new_envelopes_sensor", 50, "boom"),))
    watch_pipeline(day.stores, failing, datetime.now(UTC))
    send_digest(day.stores, datetime.now(UTC) + timedelta(minutes=5))
    found = messages(day.stores)
    assert {message.type for message in found} == {"alert", "storm", "digest"}
    assert {message.project for message in found} == {"shop", "pipeline"}
    assert all(message.commands for message in found)
    commands = dict.fromkeys(command for message in found for command in message.commands)
    assert all(f"--home {day.stores.home.root}" in command for command in commands)
    for command in commands:
        if not command.endswith("watch"):  # which fails when a probe is bad, as it is here
            run(command)


def test_who_is_told_can_take_it_without_filling_in_a_name(day: Day) -> None:
    day.send(event("Boom"))
    day.drain()
    taken = {m.data["short_id"]: m for m in messages(day.stores, "member:anna")}["SHOP-1"].commands[-1]
    assert taken.endswith("groups assign SHOP-1 --to anna@acme.example")
    run(taken)
    assert day.group()["assignee"] == "anna@acme.example"
    assert messages(day.stores, "team:web")[0].commands[-1].endswith("--to team:web")
    assert not any("assign" in command for command in messages(day.stores, "channel:hook")[0].commands)


def test_a_monitor_s_message_is_about_the_monitor_and_in_one_time_zone(day: Day) -> None:
    silent_job(day)
    (message,) = messages(day.stores, "member:anna")
    show, mute, _ = message.commands
    assert show.endswith("monitors show nightly")
    assert mute.endswith("monitors mute nightly --environment=production")
    assert "muted" in run(mute)
    assert "expected at" in message.changed
    assert "UTC" not in message.text()
    assert dict(message.facts)["Expected"] in message.changed


def test_a_message_of_the_pipeline_is_short_and_says_since_when_and_what_to_do(day: Day) -> None:
    failing = DagsterFacts(ticks=(Failing("new_envelopes_sensor", 50, "boom " * 40),))
    watch_pipeline(day.stores, failing, datetime.now(UTC))
    message = next(m for m in messages(day.stores) if m.data.get("probe") == "failed_ticks")
    assert message.summary == "[pipeline] Trouble: Failed ticks: critical"
    assert message.text().count("new_envelopes_sensor") == 1
    facts = dict(message.facts)
    assert facts["Since"].endswith("UTC")
    assert [command.split()[3:] for command in message.commands] == [["watch"], ["status"]]


@pytest.mark.parametrize("probe", DESCRIPTIONS)
def test_what_shows_more_of_a_probe_is_a_command(home: Home, probe: str) -> None:
    home.config_path.write_text(CONFIG.replace("URL", "http://127.0.0.1:9"))
    for command in about_pipeline(home, probe)[1:]:
        run(command)


def test_the_other_way_out_says_when_and_what_to_do(day: Day) -> None:
    with http_receiver() as http:
        day.stores.home.config_path.write_text(CONFIG.replace("URL", http.url))
        config = day.stores.home.config()
        assert "told on hook" in tell_directly(config, day.stores.home, "nothing gets out", datetime.now(UTC))
        (posted,) = http.posted
    document: dict[str, Any] = posted.json
    assert document["facts"]["Noticed"].endswith("UTC")
    for command in document["commands"][1:]:
        run(command)


def test_the_default_home_needs_no_name(monkeypatch: pytest.MonkeyPatch, home: Home) -> None:
    assert typed(home, "watch") == f"tasks-pipeline --home {home.root} watch"
    monkeypatch.setenv("HOME", str(home.root.parent))
    assert typed(Home(home.root.parent / ".tasks-pipeline"), "watch") == "tasks-pipeline watch"
    assert typed(Home(home.root.parent / "my home"), "watch").count("'") == 2
