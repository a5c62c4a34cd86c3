"""JSON of strangers to plain data and back: what comes out is always UTF-8, free of NUL, of bounded depth and numbers.

What the data means does not belong here.
"""

from __future__ import annotations

import gc
import json
import math
import re
from typing import Any

import msgspec

from tasks_pipeline.protocol.bounds import MAX_DEPTH, MAX_INTEGER
from tasks_pipeline.recurring import SharedFrames


class PayloadError(ValueError):
    """A payload cannot be used; the message is the reason, for people."""


_decode = msgspec.json.Decoder().decode


def _frames_as_json(value: object) -> msgspec.Raw:
    if isinstance(value, SharedFrames):
        return msgspec.Raw(value.json())
    raise TypeError(f"no JSON of {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_frames_as_json).encode

_DIGITS_TO_ZERO = bytes(ord("0") if chr(b).isdigit() else ord(" ") for b in range(128)) + b" " * 128
_LONG_NUMBER = b"0" * 19
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def decode_json(raw: bytes) -> Any:
    """Plain data from a JSON text; raises PayloadError alone.

    More is accepted than JSON allows, since real clients send it: a byte order mark, control characters in strings,
    invalid UTF-8, NUL and lone surrogates (each becomes U+FFFD), NaN and Infinity (become null). Of keys that occur
    twice the last wins. Integers outside int64 become strings of their digits, so that no digit of an id is lost;
    floats outside double become null. Nesting deeper than MAX_DEPTH is refused.
    """
    try:
        value = _decode(raw)
    except (ValueError, RecursionError):
        return _clean(_decode_leniently(raw), MAX_DEPTH)
    if b"\\u0000" in raw or has_long_number(raw) or not (len(raw) <= 2 * MAX_DEPTH or is_shallow(value)):
        return _clean(value, MAX_DEPTH)
    return value


def encode_json(value: object) -> bytes:
    """Compact JSON in UTF-8 of what decode_json returns."""
    return _encode(value)


def storable(text: str) -> str:
    """A text without NUL and lone surrogates, which no store takes; each becomes U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def fits_int64(value: int) -> bool:
    """Whether a signed 64-bit integer can hold it."""
    return -MAX_INTEGER - 1 <= value <= MAX_INTEGER


def _decode_leniently(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8-sig", "replace"),
            strict=False,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=lambda _: None,
        )
    except RecursionError:
        raise PayloadError(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise PayloadError(f"not JSON: {error}") from None


def _integer(digits: str) -> int | str:
    # int() of thousands of digits is slow, and refused by Python
    if len(digits) > 20:
        return digits
    value = int(digits)
    return value if fits_int64(value) else digits


def _float(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def has_long_number(raw: bytes) -> bool:
    """Whether so many digits stand in a row that they might be an integer outside int64."""
    return _LONG_NUMBER in raw.translate(_DIGITS_TO_ZERO)


def is_shallow(value: object) -> bool:
    """Whether lists and objects lie at most MAX_DEPTH levels inside one another."""
    # The garbage collector's view walks a level at a time in C, and leaves out objects that hold no lists or objects
    # (so a last level more is possible): less than half the time of a loop.
    level: list[object] = [value]
    for _ in range(MAX_DEPTH - 1):
        level = [*filter(gc.is_tracked, gc.get_referents(*level))]
        if not level:
            return True
    return False


def _clean(value: Any, levels: int) -> Any:
    """The same data with everything replaced that cannot be stored; raises PayloadError for too deep nesting."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list | dict) and not levels:
        raise PayloadError(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list):
        return [_clean(v, levels - 1) for v in value]
    if isinstance(value, dict):
        return {storable(k): _clean(v, levels - 1) for k, v in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and not fits_int64(value):
        return str(value)
    return value
