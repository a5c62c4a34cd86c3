"""Check-ins of cron monitors and the monitor configuration that may come with them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tasks_pipeline.protocol import fields
from tasks_pipeline.protocol.bounds import MAX_CRONTAB, MAX_INTERVAL, MAX_MINUTES, MAX_SLUG, MAX_THRESHOLD
from tasks_pipeline.protocol.context import ItemContext
from tasks_pipeline.protocol.decode import PayloadError
from tasks_pipeline.protocol.ids import NIL_ID, parse_event_id
from tasks_pipeline.protocol.sessions import seconds
from tasks_pipeline.protocol.trim import Notes

STATUSES = frozenset({"in_progress", "ok", "error"})
DEFAULT_ENVIRONMENT = "production"
_DIGEST = 8  # hex digits in the place of what a slug has no room for
# Letters and marks that nobody sees: with them one name would look like another, or like none (Unicode: default ignorable).
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NORMALISED = 1_000  # characters at once; the time of NFC grows with the square of the marks in a row

_RANGES = {
    "checkin_margin": range(MAX_MINUTES + 1),
    "max_runtime": range(1, MAX_MINUTES + 1),
    "failure_issue_threshold": range(1, MAX_THRESHOLD + 1),
    "recovery_threshold": range(1, MAX_THRESHOLD + 1),
}

_MACROS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_CRON_FIELDS: tuple[tuple[range, dict[str, int]], ...] = (
    (range(60), {}),
    (range(24), {}),
    (range(1, 32), {}),
    (range(1, 13), {name: number for number, name in enumerate(_MONTHS, 1)}),
    (range(8), {name: number for number, name in enumerate(_DAYS)}),
)
_CRON_PART = re.compile(r"(?:(\*)|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?")


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A check-in: the start or the end of one run of a monitor.

    `check_in_id` (32 lower-case hex) is None for "the latest that is in progress"; `duration` is in seconds.
    `monitor_config` holds what is valid as the client spells it: schedule {type, value, unit?}, checkin_margin and
    max_runtime (minutes), timezone, failure_issue_threshold, recovery_threshold, owner. When it was sent but is
    invalid it is None and `config_error` says why, and what was found.
    """

    monitor_slug: str
    check_in_id: str | None
    status: str
    duration: float | None
    environment: str
    release: str | None
    trace_id: str | None
    monitor_config: dict[str, Any] | None
    config_error: str | None


class _ConfigError(ValueError):
    """What is wrong with a monitor's configuration, and what was found there."""

    def __init__(self, wrong: str, found: object) -> None:
        super().__init__(wrong + _found(found))


def _found(value: object) -> str:
    """What was found, bounded: numbers of any length and nests of any depth come from strangers."""
    if isinstance(value, str):
        return f" (found {value[:60]!r})"
    short = (
        value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**18)
    )
    return f" (found {value if short else type(value).__name__})"


def check_in(payload: object, context: ItemContext) -> CheckIn:
    """The check-in of a `check_in` item. Raises PayloadError for a missing slug, unknown status or malformed id.

    The context changes nothing here: a check-in has no time of its own but that of its receipt.
    """
    if not isinstance(payload, dict):
        raise PayloadError("not a JSON object")
    status = payload.get("status")
    if not isinstance(status, str) or status not in STATUSES:
        raise PayloadError(f"unknown status {str(status)[:40]!r}")
    config, config_error = None, None
    if payload.get("monitor_config") is not None:
        try:
            config = _monitor_config(payload["monitor_config"])
        except _ConfigError as error:
            config_error = str(error)
    notes = Notes(timedelta())
    return CheckIn(
        monitor_slug=_slug(payload.get("monitor_slug")),
        check_in_id=_id(payload.get("check_in_id")),
        status=status,
        duration=seconds(payload.get("duration")),
        environment=fields.environment(payload.get("environment"), notes, (), "environment")
        or DEFAULT_ENVIRONMENT,
        release=fields.release(payload.get("release"), notes, (), "release"),
        trace_id=_trace_id(payload),
        monitor_config=config,
        config_error=config_error,
    )


def _slug(given: object) -> str:
    slug = monitor_slug(given) if isinstance(given, str) else ""
    if not slug:
        raise PayloadError(f"monitor_slug names nothing{_found(given)}")
    return slug


