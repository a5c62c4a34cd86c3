"""Shapes of the parts of an event that have no stack: messages, breadcrumbs, tags, request, user, contexts and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

from tasks_pipeline.protocol.bounds import (
    MAX_BREADCRUMBS,
    MAX_CONTEXTS,
    MAX_FINGERPRINT,
    MAX_KEY,
    MAX_MODULES,
    MAX_PAIRS,
    MAX_TAGS,
)
from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.protocol.fields import (
    Fields,
    check_fields,
    count,
    data,
    event_id,
    ip,
    json_text,
    level,
    mapping,
    span_id,
    text,
    time,
    values,
)
from tasks_pipeline.protocol.trim import Notes, Path, cut_data, cut_text

# Breadcrumbs and messages

BREADCRUMB: Fields = {
    "timestamp": time,
    "type": 64,
    "category": 256,
    "level": level,
    "message": 4096,
    "data": mapping(8192),
    "event_id": event_id,
    "origin": 128,
}

breadcrumbs = values(0, MAX_BREADCRUMBS, BREADCRUMB)


_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[-+ #0]{0,5}\d{0,3}(?:\.\d{1,3})?[sdifrxgeu]|\{(\w*)\}")


def _with_parameters(message: str, params: Any) -> str:
    """The message with its placeholders (%s, %(name)s, {}, {0}, {name}) replaced, as far as there are parameters."""
    named = params if isinstance(params, dict) else {str(i): p for i, p in enumerate(params)}
    count = 0

    def value(match: re.Match[str]) -> str:
        nonlocal count
        name = match[1] or match[2]
        if not name:
            name = str(count)
            count += 1
        if name not in named:
            return match[0]
        given = named[name]
        return given if isinstance(given, str) else encode_json(given).decode()

    return _PLACEHOLDER.sub(value, message)


_MESSAGE: Fields = {"message": json_text(8192), "formatted": json_text(8192), "params": data(8192)}


def logentry(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """A message: `formatted` is what people read; `message` is there when it differs, its parameters in `params`."""
    entry = value if isinstance(value, dict) else {"formatted": value}
    check_fields(entry, _MESSAGE, notes, (*path, key))
    message, params = entry.get("message"), entry.get("params")
    if message and not entry.get("formatted"):
        formatted = _with_parameters(message, params) if isinstance(params, list | dict) else message
        entry["formatted"] = cut_text(formatted, 8192, notes, (*path, key, "formatted"))
    if message is not None and message == entry.get("formatted"):
        del entry["message"]
    return entry if entry.get("formatted") else None


# Tags, pairs, requests, users, contexts


def tags(value: Any, notes: Notes, path: Path, key: str) -> dict[str, str] | None:
    """Tags as an object of texts, from an object, a list of pairs or a list of {"key", "value"}."""
    path = (*path, key)
    kept: dict[str, str] = {}
    for name, item in _items(value, notes, path):
        if len(kept) == MAX_TAGS:
            notes.cut(path, len(value))
            break
        if item is None or not name:
            continue
        name = cut_text(name, MAX_KEY, notes, (*path, name[:MAX_KEY]))
        given = text(item, MAX_KEY, notes, path, name)
        if given is not None:
            kept[name] = given.replace("\n", " ")
    return kept or None


def _items(value: Any, notes: Notes, path: Path) -> Iterator[tuple[str, Any]]:
    """Names and values of an object, a list of pairs or a list of {"key", "value"}."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict):
                item = [item.get("key"), item.get("value")]
            if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str):
                yield item[0], item[1]
            elif item is not None:
                notes.invalid((*path, index), item)
    elif value:
        notes.invalid(path, value)


def _are_short_texts(pairs: list[list[Any]], limit: int) -> bool:
    """Whether pairs are texts of at most `limit` characters in all, the names not longer than names may be."""
    length = 0
    for name, value in pairs:
        if value.__class__ is not str or len(name) > MAX_KEY:
            return False
        length += len(name) + len(value)
    return length <= limit


