"""Requests that are not envelopes, turned into envelopes: store, security, minidump, cron, user feedback, attachments.

Pure functions from bytes and query to an Envelope. What is larger than its item may be is not looked into: the receiver
refuses the item, and JSON is many times its size once it is decoded. Reading requests and answering them belongs to the receiver.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tasks_pipeline.protocol.bounds import MAX_CHECK_IN_BYTES
from tasks_pipeline.protocol.decode import PayloadError, decode_json
from tasks_pipeline.protocol.encoding import EncodingError, TooLarge, decompress
from tasks_pipeline.protocol.envelope import Envelope, Item
from tasks_pipeline.protocol.ids import NIL_ID, new_event_id, parse_event_id, payload_ids

SECURITY_TYPES = frozenset(
    {
        "application/csp-report",
        "application/json",
        "application/expect-ct-report",
        "application/expect-ct-report+json",
        "application/expect-staple-report",
        "application/expect-staple-report+json",
    }
)
"""Content types of security reports."""

MINIDUMP_PART = "upload_file_minidump"
MAX_SENTRY_DEPTH = 10
MAX_JSON_BYTES = 1024 * 1024
CHECK_IN_STATUSES = ("in_progress", "ok", "error")
_SECURITY_CONTEXT = ("environment", "release")
_SENTRY_PATH = re.compile(r"sentry((?:\[[^\[\]]+\])+)")
_SENTRY_CHUNK = re.compile(r"sentry__([0-9]{1,4})")


class FormError(ValueError):
    """The request cannot become an envelope; `reason` is for its sender."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def store_envelope(body: bytes, max_event_bytes: int) -> Envelope:
    """The body of a store request: JSON, or base64 of JSON or of deflated JSON.

    Raises FormError, and TooLarge when the deflated JSON is larger than `max_event_bytes`.
    """
    payload = _store_payload(body, max_event_bytes)
    if len(payload) > max_event_bytes:
        return _envelope(None, Item({"type": "event"}, payload))
    try:
        ids = payload_ids(payload)
    except PayloadError as error:
        raise FormError("the event is not a JSON object") from error
    item_type = "transaction" if ids.type == "transaction" else "event"
    return _envelope(parse_event_id(ids.event_id), Item({"type": item_type}, payload))


def security_envelope(
    body: bytes, query: Mapping[str, str], max_event_bytes: int = MAX_JSON_BYTES
) -> Envelope:
    """A browser's report, kept as it is; environment and release come from the query."""
    if len(body) <= max_event_bytes:
        _object(body)
    headers = {"type": "security"}
    headers |= {name: value for name in _SECURITY_CONTEXT if (value := query.get(f"sentry_{name}"))}
    return _envelope(None, Item(headers, body))


def minidump_envelope(
    body: bytes, content_type: str, max_parts: int, max_event_bytes: int = MAX_JSON_BYTES
) -> Envelope:
    """A crash report as multipart form: an event, the minidump, and every other file as attachment."""
    parts = _multipart(body, content_type, max_parts)
    dump = next((part for part in parts if part.name == MINIDUMP_PART), None)
    if dump is None:
        raise FormError(f"part {MINIDUMP_PART} is missing")
    if not dump.data.startswith(b"MDMP"):
        raise FormError(f"part {MINIDUMP_PART} is not a minidump")
    files = [
        part for part in parts if part.filename is not None and part is not dump and part.name != "sentry"
    ]
    event = _crash_event([part for part in parts if part is not dump and part not in files], max_event_bytes)
    event_id = event["event_id"] = parse_event_id(event.get("event_id")) or new_event_id()
    return _envelope(
        event_id,
        Item({"type": "event"}, msgspec.json.encode(event)),
        _attachment(dump, "event.minidump"),
        *(_attachment(part) for part in files),
    )


def attachments_envelope(body: bytes, content_type: str, event_id: str, max_parts: int) -> Envelope:
    """Files of a multipart form, to be attached to an event that came before."""
    files = [part for part in _multipart(body, content_type, max_parts) if part.filename is not None]
    if not files:
        raise FormError("the form holds no file")
    return _envelope(event_id, *(_attachment(part) for part in files))


def check_in_envelope(slug: str, query: Mapping[str, str], body: bytes) -> Envelope:
    """A check-in from the query, or from a JSON body; what the query says wins."""
    if len(body) > MAX_CHECK_IN_BYTES:
        return Envelope({}, [Item({"type": "check_in"}, body)])
    names = ("status", "check_in_id", "environment", "duration")
    given = (_object(body) if body.strip() else {}) | {name: query[name] for name in names if name in query}
    payload: dict[str, Any] = {"check_in_id": NIL_ID, "monitor_slug": slug, "status": given.get("status")}
    if payload["status"] not in CHECK_IN_STATUSES:
        raise FormError(f"status: allowed are {', '.join(CHECK_IN_STATUSES)}")
    if given.get("check_in_id") is not None:
        payload["check_in_id"] = parse_event_id(given["check_in_id"])
        if payload["check_in_id"] is None:
            raise FormError("check_in_id is not a UUID")
    if given.get("duration") is not None:
        payload["duration"] = _seconds(given["duration"])
    payload |= {
        name: given[name] for name in ("environment", "monitor_config") if given.get(name) is not None
    }
    return Envelope({}, [Item({"type": "check_in"}, msgspec.json.encode(payload))])


def user_report_envelope(event_id: str, body: bytes) -> Envelope:
    """The URL-encoded form of the report dialog: name, email and comments about an event."""
    try:
        fields = dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=100))
    except ValueError as error:
        raise FormError("too many fields") from error
    report = {name: fields.get(name, "").strip() for name in ("name", "email", "comments")}
    if not report["comments"]:
        raise FormError("comments: nothing was written")
    return _envelope(
        event_id, Item({"type": "user_report"}, msgspec.json.encode({"event_id": event_id, **report}))
    )


