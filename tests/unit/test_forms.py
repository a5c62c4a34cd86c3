"""Requests that are not envelopes: each form becomes the envelope that its sender meant."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.protocol.encoding import TooLarge
from tasks_pipeline.protocol.envelope import Envelope
from tasks_pipeline.protocol.forms import (
    FormError,
    attachments_envelope,
    check_in_envelope,
    minidump_envelope,
    security_envelope,
    store_envelope,
    user_report_envelope,
)

ID = "0123456789abcdef0123456789abcdef"
EVENT = json.dumps({"event_id": ID, "message": "plain"}).encode()
MIB = 1024 * 1024
FORM = "multipart/form-data; boundary=b0undary"
Part = tuple[str, str | None, bytes]


def multipart(*parts: Part) -> bytes:
    out = b""
    for name, filename, data in parts:
        disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
        out += b"--b0undary\r\nContent-Disposition: " + disposition.encode() + b"\r\n"
        out += (b"Content-Type: text/x-test\r\n" if filename else b"") + b"\r\n" + data + b"\r\n"
    return out + b"--b0undary--\r\n"


DUMP: Part = ("upload_file_minidump", "crash.dmp", b"MDMP\r\n--b0undar\0\xff")


def minidump(*parts: Part) -> tuple[dict[str, Any], Envelope]:
    envelope = minidump_envelope(multipart(*parts), FORM, 200)
    return msgspec.json.decode(envelope.items[0].payload), envelope


@pytest.mark.parametrize(
    "body",
    [
        EVENT,
        b"  \n" + EVENT + b"\n",
        base64.b64encode(EVENT),
        base64.b64encode(zlib.compress(EVENT)),
        base64.encodebytes(zlib.compress(EVENT)),
    ],
    ids=["json", "blanks", "base64", "base64 zlib", "base64 zlib in lines"],
)
def test_store_bodies(body: bytes) -> None:
    envelope = store_envelope(body, MIB)
    assert envelope.headers == {"event_id": ID}
    assert [(item.type, item.payload) for item in envelope.items] == [("event", EVENT)]


def test_store_takes_nan_and_keeps_the_bytes() -> None:
    body = b'{"extra":{"n":NaN,"i":-Infinity},"event_id":"%s"}' % ID.encode()
    envelope = store_envelope(body, MIB)
    assert envelope.headers["event_id"] == ID
    assert envelope.items[0].payload == body


def test_store_takes_transactions_and_gives_ids() -> None:
    envelope = store_envelope(b'{"type":"transaction"}', MIB)
    assert envelope.items[0].type == "transaction"
    assert len(envelope.headers["event_id"]) == 32


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b"[1]", b"eJw=", b"%%%", base64.b64encode(b"[]"), b"[" * 99_999]
)
def test_store_refuses_the_rest(body: bytes) -> None:
    with pytest.raises(FormError):
        store_envelope(body, MIB)


def test_a_store_body_cannot_blow_up() -> None:
    with pytest.raises(TooLarge):
        store_envelope(base64.b64encode(zlib.compress(b'{"a":"' + b"x" * 2 * MIB)), MIB)


def test_security_report_is_kept_with_what_the_query_told() -> None:
    body = b'{"csp-report":{"document-uri":"http://x/"}}'
    envelope = security_envelope(
        body, {"sentry_environment": "staging", "sentry_release": "1.0", "sentry_key": "k"}
    )
    assert envelope.items[0].headers == {"type": "security", "environment": "staging", "release": "1.0"}
    assert envelope.items[0].payload == body
    for broken in (b"", b"[]", b"{"):
        with pytest.raises(FormError):
            security_envelope(broken, {})


def test_minidump_alone_makes_a_fatal_event() -> None:
    event, envelope = minidump(DUMP)
    assert (event["platform"], event["level"], event["event_id"]) == (
        "native",
        "fatal",
        envelope.headers["event_id"],
    )
    assert event["exception"]["values"][0] == {
        "type": "Minidump",
        "mechanism": {"type": "minidump", "handled": False, "synthetic": True},
    }
    dump = envelope.items[1]
    assert dump.payload == DUMP[2]
    assert dump.headers == {
        "type": "attachment",
        "filename": "crash.dmp",
        "content_type": "text/x-test",
        "attachment_type": "event.minidump",
    }


def test_minidump_with_event_files_and_fields() -> None:
    event, envelope = minidump(
        (
            "sentry",
            None,
            json.dumps({"event_id": ID, "release": "1.0", "level": "error", "extra": {"a": 1}}).encode(),
        ),
        ("sentry[tags][os]", None, b"linux"),
        ("product", None, b"game"),
        DUMP,
        ("log", "log.txt", b"line\n"),
    )
    assert envelope.headers["event_id"] == ID
    assert (event["release"], event["level"], event["tags"]) == ("1.0", "error", {"os": "linux"})
    assert event["extra"] == {"a": 1, "product": "game"}
    assert [item.headers.get("filename") for item in envelope.items] == [None, "crash.dmp", "log.txt"]


def test_minidump_event_in_chunks() -> None:
    text = json.dumps({"event_id": ID, "message": "x" * 50})
    pieces: list[Part] = [
        (f"sentry__{n}", None, text[n * 10 : n * 10 + 10].encode()) for n in range(11, -1, -1)
    ]
    event, envelope = minidump(*pieces, DUMP)
    assert (envelope.headers["event_id"], event["message"]) == (ID, "x" * 50)


def test_a_crash_outlives_broken_event_data() -> None:
    event, envelope = minidump(("sentry", None, b"{broken"), DUMP)
    assert event["extra"] == {"sentry": "{broken"}
    assert len(envelope.items) == 2


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (multipart(("other", "a", b"MDMP")), FORM),
        (multipart(("upload_file_minidump", "a", b"ELF")), FORM),
        (multipart(DUMP)[:-20], FORM),
        (b"", FORM),
        (multipart(DUMP), "multipart/form-data"),
        (multipart(DUMP), "multipart/form-data; boundary=" + "x" * 500),
        (multipart(DUMP), "application/json"),
        (multipart(DUMP), ""),
        (multipart(*[DUMP] * 300), FORM),
        (multipart(DUMP, ("sentry" + "[a]" * 20, None, b"x")), FORM),
        (b"--b0undary\r\n" + b"A: b\r\n" * 10_000, FORM),
        (b"--b0undary\r\n" + b"A" * 100_000, FORM),
    ],
)
def test_minidump_forms_that_are_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(FormError):
        minidump_envelope(body, content_type, 200)


def test_attachments() -> None:
    envelope = attachments_envelope(
        multipart(("a", "a.txt", b"1"), ("note", None, b"x"), ("b", "b", b"")), FORM, ID, 9
    )
    assert envelope.headers == {"event_id": ID}
    assert [(item.headers["filename"], item.payload) for item in envelope.items] == [
        ("a.txt", b"1"),
        ("b", b""),
    ]
    with pytest.raises(FormError):
        attachments_envelope(multipart(("note", None, b"x")), FORM, ID, 9)


def check_in(query: dict[str, str], body: bytes = b"") -> dict[str, Any]:
    envelope = check_in_envelope("nightly", query, body)
    assert [item.type for item in envelope.items] == ["check_in"]
    return dict(msgspec.json.decode(envelope.items[0].payload))


def test_check_in_of_the_query() -> None:
    query = {
        "status": "ok",
        "check_in_id": ID.upper(),
        "environment": "staging",
        "duration": "1.5",
        "sentry_key": "k",
    }
    assert check_in(query) == {
        "check_in_id": ID, "monitor_slug": "nightly", "status": "ok", "duration": 1.5, "environment": "staging"
    }  # fmt: skip


def test_check_in_without_id_means_the_latest() -> None:
    assert check_in({"status": "error"})["check_in_id"] == "0" * 32


def test_check_in_of_a_body() -> None:
    monitor = {"schedule": {"type": "crontab", "value": "0 * * * *"}}
    body = json.dumps({"status": "in_progress", "monitor_config": monitor, "duration": None}).encode()
    assert check_in({}, body)["monitor_config"] == monitor
    assert check_in({"status": "ok"}, body)["status"] == "ok"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ({}, b""),
        ({"status": "fine"}, b""),
        ({"status": "ok", "check_in_id": "7"}, b""),
        ({"status": "ok", "duration": "nan"}, b""),
        ({"status": "ok", "duration": "-1"}, b""),
        ({"status": "ok"}, b"[]"),
        ({"status": "ok"}, b"{"),
        ({}, b'{"status":["ok"]}'),
        ({}, b'{"status":"ok","duration":{}}'),
    ],
)
def test_check_ins_that_are_refused(query: dict[str, str], body: bytes) -> None:
    with pytest.raises(FormError):
        check_in_envelope("nightly", query, body)


def test_user_report() -> None:
    envelope = user_report_envelope(ID, b"name=Jo&email=jo%40example.com&comments=It+broke+%F0%9F%98%80%ff")
    assert msgspec.json.decode(envelope.items[0].payload) == {
        "event_id": ID, "name": "Jo", "email": "jo@example.com", "comments": "It broke \U0001f600\ufffd"
    }  # fmt: skip
    for broken in (b"", b"name=Jo&comments=+", b"&".join(b"a=b" for _ in range(500))):
        with pytest.raises(FormError):
            user_report_envelope(ID, broken)


FORMS: list[Callable[[bytes], Envelope]] = [
    lambda body: store_envelope(body, 1000),
    lambda body: security_envelope(body, {}),
    lambda body: minidump_envelope(body, FORM, 5),
    lambda body: minidump_envelope(multipart(DUMP, ("sentry", None, body)), FORM, 5),
    lambda body: attachments_envelope(body, FORM, ID, 5),
    lambda body: check_in_envelope("x", {}, body),
    lambda body: user_report_envelope(ID, body),
]


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.binary(max_size=30).map(lambda data: b"--b0undary\r\n" + data)
)
def test_any_bytes_make_an_envelope_or_are_refused(data: bytes) -> None:
    for make in FORMS:
        with suppress(FormError, TooLarge):
            assert make(data).items
