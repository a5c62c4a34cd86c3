"""Shapes of the parts of an event: for each the fields it may have, their checks and their limits.

A check takes (value, notes, path of the parent, key) and returns the value to keep: the same object when nothing is
wrong with it, None when it must go. An event as a whole belongs to `event`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl

from tasks_pipeline.protocol.decode import INT64, encode_json
from tasks_pipeline.protocol.times import corrected, format_time, parse_time
from tasks_pipeline.protocol.trim import MAX_KEY, Notes, Path, cut_data, cut_text

Check = Callable[[Any, Notes, Path, str], Any]
Fields = dict[str, int | Check]
"""Fields of an object; a number stands for a text of at most so many characters."""

MAX_FRAMES = 50
MAX_EXCEPTIONS = 50
MAX_BREADCRUMBS = 100
MAX_THREADS = 200
MAX_IMAGES = 1000
MAX_TAGS = 200
MAX_CONTEXTS = 100
MAX_LINES = 10
MAX_LINE = 256
MAX_PAIRS = 200

LEVELS = frozenset({"fatal", "error", "warning", "info", "debug"})
_LEVEL_ALIASES = {"warn": "warning", "log": "info", "critical": "fatal", "trace": "debug"}
_LEVEL_NUMBERS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}

AUTO_ADDRESS = "{{auto}}"
_HEX = re.compile("0x[0-9a-fA-F]{1,16}")


def check_fields(node: dict[str, Any], fields: Fields, notes: Notes, path: Path) -> list[str]:
    """Bring an object into shape, in place; the keys it must not have are removed and returned."""
    unknown: list[str] = []
    gone: list[str] = []
    for key, value in node.items():
        check = fields.get(key)
        if check is None:
            unknown.append(key)
            continue
        if isinstance(check, int):
            if value.__class__ is str and len(value) <= check:
                continue
            kept = text(value, check, notes, path, key)
        else:
            kept = check(value, notes, path, key)
        if kept is None:
            gone.append(key)
        elif kept is not value:
            node[key] = kept
    for key in unknown:
        del node[key]
    for key in gone:
        del node[key]
    return unknown


def choose(values: list[Any], first: int, last: int, notes: Notes, path: Path) -> list[dict[str, Any]]:
    """The objects of a list that are not empty; of too many the `first` and the `last` ones."""
    if len(values) <= first + last and all(v.__class__ is dict and v for v in values):
        return values
    chosen = []
    for index, value in enumerate(values):
        if isinstance(value, dict):
            if value:
                chosen.append(index)
        elif value is not None:
            notes.invalid((*path, index), value)
    if len(chosen) > first + last:
        notes.cut(path, len(values))
        chosen = chosen[:first] + chosen[len(chosen) - last :]
    notes.moved(path, chosen)
    return [values[i] for i in chosen]


def _objects(
    values: list[Any], first: int, last: int, fields: Fields, notes: Notes, path: Path
) -> list[dict[str, Any]]:
    """The chosen objects of a list, brought into shape; those that are empty then are removed."""
    chosen = choose(values, first, last, notes, path)
    for index, value in enumerate(chosen):
        check_fields(value, fields, notes, (*path, index))
    return chosen if all(chosen) else choose(chosen, first, last, notes, path)


# Single values


def text(value: Any, limit: int, notes: Notes, path: Path, key: str) -> str | None:
    """A text of at most `limit` characters; numbers and booleans become text."""
    if isinstance(value, str):
        return cut_text(value, limit, notes, (*path, key))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if value is not None:
        notes.invalid((*path, key))
    return None


def json_text(limit: int) -> Check:
    """A check for a text of at most `limit` characters; lists and objects become their JSON."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> str | None:
        if isinstance(value, list | dict):
            value = encode_json(value).decode()
        return text(value, limit, notes, path, key)

    return check


def _flag(value: Any, notes: Notes, path: Path, key: str) -> bool | None:
    if value is True or value is False or value is None:
        return value
    notes.invalid((*path, key), value)
    return None


