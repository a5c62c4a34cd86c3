"""Recorded traffic of real clients, ready to be sent again: requests as they were on the wire, and fresh shop events."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import brotli
import zstandard

FOLDER = Path(__file__).parent / "recordings"
PUBLIC_KEY = "0123456789abcdef0123456789abcdef"
"""The key in all recordings; their project is number 1."""

_DROPPED_HEADERS = {"host", "content-length", "connection", "transfer-encoding", "accept-encoding"}


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; `path` holds the query too. `accepted` says whether a receiver has to take it."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    accepted: bool = True


@dataclass(frozen=True, slots=True)
class ShopEvent:
    """An envelope with one error event of the sample shop; `truth` is the place in the program that raised it."""

    event_id: str
    truth: int
    body: bytes


_DAY = re.compile(rb"20\d\d-\d\d-\d\d(?=T\d\d:\d\d:)")
"""As long as what it is replaced by: lengths in headers of items stay right."""


def wire_requests(day: date | None = None) -> Iterator[Request]:
    """Every recorded and hand-made request, in the order of the index, with the recorded content encoding.

    With `day` recorded sessions name it in the place of the day they were recorded on: old ones are not taken.
    """
    index = json.loads((FOLDER / "wire" / "INDEX.json").read_text())
    for entry in index["recorded"]:
        if entry["kind"] in ("envelope", "store", "security", "minidump"):
            yield _recorded(entry, day)
    for entry in index["crafted"]:
        body = (FOLDER / "wire" / entry["file"]).read_bytes()
        path = "/api/1/envelope/" if b'"dsn"' in body else f"/api/1/envelope/?sentry_key={PUBLIC_KEY}"
        yield Request(entry["file"], "POST", path, {}, body, accepted=entry["well_formed"])


def _recorded(entry: dict[str, Any], day: date | None) -> Request:
    file = FOLDER / "wire" / (entry.get("wire") or entry["file"])
    facts = json.loads(_headers_file(file).read_text())
    headers = {k: v for k, v in facts["headers"].items() if k.lower() not in _DROPPED_HEADERS}
    body = file.read_bytes()
    if entry["kind"] == "envelope":
        if day is not None and b'"type":"session' in body:
            body = _DAY.sub(day.isoformat().encode(), body)
        body = compress(body, headers.get("content-encoding", ""))
    query = f"?{facts['query']}" if facts["query"] else ""
    return Request(entry["file"], facts["method"], facts["raw_path"] + query, headers, body)


def _headers_file(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(file.suffix) + ".headers.json")


def compress(body: bytes, encoding: str) -> bytes:
    """The body in a content encoding; recordings are kept decompressed."""
    match encoding:
        case "gzip" | "deflate":
            packer = zlib.compressobj(6, zlib.DEFLATED, 31 if encoding == "gzip" else 15)
            return packer.compress(body) + packer.flush()
        case "br":
            return bytes(brotli.compress(body, quality=4))
        case "zstd":
            return zstandard.compress(body)
    return body


def shop_events(count: int, encoding: str = "gzip") -> Iterator[ShopEvent]:
    """So many events of the sample shop, each with a fresh id and the time of now; the 2,000 recorded ones in turn."""
    sent = 0
    while sent < count:
        for recorded in _shop_lines():
            if sent == count:
                return
            sent += 1
            yield _fresh(recorded, encoding)


def shop_request(event: ShopEvent, encoding: str = "gzip") -> Request:
    """The request that an SDK sends for a shop event."""
    headers = {
        "content-type": "application/x-sentry-envelope",
        "content-encoding": encoding,
        "x-sentry-auth": f"Sentry sentry_key={PUBLIC_KEY}, sentry_version=7, sentry_client=sentry.python/2.75.0",
    }
    return Request(event.event_id, "POST", "/api/1/envelope/", headers, event.body)


def _shop_lines() -> Iterator[dict[str, Any]]:
    unpacker = zstandard.ZstdDecompressor(max_window_size=2**27)
    with (FOLDER / "shop-2000.jsonl.zst").open("rb") as file, unpacker.stream_reader(file) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            yield json.loads(line)


def _fresh(recorded: dict[str, Any], encoding: str) -> ShopEvent:
    event_id, now = uuid4().hex, datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    envelope: str = recorded["envelope"]
    for old, new in (
        (recorded["event_id"], event_id),
        (recorded["timestamp"], now),
        (recorded["sent_at"], now),
    ):
        envelope = envelope.replace(old, new)
    return ShopEvent(event_id, recorded["truth"], compress(envelope.encode(), encoding))
