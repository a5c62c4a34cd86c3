"""The receiver under limits and in trouble: quotas, sizes, full disks, broken spools, hostile and slow clients."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks_pipeline import serving as server_module
from tasks_pipeline.home import Home
from tasks_pipeline.protocol.auth import Credentials
from tasks_pipeline.protocol.envelope import parse_envelope
from tasks_pipeline.receiver import app as app_module
from tasks_pipeline.receiver.accounts import Accounts
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.receiver.quotas import Quotas
from tasks_pipeline.receiver.request import Limits
from tests.support.config_files import DAMAGES, GOOD, damaged, repaired
from tests.support.receiver import KEY, MemorySpool, configure, serving, stored

ID = "00000000000000000000000000001234"
EVENT = b'{"event_id":"%s"}\n{"type":"event"}\n{"message":"a"}' % ID.encode()
AUTH = {"x-sentry-auth": f"Sentry sentry_key={KEY}"}
ENVELOPE = "/api/1/envelope/"
HEAD = f"POST {ENVELOPE}?sentry_key={KEY} HTTP/1.1\r\nHost: x\r\n".encode()


def items(*types: str) -> bytes:
    return b'{"event_id":"%s"}\n' % ID.encode() + b"".join(b'{"type":"%s"}\n{}\n' % t.encode() for t in types)


def outcomes(home: Home) -> Counter[tuple[int, str, str, str]]:
    """What was refused, from the receipts that the receiver wrote for itself."""
    found: Counter[tuple[int, str, str, str]] = Counter()
    for receipt in stored(home):
        if receipt.meta.get("internal"):
            assert receipt.items == 0
            (item,) = parse_envelope(receipt.body).items
            assert item.type == "refusals"
            for row in msgspec.json.decode(item.payload)["outcomes"]:
                found[receipt.project_id, row["category"], row["outcome"], row["reason"]] += row["quantity"]
    return found


# Quotas ---------------------------------------------------------------------------------------------------------------

QUOTAS = "quotas: [{category: error, limit: 2, window_seconds: 60}, {category: monitor, limit: 0}]"


class Clock:
    now = 1_000_000_060.5

    def __call__(self) -> float:
        return self.now


def test_a_used_up_quota_is_answered_429_until_its_window_ends(home: Home) -> None:
    configure(home, QUOTAS)
    clock = Clock()
    with (
        serving(create_app(home, quotas=Quotas(clock))) as url,
        httpx.Client(base_url=url, headers=AUTH) as client,
    ):
        assert [client.post(ENVELOPE, content=items("event")).status_code for _ in range(3)] == [
            200,
            200,
            429,
        ]
        refused = client.post(ENVELOPE, content=items("event", "attachment"))
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "20"  # a window of 60 s ends at 1_000_000_080
        assert refused.headers["x-sentry-rate-limits"] == "20:error:project:project_quota"
        assert refused.headers["access-control-allow-origin"] == "*"
        clock.now += 20
        assert client.post(ENVELOPE, content=items("event")).status_code == 200
    assert outcomes(home) == {
        (1, "error", "rate_limited", "project_quota"): 2,
        (1, "attachment", "rate_limited", "project_quota"): 1,
    }


def test_what_is_left_of_an_envelope_is_accepted(home: Home) -> None:
    configure(home, QUOTAS)
    with serving(create_app(home)) as url, httpx.Client(base_url=url, headers=AUTH) as client:
        for _ in range(2):
            client.post(ENVELOPE, content=items("event"))
        answer = client.post(ENVELOPE, content=items("event", "session", "client_report", "span"))
        assert answer.status_code == 200
        assert ":error:project:" in answer.headers["x-sentry-rate-limits"]
        assert client.post(ENVELOPE, content=items("client_report")).status_code == 200
    partial = stored(home)[2]
    assert (partial.items, partial.meta["refused"]) == (2, ["error"])


def test_quota_of_all_categories_spares_client_reports(home: Home) -> None:
    configure(home, "quotas: [{limit: 1}]")
    with serving(create_app(home)) as url, httpx.Client(base_url=url, headers=AUTH) as client:
        bodies = (items("event"), items("session"), items("client_report"), items("session", "client_report"))
        answers = [client.post(ENVELOPE, content=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 200]
    assert "::project:project_quota" in answers[1].headers["x-sentry-rate-limits"]


def test_check_ins_over_http_are_never_answered_429(home: Home) -> None:
    configure(home, QUOTAS)
    with serving(create_app(home)) as url:
        assert httpx.get(f"{url}/api/1/cron/nightly/{KEY}/?status=ok", timeout=120).status_code == 202
        assert (
            httpx.post(url + ENVELOPE, content=items("check_in"), headers=AUTH, timeout=120).status_code
            == 429
        )
    assert outcomes(home) == {(1, "monitor", "rate_limited", "project_quota"): 2}


# Sizes ----------------------------------------------------------------------------------------------------------------

SMALL = "max_body_bytes: 20000, max_envelope_bytes: 50000, max_event_bytes: 30000, max_attachment_bytes: 1000, max_items: 3"


@pytest.mark.parametrize(
    ("body", "encoding", "status", "outcome"),
    [
        (b"x" * 20_001, "", 413, ("default", "too_large")),
        (gzip.compress(b"x" * 50_001, mtime=0), "gzip", 413, ("default", "too_large")),
        (gzip.compress(b"\0" * 200_000_000, 1, mtime=0)[:20_000], "gzip", 413, ("default", "too_large")),
        (
            gzip.compress(b'{}\n{"type":"event"}\n' + b"x" * 30_001, mtime=0),
            "gzip",
            400,
            ("error", "item_too_large"),
        ),
        (b'{}\n{"type":"attachment"}\n' + b"x" * 1_001, "", 400, ("attachment", "item_too_large")),
        (b'{}\n{"type":"client_report"}\n' + b"x" * 4_097, "", 400, ("internal", "item_too_large")),
        (items("event", "event", "event", "event"), "", 400, ("default", "invalid_envelope")),
        (b"\x1f\x8bnope", "gzip", 400, ("default", "invalid_encoding")),
        (EVENT, "snappy", 400, ("default", "unknown_encoding")),
    ],
)
def test_too_large_or_broken(
    home: Home, body: bytes, encoding: str, status: int, outcome: tuple[str, str]
) -> None:
    configure(home, receiver=SMALL)
    with serving(create_app(home)) as url:
        answer = httpx.post(
            url + ENVELOPE, content=body, headers={**AUTH, "content-encoding": encoding}, timeout=120
        )
        assert answer.status_code == status, answer.text
        assert answer.headers["x-sentry-error"] == answer.json()["detail"]
    assert outcomes(home) == {(1, outcome[0], "refused", outcome[1]): 1}


def test_reading_a_chunked_body_stops_at_the_limit(home: Home) -> None:
    configure(home, receiver=SMALL)

    def endless() -> Iterator[bytes]:
        for _ in range(10_000):
            yield b"x" * 10_000

    with serving(create_app(home, limits=Limits(linger_seconds=0.2))) as url:
        try:
            status = httpx.post(url + ENVELOPE, content=endless(), headers=AUTH, timeout=120).status_code
        except httpx.WriteError:
            status = 413  # the connection was closed before the client had sent all, as it should
        assert status == 413
        assert httpx.post(url + ENVELOPE, content=EVENT, headers=AUTH, timeout=120).status_code == 200


def test_large_envelopes_are_opened_beside_the_others(home: Home) -> None:
    configure(home)
    attachment = os.urandom(3 * 2**20)
    body = b'{}\n{"type":"attachment","length":%d}\n' % len(attachment) + attachment
    with serving(create_app(home)) as url:
        assert httpx.post(url + ENVELOPE, content=body, headers=AUTH, timeout=120).status_code == 200
        packed = gzip.compress(body.replace(attachment, b"\0" * len(attachment)), mtime=0)
        headers = {**AUTH, "content-encoding": "gzip"}
        assert httpx.post(url + ENVELOPE, content=packed, headers=headers, timeout=120).status_code == 200
    assert [receipt.body for receipt in stored(home)] == [body, packed]


def test_all_bodies_together_are_bounded(home: Home) -> None:
    configure(home)
    with serving(create_app(home, limits=Limits(body_memory=1000))) as url:
        answer = httpx.post(url + ENVELOPE, content=EVENT + b" " * 1000, headers=AUTH, timeout=120)
        assert answer.status_code == 503
        assert "retry-after" not in answer.headers
        assert httpx.post(url + ENVELOPE, content=EVENT, headers=AUTH, timeout=120).status_code == 200


# Trouble with the disk ------------------------------------------------------------------------------------------------


def test_a_failed_append_is_answered_503_and_service_goes_on(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    configure(home)
    spool = MemorySpool()
    with serving(create_app(home, spool=spool)) as url, httpx.Client(base_url=url, headers=AUTH) as client:  # type: ignore[arg-type]
        spool.failure = OSError("no space left")
        failed = client.post(ENVELOPE, content=EVENT)
        assert (failed.status_code, "retry-after" in failed.headers) == (503, False)
        assert "no space left" in caplog.text
        ready = client.get("/health/ready")
        assert (ready.status_code, "OSError" in ready.json()["detail"]) == (503, True)
        spool.failure = None
        assert client.post(ENVELOPE, content=EVENT).status_code == 200
        assert client.get("/health/ready").status_code == 200
    assert [receipt.event_id for receipt in spool.receipts] == [ID]


def test_without_a_spool_it_lives_but_is_not_ready(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home)
    monkeypatch.setattr(app_module, "OPEN_SECONDS", 0.1)

    class Broken(MemorySpool):
        def writer(self) -> MemorySpool:
            raise OSError("read-only")

    with serving(create_app(home, spool=Broken())) as url:  # type: ignore[arg-type]
        assert httpx.get(url + "/health/live", timeout=120).status_code == 200
        assert httpx.get(url + "/health/ready", timeout=120).status_code == 503
        assert httpx.post(url + ENVELOPE, content=EVENT, headers=AUTH, timeout=120).status_code == 503


def test_a_full_disk_is_answered_503(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**20))
    with serving(create_app(home)) as url:
        assert httpx.post(url + ENVELOPE, content=EVENT, headers=AUTH, timeout=120).status_code == 503
        assert httpx.get(url + "/health/ready", timeout=120).json()["detail"] == "not enough free disk"
    assert stored(home) == []


def test_many_at_once_share_appends_and_all_are_stored(home: Home) -> None:
    configure(home)
    with serving(create_app(home)) as url, httpx.Client(base_url=url, headers=AUTH) as client:
        with ThreadPoolExecutor(8) as pool:
            bodies = [EVENT.replace(ID.encode(), b"%032x" % n) for n in range(200)]
            answers = list(pool.map(lambda body: client.post(ENVELOPE, content=body).json()["id"], bodies))
        assert sorted(receipt.event_id or "" for receipt in stored(home)) == sorted(answers)


# Configuration --------------------------------------------------------------------------------------------------------


def test_a_changed_configuration_is_taken_and_a_broken_one_is_not(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "HOUSEKEEPING_SECONDS", 0.02)
    configure(home)
    with (
        serving(create_app(home)) as url,
        httpx.Client(base_url=url, params={"sentry_key": "new-key"}, timeout=120) as client,
    ):

        def until(status: int) -> None:
            deadline = time.monotonic() + 120
            while client.post(ENVELOPE, content=EVENT).status_code != status:
                assert time.monotonic() < deadline
                time.sleep(0.02)

        assert client.post(ENVELOPE, content=EVENT).status_code == 403
        home.config_path.write_text("projects: [{id: 1, slug: shop, keys: [{public_key: new-key}]}]\n")
        until(200)
        home.config_path.write_text("projects: nonsense\n")
        until(200)
        home.config_path.write_text("projects: [{id: 1, slug: shop, keys: [{public_key: third-key}]}]\n")
        until(403)


@pytest.mark.parametrize("how", [*DAMAGES, "gone"])
def test_keys_stay_known_whatever_becomes_of_the_file(home: Home, how: str) -> None:
    credentials = Credentials(public_key="abcdef")
    home.config_path.write_text(GOOD)
    accounts = Accounts(home)
    damaged(home, how)
    for _ in range(2):
        accounts.reload_if_changed()
        assert accounts.find(credentials, 1).project.slug == "shop"
    started_now = Accounts(home)
    assert started_now.find(credentials, 1).project.slug == "shop"
    repaired(home, GOOD.replace("shop", "store"))
    for each in (accounts, started_now):
        each.reload_if_changed()
        assert each.find(credentials, 1).project.slug == "store"


def test_a_receiver_starts_with_what_a_broken_file_held_and_says_so(home: Home) -> None:
    home.config_path.write_text(GOOD)
    home.config_in_force()
    home.config_path.write_text(GOOD + "\nchannels: [{type: slack, name: a, url: s3cret, x: 1}]\n")
    command = [sys.executable, "-m", "tasks_pipeline.cli", "--home", str(home.root), "receive", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("receiver listens on ").strip()
        try:
            answer = httpx.post(
                f"{url}{ENVELOPE}", content=EVENT, params={"sentry_key": "abcdef"}, timeout=120
            )
        finally:
            process.terminate()
            _, told = process.communicate(timeout=120)
    assert answer.status_code == 200
    assert "what the configuration held before stays in force" in told
    assert f"{home.config_path}:2: channels[0].x: unknown field; allowed: " in told
    assert "s3cret" not in told


# Hostile clients ------------------------------------------------------------------------------------------------------


def talk(url: str, *pieces: bytes) -> bytes:
    """Send raw bytes and read the answer until the server closes or the answer's head is complete."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # the server has heard enough
        answer = b""
        try:
            while b"\r\n\r\n" not in answer and (data := connection.recv(65536)):
                answer += data
        except ConnectionResetError:
            pass
        return answer


