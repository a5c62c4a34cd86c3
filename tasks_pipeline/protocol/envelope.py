"""The envelope container: headers and items as bytes. What the items mean belongs to `items` and the payload modules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from tasks_pipeline.protocol.bounds import MAX_HEADERS_BYTES, MAX_PLAIN_HEADERS_BYTES
from tasks_pipeline.protocol.decode import PayloadError, decode_json

EVENT_TYPES = frozenset({"event", "transaction", "feedback", "security"})
"""Types of items that are events: they have the envelope's event id, so there is one of them at most."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_BLANK = b" \t\r"


class EnvelopeError(ValueError):
    """The bytes are not an envelope; `reason` says why without quoting the sender."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Item:
    """One item: its headers (`type` is always there and a string) and its payload."""

    headers: dict[str, Any]
    payload: bytes

    @property
    def type(self) -> str:
        """The item's type, as the sender named it."""
        return cast(str, self.headers["type"])


@dataclass(slots=True)
class Envelope:
    """Headers and items, in the order of the wire."""

    headers: dict[str, Any]
    items: list[Item] = field(default_factory=list)


def parse_envelope(data: bytes | memoryview, max_items: int = 200, max_events: int | None = None) -> Envelope:
    """The envelope in `data`. Raises EnvelopeError, and nothing else, whatever the bytes are.

    A payload without `length` ends at the next newline; one with it must be followed by a newline or the end.
    Blank lines between items are skipped. Payloads are not looked into. The receiver asks for at most `max_events` items
    that are events; what it took before it did so is processed all the same.
    """
    data = bytes(data)
    size = len(data)
    end = _line_end(data, 0)
    envelope = Envelope(_headers(data[:end], "envelope headers"))
    items = envelope.items
    events = 0
    position = end + 1
    while position < size:
        end = _line_end(data, position)
        line = data[position:end]
        if not line.strip(_BLANK):
            position = end + 1
            continue
        if len(items) >= max_items:
            raise EnvelopeError(f"more than {max_items} items")
        headers = _item_headers(line)
        events += headers["type"] in EVENT_TYPES
        if max_events is not None and events > max_events:
            raise EnvelopeError(f"items that are events: found {events}, allowed {max_events}")
        start = min(end + 1, size)
        end = _payload_end(data, start, headers.get("length"))
        items.append(Item(headers, data[start:end]))
        position = end + 1
    return envelope


def write_envelope(envelope: Envelope) -> bytes:
    """The wire form of an envelope; every item gets its `length`."""
    parts = [_encode(envelope.headers)]
    for item in envelope.items:
        parts.append(_encode({**item.headers, "length": len(item.payload)}))
        parts.append(item.payload)
    parts.append(b"")
    return b"\n".join(parts)


def _line_end(data: bytes, start: int) -> int:
    """Where the header line that begins at `start` ends: at a newline or the end of data."""
    end = data.find(b"\n", start, start + MAX_HEADERS_BYTES + 1)
    if end >= 0:
        return end
    if len(data) - start > MAX_HEADERS_BYTES:
        raise EnvelopeError(f"headers of more than {MAX_HEADERS_BYTES} bytes")
    return len(data)


def _payload_end(data: bytes, start: int, length: object) -> int:
    if length is None:
        end = data.find(b"\n", start)
        return end if end >= 0 else len(data)
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise EnvelopeError("item headers: length is not a number of bytes")
    end = start + length
    if end > len(data):
        raise EnvelopeError("item payload ends before its length")
    if end < len(data) and data[end] != 0x0A:
        raise EnvelopeError("item payload is not followed by a newline")
    return end


def _item_headers(line: bytes) -> dict[str, Any]:
    headers = _headers(line, "item headers")
    if not isinstance(headers.get("type"), str):
        raise EnvelopeError("item headers: type is missing or not a string")
    if len(line) > MAX_PLAIN_HEADERS_BYTES:
        headers = {name: value for name, value in headers.items() if not isinstance(value, list | dict)}
    return headers


def _headers(line: bytes, what: str) -> dict[str, Any]:
    """A header line as plain data that can be stored; lone surrogates and NUL (in file names, say) are replaced."""
    try:
        if b"\\u0000" not in line:
            return _decode(line)
    except (ValueError, RecursionError):
        pass  # the slow way takes more, or says that this is no JSON at all
    try:
        headers = decode_json(line)
    except PayloadError as error:
        raise EnvelopeError(f"{what}: not JSON") from error
    if not isinstance(headers, dict):
        raise EnvelopeError(f"{what}: not a JSON object")
    return headers