def _count(value: Any, notes: Notes, path: Path, key: str) -> int | None:
    """An integer from 0 to 2^31 - 1, such as a line number."""
    if value.__class__ is int and 0 <= value < 2**31:
        return int(value)
    number = None
    digits = isinstance(value, str) and len(value) <= 10 and value.isascii() and value.isdigit()
    if digits or (isinstance(value, float) and value.is_integer()):
        number = int(value)
    if number is not None and 0 <= number < 2**31:
        return number
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def _identifier(value: Any, notes: Notes, path: Path, key: str) -> int | str | None:
    """A number or a short text, such as a thread's id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return text(value, 64, notes, path, key)


def _address(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    """An address in memory as hex with 0x, from that, a decimal text or a number."""
    if isinstance(value, str):
        if _HEX.fullmatch(value):
            return value
        if len(value) <= 20 and value.isascii() and value.isdigit():
            return hex(int(value))
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return hex(value)
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def _time(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    moment = parse_time(value)
    if moment is None or (moment := corrected(moment, notes.drift)) is None:
        if value is not None:
            notes.invalid((*path, key), value)
        return None
    return format_time(moment)


def level(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    """A level by its name; other spellings and the numbers of Python's logging are understood."""
    if isinstance(value, str):
        name = value.strip().lower()
        name = _LEVEL_ALIASES.get(name, name)
        if name.isascii() and name.isdigit() and len(name) == 2:
            name = _LEVEL_NUMBERS.get(int(name), name)
    else:
        name = _LEVEL_NUMBERS.get(int(value), "") if isinstance(value, int | float) else ""
    if name in LEVELS:
        return name
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def name_check(limit: int, *refused: str) -> Check:
    """A check for a release, a distribution or an environment: one line of at most `limit` characters."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> str | None:
        name = value.strip() if isinstance(value, str) else text(value, limit, notes, path, key)
        if not name:
            return None
        if len(name) > limit:
            notes.invalid((*path, key), value, "value_too_long")
        elif name.lower() in refused or not name.isprintable():
            notes.invalid((*path, key), value)
        else:
            return name
        return None

    return check


release = name_check(200, ".", "..")
dist = name_check(64)
environment = name_check(64, "none", ".", "..")


@lru_cache(4096)
def parse_address(value: str) -> str | None:
    """An IP address in its canonical form; None for anything else."""
    try:
        return str(ip_address(value))
    except ValueError:
        return None


def _ip(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    if value is None or value == "":
        return None
    if value == AUTO_ADDRESS:
        return AUTO_ADDRESS
    address = parse_address(value) if isinstance(value, str) and len(value) <= 64 else None
    if address is None:
        notes.invalid((*path, key), value)
    return address


def _id_check(pattern: re.Pattern[str]) -> Check:
    def check(value: Any, notes: Notes, path: Path, key: str) -> str | None:
        plain = value.replace("-", "").lower() if isinstance(value, str) and len(value) <= 64 else ""
        if pattern.fullmatch(plain):
            return plain
        if value is not None:
            notes.invalid((*path, key), value)
        return None

    return check


event_id = _id_check(re.compile("[0-9a-f]{32}"))
span_id = _id_check(re.compile("[0-9a-f]{16}"))


def data(limit: int) -> Check:
    """A check for free data of at most `limit` bytes of JSON."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> Any:
        return cut_data(value, limit, notes, (*path, key)) if value is not None else None

    return check


def mapping(limit: int) -> Check:
    """A check for an object with free data of at most `limit` bytes of JSON; an empty one goes."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
        if value.__class__ is dict:
            return cut_data(value, limit, notes, (*path, key)) or None
        if value:
            notes.invalid((*path, key), value)
        return None

    return check


def shape(fields: Fields) -> Check:
    """A check for an object with the fields named; an empty one goes."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
        if value.__class__ is dict:
            check_fields(value, fields, notes, (*path, key))
            return value or None
        if value:
            notes.invalid((*path, key), value)
        return None

    return check


