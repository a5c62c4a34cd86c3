"""Uptime: real servers are asked, trouble becomes an incident, and nobody is asked who must not be."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from tasks_pipeline.config.uptime import UptimeMonitor
from tasks_pipeline.monitors.loop import watch_monitors
from tasks_pipeline.monitors.registry import sync_monitors
from tasks_pipeline.monitors.uptime import check_uptime, examine
from tasks_pipeline.outbound import OutboundError, Refused, Request, ask, judge
from tasks_pipeline.storage.state.tables import incidents, monitor_check_ins, monitor_environments, monitors
from tests.support.alerting import alert_rows, alerting
from tests.support.day import Day
from tests.support.dripping import HTTP, far_side
from tests.support.events import item
from tests.support.outside import HttpReceiver, http_receiver
from tests.support.waiting import wait_for

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@pytest.fixture
def day(own_day: Day) -> Day:
    """In stores of its own: a check asks every address that is due."""
    return own_day


def monitor(url: str, **fields: object) -> UptimeMonitor:
    return UptimeMonitor.model_validate(
        {"slug": "front", "url": url, "method": "POST", "allow_private": True, **fields}
    )


@pytest.fixture
def server() -> Iterator[HttpReceiver]:
    with http_receiver() as http:
        yield http


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "240.0.0.1"],
)  # fmt: skip
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    with pytest.raises(Refused):
        judge(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses_are_not(address: str) -> None:
    assert judge(address) == ip_address(address)


@given(st.ip_addresses(v=4))
def test_an_address_wrapped_in_another_is_judged_like_itself(address: object) -> None:
    def refused(text: str) -> bool:
        try:
            judge(text)
        except Refused:
            return True
        return False

    plain = refused(str(address))
    assert refused(f"::ffff:{address}") or not plain
    assert refused(f"64:ff9b::{address}") or not plain


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "017700000001", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_no_spelling_of_loopback_is_asked(host: str, server: HttpReceiver) -> None:
    port = server.url.rpartition(":")[2]
    with pytest.raises(OutboundError):
        ask(Request(f"http://{host}:{port}/", method="POST", seconds=3))
    assert server.posted == []


def test_a_redirect_to_where_nobody_may_ask_is_refused(server: HttpReceiver) -> None:
    server.answer = lambda _posted, _before: (
        307,
        {"Location": "http://169.254.169.254/latest/meta-data"},
        b"",
    )
    with pytest.raises(Refused, match=r"169\.254\.169\.254"):
        ask(Request(f"{server.url}/", method="POST", redirects=3), LOOPBACK)


def test_redirects_are_followed_but_not_for_ever(server: HttpReceiver) -> None:
    server.answer = lambda posted, before: (
        (307, {"Location": "/next"}, b"") if before < 2 else (200, {}, posted.path.encode())
    )
    assert ask(Request(f"{server.url}/", method="POST", redirects=3), LOOPBACK).body == b"/next"
    server.posted.clear()
    server.answer = lambda _posted, _before: (307, {"Location": "/next"}, b"")
    with pytest.raises(OutboundError, match="more than 2 redirects"):
        ask(Request(f"{server.url}/", method="POST", redirects=2), LOOPBACK)


def test_a_name_is_resolved_once_and_the_judged_address_is_asked(
    server: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers with a public address first and another one later (DNS rebinding) reaches nobody else."""
    import socket

    port = int(server.url.rpartition(":")[2])
    asked: list[str] = []
    real = socket.getaddrinfo

    def rebinding(host: object, *args: object, **options: object) -> object:
        if host == "rebind.example":
            asked.append(str(host))
            address = "127.0.0.1" if len(asked) == 1 else "10.0.0.1"
            return real(address, port, type=socket.SOCK_STREAM)
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert ask(Request(f"http://rebind.example:{port}/", method="POST"), LOOPBACK).status == 200
    assert asked == ["rebind.example"]
    assert server.posted[0].headers["Host"] == f"rebind.example:{port}"


def test_answers_are_judged_by_status_body_and_headers(server: HttpReceiver) -> None:
    now = datetime.now(UTC)
    server.answer = lambda _posted, _before: (200, {"X-Up": "yes"}, b"all good")
    assert examine(monitor(server.url), now).reason == ""
    assert (
        examine(monitor(server.url, expect={"body_contains": "good", "headers": {"x-up": "yes"}}), now).reason
        == ""
    )
    for expect, said in (
        ({"status": 204}, "status 200; expected is 204"),
        ({"body_contains": "bad"}, "does not hold 'bad'"),
        ({"body_lacks": "good"}, "holds 'good'"),
        ({"headers": {"x-up": "no"}}, "header x-up"),
    ):
        verdict = examine(monitor(server.url, expect=expect), now)
        assert (verdict.reason, said in verdict.detail) == ("down", True)


