"""The receiver as clients see it: every endpoint over real HTTP, and what is in the spool afterwards."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import httpx
import msgspec
import pytest
import zstandard

from tasks_pipeline.home import Home
from tasks_pipeline.protocol.encoding import decompress
from tasks_pipeline.protocol.envelope import Envelope, parse_envelope
from tasks_pipeline.receiver.app import create_app
from tasks_pipeline.receiver.request import BodyMemory, Limits, Request
from tasks_pipeline.storage.spool.interface import Receipt
from tests.support.receiver import KEY, WIRE, configure, serving, stored

INDEX: dict[str, list[dict[str, Any]]] = json.loads((WIRE / "INDEX.json").read_text())
ID = "00000000000000000000000000001234"
EVENT = b'{"event_id":"%s"}\n{"type":"event"}\n{"message":"a"}' % ID.encode()
AUTH = {"x-sentry-auth": f"Sentry sentry_version=7, sentry_client=test/1.0, sentry_key={KEY}"}
ENVELOPE = "/api/1/envelope/"


@pytest.fixture
def client(home: Home) -> Iterator[httpx.Client]:
    """A client of a running receiver; `stored(home)` may be asked after it is closed, or for what was answered."""
    configure(home)
    with serving(create_app(home)) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Home]]:
    """A client of one receiver for all tests in which nothing is accepted, and its home."""
    home = Home(tmp_path_factory.mktemp("refusing"))
    configure(home)
    with serving(create_app(home)) as url, httpx.Client(base_url=url, timeout=120) as client:
        yield client, home


def envelope_of(receipt: Receipt) -> Envelope:
    return parse_envelope(decompress(receipt.body, receipt.encoding, 2**30))


def only(home: Home) -> tuple[Receipt, Envelope]:
    receipts = stored(home)
    assert len(receipts) == 1
    return receipts[0], envelope_of(receipts[0])


def recorded(entry: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The request of a recording: its parts, and the body (plain, as the recordings of envelopes are)."""
    path = Path(entry["file"])
    stem = path.name.removesuffix(path.suffix)
    request = json.loads((WIRE / path.parent / f"{stem}.headers.json").read_text())
    return request, (WIRE / path.with_suffix(".wire") if path.suffix == ".json" else WIRE / path).read_bytes()


def test_every_recorded_envelope_is_accepted_and_kept(client: httpx.Client, home: Home) -> None:
    entries = [entry for entry in INDEX["recorded"] if entry["kind"] == "envelope"]
    for entry in entries:
        request, body = recorded(entry)
        kept = {
            k: v
            for k, v in request["headers"].items()
            if k in ("content-type", "x-sentry-auth", "user-agent")
        }
        answer = client.post(f"{request['raw_path']}?{request['query']}", content=body, headers=kept)
        assert (answer.status_code, entry["file"]) == (200, entry["file"])
        expected = json.loads(request["response"] or "{}").get("id")
        assert answer.json().get("id") == (expected.replace("-", "") if expected else None), entry["file"]
    assert [receipt.body for receipt in stored(home)] == [recorded(entry)[1] for entry in entries]


def test_crafted_envelopes_are_judged_as_the_index_says(client: httpx.Client) -> None:
    for entry in INDEX["crafted"]:
        answer = client.post(ENVELOPE, content=(WIRE / entry["file"]).read_bytes(), headers=AUTH)
        assert answer.status_code == (200 if entry["well_formed"] else 400), entry["file"]


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(EVENT, mtime=0)),
        ("GZIP", gzip.compress(EVENT, mtime=0)),
        ("deflate", zlib.compress(EVENT)),
        ("br", brotli.compress(EVENT)),
        ("zstd", zstandard.ZstdCompressor().compress(EVENT)),
        ("identity", EVENT),
        ("", EVENT),
    ],
)
def test_wire_bytes_are_kept_as_they_came(
    client: httpx.Client, home: Home, encoding: str, body: bytes
) -> None:
    answer = client.post(
        ENVELOPE, content=body, headers={**AUTH, "content-encoding": encoding, "user-agent": "ua"}
    )
    assert answer.json() == {"id": ID}
    receipt, _ = only(home)
    assert receipt.body == body
    assert receipt.encoding == ("" if encoding == "identity" else encoding.lower())
    assert (receipt.project_id, receipt.public_key, receipt.event_id, receipt.items) == (1, KEY, ID, 1)
    assert receipt.meta == {"client": "test/1.0", "user_agent": "ua", "remote_addr": "127.0.0.1"}


