"""The commands about alerts, notifications, members, monitors and the watch, as people use them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.stores import open_stores
from tests.support.day import Day
from tests.support.events import event, item
from tests.support.outside import http_receiver, mail_server

TODAY = datetime.now(UTC).date()


def command(home: Home, *words: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home.root), *words])


def printed(home: Home, *words: str) -> str:
    result = command(home, *words)
    assert result.exit_code == 0, result.output
    return result.output


def as_json(home: Home, *words: str) -> Any:
    return json.loads(printed(home, *words, "--json"))


def write(home: Home, text: str) -> None:
    home.config_path.write_text("projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n" + text)


def process(home: Home, *contents: Any) -> None:
    with open_stores(home) as stores:
        day = Day(stores, TODAY, 1)
        just_now = (datetime.now(UTC) - day.at()).total_seconds() - 1
        day.spool(*(day.receipt(content, seconds=just_now) for content in contents))
        day.drain()


def test_from_an_event_to_the_log(home: Home) -> None:
    with http_receiver() as http, mail_server() as smtp:
        write(
            home,
            f"channels: [{{name: hook, type: webhook, url: '{http.url}/'}}, {{name: mail, type: mail, host: 127.0.0.1, port: {smtp.port}, "
            "security: none, sender: e@acme.example}]\n"
            "members: [{email: anna@acme.example}, {email: ben@acme.example, notifications: {delivery: none}}]\n"
            "alert_rules: [{name: new errors, when: [new_group], notify: [members, 'channel:hook']}]\n",
        )
        assert "new_group" in printed(home, "alerts", "rules")
        process(home, event("Boom"))
        assert "Boom: it went wrong" in printed(home, "alerts", "list", "--since", "1h")
        assert "2 sent, 0 to be tried again, 0 dead" in printed(home, "notifications", "send")
        (anna,) = as_json(home, "notifications", "log", "--member", "anna@acme.example")
        assert (anna["status"], anna["deliveries"][0]["outcome"]) == ("sent", "sent")
        (ben,) = as_json(home, "notifications", "log", "--member", "ben@acme.example")
        assert (ben["status"], ben["reason"]) == ("skipped", "wants no notifications")
        assert "HTTP 200" in printed(home, "notifications", "log", "--group", "SHOP-1", "--attempts")
        assert [row["channel"] for row in as_json(home, "notifications", "queue")] == ["hook", "mail"]
        tried = as_json(home, "alerts", "test", "new errors", "--since", "1h")
        assert [alert["group"] for alert in tried["alerts"]] == ["SHOP-1"]
        assert tried["messages"]["channel:hook (immediate)"] == 1
        assert len(http.posted) == 1  # trying sends nothing
        members = as_json(home, "members", "list")
        assert {member["email"]: member["channel"] for member in members} == {
            "anna@acme.example": "mail",
            "ben@acme.example": "mail",
        }
        (told,) = as_json(home, "members", "show", "ben@acme.example", "--group", "SHOP-1")["would"]
        assert told.startswith("SHOP-1 by rule 'new errors': skipped")
        unknown = command(
            home, "members", "show", "ben@acme.example", "--group", "SHOP-1", "--rule", "default"
        )
        assert "there is no rule 'default'; in force are: new errors" in unknown.stderr


def test_a_test_message_says_what_failed(home: Home) -> None:
    with http_receiver() as http:
        write(
            home,
            f"channels: [{{name: good, type: webhook, url: '{http.url}/'}}, {{name: closed, type: webhook, url: 'http://127.0.0.1:9/'}}, "
            "{name: mail, type: mail, host: 127.0.0.1, port: 9, security: none, sender: e@acme.example}]\n"
            "members: [{email: anna@acme.example}]\nteams: [{slug: web, members: [anna@acme.example], channel: good}]\n",
        )
        assert "sent" in printed(home, "notifications", "test", "channel:good")
        assert "HTTP 200" in printed(home, "notifications", "test", "team:web")
        failed = command(home, "notifications", "test", "closed")
        assert failed.exit_code == 1
        assert "cannot connect" in failed.output
        failed = command(home, "notifications", "test", "anna@acme.example")
        assert (failed.exit_code, "connect 127.0.0.1:9" in failed.output) == (1, True)
        failed = command(home, "notifications", "test", "channel:pigeon")
        assert (
            failed.exit_code,
            "there are: member:anna@acme.example, team:web, channel:good" in failed.output,
        ) == (1, True)


def test_dead_letters_are_sent_again(home: Home) -> None:
    with http_receiver() as http:
        write(
            home,
            f"channels: [{{name: hook, type: webhook, url: '{http.url}/'}}]\nalert_rules: [{{name: a, when: [new_group], notify: ['channel:hook']}}]\n",
        )
        http.answer = lambda _posted, _before: (403, {}, b"wrong key")
        process(home, event("Boom"))
        assert "1 dead" in printed(home, "notifications", "send")
        (dead,) = as_json(home, "notifications", "log", "--status", "dead")
        assert dead["reason"] == "HTTP 403 wrong key"
        http.answer = lambda _posted, _before: (200, {}, b"")
        assert "1 message is due again" in printed(home, "notifications", "retry", str(dead["id"]))
        assert "1 sent" in printed(home, "notifications", "send")
        assert command(home, "notifications", "retry").exit_code == 2
        for unknown in (["999"], [str(dead["id"])], ["--channel", "hook"]):
            refused = command(home, "notifications", "retry", *unknown)
            assert (refused.exit_code, "there is no dead letter" in refused.stderr) == (1, True)
        assert as_json(home, "notifications", "retry", "--all-dead") == {"due": 0}


def test_monitors_are_listed_muted_and_checked(home: Home) -> None:
    write(home, "")
    hourly = {"schedule": {"type": "crontab", "value": "0 * * * *"}}
    process(home, item("check_in", {"monitor_slug": "nightly", "status": "error", "monitor_config": hourly}))
    (row,) = as_json(home, "monitors", "list")
    assert (row["monitor"], row["environment"], row["state"]) == ("nightly", "production", "error, incident")
    shown = printed(home, "monitors", "show", "nightly")
    assert "✗" in shown
    assert "The job reported an error." in shown
    printed(home, "monitors", "mute", "nightly", "--environment", "production")
    assert "muted" in as_json(home, "monitors", "list")[0]["state"]
    unmuted = as_json(home, "monitors", "unmute", "nightly")
    assert unmuted == {"monitor": "nightly", "environments": 1, "muted": False}
    assert "muted" not in as_json(home, "monitors", "list")[0]["state"]
    assert "missed check ins" in printed(home, "monitors", "check")
    shown = printed(home, "groups", "show", "SHOP-1")
    assert "nightly in production: tasks-pipeline monitors show nightly" in shown
    assert "newest events" not in shown
    assert as_json(home, "groups", "show", "SHOP-1")["monitor"] == {
        "slug": "nightly",
        "environment": "production",
    }
    assert "SHOP-1 has no events" in command(home, "events", "show", "SHOP-1").stderr
    assert command(home, "monitors", "show", "unheard-of").exit_code == 1


def test_the_watch_has_a_line_per_probe(home: Home) -> None:
    write(home, "")
    rows = as_json(home, "watch")
    assert {row["probe"]: row["status"] for row in rows}["lag"] == "ok"


@pytest.mark.parametrize("text", ["yesterday", "5 parsecs", ""])
def test_a_time_that_is_none_says_what_is_allowed(home: Home, text: str) -> None:
    failed = command(home, "alerts", "list", "--since", text)
    assert failed.exit_code == 2
    assert "allowed are 90m, 24h, 7d" in failed.output


def test_windows_and_metrics_can_be_tried(home: Home) -> None:
    write(
        home,
        "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n"
        "alert_rules: [{name: burst, when: [{type: events, count: 3, window_minutes: 60}, {type: metric, metric: error_count, warning: 2}], "
        "notify: ['channel:hook'], enabled: false}]\n",
    )
    with open_stores(home) as stores:
        day = Day(stores, TODAY, 1)
        seconds = (datetime.now(UTC) - day.at()).total_seconds() - 60
        day.spool(*(day.receipt(event("Often"), seconds=seconds + n) for n in range(4)))
        day.drain()
    tried = as_json(home, "alerts", "test", "burst", "--since", "2h")
    assert {alert["kind"] for alert in tried["alerts"]} == {"events", "metric"}
