"""Delivery from the outbox: retries, breakers, limits, dead letters, messages of unknown end, senders that die."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tasks_pipeline.home import Home
from tasks_pipeline.notifications import sending
from tasks_pipeline.notifications.outbox import (
    NewNotification,
    channel_figures,
    deliveries_of,
    notification_log,
    put_notifications,
    release_claims,
    retry_notifications,
    waiting_notifications,
)
from tasks_pipeline.notifications.sending import retry_seconds
from tasks_pipeline.notifications.task import NotificationTask
from tasks_pipeline.storage.state.tables import channel_states, notifications
from tasks_pipeline.stores import Stores, open_stores
from tests.support.alerting import configured, outbox, send
from tests.support.dripping import HTTP, far_side
from tests.support.outside import HttpReceiver, Posted, http_receiver, mail_server

FAST = "rate: {messages: 100000, seconds: 1, burst: 100000}, target_rate: {messages: 100000, seconds: 1, burst: 100000}"


def hook(http: HttpReceiver, name: str = "hook", more: str = FAST) -> str:
    return f"{{name: {name}, type: webhook, url: '{http.url}/{name}', timeout_seconds: 2, {more}}}"


def put(
    stores: Stores,
    count: int = 1,
    channel: str = "hook",
    target: str = "channel:{channel}",
    start: int = 0,
    urgent: bool = False,
) -> None:
    now = datetime.now(UTC)
    with stores.state.write() as connection:
        put_notifications(
            stores.state,
            connection,
            [
                NewNotification(
                    key=f"{channel}:{n}", type="test", project_id=1, target=target.format(channel=channel, n=n),
                    channel=channel, thread=f"t:{n}", not_before=now, urgent=urgent,
                )
                for n in range(start, start + count)
            ],
        )  # fmt: skip


def soon(stores: Stores) -> None:
    """As if the waits between attempts, and those of breakers, were over; a minute ago, should the clock be set back."""
    with stores.state.write() as connection:
        connection.execute(update(notifications).values(not_before=datetime.now(UTC) - timedelta(minutes=1)))
        connection.execute(update(channel_states).values(open_until=None))


def statuses(stores: Stores) -> Counter[str]:
    return Counter(row["status"] for row in outbox(stores, 1))


def test_the_same_message_is_put_once(own: Stores) -> None:
    put(own)
    put(own)
    assert len(outbox(own, 1)) == 1


def test_a_temporary_failure_is_tried_again_and_logged(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        http.answer = lambda _posted, before: (503, {}, b"busy") if before == 0 else (200, {}, b"ok")
        put(stores)
        report = send(stores)
        assert (report.sent, report.retried) == (0, 1)
        (row,) = outbox(stores, 1)
        assert row["status"] == "waiting"
        assert row["not_before"] > datetime.now(UTC)
        soon(stores)
        assert send(stores).sent == 1
        (logged,) = notification_log(stores.state, since=datetime.now(UTC) - timedelta(hours=1))
        tries = deliveries_of(stores.state, [logged["id"]])[logged["id"]]
        assert [(t["outcome"], t["detail"]) for t in tries] == [
            ("retry", "HTTP 503 busy"),
            ("sent", "HTTP 200 ok"),
        ]


def test_retry_after_is_obeyed_by_the_whole_channel(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        http.answer = lambda _posted, _before: (429, {"Retry-After": "120"}, b"slow down")
        put(stores, 5)
        send(stores)
        assert len(http.posted) == 1
        waits = [(row["not_before"] - datetime.now(UTC)).total_seconds() for row in outbox(stores, 1)]
        assert 110 < max(waits) <= 121
        assert waiting_notifications(stores.state, datetime.now(UTC)).count == 0


def test_a_permanent_failure_is_a_dead_letter_that_can_be_sent_again(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        http.answer = lambda _posted, _before: (400, {}, b"no such field")
        put(stores)
        assert send(stores).dead == 1
        (row,) = outbox(stores, 1)
        assert (row["status"], row["reason"]) == ("dead", "HTTP 400 no such field")
        http.answer = lambda _posted, _before: (200, {}, b"")
        assert send(stores).sent == 0
        assert retry_notifications(stores.state, datetime.now(UTC), ids=[row["id"]]) == 1
        assert send(stores).sent == 1


def test_after_its_last_attempt_a_message_is_dead(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http, more=FAST + ', max_attempts: 2')}]")
        http.answer = lambda _posted, _before: (500, {}, b"")
        put(stores)
        send(stores)
        soon(stores)
        assert send(stores).dead == 1


def test_a_lost_answer_is_sent_again_with_the_same_key_and_says_so(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        http.answer = lambda _posted, before: None if before == 0 else (200, {}, b"")
        put(stores)
        assert send(stores).retried == 1
        soon(stores)
        assert send(stores).sent == 1
        first, second = http.posted
        assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
        assert first.json["notes"] == []
        assert "may be a repeat" in second.json["notes"][0]


def test_a_dead_channel_holds_up_nobody_and_loses_nothing(own: Stores) -> None:
    with http_receiver() as http, mail_server() as smtp:
        text = (
            f"channels: [{hook(http)}, {{name: gone, type: webhook, url: 'http://127.0.0.1:9/', {FAST}}}, "
            f"{{name: mail, type: mail, host: 127.0.0.1, port: {smtp.port}, security: none, sender: a@b.example, to: [c@d.example], {FAST}}}]"
        )
        stores = configured(own, 1, text)
        for channel in ("hook", "gone", "mail"):
            put(stores, 60, channel)
        report = send(stores)
        assert report.by_channel["hook"]["sent"] == report.by_channel["mail"]["sent"] == 60
        gone = [row for row in outbox(stores, 1) if row["channel"] == "gone"]
        assert Counter(row["status"] for row in gone) == {"waiting": 60}
        tried = sum(row["attempts"] for row in gone)
        assert tried == stores.config.notifications.breaker_failures  # then the breaker opened
        (figures,) = [f for f in channel_figures(stores.state, datetime.now(UTC)) if f["channel"] == "gone"]
        assert figures["open_until"] > datetime.now(UTC)
        assert "cannot connect" in figures["last_error"]
        assert len({posted.headers["Idempotency-Key"] for posted in http.posted}) == len(http.posted) == 60
        assert len(smtp.mails) == 60


def test_a_breaker_tries_one_message_and_closes_when_it_gets_through(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"notifications: {{breaker_failures: 2}}\nchannels: [{hook(http)}]")
        http.answer = lambda _posted, _before: (500, {}, b"")
        put(stores, 10)
        send(stores)
        assert len(http.posted) == 2
        soon(stores)
        send(stores)
        assert len(http.posted) == 3  # one, and left alone again
        http.answer = lambda _posted, _before: (200, {}, b"")
        soon(stores)
        assert send(stores).sent == 10


def test_limits_of_a_target_let_others_pass(own: Stores) -> None:
    with http_receiver() as http:
        limited = "rate: {messages: 1000, seconds: 1, burst: 1000}, target_rate: {messages: 1, seconds: 3600, burst: 2}"
        stores = configured(own, 1, f"channels: [{hook(http, more=limited)}]")
        put(stores, 5, target="member:loud@acme.example")
        put(stores, 1, target="member:other@acme.example", start=5)
        send(stores)
        assert Counter(row["target"] for row in outbox(stores, 1) if row["status"] == "sent") == {
            "member:loud@acme.example": 2,
            "member:other@acme.example": 1,
        }


def test_what_is_critical_overtakes_what_waits(own: Stores) -> None:
    with http_receiver() as http:
        rate = "rate: {messages: 1, seconds: 3600, burst: 1}"
        stores = configured(own, 1, f"channels: [{hook(http, more=rate)}]")
        put(stores, 3)
        put(stores, 1, start=9, urgent=True)
        send(stores)
        assert [posted.headers["Idempotency-Key"] for posted in http.posted] == ["hook:9"]


def test_limits_of_a_channel_hold_all_up(own: Stores) -> None:
    with http_receiver() as http:
        limited = "rate: {messages: 1, seconds: 3600, burst: 3}"
        stores = configured(own, 1, f"channels: [{hook(http, more=limited)}]")
        put(stores, 10, target="member:m{n}@acme.example")
        send(stores)
        assert len(http.posted) == 3
        send(stores)  # the bucket outlives the sender
        assert len(http.posted) == 3


def test_a_message_for_a_channel_that_is_gone_is_dead(own: Stores) -> None:
    stores = configured(own, 1, "")
    put(stores)
    send(stores)
    (row,) = outbox(stores, 1)
    assert (row["status"], row["reason"]) == ("dead", "its channel is not configured")


def test_two_senders_at_once_send_each_message_once(own: Stores) -> None:
    from threading import Thread

    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores, 80)
        both = [Thread(target=send, args=(stores,)) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert Counter(p.headers["Idempotency-Key"] for p in http.posted).most_common(1)[0][1] == 1
        assert len(http.posted) == 80


SENDER = (
    "import sys; from pathlib import Path; from tasks_pipeline.home import Home; from tasks_pipeline.stores import open_stores; "
    "from tasks_pipeline.notifications.sending import send_alert_notification\n"
    "with open_stores(Home(Path(sys.argv[1]))) as stores:\n"
    "    send_alert_notification(stores, run_id=sys.argv[2], linger_seconds=60)\n"
)


def test_senders_that_are_killed_lose_nothing(home: Home) -> None:
    """The far side kills the sender while it waits for an answer; at most one message per kill arrives twice, and is marked."""
    kills = 5
    with http_receiver() as http:
        process: subprocess.Popen[bytes] | None = None

        def answer(_posted: Posted, before: int) -> tuple[int, dict[str, str], bytes] | None:
            if process is not None and before % 7 == 6:
                process.kill()
                process.wait()
                return None
            return 200, {}, b""

        http.answer = answer
        text = (
            f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\nchannels: [{hook(http)}]\n"
        )
        home.config_path.write_text(text)
        with open_stores(home) as stores:
            put(stores, 40)
            for number in range(kills):
                process = subprocess.Popen([sys.executable, "-c", SENDER, str(home.root), f"run-{number}"])
                assert process.wait(120) != 0
                assert release_claims(stores.state, f"run-{number}", datetime.now(UTC)) == 1
            process = None
            soon(stores)
            send(stores)
            assert statuses(stores) == {"sent": 40}
            arrived = Counter(p.headers["Idempotency-Key"] for p in http.posted)
            assert len(arrived) == 40
            assert sum(arrived.values()) - 40 == kills
            repeated = [
                p
                for p in http.posted
                if arrived[p.headers["Idempotency-Key"]] > 1 and json.loads(p.body)["notes"]
            ]
            assert len(repeated) == kills


def test_what_a_dead_sender_claimed_is_taken_up_after_its_lease(own: Stores) -> None:
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores)
        past = datetime.now(UTC) - timedelta(seconds=1)
        with stores.state.write() as connection:
            connection.execute(
                update(notifications).values(
                    status="sending", claimed_by="dead", lease_until=past, attempts=1
                )
            )
        assert send(stores).sent == 1
        (row,) = outbox(stores, 1)
        assert row["ambiguous"] == 1


def test_one_way_in_for_all_types(own: Stores) -> None:
    task = NotificationTask(configured(own, 1, ""))
    assert task.run("send_alert", linger_seconds=0).sent == 0
    assert task.run("send_digest").put == []
    with pytest.raises(ValueError, match="allowed: send_alert, send_digest"):
        task.run("send_pigeon")


def test_waits_grow_and_are_left_to_chance_by_half() -> None:
    for attempts, whole in ((1, 5), (2, 10), (4, 40), (30, 3600)):
        waits = {round(retry_seconds(attempts, 5), 3) for _ in range(50)}
        assert all(whole / 2 <= wait <= whole for wait in waits)
        assert len(waits) > 10


def test_the_log_of_a_channel(own: Stores) -> None:
    put(own, 3)
    since = datetime.now(UTC) - timedelta(hours=1)
    found: list[dict[str, Any]] = notification_log(own.state, since=since, channel="hook", limit=2)
    assert [row["key"] for row in found] == ["hook:2", "hook:1"]
    with own.state.read() as connection:
        assert len(list(connection.execute(select(notifications.c.id)))) == 3


# ── far sides that drip


def test_a_channel_that_drips_holds_up_neither_others_nor_the_end_of_the_run(own: Stores) -> None:
    with far_side(HTTP["drips_head"]) as slow, http_receiver() as http:
        drip = f"{{name: drip, type: slack, url: 'http://{slow.address}/x', timeout_seconds: 1, {FAST}}}"
        stores = configured(
            own, 1, f"notifications: {{breaker_failures: 2}}\nchannels: [{hook(http)}, {drip}]"
        )
        put(stores, 5, "drip")
        put(stores, 30)
        report = send(stores, max_run_seconds=30)
        assert report.by_channel["hook"]["sent"] == 30
        assert report.by_channel["drip"] == {"unknown": 2}  # then the breaker opened
        assert not slow.exhausted.is_set()
        (figures,) = [f for f in channel_figures(stores.state, datetime.now(UTC)) if f["channel"] == "drip"]
        assert figures["open_until"] > datetime.now(UTC)
        assert "no answer" in figures["last_error"]


def test_a_run_that_is_old_waits_for_a_dripping_channel_no_longer_than_its_time_limit(own: Stores) -> None:
    with far_side(HTTP["drips_body"]) as slow:
        drip = f"{{name: drip, type: slack, url: 'http://{slow.address}/x', timeout_seconds: 1, {FAST}}}"
        stores = configured(own, 1, f"channels: [{drip}]")
        put(stores, 50, "drip")
        report = send(stores, linger_seconds=60, max_run_seconds=0.5)
        assert report.ended_because == "it ran for 0.5 s"
        assert report.outcomes == {"unknown": 1}
        assert not slow.exhausted.is_set()


def test_a_message_is_not_taken_up_by_another_sender_while_its_channel_may_still_send_it(
    own: Stores,
) -> None:
    with http_receiver() as http:
        slow = hook(http).replace("timeout_seconds: 2", "timeout_seconds: 120")
        stores = configured(own, 1, f"notifications: {{lease_seconds: 10}}\nchannels: [{slow}]")
        leases: list[float] = []

        def answer(_posted: Posted, _before: int) -> tuple[int, dict[str, str], bytes]:
            (row,) = outbox(stores, 1)
            leases.append((row["lease_until"] - datetime.now(UTC)).total_seconds())
            return 200, {}, b""

        http.answer = answer
        put(stores)
        assert send(stores).sent == 1
        assert leases[0] > 120


# ── our own stores


LOCKED = OperationalError("SELECT secret", {"password": "hunter2"}, Exception("database is locked"))


def failing(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, times: int = 1) -> None:
    """A step of the sender fails so many times, and works then."""
    real = getattr(sending, name)
    left = [error] * times

    def step(*args: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return real(*args, **options)

    monkeypatch.setattr(sending, name, step)
    monkeypatch.setattr(sending, "ERROR_PAUSE_SECONDS", 0.01)


@pytest.mark.parametrize(
    "error",
    [LOCKED, PoolTimeout("no connection"), duckdb.Error("no file"), duckdb.CatalogException("no table"), OSError(28, "disk full"), TimeoutError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_our_stores_could_not_do_is_done_again(
    error: Exception, own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "message_of", error)
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores)
        assert send(stores).outcomes == {"retry": 1}
        (row,) = outbox(stores, 1)
        assert row["status"] == "waiting"
        assert row["not_before"] > datetime.now(UTC)
        assert "hunter2" not in row["reason"]
        assert channel_figures(stores.state, datetime.now(UTC))[0]["failures"] in (None, 0)
        soon(stores)
        assert send(stores).sent == 1
        assert len(http.posted) == 1


@pytest.mark.parametrize(
    "error",
    [TypeError("no"), KeyError("no"), ValueError("no"), NoResultFound("no such alert")],
    ids=lambda error: type(error).__name__,
)
def test_what_is_the_message_s_own_fault_is_a_dead_letter(
    error: Exception, own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "message_of", error)
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores, 2)
        assert send(stores).outcomes == {"dead": 1, "sent": 1}


def test_a_long_hiccup_kills_no_message_and_leaves_attempts_to_the_channel(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "message_of", LOCKED, times=20)
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores)
        for _ in range(20):
            assert send(stores).dead == 0
            soon(stores)
        http.answer = lambda _posted, before: (503, {}, b"") if before < 3 else (200, {}, b"")
        for _ in range(3):
            assert send(stores).outcomes == {"retry": 1}
            soon(stores)
        assert send(stores).sent == 1


def test_a_message_that_our_stores_keep_from_being_made_for_days_is_dead(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "message_of", LOCKED, times=20)
    stores = configured(
        own, 1, f"channels: [{{name: hook, type: webhook, url: 'http://127.0.0.1:9/', {FAST}}}]"
    )
    put(stores)
    with stores.state.write() as connection:
        connection.execute(update(notifications).values(created_at=datetime.now(UTC) - timedelta(days=2)))
    outcomes: Counter[str] = Counter()
    for _ in range(6):
        outcomes += send(stores).outcomes
        soon(stores)
    assert outcomes == {"retry": 4, "dead": 1}
    assert "database is locked" in outbox(stores, 1)[0]["reason"]


@pytest.mark.parametrize("step", ["finish_delivery", "note_success"])
def test_a_hiccup_after_a_message_was_sent_has_it_sent_no_second_time(
    step: str, own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, step, LOCKED, times=3)
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores, 2)
        assert send(stores).outcomes == {"sent": 2}
        assert len(http.posted) == 2
        assert statuses(stores) == {"sent": 2}


@pytest.mark.parametrize(
    "step", ["bury_unconfigured", "due_channels", "open_until", "claim_next", "take_token"]
)
def test_a_hiccup_of_a_step_kills_no_sender(step: str, own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, step, LOCKED, times=3)
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores, 2)
        assert send(stores).outcomes == {"sent": 2}
        assert len(http.posted) == 2


def test_stores_that_stay_away_end_the_sender(own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "due_channels", LOCKED, times=10_000)
    monkeypatch.setattr(sending, "PATIENCE_SECONDS", 0.05)
    with pytest.raises(OperationalError):
        send(configured(own, 1, ""))


def test_a_channel_that_cannot_be_opened_keeps_its_messages(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, "open_channel", ValueError("no certificates"))
    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores)
        assert send(stores).outcomes == {"retry": 1}
        soon(stores)
        assert send(stores).sent == 1


def test_whoever_is_told_may_fail_without_harm_to_the_lane(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ERROR_PAUSE_SECONDS", 0.01)

    def told(_row: object, _outcome: str) -> None:
        raise RuntimeError("the terminal is gone")

    with http_receiver() as http:
        stores = configured(own, 1, f"channels: [{hook(http)}]")
        put(stores, 3)
        assert send(stores, on_sent=told).sent == 3
        assert len(http.posted) == 3
