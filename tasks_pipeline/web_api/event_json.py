"""Events as clients know them, from a row of the lake and the event as it is stored. Asks nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks_pipeline.web_api.frames import stacktrace_json

Row = Mapping[str, Any]
Event = Mapping[str, Any]
_OWN_TAGS = {
    "environment": "environment", "release": "release", "dist": "dist", "server_name": "server_name", "transaction": "transaction",
    "logger": "logger", "level": "level",
}  # fmt: skip
"""What clients show as tags and has a column of its own."""
_REPORTS = ("csp", "hpkp", "expectct", "expectstaple")


def listed_event(row: Row, slugs: Mapping[int, str]) -> dict[str, Any]:
    """An event as lists show it."""
    return {
        "id": row["event_id"],
        "eventID": row["event_id"],
        "event.type": row["type"],
        "groupID": str(row["group_id"]),
        "projectID": str(row["project_id"]),
        "projectSlug": slugs.get(row["project_id"]),
        "title": row["title"],
        "message": "" if row["exception_type"] else row["title"],
        "platform": row["platform"],
        "culprit": row["culprit"] or "",
        "location": None,
        "dateCreated": row["timestamp"],
        "dateReceived": row["received_at"],
        "user": _user_of_row(row),
        "tags": tags_json(row),
        "metadata": metadata(row),
        "crashFile": None,
    }


def event_json(
    row: Row, event: Event, slugs: Mapping[int, str], *, size: int, keys: Sequence[str]
) -> dict[str, Any]:
    """A whole event. `keys` are those of its group; neighbours are the caller's to add."""
    logentry = event.get("logentry") or {}
    has_exception = bool(_values(event.get("exception")))
    message = "" if has_exception else str(logentry.get("formatted") or logentry.get("message") or "")
    found = listed_event(row, slugs) | {
        "message": message,
        "type": row["type"],
        "entries": entries(event),
        "user": user_json(event.get("user")),
        "contexts": event.get("contexts") or {},
        "context": event.get("extra") or {},
        "packages": event.get("modules") or {},
        "sdk": {key: value for key, value in (event.get("sdk") or {}).items() if key in ("name", "version")} or None,
        "dist": event.get("dist"),
        "release": {"version": row["release"]} if row["release"] else None,
        "location": _location(event),
        "size": size,
        "errors": [_error(each) for each in event.get("errors") or ()],
        "fingerprints": list(keys),
        "groupingConfig": None,
        "occurrence": None,
        "sdkUpdates": [],
        "userReport": None,
        "nextEventID": None,
        "previousEventID": None,
        "_meta": event.get("_meta") or {},
        "_tasks_pipeline": {
            "day": row["day"], "part": row["part"], "position": row["position"], "item": row["item"], "keys": list(keys),
        },
    }  # fmt: skip
    return found


def entries(event: Event) -> list[dict[str, Any]]:
    """What an event shows, a part each."""
    found: list[dict[str, Any]] = []

    def add(kind: str, data: Any) -> None:
        found.append({"type": kind, "data": data})

    if exceptions := _values(event.get("exception")):
        values = [_exception(each) for each in exceptions]
        in_app = any(_has_app_frames(each.get("stacktrace")) for each in exceptions)
        add("exception", {"values": values, "hasSystemFrames": in_app, "excOmitted": None})
    if stack := event.get("stacktrace"):
        add("stacktrace", stacktrace_json(stack))
    if threads := _values(event.get("threads")):
        add("threads", {"values": [_thread(each) for each in threads]})
    if logentry := event.get("logentry"):
        said = logentry.get("formatted") or logentry.get("message")
        add("message", {"formatted": said, "message": logentry.get("message") or said, "params": logentry.get("params")})  # fmt: skip
    if request := event.get("request"):
        add("request", _request(request))
    if crumbs := _values(event.get("breadcrumbs")):
        add("breadcrumbs", {"values": [_crumb(each) for each in crumbs]})
    for kind in _REPORTS:
        if report := event.get(kind):
            add(kind, report)
    if template := event.get("template"):
        add("template", template)
    if images := (event.get("debug_meta") or {}).get("images"):
        add("debugmeta", {"images": images})
    return found


def _values(field: Any) -> list[Mapping[str, Any]]:
    values = field.get("values") if isinstance(field, Mapping) else field
    return [each for each in values or () if isinstance(each, Mapping)]


