"""What holds for every event whatever a stranger puts into it, and for every event that real clients sent."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tasks_pipeline.demo
from tasks_pipeline.protocol.bounds import MAX_META_BYTES
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json
from tasks_pipeline.protocol.envelope import EnvelopeError, parse_envelope
from tasks_pipeline.protocol.event import normalise_event, normalise_transaction
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.protocol.times import parse_time

RECORDINGS = Path(tasks_pipeline.demo.__file__).parent / "recordings"
CONTEXT = ItemContext(1, datetime(2026, 11, 22, 12, 30, tzinfo=UTC), "a" * 32, remote_addr="203.0.113.9")

LONG = st.sampled_from([255, 256, 257, 1024, 2049, 8192, 9000, 17_000]).map(lambda n: "é" * n)
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | LONG
    | st.sampled_from(
        ["{{auto}}", "1.2.3.4", "0x1f", "12", "a=b&c=%00", "http://x/?a#b", "2026-11-22T12:00:00", "40"]
    )
)
NAMES = st.sampled_from(
    [
        "abs_path",
        "breadcrumbs",
        "category",
        "checksum",
        "code_file",
        "colno",
        "contexts",
        "context_line",
        "cookies",
        "crashed",
        "csp",
        "culprit",
        "data",
        "debug_id",
        "debug_meta",
        "dist",
        "environment",
        "env",
        "errors",
        "event_id",
        "exception",
        "extra",
        "filename",
        "fingerprint",
        "formatted",
        "fragment",
        "frames",
        "frames_omitted",
        "function",
        "geo",
        "handled",
        "headers",
        "id",
        "image_addr",
        "image_size",
        "images",
        "in_app",
        "infer_ip",
        "instruction_addr",
        "ip_address",
        "key",
        "level",
        "lineno",
        "logentry",
        "logger",
        "mechanism",
        "message",
        "meta",
        "method",
        "_meta",
        "module",
        "modules",
        "name",
        "packages",
        "parent_span_id",
        "params",
        "platform",
        "post_context",
        "pre_context",
        "query_string",
        "received",
        "registers",
        "release",
        "request",
        "sentry.interfaces.Exception",
        "sentry.interfaces.Message",
        "settings",
        "sdk",
        "server_name",
        "span_id",
        "stacktrace",
        "synthetic",
        "tags",
        "template",
        "thread_id",
        "threads",
        "timestamp",
        "trace",
        "trace_id",
        "transaction",
        "transaction_info",
        "type",
        "url",
        "user",
        "username",
        "value",
        "values",
        "vars",
        "version",
        "0",
        "1",
    ]
) | st.text(max_size=6)
JSON = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.dictionaries(NAMES, JSON, max_size=8)

FRAME = st.dictionaries(NAMES, JSON, max_size=5)
STACK = st.builds(
    lambda frames, more: {**more, "frames": frames}, st.lists(FRAME | SCALAR, max_size=3), FRAME
)
EXCEPTION = st.builds(lambda stack, more: {**more, "stacktrace": stack}, STACK | JSON, FRAME)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "exception": st.lists(EXCEPTION | SCALAR, max_size=3),
        "threads": st.lists(EXCEPTION, max_size=2),
        "breadcrumbs": st.lists(FRAME, max_size=3),
        "logentry": FRAME,
        "request": FRAME,
        "user": FRAME,
        "sdk": FRAME,
        "contexts": st.dictionaries(NAMES, FRAME, max_size=3),
        "extra": FRAME,
        "tags": st.lists(st.lists(SCALAR, max_size=3)) | FRAME,
        "debug_meta": st.fixed_dictionaries({"images": st.lists(FRAME, max_size=3)}),
        "_meta": st.dictionaries(NAMES, JSON),
        "errors": st.lists(FRAME, max_size=3),
        "timestamp": SCALAR,
    },
)


def canonical(payload: dict[str, Any], context: ItemContext = CONTEXT) -> dict[str, Any]:
    return normalise_event(copy.deepcopy(payload), context)


def assert_canonical(event: dict[str, Any], sent: int) -> None:
    """Storable, bounded by what was sent, and unchanged when it is normalised again."""
    encoded = encode_json(event)
    assert len(encoded) <= 2 * sent + MAX_META_BYTES + 50_000
    assert decode_json(encoded) == event
    assert canonical(event) == event


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
@given(EVENTS | PLAUSIBLE)
def test_any_object_becomes_a_canonical_event(payload: dict[str, Any]) -> None:
    raw = json.dumps(payload).encode()
    assert_canonical(normalise_event(decode_json(raw), CONTEXT), len(raw))


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=30)
@given(
    st.lists(EXCEPTION, max_size=3), st.lists(FRAME, max_size=3), st.dictionaries(NAMES, SCALAR, max_size=5)
)
def test_bare_lists_and_wrapped_ones_are_the_same(
    exceptions: list[Any], crumbs: list[Any], tags: dict[str, Any]
) -> None:
    bare = {"exception": exceptions, "breadcrumbs": crumbs, "tags": [[k, v] for k, v in tags.items()]}
    wrapped = {"exception": {"values": exceptions}, "breadcrumbs": {"values": crumbs}, "tags": tags}
    first, second = (canonical(decode_json(json.dumps(p).encode())) for p in (bare, wrapped))
    for event in (first, second):
        event.pop("errors", None)  # they name the place, which differs for tags
    assert first == second


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "payload",
    [
        {
            "exception": {
                "values": [{"type": "E", "stacktrace": {"frames": [{"function": "f" * 90}] * 10_000}}]
            }
        },
        {"exception": [{"stacktrace": [{"vars": {str(i): "v" * 400 for i in range(30)}}]}] * 80},
        {"tags": [[f"k{i}", "v"] for i in range(100_000)]},
        {"tags": {f"k{i}\0": "v" for i in range(50_000)}},
        {
            "message": "x" * 2**20,
            "release": "r" * 2**20,
            "level": "l" * 2**20,
            "fingerprint": ["f" * 2**20] * 3,
        },
        {"user": {"k" * 2**20: "v"}, "contexts": {"c" * 2**20: {}}, "extra": {"e" * 2**20: 1}},
        {"extra": {"list": [[{}]] * 100_000, "deep": deep(90)}},
        {"extra": {f"{i}": {"k" * 300: i} for i in range(3000)}},
        {"breadcrumbs": [{}] * 100_000 + [{"data": {"a": deep(80)}}]},
        {"request": {"query_string": "&" * 2**19, "cookies": ";" * 2**19, "headers": [["a", "b"]] * 50_000}},
        {"request": {"headers": {f"h{i}": ["x"] * 100 for i in range(1000)}, "url": "?" * 2**20}},
        {"logentry": {"message": "%s{}" * 10_000, "params": ["p" * 1000] * 1000}},
        {"logentry": {"message": "%" + "0" * 100_000, "params": [1]}},
        {"threads": [{"id": i, "stacktrace": [{"lineno": i}]} for i in range(3000)]},
        {"debug_meta": {"images": [{"image_addr": "9" * 100, "debug_id": "x" * 1000}] * 5000}},
        {"modules": {f"m{i}": "1" for i in range(50_000)}},
        {
            "_meta": {str(i): {"": {"len": i}} for i in range(20_000)},
            "errors": [{"type": "x" * 10_000}] * 1000,
        },
        {"timestamp": "9" * 100_000},
        {f"key{i}": None for i in range(50_000)},
    ],
)
def test_hostile_events_are_bounded(payload: dict[str, Any]) -> None:
    raw = json.dumps(payload).encode()
    event = normalise_event(decode_json(raw), CONTEXT)
    assert_canonical(event, min(len(raw), 2**19))


def recorded_items() -> Iterator[tuple[str, str, Any, ItemContext]]:
    """Name, type, payload and context of every recorded event, as it would be received 50 ms after it was sent."""
    for file in sorted((RECORDINGS / "wire").rglob("*.envelope")):
        try:
            envelope = parse_envelope(file.read_bytes())
        except EnvelopeError:
            assert file.name.startswith("bad_")
            continue
        sent_at = parse_time(envelope.headers.get("sent_at"))
        for item in envelope.items:
            if item.type in ("event", "feedback", "transaction"):
                payload = decode_json(item.payload)
                received = (
                    sent_at or parse_time(payload.get("timestamp")) or CONTEXT.received_at
                ) + timedelta(seconds=0.05)
                event_id = parse_event_id(envelope.headers.get("event_id")) or CONTEXT.event_id
                yield (
                    file.name,
                    item.type,
                    payload,
                    ItemContext(1, received, event_id, sent_at, "203.0.113.9"),
                )


def test_recorded_events_have_nothing_invalid_and_lose_nothing_known() -> None:
    seen = 0
    for name, kind, payload, context in recorded_items():
        if kind == "transaction":
            assert normalise_transaction(payload, context)["duration_ms"] >= 0, name
            continue
        sent = copy.deepcopy(payload)
        event = normalise_event(payload, context)
        seen += 1
        assert "errors" not in event, (name, event["errors"])
        assert parse_time(event["timestamp"]) == parse_time(sent.get("timestamp", event["received"])), name
        kept_by_other_names = {"message", "sentry.interfaces.Message", "culprit", "project"}
        empty = {key for key, value in sent.items() if not value or value == {"values": []}}
        assert sent.keys() - empty - kept_by_other_names <= event.keys(), name
        assert canonical(event, context) == event, name
    assert seen > 80


def test_load_events_keep_their_frames_and_values() -> None:
    with (RECORDINGS / "shop-2000.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        for _ in range(40):
            item = json.loads(next(lines))["envelope"].split("\n")[2]
            sent = json.loads(item)
            event = normalise_event(decode_json(item.encode()), CONTEXT)
            assert "errors" not in event
            for value in sent["exception"]["values"]:
                if value["module"] is None:
                    del value["module"]
            assert event["exception"] == sent["exception"]
            assert event["tags"] == sent["tags"]
            assert event["contexts"]["runtime"] == sent["contexts"]["runtime"]


def test_depth_of_ten_thousand_is_a_payload_error() -> None:
    with pytest.raises(PayloadError):
        decode_json(b'{"extra":{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}}")
