"""Delivery beside a dead channel, and while senders are killed: `python -m benchmarks.notifications` prints one JSON object.

`killed`: puts messages for a counting SMTP and a counting HTTP server of this machine into an outbox, starts senders and kills
each with SIGKILL at a random moment, and counts what arrived: none may be lost, and one may be doubled for each kill.
`beside`: so many alerts at once for both and for a channel that nobody answers on: the two get all of theirs, and the sender's
memory does not grow. Needs the development dependencies (aiosmtpd, psutil).
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select, update

from tasks_pipeline.demo.show import temporary_root
from tasks_pipeline.home import Home
from tasks_pipeline.notifications.outbox import NewNotification, put_notifications, release_claims
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import deliveries, notifications
from tests.support.outside import http_receiver, mail_server

PATIENCE_SECONDS = 300
RATE = "rate: {messages: 100000, seconds: 1, burst: 100000}, target_rate: {messages: 100000, seconds: 1, burst: 100000}"
CONFIG = """\
projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]
channels:
  - {{name: hook, type: webhook, url: "{url}/", max_attempts: 50, {rate}}}
  - {{name: mail, type: mail, host: 127.0.0.1, port: {port}, security: none, sender: errors@acme.example, max_attempts: 50, {rate}}}
  - {{name: dead, type: webhook, url: "http://127.0.0.1:9/", {rate}}}
"""
SENDER = (
    "import sys; from tasks_pipeline.home import Home; from tasks_pipeline.stores import open_stores; "
    "from tasks_pipeline.notifications.sending import send_alert_notification; from pathlib import Path\n"
    "with open_stores(Home(Path(sys.argv[1]))) as stores:\n"
    "    print('up', flush=True)\n"
    "    send_alert_notification(stores, run_id=sys.argv[2], linger_seconds=float(sys.argv[3]), max_run_seconds=600)\n"
)


def fill(state: StateDatabase, count: int, channels: Sequence[str] = ("hook", "mail")) -> list[str]:
    """Put messages into the outbox, for each channel in turn; gives their keys."""
    now = datetime.now(UTC)
    messages = [
        NewNotification(
            key=f"bench:{n}", type="test", project_id=1, target=f"member:m{n}@acme.example", channel=channels[n % len(channels)],
            thread=f"bench:{n}", not_before=now, address=f"m{n}@acme.example",
        )
        for n in range(count)
    ]  # fmt: skip
    with state.write() as connection:
        put_notifications(state, connection, messages)
    return [message.key for message in messages]


def left(state: StateDatabase) -> int:
    """Messages that are not sent yet."""
    with state.read() as connection:
        query = select(func.count()).select_from(notifications).where(notifications.c.status != "sent")
        return int(connection.execute(query).scalar_one())


def kill_senders(root: Path, state: StateDatabase, kills: int, longest: float) -> int:
    """Start senders and kill each at a random moment; what the run-failure sensor does for the dead is done here."""
    done = 0
    for number in range(kills):
        if left(state) == 0:
            break
        run_id = f"run-{number}"
        with subprocess.Popen(
            [sys.executable, "-c", SENDER, str(root), run_id, "60"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(random.uniform(0.02, longest))
            process.send_signal(signal.SIGKILL)
        release_claims(state, run_id, datetime.now(UTC))
        done += 1
    return done


def beside_a_dead_channel(alerts: int) -> dict[str, Any]:
    """So many alerts for three channels of which one is dead; gives what arrived, and the sender's memory on the way."""
    with temporary_root() as root, http_receiver() as http, mail_server() as smtp:
        Home(root).config_path.write_text(CONFIG.format(url=http.url, port=smtp.port, rate=RATE))
        state = StateDatabase(Home(root))
        fill(state, alerts * 3, ("hook", "mail", "dead"))
        started, memory = time.monotonic(), []
        with subprocess.Popen(
            [sys.executable, "-c", SENDER, str(root), "run", "60"], stdout=subprocess.DEVNULL
        ) as process:
            for share in (0.2, 1.0):
                while min(len(http.posted), len(smtp.mails)) < alerts * share:
                    if time.monotonic() - started > PATIENCE_SECONDS:
                        raise SystemExit("messages were not sent")
                    time.sleep(0.02)
                memory.append(psutil.Process(process.pid).memory_info().rss / 2**20)
            seconds = time.monotonic() - started
            process.terminate()
        arrived = Counter(posted.headers["Idempotency-Key"] for posted in http.posted)
        arrived += Counter(str(mail["Message-ID"]) for mail in smtp.mails)
        with state.read() as connection:
            dead = select(func.count()).where(
                notifications.c.channel == "dead", notifications.c.status == "waiting"
            )
            waiting = int(connection.execute(dead).scalar_one())
        state.close()
        return {
            "beside_alerts": alerts,
            "beside_lost": alerts * 2 - len(arrived),
            "beside_doubled": sum(arrived.values()) - len(arrived),
            "beside_waiting_for_the_dead": waiting,
            "beside_messages_per_s": round(alerts * 2 / seconds, 1),
            "beside_memory_mb_after_a_fifth": round(memory[0], 1),
            "beside_memory_mb_after_all": round(memory[1], 1),
        }


def while_killed(messages: int, kills: int) -> dict[str, Any]:
    """Send with kills, then to the end; count what arrived."""
    with temporary_root() as root, http_receiver() as http, mail_server() as smtp:
        home = Home(root)
        home.config_path.write_text(CONFIG.format(url=http.url, port=smtp.port, rate=RATE))
        state = StateDatabase(home)
        keys = fill(state, messages)
        started = time.monotonic()
        done = kill_senders(root, state, kills, 2.0 * messages / 1000 * 20 / max(kills, 1))
        with state.write() as connection:  # waits after unknown ends are not what is measured
            connection.execute(update(notifications).values(not_before=datetime.now(UTC)))
        subprocess.run(
            [sys.executable, "-c", SENDER, str(root), "last", "3"], check=True, stdout=subprocess.DEVNULL
        )
        with state.read() as connection:
            ids = {
                row.key: row.id for row in connection.execute(select(notifications.c.key, notifications.c.id))
            }
            unknown = connection.execute(
                select(func.count()).select_from(deliveries).where(deliveries.c.outcome == "unknown")
            ).scalar_one()
        arrived = Counter(posted.headers["Idempotency-Key"] for posted in http.posted)
        mails = Counter(str(mail["Message-ID"]) for mail in smtp.mails)
        doubled = sum(n - 1 for n in arrived.values()) + sum(n - 1 for n in mails.values())
        state.close()
        return {
            "killed_messages": messages,
            "killed_times": done,
            "killed_lost": len(ids) - len(arrived) - len(mails) + (len(keys) - len(ids)),
            "killed_doubled": doubled,
            "killed_marked_unknown": int(unknown),
            "killed_seconds": round(time.monotonic() - started, 1),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.notifications", description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()
    print(
        json.dumps(
            beside_a_dead_channel(arguments.messages) | while_killed(arguments.messages, arguments.kills)
        )
    )


if __name__ == "__main__":
    main()
