"""Nobody waits on a stranger: whatever leaves the machine is over at its deadline, however the far side drips, floods or is silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tasks_pipeline.config import Config, parse_config
from tasks_pipeline.config.uptime import UptimeMonitor
from tasks_pipeline.monitors.uptime import examine
from tasks_pipeline.notifications.channels import Sender, open_channel
from tasks_pipeline.notifications.errors import SendFailure, TemporaryFailure, UnknownOutcome
from tasks_pipeline.notifications.message import Message
from tasks_pipeline.outbound import EVERYWHERE, Client, NoAnswer, OutboundError, Request, Unreachable, ask
from tasks_pipeline.outbound.names import LOOKUPS
from tasks_pipeline.stores import Stores
from tasks_pipeline.watch import heartbeat
from tests.support.alerting import configured
from tests.support.dripping import (
    ENDLESS,
    HTTP,
    MAIL_STEPS,
    REDIRECTS,
    FarSide,
    drips_head,
    drips_tls,
    far_side,
    mail_that_drips,
    never_accepting,
    over_tls,
    silent,
)

SOON = 0.6
MESSAGE = Message(
    key="k", thread="t", type="alert", status="firing", severity="critical", subject="[SHOP-7] New", title="no", project="shop"
)  # fmt: skip

CHATS = {
    "slack": "url: 'URL/services/T/B/x'",
    "teams": "url: 'URL/workflow'",
    "discord": "url: 'URL/api/webhooks/1/x'",
    "pagerduty": "routing_key: R1, url: 'URL/v2/enqueue'",
    "opsgenie": "api_key: K1, url: 'URL'",
    "telegram": "bot_token: '1:x', chat_id: '7', url: 'URL'",
    "ntfy": "topic: errors, url: 'URL'",
    "webhook": "url: 'URL/in', secret: s3cret",
}


@contextmanager
def over_before(server: FarSide) -> Iterator[None]:
    """What is done in the block ends before the far side has said everything, and hangs up."""
    yield
    assert not server.exhausted.is_set()
    assert server.hung_up.wait(30), "the connection was left open"


def monitor(url: str, **fields: object) -> UptimeMonitor:
    return UptimeMonitor.model_validate(
        {"slug": "front", "url": url, "allow_private": True, "timeout_seconds": SOON, **fields}
    )


def config(channel: str) -> Config:
    return parse_config(
        f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\nchannels: [{channel}]"
    )


def opened(kind: str, url: str, settings: str = "") -> Sender:
    whole = config(
        f"{{name: c, type: {kind}, timeout_seconds: {SOON}, {(settings or CHATS[kind]).replace('URL', url)}}}"
    )
    return open_channel(whole.channels[0], whole)


def failure_of(sender: Sender, address: str = "") -> SendFailure:
    try:
        with pytest.raises(SendFailure) as failed:
            sender.send(MESSAGE, address=address, idempotency_key="k")
    finally:
        sender.close()
    return failed.value


# ── HTTP


@pytest.mark.parametrize("how", [*HTTP, *REDIRECTS])
def test_an_uptime_check_is_over_in_time(how: str) -> None:
    with far_side((HTTP | REDIRECTS)[how]) as server, over_before(server):
        verdict = examine(monitor(f"http://{server.address}/", follow_redirects=10), datetime.now(UTC))
        assert verdict.reason == "down"


@pytest.mark.parametrize("how", HTTP)
def test_a_webhook_is_over_in_time_and_its_end_is_not_known(how: str) -> None:
    with far_side(HTTP[how]) as server, over_before(server):
        assert isinstance(failure_of(opened("webhook", f"http://{server.address}")), UnknownOutcome)


@pytest.mark.parametrize("kind", CHATS)
def test_every_chat_is_over_in_time(kind: str) -> None:
    with far_side(HTTP["drips_head"]) as server, over_before(server):
        assert isinstance(failure_of(opened(kind, f"http://{server.address}")), UnknownOutcome)


@pytest.mark.parametrize("how", ["silent", "drips_head", "drips_body", "floods_informational"])
def test_apprise_is_over_in_time(how: str) -> None:
    with far_side(HTTP[how]) as server, over_before(server):
        failure = failure_of(opened("apprise", "", f"url: 'json://{server.address}/in'"))
        assert isinstance(failure, UnknownOutcome | TemporaryFailure)


def test_apprise_works_again_after_a_far_side_that_dripped() -> None:
    def first_drips(server: FarSide, connection: socket.socket) -> None:
        server.request(connection)
        if len(server.heard) == 1:
            drips_head(server, connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    whole_time = f"url: 'json://URL/in', timeout_seconds: {SOON * 10}"
    with far_side(first_drips) as server:
        whole = config(f"{{name: c, type: apprise, {whole_time.replace('URL', server.address)}}}")
        sender = open_channel(whole.channels[0], whole)
        with pytest.raises(UnknownOutcome, match="no end within"):
            sender.send(MESSAGE, address="", idempotency_key="k")
        assert "handed it over" in sender.send(MESSAGE, address="", idempotency_key="k").detail
        sender.close()


@pytest.mark.parametrize("how", ["silent", "drips_head", "drips_chunks", "floods_headers"])
def test_a_heartbeat_is_over_in_time(how: str, own: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT_SECONDS", SOON)
    with far_side(HTTP[how]) as server, over_before(server):
        stores = configured(own, 1, f"watch: {{heartbeat_url: 'http://{server.address}/alive'}}")
        assert heartbeat.ping_heartbeat(stores, datetime.now(UTC), well=True).startswith("failed: ")


@pytest.mark.parametrize("how", ENDLESS)
def test_of_a_body_without_end_so_much_is_read_and_said(how: str) -> None:
    with far_side(ENDLESS[how]) as server:
        answer = ask(Request(f"http://{server.address}/", seconds=30, max_body=10_000), EVERYWHERE)
        assert (answer.status, answer.truncated, len(answer.body)) == (200, True, 10_000)
        assert answer.body.startswith(b"\x1f\x8b" if how == "gzip_bomb" else b"a")  # as it was sent


def test_what_an_uptime_check_did_not_read_is_said() -> None:
    with far_side(ENDLESS["floods_body"]) as server:
        asked = monitor(f"http://{server.address}/", timeout_seconds=30, expect={"body_contains": "the end"})
        verdict = examine(asked, datetime.now(UTC))
        assert "(1,048,576 bytes) does not hold 'the end'" in verdict.detail
        assert verdict.data["truncated"] is True


@pytest.mark.parametrize("how", ["drips_head", "drips_chunks", "floods_informational"])
def test_the_same_behind_tls(
    how: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    with far_side(over_tls(HTTP[how], certificate), host="localhost") as server, over_before(server):
        verdict = examine(monitor(f"https://{server.address}/"), datetime.now(UTC))
        assert verdict.reason == "down"


def test_a_handshake_that_drips_is_over_in_time() -> None:
    for kind, url in (("uptime", "https://URL/"), ("slack", "https://URL")):
        with far_side(drips_tls) as server, over_before(server):
            where = url.replace("URL", server.address)
            if kind == "uptime":
                assert "TLS" in examine(monitor(where), datetime.now(UTC)).detail
            else:
                assert isinstance(failure_of(opened(kind, where)), TemporaryFailure)


def test_a_server_that_takes_no_connection_is_over_in_time(
    own: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT_SECONDS", SOON)
    with never_accepting() as server:
        assert "connect" in examine(monitor(f"http://{server.address}/"), datetime.now(UTC)).detail
        assert isinstance(failure_of(opened("slack", f"http://{server.address}")), TemporaryFailure)
        assert isinstance(failure_of(mail(server)), TemporaryFailure)
        stores = configured(own, 1, f"watch: {{heartbeat_url: 'http://{server.address}/alive'}}")
        assert "connect" in heartbeat.ping_heartbeat(stores, datetime.now(UTC), well=True)


def test_a_server_that_does_not_take_the_request_is_over_in_time() -> None:
    def deaf(server: FarSide, connection: socket.socket) -> None:
        server.over.wait(60)

    with far_side(deaf) as server, pytest.raises(NoAnswer, match="timeout"):
        ask(Request(f"http://{server.address}/", "POST", body=b"a" * 50_000_000, seconds=SOON), EVERYWHERE)


def test_a_server_that_takes_the_request_byte_by_byte_is_over_in_time() -> None:
    def sips(server: FarSide, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        while connection.recv(4096):
            server.pause()
        server.exhausted.set()

    with far_side(sips) as server, pytest.raises(NoAnswer, match="timeout"):
        ask(Request(f"http://{server.address}/", "POST", body=b"a" * 50_000_000, seconds=SOON), EVERYWHERE)


def test_each_request_on_a_kept_connection_has_time_of_its_own() -> None:
    def late(server: FarSide, connection: socket.socket) -> None:
        while server.request(connection):
            server.pause(0.8)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with far_side(late) as server, Client(EVERYWHERE, keep=True) as client:
        for _ in range(3):
            assert client.ask(Request(f"http://{server.address}/", seconds=2)).status == 200
        assert len(server.heard) == 3


# ── mail


def mail(server: FarSide, security: str = "none", more: str = "") -> Sender:
    where = f"host: {server.host}, port: {server.port}, security: {security}"
    return opened("mail", "", f"{where}, sender: errors@acme.example, to: [anna@acme.example]{more}")


@pytest.mark.parametrize("step", [step for step in MAIL_STEPS if step != "NOOP"])
def test_a_mail_is_over_in_time_wherever_the_server_drips(
    step: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    with far_side(mail_that_drips(step, certificate), host="localhost") as server, over_before(server):
        failure = failure_of(mail(server, "starttls", ", username: errors, password: s3cret"))
        assert isinstance(failure, UnknownOutcome if step in ("DATA", "message") else TemporaryFailure)


@pytest.mark.parametrize("step", ["greeting", "MAIL", "message"])
@pytest.mark.parametrize(
    "manner", [silent, lambda server, connection: server.flood(connection, b"250-and more\r\n" * 500)]
)
def test_a_mail_server_that_is_silent_or_says_too_much(
    step: str, manner: object, certificate: tuple[Path, Path]
) -> None:
    with far_side(mail_that_drips(step, certificate, manner)) as server, over_before(server):  # type: ignore[arg-type]
        failure_of(mail(server))


def test_of_what_a_mail_server_says_so_much_is_read(certificate: tuple[Path, Path]) -> None:
    def talks(server: FarSide, connection: socket.socket) -> None:
        server.flood(connection, b"250-and more\r\n" * 500)

    with far_side(mail_that_drips("MAIL", certificate, talks)) as server, over_before(server):
        where = f"host: 127.0.0.1, port: {server.port}, security: none, timeout_seconds: 60"
        whole = config(
            f"{{name: c, type: mail, {where}, sender: errors@acme.example, to: [anna@acme.example]}}"
        )
        assert "more than 65,536 bytes" in failure_of(open_channel(whole.channels[0], whole)).detail


def test_a_mail_is_over_in_time_when_tls_comes_first_and_drips() -> None:
    with far_side(drips_tls) as server, over_before(server):
        assert isinstance(failure_of(mail(server, "tls")), TemporaryFailure)


def test_a_kept_connection_that_drips_leaves_time_for_another(certificate: tuple[Path, Path]) -> None:
    with far_side(mail_that_drips("NOOP", certificate)) as server:
        whole = config(
            f"{{name: c, type: mail, timeout_seconds: 8, host: 127.0.0.1, port: {server.port}, security: none, "
            "sender: errors@acme.example, to: [anna@acme.example]}"
        )
        sender = open_channel(whole.channels[0], whole)
        for _ in range(2):
            assert "accepted" in sender.send(MESSAGE, address="", idempotency_key="k").detail
        sender.close()
        assert not server.exhausted.is_set()


# ── names


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A resolver that says nothing about names of `.silent` until the event is set."""
    answer, real = threading.Event(), socket.getaddrinfo

    def resolve(host: object, *args: object, **options: object) -> object:
        if str(host).endswith(".silent"):
            answer.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield answer
    answer.set()
    for thread in threading.enumerate():
        if thread.name.startswith("lookup-"):
            thread.join(30)


