"""From events to messages: rules fire in the drain, once, and what they say reaches real servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tasks_pipeline.groups.decisions import ignore_groups, resolve_groups
from tests.support.alerting import alert_rows, alerting, outbox, send
from tests.support.day import Day
from tests.support.events import event
from tests.support.outside import HttpReceiver, MailServer, http_receiver, mail_server

RULE = "alert_rules: [{name: all, when: [new_group, regression, unignored], notify: ['channel:hook']}]\n"


@pytest.fixture
def day(own_day: Day) -> Day:
    """In stores of its own: a sender takes whatever waits."""
    return own_day


def hook(http: HttpReceiver, name: str = "hook") -> str:
    return f"{{name: {name}, type: webhook, url: '{http.url}/', secret: s3cret}}"


def mail(server: MailServer) -> str:
    return f"{{name: mail, type: mail, host: 127.0.0.1, port: {server.port}, security: none, sender: 'Errors <errors@acme.example>'}}"


def test_a_new_group_reaches_a_member_by_mail_and_a_webhook(day: Day) -> None:
    with http_receiver() as http, mail_server() as smtp:
        told = alerting(
            day,
            f"channels: [{hook(http)}, {mail(smtp)}]\nmembers: [{{email: anna@acme.example, timezone: Europe/Berlin}}]\n"
            "alert_rules: [{name: all, when: [new_group], notify: [members, 'channel:hook']}]\n",
        )
        told.send(event("Boom", release="shop@1.2", environment="production"), event("Boom"))
        told.drain()
        report = send(told.stores)
        assert (report.sent, report.dead) == (2, 0)
        (posted,) = http.posted
        document = posted.json
        assert document["title"] == "Boom: it went wrong"
        assert document["facts"]["Release"] == "shop@1.2"
        assert [frame["function"] for frame in document["frames"]] == ["do_Boom"]
        assert posted.headers["Idempotency-Key"] == document["id"]
        (got,) = smtp.mails
        assert got["To"] == "anna@acme.example"
        assert "Boom: it went wrong" in got["Subject"]
        html = got.get_body(("html",))
        assert html is not None
        assert "do_Boom" in html.get_content()
        assert send(told.stores).sent == 0


def test_what_is_not_new_is_not_told_again(day: Day) -> None:
    with http_receiver() as http:
        told = alerting(day, f"channels: [{hook(http)}]\n{RULE}")
        told.send(event("Same"))
        told.drain()
        told.send(event("Same"), event("Other"))
        told.drain()
        assert send(told.stores).sent == 2
        assert [row["kind"] for row in alert_rows(told.stores, day.project)] == ["new_group", "new_group"]


def test_a_regression_and_the_end_of_ignoring_are_told(day: Day) -> None:
    with http_receiver() as http:
        told = alerting(
            day,
            f"channels: [{hook(http)}]\n"
            + RULE.replace("'channel:hook']", "'channel:hook'], every_minutes: 0"),
        )
        told.send(event("Fixed"), event("Noisy"))
        told.drain()
        fixed, noisy = (row["group_id"] for row in alert_rows(told.stores, day.project))
        resolve_groups(told.stores.state, [fixed], "anna")
        ignore_groups(told.stores.state, [noisy], "anna", more_events=1)
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        told.spool(
            told.receipt(event("Fixed", timestamp=later), seconds=5), told.receipt(event("Noisy"), seconds=6)
        )
        # A client's clock cannot be ahead of ours: what is said to come later is taken as now, after the decision.
        told.drain()
        kinds = [(row["kind"], row["group_id"]) for row in alert_rows(told.stores, day.project)][2:]
        assert ("unignored", noisy) in kinds


def test_conditions_decide_by_the_events(day: Day) -> None:
    with http_receiver() as http:
        told = alerting(
            day,
            f"channels: [{hook(http)}]\nalert_rules: [{{name: production, when: [new_group], notify: ['channel:hook'], "
            "if: {all: [{environment: production}, {level: '>=error'}], none: [{tag: {name: browser, is: 'Bot*'}}]}}]\n",
        )
        told.send(
            event("A", environment="production", level="error"),
            event("B", environment="staging", level="error"),
            event("C", environment="production", level="info"),
            event("D", environment="production", level="fatal", tags={"browser": "Botzilla"}),
        )
        told.drain()
        assert [row["data"]["title"] for row in alert_rows(told.stores, day.project)] == ["A: it went wrong"]


def test_recomputing_the_past_fires_nothing(day: Day) -> None:
    with http_receiver() as http:
        told = alerting(day, f"channels: [{hook(http)}]\n{RULE}")
        told.send(event("A"), event("B"))
        told.drain()
        before = alert_rows(told.stores, day.project)
        told.recompute()
        assert alert_rows(told.stores, day.project) == before


def test_a_batch_that_fails_at_its_end_fires_once(day: Day, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_receiver() as http:
        told = alerting(day, f"channels: [{hook(http)}]\n{RULE}")
        told.send(event("A"))

        def fails(*_: object) -> None:
            raise RuntimeError("as if the disk were full")

        with monkeypatch.context() as patch:
            patch.setattr("tasks_pipeline.processing.process_batch.finish_batch", fails)
            with pytest.raises(RuntimeError):
                told.drain()
        assert outbox(told.stores, day.project) == []
        told.drain()
        assert [row["kind"] for row in alert_rows(told.stores, day.project)] == ["new_group"]
        assert send(told.stores).sent == 1


def test_a_storm_becomes_one_message_with_counts(day: Day) -> None:
    with http_receiver() as http:
        told = alerting(
            day,
            f"channels: [{hook(http)}]\nalert_rules: [{{name: all, when: [new_group], notify: ['channel:hook'], "
            "storm: {alerts: 3, window_minutes: 0.001}}]\n",
        )
        told.send(*(event(f"Problem{chr(65 + n)}") for n in range(10)))
        told.drain()
        assert len(alert_rows(told.stores, day.project)) == 10
        send(told.stores)
        types = [posted.json["type"] for posted in http.posted]
        assert sorted(types) == ["alert", "alert", "alert", "storm"]
        (storm,) = [p.json for p in http.posted if p.json["type"] == "storm"]
        assert storm["data"]["count"] == 7
        statuses = [row["status"] for row in outbox(told.stores, day.project)]
        assert sorted(set(statuses)) == ["collapsed", "sent"]


def test_owners_of_the_files_are_told(day: Day) -> None:
    told = alerting(
        day,
        "channels: [{name: mail, type: mail, host: localhost, sender: e@acme.example}]\n"
        "members: [{email: anna@acme.example}, {email: ben@acme.example}]\n"
        "alert_rules: [{name: all, when: [new_group], notify: [owners]}]\n",
        "ownership: [{path: 'shop/**', owners: [anna@acme.example]}, {path: 'other/**', owners: [ben@acme.example]}]",
    )
    told.send(event("Boom"))
    told.drain()
    assert [row["target"] for row in outbox(told.stores, day.project)] == ["member:anna@acme.example"]


def test_what_crashes_a_program_goes_before_other_errors(day: Day) -> None:
    told = alerting(day, f"channels: [{{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}}]\n{RULE}")
    told.send(event("Error"), event("Crash", level="fatal"))
    told.drain()
    priorities = {row["data"]["title"]: row["id"] for row in alert_rows(told.stores, day.project)}
    by_alert = {row["alert_id"]: row["priority"] for row in outbox(told.stores, day.project)}
    assert by_alert[priorities["Crash: it went wrong"]] < by_alert[priorities["Error: it went wrong"]]