def _envelope(event_id: str | None, *items: Item) -> Envelope:
    return Envelope({"event_id": event_id or new_event_id()}, list(items))


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = decode_json(data)
    except PayloadError as error:
        raise FormError("the body is not JSON") from error
    if not isinstance(value, dict):
        raise FormError("the body is not a JSON object")
    return value


def _store_payload(body: bytes, limit: int) -> bytes:
    body = body.strip()
    if not body:
        raise FormError("the body is empty")
    if body.startswith(b"{"):
        return body
    try:
        data = base64.b64decode(body, validate=False)
    except binascii.Error as error:
        raise FormError("the body is neither JSON nor base64") from error
    if data.startswith(b"{"):
        return data
    try:
        return decompress(data, "deflate", limit)
    except TooLarge:
        raise
    except EncodingError as error:
        raise FormError("the body is neither JSON nor base64 of deflated JSON") from error


def _seconds(value: object) -> float:
    number = (isinstance(value, str) and len(value) <= 64) or (
        isinstance(value, int | float) and not isinstance(value, bool)
    )
    try:
        seconds = float(value) if number else math.nan  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        seconds = math.nan
    if not math.isfinite(seconds) or seconds < 0:
        raise FormError("duration is not a number of seconds")
    return seconds


@dataclass(slots=True, eq=False)
class _Part:
    """A part of a multipart form; a file when it has a file name."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: bytes = b""
    name: str = ""
    filename: str | None = None

    @property
    def content_type(self) -> str | None:
        value = self.headers.get(b"content-type")
        return value.decode("latin-1")[:200] if value else None

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace").replace("\0", "")


def _attachment(part: _Part, attachment_type: str | None = None) -> Item:
    headers = {"type": "attachment", "filename": part.filename or part.name}
    if part.content_type:
        headers["content_type"] = part.content_type
    if attachment_type:
        headers["attachment_type"] = attachment_type
    return Item(headers, part.data)


def _crash_event(fields: list[_Part], max_bytes: int) -> dict[str, Any]:
    """The event that the form's fields describe, completed to a fatal crash."""
    event: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    text = next((part.text for part in fields if part.name == "sentry"), "") or _chunks(fields)
    if len(text) > max_bytes:
        extra["sentry"] = text
    elif text:
        try:
            event = _object(text.encode())
        except FormError:
            extra["sentry"] = text  # a crash is worth more than the rest of its form
    for part in fields:
        if path := _SENTRY_PATH.fullmatch(part.name):
            _set(event, path.group(1)[1:-1].split("]["), part.text)
        elif part.name != "sentry" and not _SENTRY_CHUNK.fullmatch(part.name):
            extra[part.name] = part.text
    if extra and isinstance(event.setdefault("extra", {}), dict):
        event["extra"] = extra | event["extra"]
    event.setdefault("platform", "native")
    event.setdefault("level", "fatal")
    if not event.get("exception"):
        mechanism = {"type": "minidump", "handled": False, "synthetic": True}
        event["exception"] = {"values": [{"type": "Minidump", "mechanism": mechanism}]}
    return event


def _chunks(fields: list[_Part]) -> str:
    """The JSON that came in numbered pieces, because of a limit on the length of a field."""
    found = [
        (int(match.group(1)), part.text) for part in fields if (match := _SENTRY_CHUNK.fullmatch(part.name))
    ]
    return "".join(text for _, text in sorted(found))


def _set(event: dict[str, Any], path: list[str], value: str) -> None:
    if len(path) > MAX_SENTRY_DEPTH:
        raise FormError("sentry[…] is nested too deeply")
    node = event
    for key in path[:-1]:
        child = node.setdefault(key, {})
        if not isinstance(child, dict):
            return
        node = child
    node[path[-1]] = value


def _multipart(body: bytes, content_type: str, max_parts: int) -> list[_Part]:
    """The parts of a multipart form. Raises FormError when it is broken, cut off or has more than `max_parts`."""
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise FormError("the content type is not multipart/form-data with a boundary")
    parts: list[_Part] = []
    pieces: list[bytes] = []
    header: list[bytes] = [b"", b""]
    ended: list[bool] = []

    def part_begin() -> None:
        if len(parts) >= max_parts:
            raise FormError(f"more than {max_parts} parts")
        parts.append(_Part())
        pieces.clear()

    def header_begin() -> None:
        header[:] = [b"", b""]

    def header_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def header_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def header_end() -> None:
        parts[-1].headers[header[0].lower()] = header[1]

    def headers_finished() -> None:
        _, disposition = parse_options_header(parts[-1].headers.get(b"content-disposition"))
        parts[-1].name = disposition.get(b"name", b"").decode("utf-8", "replace")[:1000]
        if b"filename" in disposition:
            parts[-1].filename = disposition[b"filename"].decode("utf-8", "replace")[:1000]

    def part_data(data: bytes, start: int, end: int) -> None:
        pieces.append(data[start:end])

    def part_end() -> None:
        parts[-1].data = b"".join(pieces)
        pieces.clear()

    def end() -> None:
        ended.append(True)

    callbacks: dict[str, Callable[..., None]] = {
        "on_part_begin": part_begin,
        "on_part_data": part_data,
        "on_part_end": part_end,
        "on_header_begin": header_begin,
        "on_header_field": header_field,
        "on_header_value": header_value,
        "on_header_end": header_end,
        "on_headers_finished": headers_finished,
        "on_end": end,
    }
    try:
        parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise FormError("the multipart form is broken") from error
    if not ended:
        raise FormError("the multipart form ends early")
    return parts
