"""Browsers' security reports as events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks_pipeline.demo
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError, decode_json
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.protocol.security_report import security_event

RECORDINGS = Path(tasks_pipeline.demo.__file__).parent / "recordings" / "wire" / "other"
CONTEXT = ItemContext(
    project_id=1,
    received_at=datetime(2026, 11, 22, 12, 30, tzinfo=UTC),
    event_id="a" * 32,
    remote_addr="203.0.113.9",
    user_agent="Mozilla/5.0",
)
HEADERS = {"type": "security", "environment": "staging", "release": "shop-web@7.0.0"}


def event_of(payload: object, headers: dict[str, Any] = HEADERS) -> dict[str, Any]:
    event = normalise_event(security_event(payload, headers, CONTEXT), CONTEXT)
    assert "errors" not in event
    return event


def csp(**fields: Any) -> dict[str, Any]:
    report = {"document-uri": "https://shop.example/a", "effective-directive": "img-src", **fields}
    return event_of({"csp-report": {k.replace("_", "-"): v for k, v in report.items()}})


def test_a_recorded_csp_report() -> None:
    event = event_of(decode_json((RECORDINGS / "browser_csp.body").read_bytes()))
    assert event["type"] == "csp"
    assert event["logentry"] == {"formatted": "Blocked 'script' from 'blocked.localhost:1'"}
    assert event["csp"]["effective_directive"] == "script-src-elem"
    assert event["csp"]["blocked_uri"] == "http://blocked.localhost:1/evil.js"
    assert event["csp"]["line_number"] == 3
    assert event["request"] == {
        "url": "http://shop.localhost:9920/csp.html",
        "query_string": [["lang", "en"]],
        "headers": [["User-Agent", "Mozilla/5.0"]],
    }
    assert event["tags"] == {
        "effective-directive": "script-src-elem",
        "blocked-uri": "http://blocked.localhost:1/evil.js",
    }
    assert (event["environment"], event["release"]) == ("staging", "shop-web@7.0.0")
    assert event["user"] == {"ip_address": "203.0.113.9"}


@pytest.mark.parametrize(
    ("blocked", "message"),
    [
        ("https://evil.example/x.png", "Blocked 'img' from 'evil.example'"),
        ("https://shop.example/x.png", "Blocked 'img' from 'self'"),
        ("", "Blocked 'img' from 'self'"),
        ("self", "Blocked 'img' from 'self'"),
        ("inline", "Blocked 'img' from 'inline'"),
        ("data", "Blocked 'img' from 'data'"),
        ("data:text/plain,x", "Blocked 'img' from 'data'"),
        ("http://[bad", "Blocked 'img' from 'http'"),
    ],
)
def test_messages(blocked: str, message: str) -> None:
    assert csp(blocked_uri=blocked)["logentry"]["formatted"] == message


def test_the_directive_follows_from_the_violated_one() -> None:
    event = csp(effective_directive="", violated_directive="script-src 'self' https://cdn.example")
    assert event["csp"]["effective_directive"] == "script-src"


def test_the_reporting_api() -> None:
    body = {
        "documentURL": "https://shop.example/",
        "effectiveDirective": "script-src-elem",
        "blockedURL": "inline",
        "lineNumber": 7,
    }
    event = event_of({"type": "csp-violation", "age": 1, "url": "https://shop.example/", "body": body})
    assert event["csp"] == {
        "document_uri": "https://shop.example/",
        "effective_directive": "script-src-elem",
        "blocked_uri": "inline",
        "line_number": 7,
    }


@pytest.mark.parametrize(
    ("payload", "kind", "message"),
    [
        (
            {"expect-ct-report": {"hostname": "shop.example", "port": 443, "failure-mode": "enforce"}},
            "expectct",
            "Expect-CT failed for 'shop.example'",
        ),
        (
            {"expect-staple-report": {"hostname": "shop.example", "port": 443, "response-status": "MISSING"}},
            "expectstaple",
            "Expect-Staple failed for 'shop.example'",
        ),
        (
            {
                "hostname": "shop.example",
                "port": 443,
                "known-pins": ['pin-sha256="x"'],
                "noted-hostname": "example",
            },
            "hpkp",
            "Public key pinning validation failed for 'shop.example'",
        ),
    ],
)
def test_certificate_reports(payload: dict[str, Any], kind: str, message: str) -> None:
    event = event_of(payload)
    assert event["type"] == kind
    assert event["logentry"] == {"formatted": message}
    assert event[kind]["hostname"] == "shop.example"
    assert event["tags"]["port"] == "443"


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        {"a": 1},
        {"csp-report": None},
        {"csp-report": {}},
        {"csp-report": {"referrer": "x"}},
        {"expect-ct-report": {"port": 1}},
        {"type": "csp-violation"},
        {"known-pins": []},
    ],
)
def test_what_is_no_report_is_refused(payload: object) -> None:
    with pytest.raises(PayloadError):
        security_event(payload, {}, CONTEXT)


@given(
    st.dictionaries(
        st.sampled_from(
            ["document-uri", "referrer", "blocked-uri", "violated-directive", "hostname", "port"]
        ),
        st.none() | st.integers() | st.text(max_size=30) | st.lists(st.text(max_size=3), max_size=2),
    ),
    st.sampled_from(["csp-report", "expect-ct-report", "expect-staple-report"]),
)
def test_any_report_becomes_an_event_or_a_payload_error(report: dict[str, Any], wrapper: str) -> None:
    try:
        event = security_event({wrapper: report}, {"environment": report}, CONTEXT)
    except PayloadError:
        return
    assert normalise_event(event, CONTEXT)["type"] in ("csp", "expectct", "expectstaple")
