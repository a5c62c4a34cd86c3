"""A stored event as what pages show of it: plain data, all of it clean and bounded, whatever a stranger sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks_pipeline.pages.event_frames import Frame, Stack, shape_stack
from tasks_pipeline.pages.event_values import (
    Named,
    Room,
    lists,
    mapping,
    named,
    pairs,
    remark,
    values_of,
    web_link,
)

MOST_EXCEPTIONS, MOST_THREADS, MOST_CRUMBS, MOST_TAGS, MOST_MODULES, MOST_CONTEXTS = (
    50,
    200,
    100,
    500,
    1_000,
    60,
)
_SECTION = 200
"""Rows of a section: headers, extra, the values of a context."""
_UPLOADS = {
    "js_no_source": "its source map is missing: `sentry-cli sourcemaps upload`, then the event heals",
    "native_missing_dsym": "its debug file is missing: `sentry-cli debug-files upload`, then the event heals",
    "native_missing_system_dsym": "a debug file of the system is missing",
    "proguard_missing_mapping": "its mapping is missing: `sentry-cli upload-proguard`, then the event heals",
    "clock_drift": "the client's clock was wrong: times were corrected",
    "invalid_data": "a value that could not be used was left out",
}
_SOURCES = {"__cause__": "the cause", "cause": "the cause", "__context__": "while this was handled"}


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception. `relation` says what it is to the one that names the event; `depth` how deep it lies in a tree of groups."""

    type: str
    value: str
    remark: str
    module: str
    mechanism: str
    handled: bool | None
    relation: str
    depth: int
    main: bool
    stack: Stack | None
    as_sent: bool
    """Whether there is a stack trace as it was before symbols were applied."""


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread; of most there is a name only."""

    name: str
    crashed: bool
    current: bool
    stack: Stack | None


@dataclass(frozen=True, slots=True)
class Crumb:
    """What happened before."""

    at: datetime | None
    category: str
    level: str
    text: str
    values: Sequence[Named]


@dataclass(frozen=True, slots=True)
class Section:
    """Named values under a title."""

    title: str
    rows: Sequence[Named]
    more: int = 0

    @property
    def large(self) -> bool:
        """Whether it wants the whole width."""
        return len(self.rows) > 12 or any(len(row.text) > 160 for row in self.rows)


@dataclass(frozen=True, slots=True)
class Address:
    """What was asked for: method, address, and whether it may be followed."""

    method: str
    url: str
    link: str


@dataclass(frozen=True, slots=True)
class Shape:
    """An event. `left_out` says what was too much to show."""

    title: str
    message: str
    level: str
    platform: str
    exceptions: Sequence[Raised]
    threads: Sequence[Thread]
    stack: Stack | None
    crumbs: Sequence[Crumb]
    request: Address | None
    sections: Sequence[Section]
    tags: Sequence[Named]
    errors: Sequence[Named]
    left_out: Sequence[str]
    has_as_sent: bool


def shape_event(event: Mapping[str, Any], *, as_sent: bool = False) -> Shape:
    """What pages show of an event; `as_sent`: stack traces as they were before symbols were applied, where that is known."""
    room, meta = Room(), mapping(event.get("_meta"))
    exceptions = values_of(event, "exception")
    raised = _exceptions(
        room, exceptions[-MOST_EXCEPTIONS:], _under(meta, "exception", "values"), as_sent, len(exceptions)
    )
    stack = shape_stack(room, mapping(event.get("stacktrace")), _under(meta, "stacktrace"), opened=not raised)
    threads = _threads(room, event, meta, opened=not raised and stack is None)
    message = mapping(event.get("logentry"))
    said = room.text(message.get("formatted") or message.get("message") or "", 8_000, lines=True)
    crumbs = values_of(event, "breadcrumbs")
    left = [
        text
        for many, most, text in (
            (len(exceptions), MOST_EXCEPTIONS, "exceptions"),
            (len(values_of(event, "threads")), MOST_THREADS, "threads"),
            (len(crumbs), MOST_CRUMBS, "breadcrumbs"),
        )
        if many > most
    ]
    request, sections = _request(room, event, meta), list(_sections(room, event, meta))
    shape = Shape(
        title=room.text(_title(exceptions, said), 400),
        message=said,
        level=room.text(event.get("level") or "error", 16),
        platform=room.text(event.get("platform") or "other", 32),
        exceptions=raised,
        threads=threads,
        stack=stack,
        crumbs=[_crumb(room, crumb) for crumb in crumbs[-MOST_CRUMBS:]],
        request=request,
        sections=sections,
        tags=named(room, pairs(event.get("tags")), _under(meta, "tags"), MOST_TAGS, 200),
        errors=_errors(room, event),
        left_out=[f"more than {most}" for most in left]
        + (["what did not fit into the page"] if room.full else []),
        has_as_sent=any(
            "raw_stacktrace" in each for each in (*exceptions, *values_of(event, "threads"), event)
        ),
    )
    return shape


def _title(exceptions: Sequence[Mapping[str, Any]], said: str) -> str:
    if not exceptions:
        return said.partition("\n")[0]
    last = exceptions[-1]
    return f"{last.get('type') or 'Error'}: {last.get('value') or ''}".rstrip(": ")


def _under(meta: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for name in path:
        meta = mapping(meta.get(name))
    return meta


def _exceptions(
    room: Room, exceptions: Sequence[Mapping[str, Any]], meta: Mapping[str, Any], as_sent: bool, total: int
) -> list[Raised]:
    """The one that names the event first, as people look for it; those that it holds or comes from behind it."""
    first, by_id = total - len(exceptions), dict[Any, Mapping[str, Any]]()
    for each in exceptions:
        mechanism = mapping(each.get("mechanism"))
        if isinstance(mechanism.get("exception_id"), int):
            by_id[mechanism["exception_id"]] = mechanism
    shaped = []
    for number in range(len(exceptions) - 1, -1, -1):
        each, main = exceptions[number], number == len(exceptions) - 1
        own = _under(meta, str(first + number))
        mechanism = mapping(each.get("mechanism"))
        name = "raw_stacktrace" if as_sent and "raw_stacktrace" in each else "stacktrace"
        shaped.append(
            Raised(
                type=room.text(each.get("type") or "Error", 200),
                value=room.text(each.get("value") or "", 8_000, lines=True),
                remark=remark(own.get("value")),
                module=room.text(each.get("module") or "", 200),
                mechanism=room.text(mechanism.get("type") or "", 80),
                handled=mechanism["handled"] if isinstance(mechanism.get("handled"), bool) else None,
                relation="" if main else _relation(room, mechanism),
                depth=_depth(mechanism, by_id),
                main=main,
                stack=shape_stack(room, mapping(each.get(name)), _under(own, name), opened=main),
                as_sent="raw_stacktrace" in each,
            )
        )
    return shaped


def _relation(room: Room, mechanism: Mapping[str, Any]) -> str:
    source = str(mechanism.get("source") or "")
    if source in _SOURCES:
        return _SOURCES[source]
    return f"part of the group: {room.text(source, 60)}" if source else "before that"


def _depth(mechanism: Mapping[str, Any], by_id: Mapping[Any, Mapping[str, Any]]) -> int:
    """How many lie between an exception and the top; those that lie in a circle are as deep as is shown."""
    depth = 0
    while depth < 6 and isinstance(parent := mechanism.get("parent_id"), int) and parent in by_id:
        mechanism = by_id[parent]
        depth += 1
    return depth


def _threads(room: Room, event: Mapping[str, Any], meta: Mapping[str, Any], *, opened: bool) -> list[Thread]:
    """Those that crashed or were at work first."""
    found = list(enumerate(values_of(event, "threads")))
    found.sort(key=lambda each: not (each[1].get("crashed") or each[1].get("current")))
    shaped = []
    for place, (number, each) in enumerate(found[:MOST_THREADS]):
        own = _under(meta, "threads", "values", str(number))
        shaped.append(
            Thread(
                name=room.text(
                    " ".join(str(each[k]) for k in ("id", "name") if each.get(k) not in (None, "")), 120
                ),
                crashed=bool(each.get("crashed")),
                current=bool(each.get("current")),
                stack=shape_stack(
                    room,
                    mapping(each.get("stacktrace")),
                    _under(own, "stacktrace"),
                    opened=opened and place == 0,
                ),
            )
        )
    return shaped


def _crumb(room: Room, crumb: Mapping[str, Any]) -> Crumb:
    return Crumb(
        at=moment(crumb.get("timestamp")),
        category=room.text(crumb.get("category") or crumb.get("type") or "", 60),
        level=room.text(crumb.get("level") or "", 16),
        text=room.text(crumb.get("message") or "", 1_000),
        values=named(room, mapping(crumb.get("data")).items(), {}, 20, 400, flat=True),
    )


def moment(value: object) -> datetime | None:
    """A time that an event names, where it is one."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _request(room: Room, event: Mapping[str, Any], meta: Mapping[str, Any]) -> Address | None:
    request = mapping(event.get("request"))
    url = str(request.get("url") or "")
    return (
        Address(room.text(request.get("method") or "", 16), room.text(url, 2_000), web_link(url))
        if request
        else None
    )


