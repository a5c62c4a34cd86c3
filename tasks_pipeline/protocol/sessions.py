"""Session items as rows of release health: single updates (`session`) and counts of many (`sessions`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tasks_pipeline.protocol import fields
from tasks_pipeline.protocol.bounds import (
    MAX_AGGREGATES,
    MAX_AHEAD,
    MAX_COUNT,
    MAX_DRIFT,
    MAX_DURATION,
    MAX_SESSION_AGE,
)
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.ids import parse_event_id
from tasks_pipeline.protocol.times import clock_drift, corrected, parse_time
from tasks_pipeline.protocol.trim import Notes

STATUSES = frozenset({"ok", "exited", "errored", "crashed", "abnormal", "unhandled"})
_MAX_SECONDS = MAX_DURATION.total_seconds()
_COUNTS = ("exited", "errored", "crashed", "abnormal", "unhandled")


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One update of a session, or the sessions of a bucket that ended the same way.

    `session_id` (32 lower-case hex) is None for buckets; `did` is the distinct user; `seq` orders the updates of one
    session (0 is its first); `duration` is in seconds; `errors` counts the errors so far; `quantity` is the number
    of sessions the row stands for.
    """

    session_id: str | None
    did: str | None
    status: str
    seq: int
    init: bool
    started: datetime
    timestamp: datetime
    duration: float | None
    errors: int
    release: str
    environment: str | None
    quantity: int


def session_rows(payload: object, context: ItemContext, aggregate: bool) -> list[SessionRow]:
    """Rows of a `sessions` item (aggregate: a row per bucket and way to end) or of a `session` item (one row).

    Raises PayloadError when the item is malformed, has no valid release, or began in the future or over MAX_SESSION_AGE ago.
    """
    if not isinstance(payload, dict):
        raise PayloadError("not a JSON object")
    return list(_aggregate_rows(payload, context)) if aggregate else [_update(payload, context)]


def _update(payload: dict[str, Any], context: ItemContext) -> SessionRow:
    session_id = parse_event_id(payload.get("sid"))
    if session_id is None:
        raise PayloadError("no valid sid")
    status = payload.get("status", "ok")
    if not isinstance(status, str) or status not in STATUSES:
        raise PayloadError(f"unknown status {str(status)[:40]!r}")
    release, environment = _attributes(payload)
    init = payload.get("init") is True
    given_time = parse_time(payload.get("timestamp"))
    timestamp = context.received_at
    if given_time is not None:
        told = corrected(given_time, clock_drift(context))
        if told is not None and timestamp - MAX_SESSION_AGE <= told:
            timestamp = min(told, timestamp)
    errors = _number(payload, "errors")
    return SessionRow(
        session_id=session_id,
        did=_did(payload),
        status=status,
        seq=_sequence(payload, init, timestamp),
        init=init,
        started=_started(payload, context),
        timestamp=timestamp,
        duration=seconds(payload.get("duration")),
        errors=max(errors, 1) if status in ("crashed", "unhandled", "errored") else errors,
        release=release,
        environment=environment,
        quantity=1,
    )


def _aggregate_rows(payload: dict[str, Any], context: ItemContext) -> Iterator[SessionRow]:
    release, environment = _attributes(payload)
    buckets = payload.get("aggregates")
    if not isinstance(buckets, list) or not all(isinstance(b, dict) for b in buckets):
        raise PayloadError("aggregates is not a list of objects")
    if len(buckets) > MAX_AGGREGATES:
        raise PayloadError(f"more than {MAX_AGGREGATES} aggregates")
    for bucket in buckets:
        started = _started(bucket, context)
        for status in _COUNTS:
            quantity = _number(bucket, status)
            if quantity:
                yield SessionRow(
                    session_id=None,
                    did=_did(bucket),
                    status=status,
                    seq=0,
                    init=True,
                    started=started,
                    timestamp=context.received_at,
                    duration=None,
                    errors=0 if status in ("exited", "abnormal") else quantity,
                    release=release,
                    environment=environment,
                    quantity=quantity,
                )


def _attributes(payload: dict[str, Any]) -> tuple[str, str | None]:
    """Release and environment."""
    attributes = payload.get("attrs")
    if not isinstance(attributes, dict):
        raise PayloadError("no attrs")
    notes = Notes(timedelta())
    release = fields.release(attributes.get("release"), notes, (), "release")
    if release is None:
        raise PayloadError("no valid release")
    return release, fields.environment(attributes.get("environment"), notes, (), "environment")


def _started(payload: dict[str, Any], context: ItemContext) -> datetime:
    given = parse_time(payload.get("started"))
    started = corrected(given, clock_drift(context)) if given is not None else None
    if started is None:
        raise PayloadError("no valid started")
    # clocks that are off by less than MAX_DRIFT are not corrected
    if started - context.received_at > MAX_AHEAD + MAX_DRIFT:
        raise PayloadError("started in the future")
    if context.received_at - started > MAX_SESSION_AGE:
        raise PayloadError(f"started more than {MAX_SESSION_AGE.days} days ago")
    return started


def _sequence(payload: dict[str, Any], init: bool, timestamp: datetime) -> int:
    given = payload.get("seq")
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    return 0 if init else int(timestamp.timestamp() * 1000)


def _did(payload: dict[str, Any]) -> str | None:
    given = payload.get("did")
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    return given[:200] if isinstance(given, str) and given else None


def _number(payload: dict[str, Any], name: str) -> int:
    value = payload.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise PayloadError(f"{name} is not a count")
    return value


def seconds(value: object) -> float | None:
    """A duration in seconds; None when it is missing, negative, longer than MAX_DURATION or no number."""
    # NaN and infinity fail the comparison; so does an integer that no float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_SECONDS:
        return None
    return float(value)
