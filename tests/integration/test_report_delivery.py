"""Reports reach each subscriber once: real SMTP, what its mail is made of, and each reason for which there is none."""

from __future__ import annotations

import email
import email.policy
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select, update

from tasks_pipeline.config import parse_config
from tasks_pipeline.notifications.subscriptions import ADVERBS, decide, token_of
from tasks_pipeline.reports.by_hand import send_by_hand
from tasks_pipeline.reports.deliver import DeliveryReport, deliver_reports
from tasks_pipeline.reports.deliveries import counts_since, deliveries_of, twice_told, without_row
from tasks_pipeline.reports.due_deliveries import look, plan
from tasks_pipeline.reports.periods import Period
from tasks_pipeline.reports.rendering.words import shown
from tasks_pipeline.reports.report import Change, Report
from tasks_pipeline.storage.state.facts import unsubscribe_key
from tasks_pipeline.storage.state.proofs import note_check, of_day, of_report
from tasks_pipeline.storage.state.tables import notifications, reports
from tasks_pipeline.stores import Stores
from tests.support.alerting import outbox, send
from tests.support.outside import MailServer, http_receiver, mail_server
from tests.support.report_values import HOSTILE, WEEK, empty_report, report_value, store_report

END = datetime(2026, 11, 23, tzinfo=UTC)
MORNING = END + timedelta(hours=9)
FIRST = date(2026, 1, 1)


