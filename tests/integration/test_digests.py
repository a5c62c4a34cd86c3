"""Digests: what members want collected is sent once, on time, and never empty."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import select

from tasks_pipeline.groups.decisions import resolve_groups
from tasks_pipeline.notifications.digests import DigestReport, digests_due, send_digest
from tasks_pipeline.storage.state.tables import groups
from tests.support.alerting import alerting, outbox, send
from tests.support.day import Day
from tests.support.events import event
from tests.support.outside import MailServer, mail_server


@pytest.fixture
def day(own_day: Day) -> Day:
    """In stores of its own: a sender takes whatever waits."""
    return own_day


def collecting(
    day: Day, smtp: MailServer, schedule: str = "{min_delay_minutes: 0, max_delay_minutes: 1}"
) -> Day:
    return alerting(
        day,
        f"channels: [{{name: mail, type: mail, host: 127.0.0.1, port: {smtp.port}, security: none, sender: e@acme.example}}]\n"
        f"members: [{{email: m{day.project}@acme.example, notifications: {{delivery: digest, digest: {schedule}}}}}]\n"
        "alert_rules: [{name: all, when: [new_group, regression], notify: [members]}]\n",
    )


def later(minutes: float = 5) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def test_what_was_collected_is_one_mail_and_no_second_one(day: Day) -> None:
    with mail_server() as smtp:
        told = collecting(day, smtp)
        told.send(*(event("Often") for _ in range(5)), event("Seldom"))
        told.drain()
        assert [row["status"] for row in outbox(told.stores, day.project)] == ["digest", "digest"]
        report = send_digest(told.stores, later())
        assert (len(report.put), report.entries) == (1, 2)
        assert send_digest(told.stores, later()).put == []
        send(told.stores)
        # It was put as of a moment that has not come yet: the sender takes it when it does.
        digest = [row for row in outbox(told.stores, day.project) if row["type"] == "digest"]
        assert len(digest) == 1
        entries = [row["digest_id"] for row in outbox(told.stores, day.project) if row["type"] == "alert"]
        assert entries == [digest[0]["id"]] * 2


def test_its_mail_counts_and_orders_groups(day: Day) -> None:
    with mail_server() as smtp:
        moment = datetime.now(UTC) - timedelta(seconds=5)  # counts are of the hours before the digest
        told = replace(collecting(day, smtp), date=moment.date())
        seconds = (moment - told.at()).total_seconds()
        events = [*(event("Often") for _ in range(5)), event("Seldom")]
        told.spool(*(told.receipt(each, seconds=seconds) for each in events))
        told.drain()
        member = f"m{day.project}@acme.example"
        assert send_digest(told.stores, datetime.now(UTC), member=member).entries == 2
        assert send(told.stores).sent == 1
        (mail,) = smtp.mails
        assert "Digest: 2 groups, 2 new" in mail["Subject"]
        body = mail.get_body(("plain",))
        assert body is not None
        lines = [line.strip() for line in body.get_content().splitlines()]
        shown = [line for line in lines if line.startswith(("Often", "Seldom", "SHOP-", "PROJECT-"))]
        assert [line.partition(" · ")[2] or line for line in shown] == [
            "Often: it went wrong", "5 events (0 before) · new", "Seldom: it went wrong", "1 event (0 before) · new",
        ]  # fmt: skip


def test_a_digest_of_what_is_settled_is_not_sent(day: Day) -> None:
    with mail_server() as smtp:
        told = collecting(day, smtp)
        told.send(event("Fixed"))
        told.drain()
        with told.stores.state.read() as connection:
            ids = list(
                connection.execute(select(groups.c.id).where(groups.c.project_id == day.project)).scalars()
            )
        resolve_groups(told.stores.state, ids, "anna")
        report = send_digest(told.stores, later())
        assert (report.put, report.settled) == ([], 1)
        (row,) = outbox(told.stores, day.project)
        assert (row["status"], row["reason"][:7]) == ("skipped", "settled")


def test_after_downtime_one_digest_catches_up(day: Day) -> None:
    with mail_server() as smtp:
        told = collecting(day, smtp, "{at: ['00:00', '06:00', '12:00', '18:00']}")
        told.send(event("A"))
        told.drain()
        week = datetime.now(UTC) + timedelta(days=7)
        assert digests_due(told.stores.state, told.stores.config, week) >= 1
        assert len([k for k in send_digest(told.stores, week).put if f"m{day.project}@" in k]) == 1
        assert send_digest(told.stores, week + timedelta(days=1)).put == []


def test_two_at_once_put_one(day: Day) -> None:
    with mail_server() as smtp:
        told = collecting(day, smtp)
        told.send(event("A"), event("B"))
        told.drain()
        reports: list[DigestReport] = []
        both = [Thread(target=lambda: reports.append(send_digest(told.stores, later()))) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert sum(len(report.put) for report in reports) == 1