@pytest.mark.parametrize("kind", ["store", "security", "minidump"])
def test_recorded_requests_of_other_kinds(client: httpx.Client, home: Home, kind: str) -> None:
    entries = [entry for entry in INDEX["recorded"] if entry["kind"] == kind]
    for entry in entries:
        request, body = recorded(entry)
        headers = {
            name: value for name, value in request["headers"].items() if name not in ("host", "connection")
        }
        answer = client.post(f"{request['raw_path']}?{request['query']}", content=body, headers=headers)
        assert answer.status_code == request["status"], answer.text
    receipts = stored(home)
    assert len(receipts) == len(entries)
    types = {"store": ["event"], "security": ["security"], "minidump": ["event", "attachment", "attachment"]}[
        kind
    ]
    assert all([item.type for item in envelope_of(receipt).items] == types for receipt in receipts)


@pytest.mark.parametrize(
    "request_parts",
    [
        {"headers": AUTH},
        {"headers": {"authorization": AUTH["x-sentry-auth"]}},
        {"params": {"sentry_key": KEY}},
        {"dsn": f"http://{KEY}@example.com/1"},
        {"headers": AUTH, "dsn": f"http://{KEY}@example.com/1"},
        {"path": "/tunnel", "dsn": f"https://{KEY}@example.com/prefix/1"},
        {"path": "/", "dsn": f"http://{KEY}@example.com/1"},
    ],
)
def test_authenticated_requests(client: httpx.Client, home: Home, request_parts: dict[str, Any]) -> None:
    parts = dict(request_parts)
    dsn = parts.pop("dsn", None)
    body = EVENT.replace(b"{", b'{"dsn":"%s",' % dsn.encode(), 1) if dsn else EVENT
    answer = client.post(parts.pop("path", ENVELOPE), content=body, **parts)
    assert answer.json() == {"id": ID}
    assert only(home)[0].project_id == 1