def monitor_slug(name: str) -> str:
    """The slug of a monitor that a client calls so, at most MAX_SLUG characters; empty for a name without a letter or digit.

    Clients send names as well: capitals become small, and what is neither letter, digit nor `_` becomes a dash. Letters of all
    scripts stay, and what is too long ends with a part of its digest: different jobs are different monitors.
    """
    name = _UNSEEN.sub("", name.lower())
    pieces = (name[at : at + _NORMALISED] for at in range(0, len(name), _NORMALISED))
    name = "".join(unicodedata.normalize("NFC", piece) for piece in pieces)
    whole = "".join(c if _in_slug(c) else " " for c in name)
    slug = "-".join(whole.split()).strip("-")
    if not any(unicodedata.category(c)[0] in "LN" for c in slug):
        return ""
    if len(slug) <= MAX_SLUG:
        return slug
    digest = hashlib.sha256(slug.encode()).hexdigest()[:_DIGEST]
    return f"{slug[: MAX_SLUG - _DIGEST - 1].rstrip('-')}-{digest}"


def _in_slug(character: str) -> bool:
    return character in "_-" or unicodedata.category(character)[0] in "LNM"


def _id(given: object) -> str | None:
    if given is None or given == "":
        return None
    parsed = parse_event_id(given)
    if parsed is None:
        raise PayloadError("check_in_id is not a UUID")
    return None if parsed == NIL_ID else parsed


def _trace_id(payload: dict[str, Any]) -> str | None:
    contexts = payload.get("contexts")
    trace = contexts.get("trace") if isinstance(contexts, dict) else None
    return parse_event_id(trace.get("trace_id")) if isinstance(trace, dict) else None


def _monitor_config(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _ConfigError("monitor_config is not an object", given)
    config: dict[str, Any] = {"schedule": _schedule(given.get("schedule"))}
    for name, allowed in _RANGES.items():
        value = given.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value not in allowed:
            raise _ConfigError(f"{name} is not a whole number from {allowed[0]} to {allowed[-1]}", value)
        config[name] = value
    if given.get("timezone") is not None:
        config["timezone"] = _timezone(given["timezone"])
    if isinstance(given.get("owner"), str):
        config["owner"] = given["owner"][:200]
    return config


def _schedule(given: object) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise _ConfigError("schedule is not an object", given)
    value = given.get("value")
    if given.get("type") == "crontab":
        if not isinstance(value, str) or not is_crontab(value):
            raise _ConfigError("schedule.value is not a crontab expression of five fields", value)
        return {"type": "crontab", "value": " ".join(value.split())}
    if given.get("type") != "interval":
        raise _ConfigError("schedule.type is neither crontab nor interval", given.get("type"))
    unit = given.get("unit")
    if not isinstance(unit, str) or unit not in MAX_INTERVAL:
        raise _ConfigError(f"schedule.unit is none of {', '.join(sorted(MAX_INTERVAL))}", unit)
    if isinstance(value, str) and len(value) <= 7 and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_INTERVAL[unit]:
        raise _ConfigError(f"schedule.value is not a whole number from 1 to {MAX_INTERVAL[unit]}", value)
    return {"type": "interval", "value": value, "unit": unit}


def is_crontab(expression: str) -> bool:
    """Whether it is a crontab expression of five fields, or one of the macros such as @daily."""
    if len(expression) > MAX_CRONTAB:
        return False
    fields = expression.lower().split()
    if len(fields) == 1:
        return fields[0] in _MACROS
    return len(fields) == len(_CRON_FIELDS) and all(map(_is_cron_field, fields, _CRON_FIELDS))


def _is_cron_field(field: str, kind: tuple[range, dict[str, int]]) -> bool:
    allowed, names = kind

    def number(text: str) -> int:
        return int(text) if text.isdigit() else names.get(text, -1)

    for part in field.split(","):
        match = _CRON_PART.fullmatch(part)
        if match is None:
            return False
        star, first, last, step = match.groups()
        if step is not None and int(step) == 0:
            return False
        if star is None and number(first) not in allowed:
            return False
        if last is not None and (number(last) not in allowed or number(last) < number(first)):
            return False
    return True


def _timezone(given: object) -> str:
    try:
        return ZoneInfo(str(given)[:64]).key
    except (ValueError, LookupError, OSError):
        raise _ConfigError("timezone is not the name of a time zone", given) from None
