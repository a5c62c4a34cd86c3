"""story_of: what a message tells of a stored event, bounded. When and to whom it is told does not belong here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks_pipeline.notifications.frames import mapping_of, own_frames, shown_frame, stack_of, values_of
from tasks_pipeline.notifications.message import Frame, Section
from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.texts import clean

VARIABLES = 12
CAUSES = 5
CRUMBS = 8
TAGS = 12
_NAME, _VALUE = 40, 200  # characters
_HEADERS = ("User-Agent", "Referer", "Content-Type")  # of a request's; others say little, or too much
_PEOPLE = ("id", "email", "username", "name", "ip_address")
_MACHINES = ("runtime", "browser", "app", "os", "device")

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Crumb:
    """A breadcrumb: when it was left, what it is of, and what it says."""

    at: datetime | None
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of an event: its frames, its parts as sections, the newest breadcrumbs with the last one first. Texts are
    cleaned and bounded, not escaped; nothing is in it that scrubbing took away."""

    frames: tuple[Frame, ...] = ()
    sections: tuple[Section, ...] = ()
    tags: Rows = ()
    crumbs: tuple[Crumb, ...] = ()
    server: str = ""
    ran_on: str = ""


def story_of(event: Mapping[str, Any]) -> Story:
    """The story of a stored event (its payload)."""
    own = [*reversed(own_frames(stack_of(event)))]
    sections = (
        _variables(own),
        Section("Caused by", _causes(event)),
        Section("Request", _request(mapping_of(event.get("request")))),
        Section("User", _user(mapping_of(event.get("user")))),
    )
    return Story(
        frames=tuple(shown_frame(frame, first=index == 0) for index, frame in enumerate(own)),
        sections=tuple(section for section in sections if section.rows),
        tags=_rows(list(mapping_of(event.get("tags")).items())[:TAGS]),
        crumbs=tuple(_crumb(crumb) for crumb in reversed(values_of(event, "breadcrumbs")[-CRUMBS:])),
        server=clean(event.get("server_name") or "", _VALUE),
        ran_on=_ran_on(mapping_of(event.get("contexts"))),
    )


def _variables(own: Iterable[Mapping[str, Any]]) -> Section:
    """The variables of the frame that failed; of the next one that has some, where it has none."""
    frame = next((frame for frame in own if mapping_of(frame.get("vars"))), {})
    function = clean(frame.get("function") or "?", _VALUE)
    return Section(f"Variables of {function}", _rows(list(mapping_of(frame.get("vars")).items())[:VARIABLES]))


def _causes(event: Mapping[str, Any]) -> Rows:
    """The exceptions before the one that the message is about, each with the frame that threw it."""
    others = [*reversed(values_of(event, "exception")[:-1])][:CAUSES]
    return _rows((each.get("type") or "Error", _cause(each)) for each in others)


def _cause(exception: Mapping[str, Any]) -> str:
    said = clean(exception.get("value") or "", _VALUE)
    own = own_frames(stack_of({"exception": {"values": [exception]}}))
    if not own:
        return said
    thrown = shown_frame(own[-1], first=False)
    return " ".join(part for part in (said, f"({thrown.place} in {thrown.function})") if part)


def _request(request: Mapping[str, Any]) -> Rows:
    query = "&".join(f"{name}={value}" for name, value in _pairs(request.get("query_string")))
    url = clean(request.get("url") or "", 500) + (f"?{clean(query, 300)}" if query else "")
    headers = dict(_pairs(request.get("headers")))
    named = [(name, headers[name]) for name in _HEADERS if headers.get(name)]
    return (*(((clean(request.get("method") or "URL", 20), url),) if url else ()), *_rows(named))


def _pairs(value: object) -> list[tuple[str, str]]:
    found = value if isinstance(value, list) else []
    return [(str(pair[0]), str(pair[1])) for pair in found if isinstance(pair, list) and len(pair) == 2]


def _user(user: Mapping[str, Any]) -> Rows:
    known = [(name.replace("_", " "), user[name]) for name in _PEOPLE if user.get(name) is not None]
    place = mapping_of(user.get("geo"))
    geo = ", ".join(str(place[name]) for name in ("city", "country_code") if place.get(name))
    return _rows([*known, *([("place", geo)] if geo else [])])


def _ran_on(contexts: Mapping[str, Any]) -> str:
    found = (mapping_of(contexts.get(name)) for name in _MACHINES)
    named = (
        " ".join(str(each[k]) for k in ("name", "app_name", "model", "version", "app_version") if each.get(k))
        for each in found
    )
    return clean(", ".join(name for name in named if name), _VALUE)


def _crumb(crumb: Mapping[str, Any]) -> Crumb:
    data = " ".join(f"{name}={_value(value)}" for name, value in mapping_of(crumb.get("data")).items())
    text = " ".join(part for part in (str(crumb.get("message") or ""), data) if part)
    return Crumb(
        _time(crumb.get("timestamp")),
        clean(crumb.get("category") or crumb.get("type") or "", _NAME),
        clean(text, _VALUE),
    )


def _time(value: object) -> datetime | None:
    """A time that exists in every zone; None for all else."""
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return at if at.tzinfo is not None and 1 < at.year < 9999 else None


def _rows(rows: Iterable[tuple[object, object]]) -> Rows:
    return tuple((clean(name, _NAME), clean(_value(value), _VALUE)) for name, value in rows)


def _value(value: object) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()
