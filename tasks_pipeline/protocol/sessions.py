"""Session items as rows of release health: single updates (`session`) and counts of many (`sessions`).

What several updates of one session come to does not belong here (`releases/fold.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from tasks_pipeline.protocol import fields
from tasks_pipeline.protocol.bounds import (
    MAX_AGGREGATES,
    MAX_AHEAD,
    MAX_COUNT,
    MAX_DRIFT,
    MAX_DURATION,
    MAX_MECHANISM,
    MAX_SESSION_AGE,
)
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.ids import NIL_ID, parse_event_id
from tasks_pipeline.protocol.times import clock_drift, corrected, parse_time
from tasks_pipeline.protocol.trim import Notes

STATUSES = frozenset({"ok", "exited", "errored", "crashed", "abnormal", "unhandled"})
_MAX_SECONDS = MAX_DURATION.total_seconds()
_COUNTS = ("exited", "errored", "crashed", "abnormal", "unhandled")


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One update of a session, or the sessions of a bucket that ended the same way.

    `session_id` (32 lower-case hex) is None for buckets, and for a session that was told of by one message without an
    id; `did` is the distinct user; `seq` orders the updates of one session (0 is its first); `duration` is in seconds;
    `errors` counts the errors so far; `mechanism` says how an abnormal end was noticed; `quantity` is the number of
    sessions the row stands for.
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
    mechanism: str | None = None


@dataclass(frozen=True, slots=True)
class SessionRows:
    """Rows of an item, and for each bucket that made none the reason why it is of no use, for people."""

    rows: list[SessionRow]
    dropped: list[str]


def session_rows(payload: object, context: ItemContext, aggregate: bool) -> SessionRows:
    """Rows of a `sessions` item (aggregate: a row per bucket and way to end) or of a `session` item (one row).

    Raises PayloadError when the item is malformed or has no valid release. A single session that began in the future or
    over MAX_SESSION_AGE ago is refused like that too; of an aggregate such buckets, and malformed ones, are dropped one by
    one, and the item is refused only when it has no other.
    """
    if not isinstance(payload, dict):
        raise PayloadError("not a JSON object")
    return _aggregate(payload, context) if aggregate else SessionRows([_update(payload, context)], [])


def user_hash(key: bytes, project_id: int, did: str) -> int:
    """What is kept of a distinct user: 64 bits of a keyed hash, the same for the same user of a project.

    Two of ten million users share one with a probability of 3 in a million.
    """
    digest = blake2b(f"{project_id}:{did}".encode(), key=key).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _update(payload: dict[str, Any], context: ItemContext) -> SessionRow:
    status = payload.get("status")
    if status is None:
        status = "ok"
    if not isinstance(status, str) or status not in STATUSES:
        raise PayloadError(f"unknown status {str(status)[:40]!r}")
    session_id = _session_id(payload, status)
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
        mechanism=_mechanism(payload),
    )


def _session_id(payload: dict[str, Any], status: str) -> str | None:
    """None where the only message says that all is over: nothing can follow that it would have to be joined with."""
    given = payload.get("sid")
    if given is None and status == "exited":
        return None
    session_id = parse_event_id(given)
    if session_id is None:
        raise PayloadError("no valid sid")
    return session_id


def _aggregate(payload: dict[str, Any], context: ItemContext) -> SessionRows:
    release, environment = _attributes(payload)
    buckets = payload.get("aggregates")
    if not isinstance(buckets, list):
        raise PayloadError("aggregates is not a list")
    if len(buckets) > MAX_AGGREGATES:
        raise PayloadError(f"more than {MAX_AGGREGATES} aggregates")
    found = SessionRows([], [])
    for bucket in buckets:
        try:
            found.rows.extend(_bucket_rows(bucket, context, release, environment))
        except PayloadError as error:
            found.dropped.append(str(error))
    if found.dropped and len(found.dropped) == len(buckets):
        raise PayloadError(found.dropped[0])
    return found


def _bucket_rows(
    bucket: object, context: ItemContext, release: str, environment: str | None
) -> list[SessionRow]:
    """A row for each way to end. Raises PayloadError before any is made."""
    if not isinstance(bucket, dict):
        raise PayloadError("an aggregate is not an object")
    started, did = _started(bucket, context), _did(bucket)
    return [
        SessionRow(
            session_id=None,
            did=did,
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
        for status, quantity in [(status, _number(bucket, status)) for status in _COUNTS]
        if quantity
    ]


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
    if init:  # whatever a client says besides
        return 0
    given = payload.get("seq")
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    return int(timestamp.timestamp() * 1000)


def _did(payload: dict[str, Any]) -> str | None:
    """The distinct user as text; None for nobody, which is what the nil UUID means."""
    given = payload.get("did")
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = str(given)
    if not isinstance(given, str) or not given or parse_event_id(given) == NIL_ID:
        return None
    return given


def _mechanism(payload: dict[str, Any]) -> str | None:
    given = payload.get("abnormal_mechanism")
    return given if isinstance(given, str) and 0 < len(given) <= MAX_MECHANISM else None


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