def _exception(value: Mapping[str, Any]) -> dict[str, Any]:
    raw = value.get("raw_stacktrace")
    return {
        "type": value.get("type"),
        "value": value.get("value") or "",
        "module": value.get("module"),
        "threadId": value.get("thread_id"),
        "mechanism": _camel(value["mechanism"]) if value.get("mechanism") else None,
        "stacktrace": stacktrace_json(value.get("stacktrace")),
        "rawStacktrace": stacktrace_json(raw),
        "rawType": value.get("raw_type"),
        "rawModule": value.get("raw_module"),
    }


def _camel(mechanism: Mapping[str, Any]) -> dict[str, Any]:
    return dict(mechanism) | {"handled": mechanism.get("handled")}


def _has_app_frames(stack: Any) -> bool:
    frames = (stack or {}).get("frames") or ()
    kinds = {bool(frame.get("in_app")) for frame in frames if isinstance(frame, Mapping)}
    return kinds == {True, False}


def _thread(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": value.get("id"),
        "name": value.get("name"),
        "state": value.get("state"),
        "crashed": bool(value.get("crashed")),
        "current": bool(value.get("current")),
        "stacktrace": stacktrace_json(value.get("stacktrace")),
        "rawStacktrace": stacktrace_json(value.get("raw_stacktrace")),
        "heldLocks": value.get("held_locks"),
    }


def _crumb(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": value.get("type") or "default",
        "category": value.get("category"),
        "level": value.get("level") or "info",
        "message": value.get("message"),
        "data": value.get("data"),
        "event_id": value.get("event_id"),
        "timestamp": value.get("timestamp"),
    }


def _request(value: Mapping[str, Any]) -> dict[str, Any]:
    query = value.get("query_string")
    content_type = next((v for k, v in _pairs(value.get("headers")) if k.lower() == "content-type"), None)
    return {
        "method": value.get("method"),
        "url": value.get("url") or "",
        "query": _pairs(query)
        if not isinstance(query, str)
        else [_split(each) for each in query.split("&") if each],
        "fragment": value.get("fragment"),
        "data": value.get("data"),
        "headers": _pairs(value.get("headers")),
        "cookies": _pairs(value.get("cookies")),
        "env": value.get("env"),
        "inferredContentType": value.get("inferred_content_type") or content_type,
        "apiTarget": value.get("api_target"),
    }


def _split(text: str) -> list[str]:
    key, _, value = text.partition("=")
    return [key, value]


def _pairs(value: Any) -> list[list[Any]]:
    given: Iterable[Any] = value.items() if isinstance(value, Mapping) else value or ()
    return [list(each) for each in given if isinstance(each, tuple | list) and len(each) == 2]


def user_json(user: Any) -> dict[str, Any] | None:
    """The user of an event."""
    if not user:
        return None
    names = ("id", "email", "username", "ip_address", "name", "geo", "data")
    return {name: user.get(name) for name in names}


def _user_of_row(row: Row) -> dict[str, Any] | None:
    found = {"id": row["user_id"], "email": row["user_email"], "username": None, "ip_address": row["user_ip"]}
    if not any(found.values()):
        kind, _, value = (row["user_key"] or "").partition(":")
        if kind != "username":
            return None
        found["username"] = value
    return found | {"name": None, "geo": None, "data": None}


def tags_json(row: Row) -> list[dict[str, str]]:
    """Tags of an event, those with a column of their own among them, by name."""
    own = {name: row[column] for name, column in _OWN_TAGS.items() if row.get(column)}
    tags = {**(row["tags"] or {}), **own}
    if row["user_key"]:
        tags["user"] = row["user_key"]
    if row["handled"] is not None:
        tags["handled"] = "yes" if row["handled"] else "no"
    return [{"key": key, "value": str(tags[key])} for key in sorted(tags)]


def metadata(row: Row) -> dict[str, Any]:
    """What the title is made of."""
    if row["exception_type"]:
        return {"title": row["title"], "type": row["exception_type"], "value": row["exception_value"] or ""}
    return {"title": row["title"]}


def _location(event: Event) -> str | None:
    """The file of the frame that matters: the last in the program, else the last."""
    frames = [
        frame
        for exception in _values(event.get("exception"))[-1:]
        for frame in (exception.get("stacktrace") or {}).get("frames") or ()
    ]
    own = [frame for frame in frames if frame.get("in_app")] or frames
    return (own[-1].get("filename") or None) if own else None


def _error(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"type": str(value), "message": str(value), "data": {}}
    rest = {k: v for k, v in value.items() if k != "type"}
    return {"type": value.get("type"), "message": str(value.get("type", "")).replace("_", " "), "data": rest}