def _pairs(items: Iterator[tuple[str, Any]], limit: int, notes: Notes, path: Path) -> list[list[str]] | None:
    """[[name, value], …] of at most `limit` characters in all; a list of values becomes several pairs."""
    pairs = [[name, value] for name, value in items]
    if len(pairs) <= MAX_PAIRS and _are_short_texts(pairs, limit // 2):
        return pairs or None  # nearly all
    kept: list[list[str]] = []
    left = limit
    for name, given in pairs:
        for item in given if isinstance(given, list) else (given,):
            index = len(kept)
            known = "" if item is None else text(item, limit // 2, notes, path, str(index))
            if known is None:
                continue
            pair = [cut_text(name, MAX_KEY, notes, (*path, index, 0)), known]
            left -= len(pair[0]) + len(pair[1])
            if left < 0 or index == MAX_PAIRS:
                notes.invalid(path, None, "value_too_long")
                return kept or None
            kept.append(pair)
    return kept or None


def _headers(value: Any, notes: Notes, path: Path, key: str) -> list[list[str]] | None:
    """Headers as pairs, their names in one spelling: Content-Type."""
    path = (*path, key)
    return _pairs(
        ((n.title() if n.isascii() else n, v) for n, v in _items(value, notes, path)), 16_384, notes, path
    )


def _query(value: Any, notes: Notes, path: Path, key: str) -> list[list[str]] | None:
    path = (*path, key)
    if isinstance(value, str):
        query = cut_text(value.removeprefix("?"), 8192, notes, path)
        parsed = parse_qsl(query, keep_blank_values=True)
        return _pairs(
            ((n.replace("\0", "\ufffd"), v.replace("\0", "\ufffd")) for n, v in parsed), 8192, notes, path
        )
    return _pairs(_items(value, notes, path), 8192, notes, path)


def _cookies(value: Any, notes: Notes, path: Path, key: str) -> list[list[str]] | None:
    path = (*path, key)
    if isinstance(value, str):
        crumbs = (c.partition("=") for c in cut_text(value, 8192, notes, path).split(";") if c.strip())
        return _pairs(((name.strip(), item.strip()) for name, _, item in crumbs), 8192, notes, path)
    return _pairs(_items(value, notes, path), 8192, notes, path)


_REQUEST: Fields = {
    "method": 64,
    "url": 4096,
    "fragment": 1024,
    "query_string": _query,
    "headers": _headers,
    "cookies": _cookies,
    "data": data(8192),
    "env": mapping(8192),
    "body_size": count,
    "api_target": 64,
    "inferred_content_type": 128,
}


def request(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """The HTTP request; query and fragment of its URL lie in fields of their own."""
    if not isinstance(value, dict):
        if value:
            notes.invalid((*path, key), value)
        return None
    url = value.get("url")
    if isinstance(url, str):
        url, _, fragment = url.partition("#")
        value["url"], _, query = url.partition("?")
        if fragment and not value.get("fragment"):
            value["fragment"] = fragment
        if query and not value.get("query_string"):
            value["query_string"] = query
    check_fields(value, _REQUEST, notes, (*path, key))
    return value or None


_USER: Fields = {
    "id": 256,
    "username": 256,
    "email": 256,
    "name": 256,
    "segment": 128,
    "ip_address": ip,
    "geo": mapping(1024),
    "data": mapping(8192),
}


def user(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """The user; what is not one of the known fields lies in `data`."""
    if not isinstance(value, dict):
        if value:
            notes.invalid((*path, key), value)
        return None
    more = {k: v for k, v in value.items() if k not in _USER and v is not None}
    if more:
        given = value.get("data")
        value["data"] = {**more, **given} if isinstance(given, dict) else more
        for name in [k for k in value if k not in _USER]:
            del value[name]
    check_fields(value, _USER, notes, (*path, key))
    return value or None


_context = mapping(8192)
_TRACE_IDS: Fields = {"trace_id": event_id, "span_id": span_id, "parent_span_id": span_id}


def contexts(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """Contexts by name, each an object of at most 8 kB; the ids of `trace` in one spelling."""
    if not isinstance(value, dict):
        if value:
            notes.invalid((*path, key), value)
        return None
    path = (*path, key)
    kept: dict[str, Any] = {}
    for name, given in value.items():
        if len(kept) == MAX_CONTEXTS or len(name) > MAX_KEY:
            notes.invalid((*path, name), None, "value_too_long")
        elif (context := _context(given, notes, path, name)) is not None:
            kept[name] = context
    trace = kept.get("trace")
    if trace:
        ids = {k: trace.pop(k) for k in _TRACE_IDS if k in trace}
        check_fields(ids, _TRACE_IDS, notes, (*path, "trace"))
        trace.update(ids)
        if not trace:
            del kept["trace"]
    return kept or None


def extra(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """Extra data: 16 kB a value, 256 kB in all."""
    if not isinstance(value, dict):
        if value:
            notes.invalid((*path, key), value)
        return None
    if len(encode_json(value)) <= 16_384:
        return value or None
    short = {k: cut_data(v, 16_384, notes, (*path, key, k)) for k, v in value.items()}
    return cut_data(short, 262_144, notes, (*path, key)) or None


def modules(value: Any, notes: Notes, path: Path, key: str) -> dict[str, str] | None:
    """Versions of installed packages by name."""
    if not isinstance(value, dict):
        if value:
            notes.invalid((*path, key), value)
        return None
    path = (*path, key)
    kept: dict[str, str] = {}
    for name, version in value.items():
        if len(kept) == MAX_MODULES:
            notes.cut(path, len(value))
            break
        known = (
            version
            if version.__class__ is str and len(version) <= 64
            else text(version, 64, notes, path, name)
        )
        if known is not None and len(name) <= MAX_KEY:
            kept[name] = known
    return kept or None


def fingerprint(value: Any, notes: Notes, path: Path, key: str) -> list[str] | None:
    """The client's fingerprint as a list of texts."""
    given = value if isinstance(value, list) else [value]
    parts = (text(v, 256, notes, (*path, key), str(i)) for i, v in enumerate(given[:MAX_FINGERPRINT]))
    if len(given) > MAX_FINGERPRINT:
        notes.cut((*path, key), len(given))
    return [p for p in parts if p is not None] or None


SDK: Fields = {
    "name": 128,
    "version": 64,
    "integrations": data(8192),
    "features": data(4096),
    "packages": data(8192),
    "settings": mapping(4096),
}