def _sections(room: Room, event: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[Section]:
    request, of_request = mapping(event.get("request")), _under(meta, "request")
    body = request.get("data")
    query = request.get("query_string")
    for title, value, own in (
        (
            "Query",
            [("", query)] if isinstance(query, str) and query else pairs(query),
            of_request.get("query_string"),
        ),
        ("Headers", pairs(request.get("headers")), of_request.get("headers")),
        ("Cookies", pairs(request.get("cookies")), of_request.get("cookies")),
        (
            "Body",
            pairs(body) if isinstance(body, dict) else [("", body)] if body not in (None, "") else [],
            of_request.get("data"),
        ),
        ("Environment of the request", pairs(request.get("env")), of_request.get("env")),
        ("User", pairs(event.get("user")), meta.get("user")),
    ):
        yield from _section(room, title, value, mapping(own))
    contexts = list(mapping(event.get("contexts")).items())
    for name, context in contexts[:MOST_CONTEXTS]:
        rows = [(k, v) for k, v in mapping(context).items() if k != "type" and v not in (None, "")]
        yield from _section(
            room, f"Context: {room.text(name, 60)}", rows, _under(meta, "contexts", str(name))
        )
    yield from _section(room, "Extra", pairs(event.get("extra")), _under(meta, "extra"))
    yield from _section(room, "Packages", sorted(pairs(event.get("modules")), key=str), {}, MOST_MODULES)
    sdk = [(k, v) for k, v in mapping(event.get("sdk")).items() if k in ("name", "version")]
    images = lists(mapping(event.get("debug_meta")).get("images"))
    yield from _section(room, "SDK", sdk, {})
    rows = [
        (str(i.get("code_file") or i.get("debug_file") or i.get("type")), str(i.get("debug_id") or ""))
        for i in images
        if isinstance(i, dict)
    ]
    yield from _section(room, "Images", rows, {})


def _section(
    room: Room, title: str, values: Sequence[tuple[Any, Any]], meta: Mapping[str, Any], most: int = _SECTION
) -> Iterator[Section]:
    if values:
        yield Section(title, named(room, values, meta, most, 4_000), max(0, len(values) - most))


def _errors(room: Room, event: Mapping[str, Any]) -> list[Named]:
    """What went wrong with the event on its way, and what to do about it."""
    found = []
    for each in lists(event.get("errors"))[:50]:
        error = mapping(each)
        kind = str(error.get("type") or "")
        value = error.get("value")
        shown = (
            ""
            if value in (None, "")
            else f" ({value if isinstance(value, str) else json.dumps(value, default=str)[:200]})"
        )
        found.append(
            Named(
                room.text(error.get("name") or kind, 200),
                room.text(f"{_UPLOADS.get(kind, kind)}{shown}", 400),
                "",
            )
        )
    return found


__all__ = ["Crumb", "Frame", "Named", "Raised", "Section", "Shape", "Stack", "Thread", "shape_event"]