def test_a_resolver_that_is_silent_holds_up_nobody(silent_resolver: threading.Event) -> None:
    assert "DNS" in examine(monitor("http://a.silent/"), datetime.now(UTC)).detail
    assert isinstance(failure_of(opened("webhook", "http://b.silent")), TemporaryFailure)
    assert isinstance(failure_of(mail(FarSide(25, "c.silent"))), TemporaryFailure)
    assert not silent_resolver.is_set()


def test_a_mail_needs_no_resolver_that_knows_this_machine(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getfqdn", lambda *_: str(answer.wait(60)))
    with far_side(mail_that_drips("nowhere", certificate)) as server:
        whole = config(
            f"{{name: c, type: mail, timeout_seconds: 5, host: 127.0.0.1, port: {server.port}, security: none, "
            "sender: errors@acme.example, to: [anna@acme.example]}"
        )
        sender = open_channel(whole.channels[0], whole)
        assert "accepted" in sender.send(MESSAGE, address="", idempotency_key="k").detail
        sender.close()
        assert server.heard[0] == b"ehlo [127.0.0.1]\r\n"
    answer.set()


def test_a_silent_resolver_costs_a_bounded_number_of_threads(silent_resolver: threading.Event) -> None:
    def lookups() -> int:
        return sum(thread.name.startswith("lookup-") for thread in threading.enumerate())

    for number in range(LOOKUPS + 20):
        with pytest.raises(Unreachable):
            ask(Request(f"http://h{number}.silent/", seconds=0.02), EVERYWHERE)
        with pytest.raises(Unreachable):
            ask(Request("http://h0.silent/", seconds=0.02), EVERYWHERE)  # waits for the one that is under way
    assert 1 < lookups() <= LOOKUPS
    silent_resolver.set()
    with far_side(HTTP["floods_headers"], host="localhost") as server, pytest.raises(OutboundError) as failed:
        ask(Request(f"http://{server.address}/", seconds=30), EVERYWHERE)  # names are looked up again
    assert "DNS" not in str(failed.value)