def values(first: int, last: int, fields: Fields) -> Check:
    """A check for {"values": [objects]}, which may also come as a bare list or a single object."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
        given = value
        if isinstance(value, dict):
            given = value.get("values", [value])
        if isinstance(given, dict):
            given = [given]
        if not isinstance(given, list):
            if given:
                notes.invalid((*path, key), given)
            return None
        kept = _objects(given, first, last, fields, notes, (*path, key, "values"))
        return {"values": kept} if kept else None

    return check


# Stack traces


def _lines(value: Any, notes: Notes, path: Path, key: str) -> list[str] | None:
    """Source lines beside the line of a frame."""
    if value.__class__ is not list:
        if value is not None:
            notes.invalid((*path, key), value)
        return None
    if len(value) <= MAX_LINES:
        try:
            # the usual case in two calls: only texts, none of them long
            if not value or len("".join(value)) <= MAX_LINE or max(map(len, value)) <= MAX_LINE:
                return value or None
        except TypeError:
            notes.invalid((*path, key))
    elif key == "pre_context":
        value = value[-MAX_LINES:]
    return [
        cut_text(line, MAX_LINE, notes, (*path, key, i)) if isinstance(line, str) else ""
        for i, line in enumerate(value[:MAX_LINES])
    ]


_SOURCE: Fields = {
    "abs_path": 2048,
    "filename": 1024,
    "lineno": _count,
    "colno": _count,
    "pre_context": _lines,
    "context_line": MAX_LINE,
    "post_context": _lines,
}

FRAME: Fields = _SOURCE | {
    "function": 1024,
    "raw_function": 1024,
    "module": 512,
    "package": 1024,
    "platform": 64,
    "in_app": _flag,
    "vars": mapping(8192),
    "instruction_addr": _address,
    "symbol_addr": _address,
    "image_addr": _address,
    "function_id": _address,
    "addr_mode": 64,
    "symbol": 1024,
    "trust": 64,
    "stack_start": _flag,
    "lock": mapping(1024),
    "data": mapping(1024),
}


def _frames(value: Any, notes: Notes, path: Path, key: str) -> list[dict[str, Any]] | None:
    if isinstance(value, list):
        return _objects(value, MAX_FRAMES // 2, MAX_FRAMES // 2, FRAME, notes, (*path, key)) or None
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def _omitted(value: Any, notes: Notes, path: Path, key: str) -> list[int] | None:
    """[start, end) of the frames that were left out of the middle."""
    if (
        isinstance(value, list)
        and len(value) == 2
        and all(v.__class__ is int and 0 <= v < 2**31 for v in value)
    ):
        return value
    if value is not None:
        notes.invalid((*path, key), value)
    return None


_STACK: Fields = {
    "frames": _frames,
    "frames_omitted": _omitted,
    "registers": mapping(8192),
    "lang": 64,
    "snapshot": _flag,
    "instruction_addr_adjustment": 64,
}


def stacktrace(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """A stack trace, oldest call first: {"frames": [...]} or a bare list of frames."""
    stack = {"frames": value} if isinstance(value, list) else value
    if not isinstance(stack, dict):
        if stack:
            notes.invalid((*path, key), stack)
        return None
    given = stack.get("frames")
    usable = 0
    if isinstance(given, list) and len(given) > MAX_FRAMES:
        usable = sum(1 for frame in given if frame and isinstance(frame, dict))
    check_fields(stack, _STACK, notes, (*path, key))
    if usable > MAX_FRAMES:
        stack["frames_omitted"] = [MAX_FRAMES // 2, usable - MAX_FRAMES // 2]
    return stack if "frames" in stack else None


_MECHANISM: Fields = {
    "type": 128,
    "description": 512,
    "help_link": 1024,
    "handled": _flag,
    "synthetic": _flag,
    "source": 256,
    "exception_id": _count,
    "parent_id": _count,
    "is_exception_group": _flag,
    "data": mapping(8192),
    "meta": mapping(4096),
}

EXCEPTION: Fields = {
    "type": 256,
    "value": json_text(8192),
    "module": 512,
    "thread_id": _identifier,
    "mechanism": shape(_MECHANISM),
    "stacktrace": stacktrace,
    "raw_stacktrace": stacktrace,
}

_exceptions = values(MAX_EXCEPTIONS // 2, MAX_EXCEPTIONS // 2, EXCEPTION)


def exceptions(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
    """Exceptions, innermost first. A mechanism beside the values belongs to the last one."""
    if isinstance(value, dict) and isinstance(value.get("values"), list) and "mechanism" in value:
        last = next((v for v in reversed(value["values"]) if isinstance(v, dict)), None)
        if last is not None:
            last.setdefault("mechanism", value["mechanism"])
    checked = _exceptions(value, notes, path, key)
    return checked  # type: ignore[no-any-return]


THREAD: Fields = {
    "id": _identifier,
    "name": 256,
    "state": 64,
    "crashed": _flag,
    "current": _flag,
    "main": _flag,
    "stacktrace": stacktrace,
    "raw_stacktrace": stacktrace,
    "held_locks": mapping(4096),
}

BREADCRUMB: Fields = {
    "timestamp": _time,
    "type": 64,
    "category": 256,
    "level": level,
    "message": 4096,
    "data": mapping(8192),
    "event_id": event_id,
    "origin": 128,
}

threads = values(MAX_THREADS, 0, THREAD)
breadcrumbs = values(0, MAX_BREADCRUMBS, BREADCRUMB)
template = shape(_SOURCE)


# Debug images


def _size(value: Any, notes: Notes, path: Path, key: str) -> int | None:
    """A size in bytes, from a number or a decimal or hex text."""
    address = _address(value, notes, path, key)
    size = int(address, 16) if address else None
    return size if size in INT64 else None


_IMAGE: Fields = {
    "type": 64,
    "debug_id": 64,
    "code_id": 128,
    "uuid": 64,
    "code_file": 2048,
    "debug_file": 2048,
    "name": 2048,
    "debug_checksum": 128,
    "arch": 64,
    "image_addr": _address,
    "image_vmaddr": _address,
    "image_size": _size,
    "cpu_type": _identifier,
    "cpu_subtype": _identifier,
}


def _images(value: Any, notes: Notes, path: Path, key: str) -> list[dict[str, Any]] | None:
    if isinstance(value, list):
        return _objects(value, MAX_IMAGES, 0, _IMAGE, notes, (*path, key)) or None
    if value is not None:
        notes.invalid((*path, key), value)
    return None


debug_meta = shape({"images": _images, "sdk_info": mapping(1024)})


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


def _pairs(items: Iterator[tuple[str, Any]], limit: int, notes: Notes, path: Path) -> list[list[str]] | None:
    """[[name, value], …] of at most `limit` characters in all; a list of values becomes several pairs."""
    kept: list[list[str]] = []
    left = limit
    for name, given in items:
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
    "body_size": _count,
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
    "ip_address": _ip,
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
        if len(kept) == 1000:
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
    parts = (text(v, 256, notes, (*path, key), str(i)) for i, v in enumerate(given[:50]))
    if len(given) > 50:
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


# Messages

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