@pytest.mark.parametrize(
    "request_parts",
    [
        {},
        {"params": {"sentry_key": "unknown"}},
        {"params": {"sentry_key": "other-key"}},
        {"path": "/api/2/envelope/", "params": {"sentry_key": "old-key"}},
        {"path": "/api/9/envelope/", "headers": AUTH},
        {"headers": AUTH, "params": {"sentry_key": "other-key"}},
        {"headers": AUTH, "dsn": f"http://{KEY}@example.com/2"},
        {"headers": AUTH, "dsn": "http://other-key@example.com/1"},
        {"headers": AUTH, "dsn": "nonsense"},
        {"path": "/tunnel"},
        {"path": "/api/1/store/"},
        {"path": "/api/store/"},
        {"path": "/api/1/minidump"},
        {"path": "/api/1/cron/nightly/unknown/"},
    ],
)
def test_refused_senders(refusing: tuple[httpx.Client, Home], request_parts: dict[str, Any]) -> None:
    client, home = refusing
    parts = dict(request_parts)
    dsn = parts.pop("dsn", None)
    body = EVENT.replace(b"{", b'{"dsn":"%s",' % dsn.encode(), 1) if dsn else EVENT
    answer = client.post(parts.pop("path", ENVELOPE), content=body, **parts)
    assert answer.status_code in (401, 403)
    assert answer.json()["detail"] == answer.headers["x-sentry-error"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert stored(home) == []


@pytest.mark.parametrize(
    ("headers", "payload", "generated"),
    [
        ({}, {"event_id": ID.upper()}, False),
        ({"event_id": "nonsense"}, {"event_id": ID}, False),
        ({}, {"event_id": "nonsense"}, True),
        ({}, {}, True),
    ],
)
def test_event_ids_are_found_or_made(
    client: httpx.Client, home: Home, headers: dict[str, str], payload: dict[str, str], generated: bool
) -> None:
    body = b"\n".join((json.dumps(headers).encode(), b'{"type":"event"}', json.dumps(payload).encode()))
    answered = client.post(ENVELOPE, content=body, headers=AUTH).json()["id"]
    receipt, _ = only(home)
    assert receipt.event_id == answered
    assert receipt.meta.get("received_id") == (answered if generated else None)
    assert generated or answered == ID


def test_unsupported_items_are_kept_but_not_counted(client: httpx.Client, home: Home) -> None:
    body = b'{}\n{"type":"log"}\n{}\n{"type":"refusals"}\n{}\n'
    assert client.post(ENVELOPE, content=body, headers=AUTH).json() == {}
    receipt, _ = only(home)
    assert (receipt.items, receipt.body) == (0, body)
    assert "internal" not in receipt.meta


def test_an_envelope_without_items_is_dropped(client: httpx.Client, home: Home) -> None:
    assert client.post(ENVELOPE, content=b"{}\n", headers=AUTH).status_code == 200
    assert stored(home) == []


def test_store_without_project_by_get_and_as_envelope(client: httpx.Client, home: Home) -> None:
    event = json.dumps({"event_id": ID}).encode()
    assert client.post("/api/store/", content=event, headers=AUTH).json() == {"id": ID}
    pixel = client.get("/api/1/store/", params={"sentry_data": event.decode(), "sentry_key": KEY})
    assert (pixel.status_code, pixel.content[:6]) == (200, b"GIF89a")
    headers = {**AUTH, "content-type": "application/x-sentry-envelope"}
    assert client.post("/api/1/store/", content=EVENT, headers=headers).json() == {"id": ID}
    assert [receipt.event_id for receipt in stored(home)] == [ID] * 3


def test_security_reports_of_other_types_are_refused(client: httpx.Client) -> None:
    for path in ("/api/1/security/", "/api/1/csp-report/"):
        answers = [
            client.post(
                path, params={"sentry_key": KEY}, content=b'{"csp-report":{}}', headers={"content-type": kind}
            )
            for kind in ("application/csp-report", "application/json; charset=utf-8", "text/html")
        ]
        assert [answer.status_code for answer in answers] == [201, 201, 415]


@pytest.mark.parametrize("path", ["/api/1/minidump", "/api/1/minidump/"])
def test_minidump_answers_a_dashed_id(client: httpx.Client, home: Home, path: str) -> None:
    answer = client.post(path, headers=AUTH, files={"upload_file_minidump": ("a.dmp", b"MDMP..")})
    assert answer.headers["content-type"] == "text/plain"
    assert only(home)[0].event_id == answer.text.replace("-", "")
    assert len(answer.text) == 36


def test_attachments_of_an_event(client: httpx.Client, home: Home) -> None:
    answer = client.post(
        f"/api/1/events/{ID}/attachments/", headers=AUTH, files={"log": ("log.txt", b"lines")}
    )
    assert answer.status_code == 200
    assert [item.payload for item in only(home)[1].items] == [b"lines"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/1/cron/nightly/{KEY}/?status=ok"),
        ("POST", f"/api/1/cron/nightly/{KEY}?status=ok"),
        ("GET", f"/api/1/cron/nightly/?status=ok&sentry_key={KEY}"),
        ("POST", f"/api/1/cron/nightly?status=ok&sentry_key={KEY}"),
    ],
)
def test_check_ins(client: httpx.Client, home: Home, method: str, path: str) -> None:
    assert client.request(method, path).status_code == 202
    payload = msgspec.json.decode(only(home)[1].items[0].payload)
    assert (payload["monitor_slug"], payload["status"]) == ("nightly", "ok")


def test_report_dialog(client: httpx.Client, home: Home) -> None:
    query = {
        "dsn": f"http://{KEY}@127.0.0.1:9910/1",
        "eventId": ID,
        "name": "</script><b>\u2028",
        "title": '"+alert(1)+"',
    }
    script = client.get("/api/embed/error-page/", params=query)
    assert script.headers["content-type"].startswith("text/javascript")
    assert "</script>" not in script.text
    assert '"\\"+alert(1)+\\""' in script.text
    form = {"name": "Jo", "email": "jo@example.com", "comments": "It broke"}
    assert client.post("/api/embed/error-page/", params=query, data=form).status_code == 200
    report = msgspec.json.decode(only(home)[1].items[0].payload)
    assert report == {"event_id": ID, **form}
    assert client.get("/api/embed/error-page/", params={**query, "dsn": "http://x@h/1"}).status_code == 403
    assert client.get("/api/embed/error-page/", params={**query, "eventId": "x"}).status_code == 400
    assert client.get("/api/embed/error-page/").status_code == 400


