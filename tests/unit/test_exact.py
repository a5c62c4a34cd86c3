"""The quick way of decoding gives the same events as the thorough one, and takes only what needs no repair."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.demo.traffic import shop_events, wire_requests
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json
from tasks_pipeline.protocol.encoding import decompress
from tasks_pipeline.protocol.envelope import parse_envelope
from tasks_pipeline.protocol.event import normalise_event
from tasks_pipeline.protocol.exact import decode_event

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTEXT = ItemContext(project_id=1, received_at=NOW, event_id="a" * 32)

EVENT: dict[str, Any] = {
    "event_id": "a" * 32,
    "timestamp": "2026-11-22T11:59:59.000001Z",
    "platform": "python",
    "exception": {
        "values": [
            {
                "type": "KeyError",
                "value": "'x'",
                "stacktrace": {
                    "frames": [
                        {
                            "filename": "a.py",
                            "function": "f",
                            "lineno": 3,
                            "vars": {"a": "1"},
                            "in_app": True,
                        },
                        {
                            "filename": "b.py",
                            "function": "g",
                            "pre_context": ["x = 1"],
                            "context_line": "f()",
                        },
                    ]
                },
            }
        ]
    },
    "breadcrumbs": {
        "values": [
            {"timestamp": "2026-11-22T11:59:58.000000Z", "level": "info", "data": {"n": 1}, "type": "log"}
        ]
    },
}


def both_ways(raw: bytes, context: ItemContext = CONTEXT) -> tuple[Any, Any]:
    """The event by the quick way and by the thorough one, as they are stored."""
    decoded = decode_event(raw, context)
    quick = normalise_event(decoded.payload, context, decoded.exact)
    return decode_json(encode_json(quick)), normalise_event(decode_json(raw), context)


def test_an_event_without_faults_is_taken_exactly() -> None:
    decoded = decode_event(json.dumps(EVENT).encode(), CONTEXT)
    assert set(decoded.exact) == {"exception", "breadcrumbs"}
    quick, thorough = both_ways(json.dumps(EVENT).encode())
    assert quick == thorough


def test_most_real_events_are_taken_exactly_and_all_are_the_same() -> None:
    events = [e.body for e in shop_events(200, encoding="")]
    payloads = [parse_envelope(body).items[0].payload for body in events]
    assert sum(bool(decode_event(p, CONTEXT).exact) for p in payloads) > 150
    for payload in payloads:
        quick, thorough = both_ways(payload)
        assert quick == thorough


def test_every_recorded_event_is_the_same_both_ways() -> None:
    seen = 0
    for request in wire_requests():
        if not request.name.startswith("envelopes/"):
            continue
        body = decompress(request.body, request.headers.get("content-encoding", ""), 10_000_000)
        for item in parse_envelope(body).items:
            if item.type == "event":
                seen += 1
                quick, thorough = both_ways(item.payload)
                assert quick == thorough, request.name
    assert seen > 70


USUAL: dict[str, Any] = {
    "breadcrumbs that are a list": (
        "breadcrumbs",
        [{"timestamp": 1795348000.5, "message": "m"}, {"timestamp": 1}],
    ),
    "times in another form": (
        "breadcrumbs",
        {"values": [{"timestamp": "2026-11-22T12:59:58+01:00", "type": "log"}]},
    ),
    "nothing logged beside the message": (
        "breadcrumbs",
        {"values": [{"message": "m", "data": {}}, {"message": "n", "data": None}]},
    ),
    "functions without variables": (
        "exception",
        {
            "values": [
                {"stacktrace": {"frames": [{"function": "f", "vars": {}}, {"function": "g", "vars": None}]}}
            ]
        },
    ),
}


@pytest.mark.parametrize("case", USUAL)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_sdks_usually_send_is_taken_exactly(case: str, separators: tuple[str, str]) -> None:
    name, value = USUAL[case]
    raw = json.dumps({**EVENT, name: value}, separators=separators).encode()
    assert set(decode_event(raw, CONTEXT).exact) == {"exception", "breadcrumbs"}
    quick, thorough = both_ways(raw)
    assert quick == thorough


def test_most_recorded_events_with_a_stack_trace_are_taken_exactly() -> None:
    taken = with_stack = 0
    for request in wire_requests():
        if request.name.startswith("envelopes/"):
            body = decompress(request.body, request.headers.get("content-encoding", ""), 10_000_000)
            for item in parse_envelope(body).items:
                if item.type == "event" and b'"stacktrace":' in item.payload:
                    with_stack += 1
                    taken += bool(decode_event(item.payload, CONTEXT).exact)
    assert taken > with_stack * 0.9


FAULTS: dict[str, Any] = {
    "a null in a frame": ("frames", 0, "module", None),
    "an empty frame": ("frames", 1, None, {}),
    "empty vars": ("frames", 0, "vars", {}),
    "vars that are a list": ("frames", 0, "vars", [1]),
    "large vars": ("frames", 0, "vars", {"a": "x" * 20_000}),
    "deep vars": ("frames", 0, "vars", json.loads('{"a":' * 60 + "1" + "}" * 60)),
    "NUL in vars": ("frames", 0, "vars", {"a": "\0"}),
    "half a character in vars": ("frames", 0, "vars", {"a": "\ud800"}),
    "a number beyond 64 bits in vars": ("frames", 0, "vars", {"a": 2**70}),
    "a long line": ("frames", 0, "context_line", "x" * 1000),
    "a line number that is text": ("frames", 0, "lineno", "12"),
    "an address": ("frames", 0, "instruction_addr", "0x12"),
    "a field nobody knows": ("frames", 0, "nonsense", 1),
    "a level of old": ("crumb", 0, "level", "warn"),
    "a time as a number": ("crumb", 0, "timestamp", 1795348000.5),
    "a day that is none": ("crumb", 0, "timestamp", "2026-02-30T00:00:00.000000Z"),
    "empty data": ("crumb", 0, "data", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_mended_as_ever(fault: str) -> None:
    where, index, key, value = FAULTS[fault]
    event = copy.deepcopy(EVENT)
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    holders = frames if where == "frames" else event["breadcrumbs"]["values"]
    if key is None:
        holders[index] = value
    else:
        holders[index][key] = value
    quick, thorough = both_ways(json.dumps(event).encode())
    assert quick == thorough


@pytest.mark.parametrize("free", [b'"a": "1"', b'"n": 1'])
def test_bytes_that_are_no_utf8_do_not_stay_as_they_are(free: bytes) -> None:
    """The decoder does not look into what it leaves raw, and a column of texts takes no such bytes."""
    raw = json.dumps(EVENT).encode().replace(free, b'"a": "\xff"')
    quick, thorough = both_ways(raw)
    assert quick == thorough
    assert "\ufffd" in encode_json(quick).decode()


@pytest.mark.parametrize("nonsense", [b"", b',"nonsense":"\xff"', ',"nonsense":"ü"'.encode()])
def test_nul_in_a_frame_is_found_whatever_stands_beside_it(nonsense: bytes) -> None:
    """The search for it is another one in texts that are ASCII, and sees nothing in bytes that are no UTF-8."""
    raw = json.dumps(EVENT).encode().replace(b'"a.py"', b'"a\\u0000.py"' + nonsense)
    quick, thorough = both_ways(raw)
    assert quick == thorough
    assert quick["exception"]["values"][0]["stacktrace"]["frames"][0]["filename"] == "a\ufffd.py"


@pytest.mark.parametrize("length", range(60, 130, 10))
def test_depth_is_bounded_in_short_data_too(length: int) -> None:
    event = copy.deepcopy(EVENT)
    event["breadcrumbs"]["values"][0]["data"] = {"a": json.loads("[" * length + "]" * length)}
    raw = json.dumps(event, separators=(",", ":")).encode()
    try:
        quick, thorough = both_ways(raw)
    except PayloadError:
        assert length >= 90
    else:
        assert quick == thorough
        assert length < 110


@pytest.mark.parametrize("ascii_only", [True, False])
def test_texts_beyond_ascii_are_the_same_both_ways(ascii_only: bool) -> None:
    event = copy.deepcopy(EVENT)
    event["exception"]["values"][0]["value"] = "größer \U0001f680"
    event["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"] = {"a": "größer"}
    raw = json.dumps(event, ensure_ascii=ascii_only).encode()
    assert decode_event(raw, CONTEXT).exact
    quick, thorough = both_ways(raw)
    assert quick == thorough


def test_a_wrong_clock_is_corrected_in_breadcrumbs_too() -> None:
    late = ItemContext(1, NOW, "a" * 32, sent_at=datetime(2026, 11, 22, 11, tzinfo=UTC))
    quick, thorough = both_ways(json.dumps(EVENT).encode(), late)
    assert quick == thorough
    assert quick["breadcrumbs"]["values"][0]["timestamp"] == "2026-11-22T12:59:58.000000Z"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_FRAME = st.dictionaries(
    st.sampled_from(["filename", "function", "lineno", "vars", "in_app", "pre_context", "module", "data"]),
    _JSON,
)


@given(
    frames=st.lists(_FRAME | _JSON, max_size=4),
    crumbs=_JSON,
    rest=st.dictionaries(st.text(max_size=8), _JSON),
)
def test_whatever_the_event_both_ways_agree(frames: Any, crumbs: Any, rest: dict[str, Any]) -> None:
    event = {**rest, "exception": {"values": [{"stacktrace": {"frames": frames}}]}, "breadcrumbs": crumbs}
    quick, thorough = both_ways(json.dumps(event).encode())
    assert quick == thorough


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_payload_error(raw: bytes) -> None:
    try:
        decode_event(raw, CONTEXT)
    except PayloadError:
        return
