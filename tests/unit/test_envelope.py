"""The envelope container: what is read, what is refused, and that nothing else can happen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tasks_pipeline.demo
from tasks_pipeline.protocol.bounds import MAX_HEADERS_BYTES
from tasks_pipeline.protocol.envelope import Envelope, EnvelopeError, Item, parse_envelope, write_envelope

WIRE = Path(tasks_pipeline.demo.__file__).parent / "recordings" / "wire"
INDEX: dict[str, list[dict[str, Any]]] = json.loads((WIRE / "INDEX.json").read_text())
RECORDED = [entry for entry in INDEX["recorded"] if entry["kind"] == "envelope"]

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
headers = st.dictionaries(st.text(max_size=10), scalars | st.lists(scalars, max_size=3), max_size=4)
storable = headers.map(lambda value: json.loads(json.dumps(value).replace("\\u0000", "-")))
items = st.builds(
    lambda extra, kind, payload: Item({**extra, "type": kind, "length": len(payload)}, payload),
    storable,
    st.sampled_from(["event", "attachment", "future"]),
    st.binary(max_size=60) | st.just(b'{"type":"event","length":3}\nabc\n'),
)


@pytest.mark.parametrize("entry", RECORDED, ids=lambda entry: str(entry["file"]))
def test_recorded_envelopes_hold_the_items_that_the_client_sent(entry: dict[str, Any]) -> None:
    envelope = parse_envelope((WIRE / entry["file"]).read_bytes())
    assert [item.type for item in envelope.items] == entry["items"]
    assert sorted(envelope.headers) == sorted(entry["envelope_headers"])


@pytest.mark.parametrize("entry", INDEX["crafted"], ids=lambda entry: str(entry["file"]))
def test_crafted_envelopes_are_judged_as_the_index_says(entry: dict[str, Any]) -> None:
    data = (WIRE / entry["file"]).read_bytes()
    if entry["well_formed"]:
        parse_envelope(data)
    else:
        with pytest.raises(EnvelopeError):
            parse_envelope(data)


@pytest.mark.parametrize(
    ("data", "payloads"),
    [
        (b'{}\n{"type":"event"}\nabc', [b"abc"]),
        (b'{}\n{"type":"event"}\nabc\n', [b"abc"]),
        (b'{}\n{"type":"event"}\n\n{"type":"event"}\nx', [b"", b"x"]),
        (b'{}\n{"type":"a","length":3}\na\nb\n', [b"a\nb"]),
        (b'{}\n{"type":"a","length":0}\n\n{"type":"a","length":0}\n', [b"", b""]),
        (b'{}\n{"type":"a","length":0}', [b""]),
        (b'{}\n{"type":"a"}', [b""]),
        (b'{}\n\n{"type":"a","length":1}\nx\n\n\n', [b"x"]),
        (b'{}\r\n{"type":"a","length":1}\r\nx\n', [b"x"]),
        (b'{}\n{"type":"a","length":null}\nx\n', [b"x"]),
        (b"{}", []),
        (b"{}\n", []),
    ],
)
def test_payload_boundaries(data: bytes, payloads: list[bytes]) -> None:
    assert [item.payload for item in parse_envelope(data).items] == payloads


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"[]\n",
        b"null",
        b"{\n",
        b'{}\n{"length":1}\nx',
        b'{}\n{"type":7}\nx',
        b'{}\n{"type":"a","length":-1}\nx',
        b'{}\n{"type":"a","length":true}\nx',
        b'{}\n{"type":"a","length":1.5}\nx',
        b'{}\n{"type":"a","length":"1"}\nx',
        b'{}\n{"type":"a","length":99999999999999999999999999}\nx',
        b'{}\n{"type":"a","length":1}\nxy\n',
        b"[" * 60_000,
        b'{"a":' * 10_000 + b"1",
        b'{"pad":"' + b"x" * MAX_HEADERS_BYTES + b'"}\n',
        b"x" * 1_000_000,
    ],
)
def test_what_is_no_envelope_is_refused_with_a_reason(data: bytes) -> None:
    with pytest.raises(EnvelopeError) as refused:
        parse_envelope(data)
    assert 0 < len(refused.value.reason) < 100


def test_headers_that_cannot_be_stored_are_mended() -> None:
    name = (
        parse_envelope(b'{}\n{"type":"attachment","filename":"a\\ud800b\\u0000c"}\nx')
        .items[0]
        .headers["filename"]
    )
    assert name == "a\ufffdb\ufffdc"


def test_at_most_so_many_items() -> None:
    data = b"{}\n" + b'{"type":"a"}\n\n' * 10_000
    assert len(parse_envelope(data, max_items=10_000).items) == 10_000
    with pytest.raises(EnvelopeError, match="more than 200 items"):
        parse_envelope(data)


@given(st.binary() | st.binary(max_size=80).map(lambda tail: b'{}\n{"type":"event"' + tail))
def test_any_bytes_are_an_envelope_or_an_envelope_error(data: bytes) -> None:
    try:
        envelope = parse_envelope(memoryview(data))
    except EnvelopeError:
        return
    again = parse_envelope(write_envelope(envelope))
    assert [(item.type, item.payload) for item in again.items] == [
        (i.type, i.payload) for i in envelope.items
    ]


@given(storable, st.lists(items, max_size=5))
def test_what_is_written_is_read_again(envelope_headers: dict[str, Any], envelope_items: list[Item]) -> None:
    envelope = Envelope(envelope_headers, envelope_items)
    assert parse_envelope(write_envelope(envelope)) == envelope


def test_at_most_so_many_events() -> None:
    data = b'{}\n{"type":"event"}\n{}\n{"type":"session"}\n{}\n{"type":"feedback"}\n{}'
    assert len(parse_envelope(data).items) == 3
    with pytest.raises(EnvelopeError, match="events: found 2, allowed 1"):
        parse_envelope(data, max_events=1)


def test_lists_in_long_headers_of_items_are_not_kept() -> None:
    pad = b"[]," * 10_000
    (item,) = parse_envelope(b'{}\n{"type":"attachment","filename":"a","pad":[%s1]}\nx' % pad).items
    assert item.headers == {"type": "attachment", "filename": "a"}
