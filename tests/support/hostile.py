"""Envelopes that nobody should send: every type of item, with numbers, times, texts and nests that no client means.

Made of a `Random`, so that tests and a benchmark repeat them by their seed.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from tests.support.events import event

_DIGITS = "\x01digits"  # stands for an integer of 10,000 digits, which Python writes for nobody
_NUMBERS: tuple[Any, ...] = (
    *(
        0,
        1,
        -1,
        2**31 - 1,
        2**31,
        2**53,
        2**63 - 1,
        -(2**63),
        2**63,
        2**64,
        10**30,
        1795347543,
        1795347543000,
    ),
    *(1795347543 * 10**9, -62135596801, 253402300800, 0.5, -0.0, 1e12, 6.5e10, 1e18, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), True, False, None, _DIGITS),
)
_TIMES: tuple[Any, ...] = (
    *(
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-14:00",
    ),
    *("0000-00-00T00:00:00Z", "2026-02-30T00:00:00Z", "1970-01-01", "", "now", "9" * 1000),
)
_TEXTS: tuple[Any, ...] = (
    *(
        "",
        " ",
        "a",
        "\0",
        "a\0b",
        "\ud800",
        "x\udfff\ud800y",
        "\\u0000",
        "%s %d {} {0}",
        "{{auto}}",
        "{{ default }}",
    ),
    *(
        "x" * 300,
        "é" * 9000,
        "\U0001f600" * 5000,
        "\n" * 300,
        "1",
        "-1",
        "1e400",
        "NaN",
        "../../etc/passwd",
        "a=b&c=%00%ff",
    ),
)
_STATUSES = ("ok", "error", "in_progress", "exited", "crashed", "abnormal", "unhandled", "errored", "?", "")
_UNITS = ("minute", "hour", "day", "week", "month", "year", "second")


def hostile_envelope(random: Random, now: datetime) -> bytes:
    """The bytes of an envelope as a stranger may send them at a moment; some are none."""
    headers: dict[str, Any] = {"event_id": uuid.UUID(int=random.getrandbits(128)).hex}
    if random.random() < 0.5:
        headers["sent_at"] = _time(random, now)
    if random.random() < 0.1:
        headers = _mangled(random, headers, now)
    lines = [_json(random, headers)]
    for kind in _kinds(random):
        payload = _json(random, _mangled(random, _PAYLOADS[kind](random, now), now))
        more: dict[str, Any] = {"length": len(payload)} if random.random() < 0.5 else {}
        if kind == "attachment":
            more |= {"filename": random.choice(_TEXTS), "content_type": random.choice(_TEXTS)}
        if random.random() < 0.02:
            more["pad"] = [[]] * 15_000
        lines += [_json(random, {"type": kind} | more), payload]
    body = b"\n".join(lines)
    return body[: random.randrange(len(body))] if random.random() < 0.03 else body


def good_event(number: int) -> tuple[str, bytes]:
    """Id and envelope of an event that is to be stored, whatever is sent beside it."""
    sent = event(f"Problem{number % 20}", release=f"shop@1.{number % 7}", user={"id": str(number % 50)})
    headers = {"event_id": sent["event_id"]}
    return sent["event_id"], b"\n".join(
        json.dumps(part).encode() for part in (headers, {"type": "event"}, sent)
    )


def _kinds(random: Random) -> list[str]:
    """The items of an envelope: mostly one that is an event, or few; sometimes as many as there may be, of one kind."""
    shape = random.random()
    others = [kind for kind in _PAYLOADS if kind not in ("event", "transaction", "feedback", "security")]
    if shape < 0.04:
        return [random.choice(others)] * 200
    some = [random.choice(others) for _ in range(random.randrange(4))]
    events = [random.choice(("event", "event", "transaction", "feedback", "security"))] if shape < 0.7 else []
    return events * (2 if shape < 0.06 else 1) + some or ["event"]


def _event(random: Random, now: datetime) -> dict[str, Any]:
    frames = [
        {
            "function": "f",
            "filename": "a.py",
            "lineno": 3,
            "vars": {"a": 1},
            "pre_context": ["x"],
            "in_app": True,
            "instruction_addr": random.choice(("0x1", 2**64, "9" * 20)),
        }
        for _ in range(random.choice((1, 2, 2, 60)))
    ]
    return {
        "event_id": uuid.UUID(int=random.getrandbits(128)).hex,
        "timestamp": _time(random, now),
        "platform": random.choice(("python", "native", "javascript", "java")),
        "release": "r@1",
        "environment": "e",
        "level": random.choice(("error", 40, 1e308)),
        "exception": {
            "values": [
                {
                    "type": "E",
                    "value": "v",
                    "thread_id": 1,
                    "mechanism": {"handled": False},
                    "stacktrace": {"frames": frames},
                }
            ]
            * random.choice((1, 1, 3, 60))
        },
        "threads": {"values": [{"id": 1, "stacktrace": {"frames": frames}}] * random.choice((0, 1, 210))},
        "breadcrumbs": {"values": [{"timestamp": _time(random, now), "message": "m", "data": {"n": 1}}] * 3},
        "tags": {f"t{n}": n for n in range(random.choice((0, 2, 300)))},
        "user": {"id": 1, "ip_address": "{{auto}}", "email": "a@b.c"},
        "request": {"url": "http://x/?a=b", "headers": {"a": "b"}, "query_string": "a=b", "data": {"a": [1]}},
        "contexts": {"trace": {"trace_id": "a" * 32, "span_id": "b" * 16}, "c": {"n": 1}},
        "extra": {"deep": _deep(random.choice((1, 99, 120, 2000)))},
        "fingerprint": ["{{ default }}", 1],
        "logentry": {"message": "%s", "params": [1]},
        "modules": {"m": "1"},
        "sdk": {"name": "n", "version": "1"},
        "debug_meta": {
            "images": [
                {
                    "type": "elf",
                    "debug_id": str(uuid.UUID(int=n)),
                    "image_addr": hex(n * 4096),
                    "image_size": 4096,
                }
                for n in range(random.choice((0, 1, 500)))
            ]
        },
        "measurements": {"m": {"value": 1}},
    }


def _transaction(random: Random, now: datetime) -> dict[str, Any]:
    return {
        **_event(random, now),
        "type": "transaction",
        "transaction": "/t",
        "start_timestamp": _time(random, now - timedelta(seconds=5)),
        "spans": [{"span_id": "b" * 16}] * random.choice((0, 1, 5000)),
    }


def _feedback(random: Random, now: datetime) -> dict[str, Any]:
    told = {"message": "m", "contact_email": "a@b.c", "associated_event_id": "a" * 32, "url": "http://x"}
    return {"event_id": "c" * 32, "timestamp": _time(random, now), "contexts": {"feedback": told}}


def _security(random: Random, now: datetime) -> dict[str, Any]:
    report = {
        "document-uri": "http://x/",
        "violated-directive": "img-src",
        "blocked-uri": "http://y/",
        "line-number": 3,
    }
    return {"csp-report": report}


def _session(random: Random, now: datetime) -> dict[str, Any]:
    return {
        "sid": uuid.UUID(int=random.getrandbits(128)).hex,
        "init": True,
        "started": _time(random, now),
        "timestamp": _time(random, now),
        "duration": 3,
        "errors": 1,
        "seq": 4,
        "did": "u",
        "status": random.choice(_STATUSES),
        "attrs": {"release": "r@1", "environment": "e"},
    }


def _sessions(random: Random, now: datetime) -> dict[str, Any]:
    bucket = {
        "started": now.isoformat(),
        "exited": 3,
        "errored": 2,
        "crashed": 1,
        "abnormal": 1,
        "unhandled": 2**31 - 1,
    }
    if random.random() < 0.7:
        bucket["unhandled"] = 1
    return {"aggregates": [bucket] * random.choice((1, 2, 100, 101)), "attrs": {"release": "r@1"}}


def _check_in(random: Random, now: datetime) -> dict[str, Any]:
    interval = {
        "type": "interval",
        "value": random.choice((1, 7973, 100_000, "5")),
        "unit": random.choice(_UNITS),
    }
    crontab = {
        "type": "crontab",
        "value": random.choice(("* * * * *", "0 0 30 2 *", "0 0 29 2 1", "@yearly")),
    }
    config = {
        "schedule": random.choice((interval, crontab)),
        "checkin_margin": 40_320,
        "max_runtime": 40_320,
        "timezone": random.choice(("UTC", "Pacific/Kiritimati", "Etc", "\0")),
        "failure_issue_threshold": 1,
        "recovery_threshold": 1,
    }
    return {
        "check_in_id": uuid.UUID(int=random.getrandbits(128)).hex,
        "monitor_slug": f"job-{random.randrange(20)}",
        "status": random.choice(_STATUSES[:3]),
        "duration": random.choice(_NUMBERS),
        "environment": "e",
        "release": "r@1",
        "monitor_config": config,
    }


def _user_report(random: Random, now: datetime) -> dict[str, Any]:
    return {"event_id": "d" * 32, "name": "n", "email": "a@b.c", "comments": "c"}


def _client_report(random: Random, now: datetime) -> dict[str, Any]:
    entries = [
        {
            "reason": f"r{random.randrange(10_000)}",
            "category": "error",
            "quantity": random.choice((1, 2**31 - 1, 2**62)),
        }
        for _ in range(random.choice((1, 1, 30)))
    ]
    return {"timestamp": _time(random, now), "discarded_events": entries}


def _anything(random: Random, now: datetime) -> Any:
    return _value(random, now)


_PAYLOADS: dict[str, Callable[[Random, datetime], Any]] = {
    "event": _event,
    "transaction": _transaction,
    "feedback": _feedback,
    "security": _security,
    "session": _session,
    "sessions": _sessions,
    "check_in": _check_in,
    "user_report": _user_report,
    "client_report": _client_report,
    "attachment": _anything,
    "span": _anything,
    "no such type": _anything,
}


def _time(random: Random, now: datetime) -> Any:
    if random.random() < 0.6:
        moment = now.astimezone(UTC) - timedelta(seconds=random.randrange(3600))
        return random.choice((moment.isoformat(), moment.timestamp()))
    return random.choice(_TIMES + _NUMBERS)


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(min(levels, 400)):
        value = [value]
    return value


def _value(random: Random, now: datetime) -> Any:
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: random.choice(_NUMBERS),
        lambda: random.choice(_NUMBERS),
        lambda: random.choice(_TEXTS),
        lambda: _time(random, now),
        lambda: random.choice(
            ([], {}, [[]] * 300, [None, 1, "a"], {"": 1}, {"a\0": "\ud800"}, {"k" * 300: {}})
        ),
        lambda: _deep(random.choice((2, 101, 300))),
    )
    return random.choice(kinds)()


def _mangled(random: Random, payload: Any, now: datetime) -> Any:
    """The payload with values replaced by others, none in a third of all payloads."""
    share = random.choice((0.0, 0.02, 0.1))

    def mangle(value: Any, levels: int = 0) -> Any:
        if share and random.random() < share * (levels > 0):
            return _value(random, now)
        if isinstance(value, dict) and levels < 8:
            return {k: mangle(v, levels + 1) for k, v in value.items()}
        if isinstance(value, list) and levels < 8:
            return [mangle(v, levels + 1) for v in value[:20]] + value[20:]
        return value

    return mangle(payload) if share else payload


def _json(random: Random, value: Any) -> bytes:
    """JSON as clients write it that know no better: NaN, halves of characters and numbers without end."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.7)
    text = text.replace(json.dumps(_DIGITS), "9" * 10_000)
    return re.sub("\n", " ", text).encode("utf-8", "surrogatepass")