@pytest.fixture(autouse=True)
def _received_since_january(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stores of these tests have no envelopes; reports of their periods are there all the same."""
    monkeypatch.setattr("tasks_pipeline.reports.due_deliveries.first_day", lambda _state, _spool: FIRST)


def told(
    stores: Stores, smtp: MailServer, members: str = "{email: anna@acme.example}", more: str = ""
) -> Stores:
    """The stores with members who get weekly reports by mail."""
    text = (
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}, {id: 2, slug: api, keys: [{public_key: abcdee}]}]\n"
        f"channels: [{{name: mail, type: mail, host: 127.0.0.1, port: {smtp.port}, security: none, "
        "sender: 'Errors <e@acme.example>', unsubscribe: help@acme.example}]\n"
        f"receiver: {{public_url: 'https://errors.acme.example'}}\nmembers: [{members}]\n{more}"
    )
    return replace(stores, config=parse_config(text))


def rows(stores: Stores) -> dict[str, tuple[str, str]]:
    """Status and reason of each row, by key and target."""
    with stores.state.read() as connection:
        found = [row for kind in ADVERBS for row in deliveries_of(connection, kind)]
    return {
        f"{row['key']} {row['target'].partition(':')[2]}": (row["status"], row["reason"]) for row in found
    }


def now_due(stores: Stores) -> None:
    """Messages that were put as of a moment of a test are due."""
    with stores.state.write() as connection:
        connection.execute(update(notifications).values(not_before=datetime.now(UTC)))


def parts(mail: EmailMessage) -> list[str]:
    return [part.get_content_type() for part in mail.walk()]


@pytest.mark.usefixtures("drawn")
def test_a_weekly_report_is_one_mail_on_monday_morning(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value(text=HOSTILE))
        early = deliver_reports(stores, END + timedelta(hours=1))
        assert (early.planned, early.put) == (1, [])
        assert deliver_reports(stores, MORNING).put == ["report:weekly:2026-11-16:anna@acme.example"]
        assert deliver_reports(stores, MORNING + timedelta(minutes=5)).put == []
        now_due(stores)
        assert send(stores).sent == 1
        (mail,) = smtp.mails
        assert parts(mail) == [
            "multipart/mixed", "multipart/alternative", "text/plain", "multipart/related", "text/html",
            *["image/png"] * 4, "text/csv", "text/csv",
        ]  # fmt: skip
        assert rows(stores) == {"2026-11-16 anna@acme.example": ("sent", "")}
        html, text = mail.get_body(("html",)), mail.get_body(("plain",))
        assert html is not None
        assert text is not None
        for picture in (part for part in mail.walk() if part.get_content_type() == "image/png"):
            assert f"cid:{picture['Content-ID'][1:-1]}" in html.get_content()
            assert picture.get_content_disposition() == "inline"
        errors = shown(report_value().figures["errors"], "count")
        assert errors in html.get_content()
        assert errors in text.get_content()
        assert (
            mail["Subject"] == f"Weekly report 2026-W47: {errors} errors (+12 %), 9 new groups, all projects"
        )
        assert "<script>" not in html.get_content()
        groups = next(p for p in mail.walk() if (p.get_filename() or "").endswith("groups.csv"))
        assert "'=HYPERLINK(" in groups.get_content()


def test_its_headers_let_a_program_end_the_subscription(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value())
        deliver_reports(stores, MORNING)
        now_due(stores)
        send(stores)
        head = smtp.raw[0].partition(b"\r\n\r\n")[0].decode()
        (line,) = [line for line in head.split("\r\n") if line.startswith("List-Unsubscribe: ")]
        click, other = line.removeprefix("List-Unsubscribe: ").split(", ")
        assert click.startswith("<https://errors.acme.example/unsubscribe/")
        assert other == "<mailto:help@acme.example?subject=unsubscribe>"
        assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in head
        html = smtp.mails[0].get_body(("html",))
        assert html is not None
        assert click[1:-1] in html.get_content()
        token = click[1:-1].rpartition("/")[2]
        assert token == token_of(unsubscribe_key(stores.state), "anna@acme.example", "week")
        (row,) = outbox(stores, 0)
        stored = [json.dumps(row["data"]).encode(), *map(stores.blobs.get, letter_of(row))]
        assert [text for text in stored if token.encode() in text] == []


def letter_of(row: dict[str, Any]) -> list[str]:
    """The blobs of a mail's texts."""
    return [row["data"]["letter"][name] for name in ("html", "text")]


def test_each_attempt_sends_the_same_bytes(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value())
        deliver_reports(stores, MORNING)
        now_due(stores)
        send(stores)
        with stores.state.write() as connection:  # as if its sender had died before it could note the answer
            connection.execute(
                update(notifications).values(status="waiting", not_before=datetime.now(UTC), ambiguous=1)
            )
        assert send(stores).sent == 1
        assert smtp.raw[0] == smtp.raw[1]


def test_each_subscriber_has_a_row_with_a_reason(own: Stores) -> None:
    members = (
        "{email: anna@acme.example}, {email: off@acme.example}, {email: never@acme.example, reports: {weekly: false}}, "
        "{email: nobodys@acme.example, reports: {projects: mine}}, {email: nowhere@acme.example, address: U012}, "
        "{email: late@acme.example, timezone: America/Los_Angeles}"
    )
    with mail_server() as smtp:
        stores = told(own, smtp, members, "teams: [{slug: ops, reports: [weekly]}]")
        store_report(stores, report_value())
        plan(stores, END + timedelta(hours=1))
        with stores.state.write() as connection:
            decide(stores.state, connection, "off@acme.example", "week", False, "link", END)
        report = deliver_reports(stores, MORNING)
        assert rows(stores) == {
            "2026-11-16 anna@acme.example": ("waiting", ""),
            "2026-11-16 late@acme.example": ("waiting", ""),  # not due yet
            "2026-11-16 nobodys@acme.example": ("skipped", "no projects"),
            "2026-11-16 nowhere@acme.example": ("skipped", "no address"),
            "2026-11-16 off@acme.example": ("skipped", "unsubscribed"),
            "2026-11-16 ops": ("skipped", "no channel"),
        }
        assert dict(report.skipped) == {"no projects": 1, "no address": 1, "unsubscribed": 1, "no channel": 1}
        with stores.state.read() as connection:
            assert without_row(connection, stores.config, MORNING) == []
            before = without_row(connection, stores.config, END - timedelta(hours=1))  # they all came since
            assert before == []
            assert dict(counts_since(connection, WEEK)) == {"waiting": 2, "skipped": 4}
        with stores.state.write() as connection:
            decide(stores.state, connection, "off@acme.example", "week", True, "command", MORNING)
        assert deliver_reports(stores, MORNING + timedelta(hours=1)).put == []  # of this week it was decided


def test_a_period_in_which_nothing_happened_is_told_to_nobody(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, empty_report())
        assert deliver_reports(stores, MORNING).put == []
        assert rows(stores) == {"2026-11-16 anna@acme.example": ("skipped", "empty")}
        assert outbox(stores, 0) == []


def test_of_the_time_before_the_first_event_nothing_is_told(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tasks_pipeline.reports.due_deliveries.first_day", lambda _state, _spool: date(2026, 11, 23)
    )
    with mail_server() as smtp:
        stores = told(own, smtp)
        assert plan(stores, MORNING) == 1
        assert rows(stores)["2026-11-16 anna@acme.example"] == ("skipped", "empty: nothing was received yet")


def test_it_waits_for_its_report_and_not_for_ever(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        assert deliver_reports(stores, MORNING).waiting == 1
        due = look(stores.state, stores.config, MORNING)
        assert (due.ready, [one.name for one in due.waiting]) == (
            0, ["weekly report of 2026-11-16 for member:anna@acme.example"],
        )  # fmt: skip
        deliver_reports(stores, MORNING + timedelta(days=3, hours=1))
        assert rows(stores)["2026-11-16 anna@acme.example"][1].startswith(
            "too late: it was due on 2026-11-23 08:00"
        )


def test_a_report_that_is_known_to_be_wrong_is_sent_to_nobody(own: Stores) -> None:
    """It waits for one that holds, which is computed after its figures were; and not for ever."""
    day = WEEK

    def note(subject: str, check: str, said: str, at: datetime) -> None:
        with own.state.write() as connection:
            note_check(own.state, connection, subject, check, at, said)

    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value(), computed_at=END + timedelta(hours=1))
        with own.state.read() as connection:
            (number,) = connection.execute(select(reports.c.id)).scalars()
        for subject, check in ((of_day(day), "figures_add_up"), (of_report(number), "balance_adds_up")):
            note(subject, check, "1 is not 2", MORNING)
            assert deliver_reports(stores, MORNING).waiting == 1
            assert f"{check}: 1 is not 2" in look(stores.state, stores.config, MORNING).wrong[0]
            note(subject, check, "", MORNING)
        assert deliver_reports(stores, MORNING).waiting == 1  # what was made of wrong figures
        with own.state.write() as connection:
            connection.execute(update(reports).values(checked_at=MORNING))
        assert len(deliver_reports(stores, MORNING).put) == 1


def test_what_was_computed_long_after_its_end_is_not_mailed(own: Stores) -> None:
    """Whoever computes the past again mails nothing; who wants theirs on Friday gets what was computed on Monday."""
    with mail_server() as smtp:
        stores = told(own, smtp, "{email: anna@acme.example, reports: {weekday: fri}}")
        plan(stores, MORNING)
        store_report(stores, report_value(), computed_at=END + timedelta(days=4))
        friday = MORNING + timedelta(days=4)
        deliver_reports(stores, friday)
        assert rows(stores)["2026-11-16 anna@acme.example"] == (
            "skipped",
            "too late: computed 4 days after its end",
        )


def test_after_downtime_only_the_newest_is_sent(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp, "{email: anna@acme.example, reports: {daily: true, weekly: false}}")
        plan(stores, datetime(2026, 11, 17, 1, tzinfo=UTC))
        for number in range(16, 21):
            day = date(2026, 11, number)
            computed = datetime(2026, 11, 21, tzinfo=UTC)
            store_report(
                stores,
                report_value("day", day),
                computed_at=min(computed, datetime(2026, 11, number + 1, 1, tzinfo=UTC)),
            )
        report = deliver_reports(stores, datetime(2026, 11, 21, 9, tzinfo=UTC))
        assert report.put == ["report:daily:2026-11-20:anna@acme.example"]
        reasons = {key: reason for key, (_, reason) in rows(stores).items() if reason}
        assert len(reasons) == 4
        assert set(reasons.values()) == {"too late: the report of 2026-11-20 is due too"}


def test_quiet_hours_hold_a_report(own: Stores) -> None:
    with mail_server() as smtp:
        quiet = "{email: anna@acme.example, notifications: {quiet_hours: {start: '22:00', end: '10:00'}}}"
        stores = told(own, smtp, quiet)
        store_report(stores, report_value())
        deliver_reports(stores, MORNING)
        (row,) = outbox(stores, 0)
        assert row["not_before"] == END + timedelta(hours=10)


def test_a_revision_is_mailed_only_where_somebody_asked_for_it(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value())
        deliver_reports(stores, MORNING)
        figures = {**report_value().figures, "errors": 2000}
        change = {**report_value().changes, "errors": Change(change=0.9, text="+90 %")}
        store_report(stores, report_value(revision=2, figures=figures, changes=change))
        assert deliver_reports(stores, MORNING + timedelta(hours=2)).revisions == 0
        asked = told(own, smtp, more="reports: {mail_revisions_above: 20}")
        assert deliver_reports(asked, MORNING + timedelta(hours=3)).revisions == 1
        assert deliver_reports(asked, MORNING + timedelta(hours=4)).revisions == 0
        assert [row["key"].partition("example")[2] for row in outbox(asked, 0)] == ["", ":revision:2"]
        second = outbox(asked, 0)[1]
        assert second["data"]["notes"][0].endswith("→ 2,000")
        assert all("→ 2,000" in asked.blobs.get(blob).decode() for blob in letter_of(second))
        with asked.state.read() as connection:
            assert twice_told(connection, END - timedelta(days=1000)) == []


def test_a_webhook_gets_headlines_changes_and_groups(own: Stores) -> None:
    with http_receiver() as http:
        text = (
            "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
            f"channels: [{{name: hook, type: webhook, url: '{http.url}/hook'}}]\n"
            "teams: [{slug: ops, projects: [shop], channel: hook, reports: [weekly]}]\n"
            "notifications: {ui_url: 'http://ui.acme.example'}\n"
        )
        stores = replace(own, config=parse_config(text))
        store_report(stores, report_value(scope="team:ops"))
        assert deliver_reports(stores, MORNING).put == ["report:weekly:2026-11-16:team:ops"]
        now_due(stores)
        send(stores)
        (posted,) = http.posted
        document = posted.json
        assert (document["type"], document["status"]) == ("report", "report")
        assert document["facts"]["Errors"].endswith("(+12 % against 1,075)")
        assert document["data"]["figures"]["crash_free_sessions"] == 0.99932
        assert (document["data"]["kind"], document["data"]["key"], document["data"]["revision"]) == (
            "week",
            "2026-11-16",
            1,
        )
        assert document["groups"][0]["short_id"] == "SHOP-1"
        assert (
            document["links"][0]["url"]
            == "http://ui.acme.example/assets/weekly_report?view=partitions&partition=2026-11-16"
        )


def test_sending_by_hand_says_what_it_does_and_what_not(own: Stores) -> None:
    members = "{email: anna@acme.example}, {email: ben@acme.example, reports: {weekly: false}}, {email: off@acme.example}"
    with mail_server() as smtp:
        stores = told(own, smtp, members)
        store_report(stores, report_value())
        with stores.state.write() as connection:
            decide(stores.state, connection, "off@acme.example", "week", False, "link", END)

        def by_hand(target: str | None = None, again: bool = False) -> list[tuple[bool, str]]:
            done = send_by_hand(stores, "week", WEEK, END, target=target, again=again)
            return [(each.put, each.said.partition(" since")[0].partition(" on")[0]) for each in done]

        off = (False, "unsubscribed")
        assert by_hand() == [(True, "put into the outbox for mail"), off]
        assert by_hand() == [(False, "waiting"), off]
        assert by_hand(again=True) == [(True, "put into the outbox for mail"), off]
        assert by_hand("member:ben@acme.example") == [(True, "put into the outbox for mail")]
        assert by_hand("member:off@acme.example", again=True) == [(False, "unsubscribed")]
        assert deliver_reports(stores, MORNING).put == []
        assert len(outbox(stores, 0)) == 3
        with pytest.raises(ValueError, match="there is no member:x"):
            by_hand("member:x@acme.example")
        with pytest.raises(LookupError):
            send_by_hand(stores, "week", date(2026, 11, 9), END)


def test_several_projects_are_told_of_together(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """One mail, not one for each: the part of the organisation's report that is theirs, in its revision."""
    asked: list[tuple[str, str, object]] = []

    def part(_stores: Stores, period: Period, scope: str, _now: datetime, *, projects: object) -> Report:
        asked.append((period.kind, scope, projects))
        return report_value(revision=0)

    monkeypatch.setattr("tasks_pipeline.reports.composing.generate_analytics_report", part)
    members = ", ".join(
        f"{{email: {n}@acme.example, reports: {{projects: [shop, api]}}}}" for n in ("anna", "ben")
    )
    with mail_server() as smtp:
        stores = told(own, smtp, members)
        store_report(stores, report_value(revision=3))
        assert len(deliver_reports(stores, MORNING).put) == 2
        assert asked == [("week", "organisation", {1, 2})]  # made once for both
        assert [row["data"]["report"]["revision"] for row in outbox(stores, 0)] == [3, 3]


def test_several_at_once_put_one_message(own: Stores) -> None:
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value())
        found: list[DeliveryReport] = []
        threads = [Thread(target=lambda: found.append(deliver_reports(stores, MORNING))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 3
        assert sum(len(report.put) for report in found) == 1
        assert len(outbox(stores, 0)) == 1


def test_a_report_that_cannot_be_drawn_keeps_no_other_one(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks_pipeline.reports.rendering import mail as rendering

    members = "{email: anna@acme.example}, {email: ben@acme.example, reports: {projects: [shop]}}"
    with mail_server() as smtp:
        stores = told(own, smtp, members)
        store_report(stores, report_value())
        store_report(stores, report_value(scope="project:shop"))
        whole = rendering.mail_html

        def broken(report: Any, *args: Any, **options: Any) -> str:
            if report.scope == "organisation":
                raise ZeroDivisionError
            return whole(report, *args, **options)

        monkeypatch.setattr(rendering, "mail_html", broken)
        report = deliver_reports(stores, MORNING)
        assert report.put == ["report:weekly:2026-11-16:ben@acme.example"]
        assert report.failed == ["weekly report of 2026-11-16 for member:anna@acme.example"]
        monkeypatch.undo()
        monkeypatch.setattr("tasks_pipeline.reports.due_deliveries.first_day", lambda _state, _spool: FIRST)
        assert deliver_reports(stores, MORNING).put == ["report:weekly:2026-11-16:anna@acme.example"]


def test_killed_at_each_statement_it_is_put_once(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever of composing and putting was done before a process died, the next one puts the message, once."""
    from tasks_pipeline.storage.blobs import BlobStore
    from tasks_pipeline.storage.state.database import StateDatabase

    class Killed(BaseException):
        """Nothing catches it, as nothing catches a signal."""

    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value())
        left = [0]

        def counted(function: Any) -> Any:
            def step(*args: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return function(*args, **options)

            return step

        with monkeypatch.context() as patched:
            patched.setattr(BlobStore, "put", counted(BlobStore.put))
            patched.setattr(StateDatabase, "put", counted(StateDatabase.put))
            patched.setattr(
                "tasks_pipeline.reports.deliver.put_message",
                counted(__import__("tasks_pipeline.reports.deliver", fromlist=["x"]).put_message),
            )
            for step in range(1, 30):
                left[0] = step
                try:
                    deliver_reports(stores, MORNING)
                except Killed:
                    assert len(outbox(stores, 0)) == 0
                else:
                    break
        assert step > 5
        assert len(outbox(stores, 0)) == 1
        assert rows(stores) == {"2026-11-16 anna@acme.example": ("waiting", "")}
        with stores.state.read() as connection:
            assert connection.execute(select(notifications.c.key)).scalars().all() == [
                "report:weekly:2026-11-16:anna@acme.example"
            ]


def test_a_mail_that_was_kept_is_read_as_mail(own: Stores) -> None:
    """Parsed by rules that take no defect."""
    with mail_server() as smtp:
        stores = told(own, smtp)
        store_report(stores, report_value(text="支払い 💥 " + HOSTILE))
        deliver_reports(stores, MORNING)
        now_due(stores)
        send(stores)
        strict = email.message_from_bytes(smtp.raw[0], policy=email.policy.strict)
        assert [part.defects for part in strict.walk() if part.defects] == []
        assert max(len(line) for line in smtp.raw[0].split(b"\r\n")) <= 998