def test_a_large_answer_is_read_in_part(server: HttpReceiver) -> None:
    server.answer = lambda _posted, _before: (200, {}, b"x" * 5_000_000)
    assert len(ask(Request(server.url, method="POST"), LOOPBACK).body) == 1024 * 1024


def test_nobody_there_is_down() -> None:
    verdict = examine(monitor("http://127.0.0.1:9/", timeout_seconds=2), datetime.now(UTC))
    assert verdict.reason == "down"
    assert "connect" in verdict.detail


@pytest.fixture
def https(certificate: tuple[Path, Path]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_certificate_is_trusted_or_named_and_its_end_is_known(
    https: str, certificate: tuple[Path, Path]
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate[1]))
    answer = ask(Request(https), LOOPBACK, trusting)
    assert answer.certificate_expires is not None
    assert timedelta(days=4) < answer.certificate_expires - datetime.now(UTC) < timedelta(days=6)
    with pytest.raises(OutboundError, match=r"(?i)self.signed"):
        ask(Request(https), LOOPBACK)


def test_a_certificate_that_ends_soon_is_trouble(
    https: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    verdict = examine(monitor(https, method="GET", certificate_days=14), datetime.now(UTC))
    assert verdict.reason == "expiring"
    assert examine(monitor(https, method="GET", certificate_days=2), datetime.now(UTC)).reason == ""


def test_failures_in_a_row_open_an_incident_and_an_answer_closes_it(day: Day, server: HttpReceiver) -> None:
    told = alerting(
        day,
        "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n",
        f"uptime: [{{slug: front, url: '{server.url}/', method: POST, allow_private: [127.0.0.0/8], interval_seconds: 10, failure_threshold: 2}}]",
    )
    now = datetime.now(UTC)
    sync_monitors(told.stores.state, told.stores.config, now)
    state: dict[str, int] = {"status": 500}
    server.answer = lambda _posted, _before: (state["status"], {}, b"")

    def open_ones(at: datetime) -> int:
        check_uptime(told.stores, at)
        with told.stores.state.read() as connection:
            query = select(incidents.c.id).where(
                incidents.c.project_id == day.project, incidents.c.closed_at.is_(None)
            )
            return len(list(connection.execute(query)))

    assert open_ones(now) == 0
    assert check_uptime(told.stores, now).asked == 0  # not due again yet
    assert open_ones(now + timedelta(seconds=11)) == 1
    state["status"] = 200
    assert open_ones(now + timedelta(seconds=22)) == 0


def count(day: Day, query: object) -> int:
    with day.stores.state.read() as connection:
        return int(connection.execute(query).scalar_one())  # type: ignore[call-overload]


def test_an_address_that_drips_holds_up_neither_cron_monitors_nor_other_addresses(
    day: Day, server: HttpReceiver
) -> None:
    """Nor the end of the run, which leaves it to the next one."""
    with far_side(HTTP["drips_body"]) as slow:
        told = alerting(
            day,
            "",
            f"uptime: [{{slug: slow, url: 'http://{slow.address}/', allow_private: true, timeout_seconds: 60}}, "
            f"{{slug: fast, url: '{server.url}/', method: POST, allow_private: true}}]",
        )
        reports: list[object] = []
        run = threading.Thread(
            target=lambda: reports.append(watch_monitors(told.stores, linger_seconds=20)), daemon=True
        )
        run.start()
        wait_for("the slow address is asked", lambda: slow.heard)
        hourly = {"schedule": {"type": "crontab", "value": "0 * * * *"}}
        check_in = {"monitor_slug": "nightly", "status": "ok", "monitor_config": hourly}
        told.spool(told.receipt(item("check_in", check_in), seconds=60))
        told.drain()
        missed = select(func.count()).where(
            incidents.c.reason == "missed", incidents.c.project_id == told.project
        )
        wait_for("the missed check-in is found", lambda: count(told, missed))
        answered = (
            select(func.count()).select_from(monitor_check_ins).where(monitor_check_ins.c.status == "ok")
        )
        wait_for("the fast address is recorded", lambda: count(told, answered))
        assert not slow.hung_up.is_set()
        told.stores.home.config_path.write_text("projects: []")
        run.join(120)
        assert len(reports) == 1
        assert not slow.hung_up.is_set()
        due = (
            select(func.count())
            .select_from(monitor_environments.join(monitors))
            .where(monitors.c.slug == "slow", monitor_environments.c.next_at <= datetime.now(UTC))
        )
        assert count(told, due) == 1


def test_more_addresses_than_may_be_asked_at_once_are_all_asked(
    day: Day, server: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks_pipeline.monitors.uptime.AT_ONCE", 2)
    entries = ", ".join(
        f"{{slug: a{n}, url: '{server.url}/{n}', method: POST, allow_private: true}}" for n in range(7)
    )
    told = alerting(day, "", f"uptime: [{entries}]")
    assert watch_monitors(told.stores, linger_seconds=0).uptime.asked == 7
    assert sorted(posted.path for posted in server.posted) == [f"/{n}" for n in range(7)]


def test_an_answer_that_cannot_be_judged_is_recorded_as_bad(
    day: Day, server: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address that trips our own code keeps no other from being recorded."""
    entries = ", ".join(
        f"{{slug: {slug}, url: '{server.url}/{slug}', method: POST, allow_private: true}}"
        for slug in ("bad", "good")
    )
    told = alerting(day, "", f"uptime: [{entries}]")
    now = datetime.now(UTC)
    sync_monitors(told.stores.state, told.stores.config, now)

    def trips(monitor: UptimeMonitor, at: datetime) -> object:
        if monitor.slug == "bad":
            raise LookupError("a fault of ours")
        return examine(monitor, at)

    monkeypatch.setattr("tasks_pipeline.monitors.uptime.examine", trips)
    report = check_uptime(told.stores, now)
    assert (report.asked, report.bad) == (2, 1)


def test_an_address_that_is_switched_off_or_renamed_is_not_asked_and_has_no_incident(
    day: Day, server: HttpReceiver
) -> None:
    def configured(more: str) -> Day:
        front = (
            f"slug: front, url: '{server.url}/', method: POST, allow_private: [127.0.0.0/8], interval_seconds: 10, "
            f"failure_threshold: 1{more}"
        )
        return alerting(
            day,
            "channels: [{name: hook, type: webhook, url: 'http://127.0.0.1:9/'}]\n",
            f"uptime: [{{{front}}}]",
        )

    def opened() -> int:
        with day.stores.state.read() as connection:
            return len(
                connection.execute(select(incidents.c.id).where(incidents.c.closed_at.is_(None))).all()
            )

    server.answer = lambda _posted, _before: (500, {}, b"")
    on, off, renamed = configured(""), configured(", enabled: false"), configured(", environment: eu")
    sync_monitors(day.stores.state, on.stores.config, day.at(0))
    check_uptime(on.stores, day.at(1))
    assert opened() == 1
    sync_monitors(day.stores.state, renamed.stores.config, day.at(10))
    assert opened() == 0
    assert check_uptime(renamed.stores, day.at(20)).asked == 1  # and not the one of before as well
    assert opened() == 1
    sync_monitors(day.stores.state, off.stores.config, day.at(30))
    assert (opened(), check_uptime(off.stores, day.at(40)).asked) == (0, 0)
    sync_monitors(day.stores.state, on.stores.config, day.at(50))
    assert check_uptime(on.stores, day.at(60)).asked == 1
    sync_monitors(day.stores.state, alerting(day, "").stores.config, day.at(70))
    assert opened() == 0
    statuses = [row["status"] for row in alert_rows(day.stores, day.project)]
    assert set(statuses) == {"firing"}


def test_an_answer_that_no_database_takes_costs_no_other_address(day: Day, server: HttpReceiver) -> None:
    told = alerting(
        day,
        "",
        "uptime: ["
        + ", ".join(
            f"{{slug: {slug}, url: '{server.url}/{slug}', method: POST, allow_private: [127.0.0.0/8], failure_threshold: 1, "
            f"expect: {{body_contains: {text}}}}}"
            for slug, text in (("a", "never"), ("b", '"nu\\0l"'), ("c", "never"))
        )
        + "]",
    )
    sync_monitors(day.stores.state, told.stores.config, day.at(0))
    report = check_uptime(told.stores, day.at(1))
    assert (report.asked, report.bad, report.opened) == (3, 3, 3)