@pytest.mark.parametrize("path", [ENVELOPE, "/api/1/store/", "/tunnel", "/nowhere"])
def test_preflight(refusing: tuple[httpx.Client, Home], path: str) -> None:
    client, _ = refusing
    answer = client.options(
        path, headers={"access-control-request-headers": "x-sentry-auth", "origin": "http://shop"}
    )
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "x-sentry-auth" in answer.headers["access-control-allow-headers"]


def test_every_answer_has_cors(client: httpx.Client) -> None:
    answers = [
        client.post(ENVELOPE, content=EVENT, headers=AUTH),
        client.post(ENVELOPE, content=b"broken", headers=AUTH),
        client.post(ENVELOPE, content=EVENT),
        client.get(ENVELOPE),
        client.get("/nowhere"),
        client.post("/api/1/unreal/x/", content=b""),
        client.post(ENVELOPE, content=b"x" * (41 * 2**20), headers=AUTH),
    ]
    assert [answer.status_code for answer in answers] == [200, 400, 403, 405, 404, 404, 413]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-sentry-rate-limits" in answer.headers["access-control-expose-headers"]
        assert "retry-after" not in answer.headers


def test_health_and_metrics(client: httpx.Client) -> None:
    client.post(ENVELOPE, content=EVENT, headers=AUTH)
    client.post(ENVELOPE, content=b"broken", headers=AUTH)
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 200
    assert client.head("/health/ready").status_code == 200
    metrics = client.get("/metrics").text.splitlines()
    for line in (
        'tasks_pipeline_receiver_requests_total{endpoint="envelope",status="200"} 1.0',
        'tasks_pipeline_receiver_requests_total{endpoint="envelope",status="400"} 1.0',
        'tasks_pipeline_receiver_items_total{category="error"} 1.0',
        'tasks_pipeline_receiver_refused_total{reason="invalid_envelope"} 1.0',
        "tasks_pipeline_receiver_append_seconds_count 1.0",
        "tasks_pipeline_receiver_queued_envelopes 0.0",
    ):
        assert line in metrics


@pytest.mark.parametrize("header", ["x-forwarded-for", "X-Real-IP", "Forwarded", "via"])
def test_metrics_are_for_this_machine_alone_unless_they_are_public(home: Home, header: str) -> None:
    """A proxy on this machine asks for others, and says so."""
    for setting, expected in (("", 403), ("metrics: public", 200)):
        configure(home, receiver=setting)
        with serving(create_app(home)) as url:
            assert httpx.get(f"{url}/metrics", timeout=120).status_code == 200
            proxied = httpx.get(f"{url}/metrics", headers={header: "203.0.113.7"}, timeout=120)
            assert proxied.status_code == expected
            assert (b"tasks_pipeline" in proxied.content) == (expected == 200)


@pytest.mark.parametrize(
    ("peer", "local"),
    [
        ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("203.0.113.7", False), ("::ffff:10.0.0.1", False), ("fe80::1", False), ("", False), ("a socket", False),
    ],
)  # fmt: skip
def test_which_peers_are_this_machine(peer: str, local: bool) -> None:
    async def nothing() -> dict[str, Any]:
        return {}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/metrics",
        "query_string": b"",
        "headers": [],
        "client": (peer, 1),
    }
    assert Request(scope, nothing, Limits(), BodyMemory(1 << 20)).is_local() is local


def test_forwarded_for_counts_only_when_trusted(home: Home) -> None:
    headers = {**AUTH, "x-forwarded-for": "6.6.6.6, 203.0.113.7"}
    for setting, expected in (("", "127.0.0.1"), ("trust_forwarded_for: true", "203.0.113.7")):
        configure(home, receiver=setting)
        with serving(create_app(home)) as url:
            httpx.post(url + ENVELOPE, content=EVENT, headers=headers, timeout=120)
        assert stored(home)[-1].meta["remote_addr"] == expected
