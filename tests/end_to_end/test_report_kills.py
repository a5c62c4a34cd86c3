"""Reports are composed and sent by processes that are killed: each subscriber has one message, and it is whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import update

from tasks_pipeline.home import Home
from tasks_pipeline.reports.deliveries import counts_since, twice_told
from tasks_pipeline.reports.periods import period_at
from tasks_pipeline.storage.state.tables import channel_states, notifications
from tasks_pipeline.stores import open_stores
from tests.support.day import Day
from tests.support.events import event
from tests.support.outside import mail_server
from tests.support.report_values import report_value, store_report

KILLS = int(os.environ.get("TASKS_PIPELINE_TEST_REPORT_KILLS", "3"))
MEMBERS = 12
WORK = """
import sys
from datetime import UTC, datetime
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.sending import send_alert_notification
from tasks_pipeline.reports.deliver import deliver_reports
from tasks_pipeline.stores import open_stores
with open_stores(Home.resolve(sys.argv[1])) as stores:
    print("open", flush=True)
    deliver_reports(stores, datetime.now(UTC))
    send_alert_notification(stores, linger_seconds=0, max_run_seconds=60)
"""


def killed_after(home: Home, seconds: float | None) -> None:
    """Compose and send in a process that is killed so long after it opened its stores; None: it ends by itself."""
    command = [sys.executable, "-c", WORK, str(home.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if seconds is not None:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=120)


def leases_are_over(home: Home) -> None:
    with open_stores(home) as stores, stores.state.write() as connection:
        now = datetime.now(UTC)
        lost = notifications.c.status == "sending"
        connection.execute(update(notifications).where(lost).values(lease_until=now))
        connection.execute(
            update(notifications).where(notifications.c.status == "waiting").values(not_before=now)
        )
        connection.execute(update(channel_states).values(open_until=None))


def test_whoever_dies_each_subscriber_gets_one_whole_report(home: Home) -> None:
    yesterday = period_at("day", datetime.now(UTC), "UTC").previous()
    chance = random.Random(12)
    with mail_server() as smtp:
        members = ", ".join(
            f"{{email: m{n}@acme.example, reports: {{daily: true, weekly: false, at: '00:00'}}}}"
            for n in range(MEMBERS)
        )
        home.config_path.write_text(
            "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n"
            f"channels: [{{name: mail, type: mail, host: 127.0.0.1, port: {smtp.port}, security: none, sender: e@acme.example}}]\n"
            f"members: [{members}]\n"
        )
        with open_stores(home) as stores:
            day = Day(stores, date.today() - timedelta(days=9), 1)  # noqa: DTZ011 — any day before
            day.spool(day.receipt(event("Boom")))
            store_report(stores, report_value("day", yesterday.key))
        for _ in range(KILLS):
            killed_after(home, chance.uniform(0, 3))
            leases_are_over(home)
        killed_after(home, None)
        with open_stores(home) as stores, stores.state.read() as connection:
            assert dict(counts_since(connection, yesterday.key)) == {"sent": MEMBERS}
            assert twice_told(connection, datetime.now(UTC) - timedelta(days=1)) == []
        by_recipient: dict[str, set[bytes]] = {}
        for (recipient,), raw in zip(smtp.recipients, smtp.raw, strict=True):
            by_recipient.setdefault(recipient, set()).add(raw)
        # A process that dies before it can note the answer leaves a mail that is sent again: the same one, to the byte.
        assert Counter(map(len, by_recipient.values())) == {1: MEMBERS}