RAW: dict[str, tuple[bytes, ...]] = {
    "100,000 headers": (HEAD, b"a: b\r\n" * 100_000, b"\r\n"),
    "300 headers": (HEAD, b"a: b\r\n" * 300, b"content-length: 0\r\n\r\n"),
    "an endless header": (HEAD, b"a: " + b"b" * 10_000_000),
    "an endless path": (b"POST /" + b"a" * 10_000_000,),
    "two lengths": (HEAD, b"content-length: 5\r\ncontent-length: 9\r\n\r\nabc"),
    "a negative length": (HEAD, b"content-length: -5\r\n\r\nabc"),
    "a huge length": (HEAD, b"content-length: 99999999999999999999999999\r\n\r\nabc"),
    "a large length": (HEAD, b"content-length: 999999999999\r\n\r\nabc"),
    "length and chunks": (HEAD, b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
    "a broken chunk": (HEAD, b"transfer-encoding: chunked\r\n\r\nzz\r\n"),
    "NUL in the path": (b"POST /api/1/\0 HTTP/1.1\r\nHost: x\r\n\r\n",),
    "encoded NUL in the path": (
        b"POST /api/1/%00/envelope HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n",
    ),
    "broken percent encoding": (b"POST /api/1/envelope/%zz%ff?sentry_key=%zz HTTP/1.1\r\nHost: x\r\n\r\n",),
    "invalid UTF-8": (b"POST /api/\xff\xfe/ HTTP/1.1\r\nHost: \xff\r\nx-sentry-auth: \xff\xfe\r\n\r\n",),
    "many query fields": (b"POST /api/1/envelope/?" + b"a=b&" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",),
    "an upgrade": (b"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 100,),
    "nested JSON": (HEAD, b"content-length: 60000\r\n\r\n" + b"[" * 60_000),
}


@pytest.fixture(scope="module")
def besieged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of one receiver that lives through all hostile requests."""
    home = Home(tmp_path_factory.mktemp("besieged"))
    configure(home)
    with serving(create_app(home, limits=Limits(linger_seconds=0.2))) as url:
        yield url


@pytest.mark.parametrize("pieces", RAW.values(), ids=RAW.keys())
def test_hostile_requests_are_refused_and_service_goes_on(besieged: str, pieces: tuple[bytes, ...]) -> None:
    answer = talk(besieged, *pieces)
    assert answer == b"" or 400 <= int(answer.split(b" ", 2)[1]) < 500
    assert httpx.post(besieged + ENVELOPE, content=EVENT, headers=AUTH, timeout=120).status_code == 200


@pytest.mark.parametrize(
    "pieces",
    [(HEAD, b"content-length: 100\r\n\r\n", b"{}"), (HEAD,), (b"",), (b"\r\n" * 9,)],
    ids=["body", "head", "nothing", "blank lines"],
)
def test_silent_clients_are_dropped(
    home: Home, monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    configure(home)
    monkeypatch.setattr(server_module, "SILENT_SECONDS", 0.5)
    with serving(create_app(home)) as url:
        assert talk(url, *pieces).startswith(b"HTTP/1.1 408")
        if pieces != (b"",):
            head = HEAD + b"content-length: %d\r\n\r\n" % len(EVENT)
            assert talk(url, head + EVENT + b"".join(pieces)).startswith(b"HTTP/1.1 200")


def test_clients_that_drip_are_dropped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(home)
    monkeypatch.setattr(server_module, "BODY_SECONDS", 0.3)
    with serving(create_app(home)) as url:
        address = urlsplit(url)
        with socket.create_connection(
            (address.hostname or "", address.port or 0), timeout=0.02
        ) as connection:
            connection.sendall(HEAD + b"content-length: 1000000\r\n\r\n")
            answer = b""
            while not answer:
                connection.sendall(b"x")
                with suppress(TimeoutError):
                    answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408")


def call(
    app: Callable[..., Any], path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> list[int]:
    """The statuses of some methods for a request that is put straight into the application."""

    async def run() -> list[int]:
        statuses: list[int] = []
        lifespan: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        started = asyncio.Event()

        async def lifespan_send(message: dict[str, Any]) -> None:
            started.set()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        life = asyncio.create_task(app({"type": "lifespan"}, lifespan.get, lifespan_send))
        await lifespan.put({"type": "lifespan.startup"})
        await started.wait()
        for method in ("POST", "GET", "OPTIONS", "PUT"):
            scope = {
                "type": "http",
                "method": method,
                "path": path,
                "query_string": query,
                "headers": headers,
            }
            await app({**scope, "client": ("127.0.0.1", 1)}, receive, send)
        await lifespan.put({"type": "lifespan.shutdown"})
        await life
        return statuses

    return asyncio.run(run())


PATHS = st.sampled_from(
    [
        ENVELOPE, "/api/1/store/", "/api/1/security/", "/api/1/minidump/", "/api/1/cron/a/", "/api/embed/error-page/",
        f"/api/1/events/{ID}/attachments/", "/tunnel", "/api/store/",
    ]
)  # fmt: skip
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        b"x-sentry-auth": st.just(AUTH["x-sentry-auth"].encode()) | st.binary(max_size=40),
        b"content-type": st.sampled_from([b"application/json", b"multipart/form-data; boundary=x"]) | st.binary(max_size=40),
        b"content-encoding": st.sampled_from([b"gzip", b"deflate", b"br", b"zstd", b""]) | st.binary(max_size=10),
        b"content-length": st.sampled_from([b"1", b"999999999", b"\xb2"]),
    },
)  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=PATHS | st.text(max_size=30),
    query=st.binary(max_size=30)
    | st.just(f"sentry_key={KEY}&dsn=http://{KEY}@h/1&eventId={ID}&status=ok".encode()),
    headers=HEADERS,
    body=st.binary(max_size=200)
    | st.just(EVENT)
    | st.binary(max_size=60).map(lambda tail: EVENT + b"\n" + tail),
)
def test_any_request_gets_an_answer_below_500(
    home: Home, path: str, query: bytes, headers: dict[bytes, bytes], body: bytes
) -> None:
    configure(home)
    app = create_app(home, spool=MemorySpool())  # type: ignore[arg-type]
    statuses = call(app, path, query, list(headers.items()), body)
    assert len(statuses) == 4
    assert all(200 <= status < 500 for status in statuses)


# The process ----------------------------------------------------------------------------------------------------------

SERVE = """
import sys
from tasks_pipeline.home import Home
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.serving import serve
serve(create_app(Home.resolve()), "127.0.0.1", 0, lambda url: print(url, flush=True))
print("returned", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_finish(home: Home, number: signal.Signals) -> None:
    configure(home, "quotas: [{category: session, limit: 0}]")
    environment = {**os.environ, **home.environment()}
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert (
            httpx.post(url + ENVELOPE, content=items("session"), headers=AUTH, timeout=120).status_code == 429
        )
        address = urlsplit(url)
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as connection:
            head = HEAD + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(EVENT)
            connection.sendall(head)
            assert b"100 Continue" in connection.recv(1000)  # it is in work now
            process.send_signal(number)
            connection.sendall(EVENT)
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert process.stdout.read() == "returned\n"
        assert process.wait(120) == 0
    assert [receipt.event_id for receipt in stored(home) if not receipt.meta.get("internal")] == [ID]
    assert outcomes(home) == {(1, "session", "rate_limited", "project_quota"): 1}


def test_an_address_in_use_is_an_error(home: Home, tmp_path: Path) -> None:
    configure(home)
    second = create_app(Home(tmp_path / "second"), spool=MemorySpool())  # type: ignore[arg-type]
    with serving(create_app(home)) as url, pytest.raises(OSError):
        server_module.serve(second, "127.0.0.1", urlsplit(url).port or 0)
