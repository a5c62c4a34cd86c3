"""A whole event in its one canonical, bounded form; the shapes of its parts belong to `shapes` and `stacks`.

The form is described in docs/events.md. Titles, grouping and symbolication do not belong here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tasks_pipeline.protocol import fields, shapes, stacks
from tasks_pipeline.protocol.bounds import MAX_AGE, MAX_AHEAD, MAX_DURATION
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.fields import AUTO_ADDRESS, Fields, check_fields, parse_address
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.protocol.times import clock_drift, corrected, format_time, parse_time
from tasks_pipeline.protocol.trim import Notes

SECURITY_TYPES = ("csp", "hpkp", "expectct", "expectstaple")

_EVENT: Fields = {
    "platform": 64,
    "level": fields.level,
    "logger": 64,
    "transaction": 200,
    "server_name": 256,
    "release": fields.release,
    "dist": fields.dist,
    "environment": fields.environment,
    "tags": shapes.tags,
    "logentry": shapes.logentry,
    "exception": stacks.exceptions,
    "threads": stacks.threads,
    "stacktrace": stacks.stacktrace,
    "raw_stacktrace": stacks.stacktrace,
    "breadcrumbs": shapes.breadcrumbs,
    "request": shapes.request,
    "user": shapes.user,
    "contexts": shapes.contexts,
    "extra": shapes.extra,
    "fingerprint": shapes.fingerprint,
    "checksum": 128,
    "sdk": fields.shape(shapes.SDK),
    "modules": shapes.modules,
    "debug_meta": stacks.debug_meta,
    "template": stacks.template,
    "transaction_info": fields.mapping(1024),
    "csp": fields.mapping(16_384),
    "hpkp": fields.mapping(16_384),
    "expectct": fields.mapping(16_384),
    "expectstaple": fields.mapping(16_384),
}

_TRANSACTION_FIELDS = (
    "platform transaction server_name release dist environment tags request user contexts sdk"
)
_TRANSACTION: Fields = {name: _EVENT[name] for name in _TRANSACTION_FIELDS.split()}

_OLD_NAMES = {
    "sentry.interfaces.Message": "logentry",
    "sentry.interfaces.Exception": "exception",
    "sentry.interfaces.Stacktrace": "stacktrace",
    "sentry.interfaces.Threads": "threads",
    "sentry.interfaces.Template": "template",
    "sentry.interfaces.Breadcrumbs": "breadcrumbs",
    "sentry.interfaces.Http": "request",
    "sentry.interfaces.User": "user",
    "sentry.interfaces.Contexts": "contexts",
    "sentry.interfaces.Csp": "csp",
    "sentry.interfaces.DebugMeta": "debug_meta",
    "culprit": "transaction",
}
_IGNORED = frozenset(
    {
        # of events of old clients and of the wire; nobody misses them
        *(
            "event_id",
            "received",
            "project",
            "time_spent",
            "repos",
            "trimHeadFrames",
            "start_timestamp",
            "spans",
        ),
        *("measurements", "breakdowns", "key_id", "site", "version", "monitor_slug", "check_in_id"),
    }
)

_CLIENT_SIDE = ("javascript", "cocoa", "objc")
"""Platforms whose programs run with the user: the peer is the user unless the SDK says otherwise."""


def normalise_event(
    payload: object, context: ItemContext, exact: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The event in its canonical form (docs/events.md), made in place from the decoded payload.

    Never fails on an object, whatever lies in it: what is invalid is removed and named in `errors`, what is too large
    is cut and noted in `_meta`. Doing it again changes nothing (but the client's clock is corrected each time that
    the context has `sent_at`). `exact` are parts that `exact.decode_event` found in their final form. Raises
    PayloadError when the payload is no object or no valid event id is known.
    """
    event = _object(payload)
    event_id = _event_id(event, context)
    notes = Notes(clock_drift(context), event.pop("errors", None), event.pop("_meta", None))
    kind, given_time = event.pop("type", None), event.pop("timestamp", None)
    _rename(event)
    for name in check_fields(event, _EVENT, notes, ()):
        if name not in _IGNORED:
            notes.invalid((name,), None, "invalid_attribute")
    for name, part in (exact or {}).items():
        kept = stacks.exceptions_with_exact_stacks(part, notes, (), name) if name == "exception" else part
        if kept is not None:
            event[name] = kept
    event["event_id"] = event_id
    event["type"] = _type(event, kind)
    event["timestamp"] = format_time(_event_time(given_time, context, notes))
    event["received"] = format_time(context.received_at)
    event.setdefault("level", "info" if event["type"] in ("transaction", "feedback") else "error")
    _complete(event, context)
    if notes.errors:
        event["errors"] = notes.errors
    if notes.meta:
        event["_meta"] = notes.meta
    return event


