"""Decoding JSON of strangers."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.protocol.bounds import MAX_DEPTH
from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=25,
)


def leaves(value: Any, depth: int = 0) -> list[tuple[Any, int]]:
    """Every text, key, number and so on of a value, with its depth."""
    if isinstance(value, dict):
        return [x for k, v in value.items() for x in [(k, depth + 1), *leaves(v, depth + 1)]]
    if isinstance(value, list):
        return [x for v in value for x in leaves(v, depth + 1)]
    return [(value, depth)]


def assert_storable(value: Any) -> None:
    for leaf, depth in leaves(value):
        assert depth <= MAX_DEPTH
        if isinstance(leaf, str):
            assert "\0" not in leaf
            leaf.encode("utf-8")
        elif isinstance(leaf, int) and not isinstance(leaf, bool):
            assert -(2**63) <= leaf < 2**63
        elif isinstance(leaf, float):
            assert math.isfinite(leaf)
    assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b' {"a": [1, 2.5, null, true, "x"]} ', {"a": [1, 2.5, None, True, "x"]}),
        (b'"\\u0000"', "\ufffd"),
        (b'{"a\\u0000b": "c\\u0000d"}', {"a\ufffdb": "c\ufffdd"}),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"\\ud800"', "\ufffd"),
        (b'"\\ud800\\u0041"', "\ufffdA"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\xff"', "\ufffd"),
        (b'"a\nb\x00"', "a\nb\ufffd"),
        (b"[NaN, Infinity, -Infinity, 1e999]", [None, None, None, None]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": NaN, "a": 2}', {"a": 2}),
        (b"\xef\xbb\xbf{}", {}),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"[9223372036854775808, NaN]", ["9223372036854775808", None]),
        (b"18446744073709551616", "18446744073709551616"),
        (b"-9223372036854775809", "-9223372036854775809"),
        (b"1" * 6000, "1" * 6000),
    ],
)
def test_values(raw: bytes, value: object) -> None:
    assert decode_json(raw) == value


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[1,]", b"{} x", b"\x1f\x8b\x08", b"{'a': 1}", b"\xff\xfe{\x00}\x00"]
)
def test_what_is_not_json_is_refused_with_a_reason(raw: bytes) -> None:
    with pytest.raises(PayloadError, match="not JSON"):
        decode_json(raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"}":'])
def test_depth_is_bounded(opening: bytes) -> None:
    closing = bytes({ord("["): ord("]"), ord("{"): ord("}")}[b] for b in reversed(opening) if b in b"[{")
    levels = len(closing)

    def nested(depth: int) -> bytes:
        return opening * (depth // levels) + b"1" + closing * (depth // levels)

    assert_storable(decode_json(nested(MAX_DEPTH)))
    for depth in (MAX_DEPTH + levels, 900, 10_000, 200_000):
        with pytest.raises(PayloadError, match="nested deeper"):
            decode_json(nested(depth))


def test_brackets_in_strings_do_not_hide_or_feign_depth() -> None:
    assert decode_json(json.dumps(["[{" * 500]).encode()) == ["[{" * 500]
    deep: Any = 1
    for _ in range(MAX_DEPTH + 20):
        deep = {"}": deep, "{": 0}
    with pytest.raises(PayloadError, match="nested deeper"):
        decode_json(json.dumps(deep).encode())


@given(JSON)
def test_whatever_python_can_dump_becomes_storable(value: Any) -> None:
    assert_storable(decode_json(json.dumps(value).encode()))


@given(st.binary(max_size=200))
def test_any_bytes_give_data_or_a_payload_error(raw: bytes) -> None:
    try:
        value = decode_json(raw)
    except PayloadError:
        return
    assert_storable(value)