def normalise_transaction(payload: object, context: ItemContext) -> dict[str, Any]:
    """What is kept of a transaction.

    Always: event_id, timestamp and start_timestamp (RFC 3339), received, name, duration_ms (float, from 0), platform,
    spans (their number). If known: op, status, trace_id, span_id, release, dist, environment, server_name, tags,
    user, request, sdk. Raises PayloadError when the payload is no object, when no valid event id is known, and when there is
    no start before an end, or none within MAX_DURATION of it.
    """
    given = _object(payload)
    event_id = _event_id(given, context)
    notes = Notes(clock_drift(context))
    start, end = parse_time(given.get("start_timestamp")), parse_time(given.get("timestamp"))
    if start is None or end is None or end < start:
        raise PayloadError("no start_timestamp before its timestamp")
    if end - start > MAX_DURATION:
        raise PayloadError(f"it took more than {MAX_DURATION.days} days")
    spans = given.get("spans")
    contexts = given.get("contexts")
    transaction = {name: given[name] for name in _TRANSACTION if name in given}
    transaction["contexts"] = {"trace": contexts.get("trace")} if isinstance(contexts, dict) else None
    check_fields(transaction, _TRANSACTION, notes, ())
    _complete(transaction, context)
    trace = transaction.pop("contexts", {}).get("trace", {})
    for name in ("op", "status", "trace_id", "span_id"):
        if isinstance(value := trace.get(name), str):
            transaction[name] = value[:128]
    timestamp = _event_time(given.get("timestamp"), context, notes)
    transaction |= {
        "event_id": event_id,
        "name": transaction.pop("transaction", None) or "<unlabeled transaction>",
        "timestamp": format_time(timestamp),
        "start_timestamp": format_time(timestamp - (end - start)),
        "received": format_time(context.received_at),
        "duration_ms": (end - start).total_seconds() * 1000,
        "spans": len(spans) if isinstance(spans, list) else 0,
    }
    return transaction


def _object(payload: object) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise PayloadError("not a JSON object")
    return payload


def _event_id(event: dict[str, Any], context: ItemContext) -> str:
    event_id = context.event_id or parse_event_id(event.get("event_id"))
    if event_id is None:
        raise PayloadError("no event_id")
    return event_id


def _rename(event: dict[str, Any]) -> None:
    """Give old fields their present names; what already has a present name wins."""
    for old in event.keys() & _OLD_NAMES.keys():
        value = event.pop(old)
        if not event.get(_OLD_NAMES[old]):
            event[_OLD_NAMES[old]] = value
    message = event.pop("message", None)
    entry = event.get("logentry")
    if isinstance(entry, str):
        entry = event["logentry"] = {"message": entry}
    if message and not entry:
        event["logentry"] = message
    elif message and isinstance(entry, dict) and isinstance(message, str) and not entry.get("formatted"):
        entry["formatted"] = message


def _type(event: dict[str, Any], given: object) -> str:
    if given in ("transaction", "feedback"):
        return str(given)
    return next((t for t in SECURITY_TYPES if t in event), "error" if "exception" in event else "default")


def _event_time(given: object, context: ItemContext, notes: Notes) -> datetime:
    """When the event happened on our clock; the time of receipt when what the client says cannot be."""
    received = context.received_at
    if given is None:
        return received
    moment = parse_time(given)
    if moment is not None and notes.drift:
        notes.invalid(("timestamp",), given, "clock_drift")
        moment = corrected(moment, notes.drift)
    if moment is None:
        notes.invalid(("timestamp",), given)
    elif moment - received > MAX_AHEAD:
        notes.invalid(("timestamp",), given, "future_timestamp")
    elif received - moment > MAX_AGE:
        notes.invalid(("timestamp",), given, "past_timestamp")
    else:
        return moment
    return received


def _complete(event: dict[str, Any], context: ItemContext) -> None:
    """Fill in what the client left to us: platform, SDK and the user's address."""
    if not event.get("platform"):
        event["platform"] = "other"
    sdk = event.get("sdk", {})
    if "name" not in sdk and (named := _client_sdk(context)):
        event["sdk"] = {**sdk, **named}
    _set_address(event, context)


def _client_sdk(context: ItemContext) -> dict[str, str]:
    """Name and version of the SDK from how the client named itself to us."""
    client = context.client or ""
    if client.startswith("sentry-cli/"):
        client = context.user_agent or client  # it gives its version there alone
    name, _, version = client.partition("/")
    name, version = name.strip()[:128], version.strip()[:64]
    if not name:
        return {}
    return {"name": name, "version": version} if version else {"name": name}


def _set_address(event: dict[str, Any], context: ItemContext) -> None:
    """Resolve the user's IP address: as sent, the peer's where the SDK leaves it to us, or what its server saw."""
    user = event.get("user", {})
    given = user.get("ip_address")
    if given is not None and given != AUTO_ADDRESS:
        return
    infer = event.get("sdk", {}).get("settings", {}).get("infer_ip")
    wanted = given == AUTO_ADDRESS or infer == "auto" or (infer is None and event["platform"] in _CLIENT_SIDE)
    seen: object = context.remote_addr if wanted and infer != "never" else None
    if given is None and seen is None:
        seen = event.get("request", {}).get("env", {}).get("REMOTE_ADDR")
    address = parse_address(seen) if isinstance(seen, str) and len(seen) <= 64 else None
    if address is not None:
        event["user"] = {**user, "ip_address": address}
    elif given is not None:
        del user["ip_address"]
        if not user:
            del event["user"]
