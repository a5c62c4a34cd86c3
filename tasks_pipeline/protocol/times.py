"""Points in time as clients send them, and the one form in which they are kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from tasks_pipeline.protocol.bounds import MAX_DRIFT, MAX_TIME_TEXT
from tasks_pipeline.protocol.context import ItemContext

_NO_DRIFT = timedelta()
_FORM = r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}Z"
_LENGTH = len("2026-11-22T11:42:47.381536Z")
_CANONICAL = re.compile(_FORM, re.ASCII)
_ALL_CANONICAL = re.compile(f"(?:{_FORM})*", re.ASCII)


def parse_time(value: object) -> datetime | None:
    """An aware UTC datetime from RFC 3339 text (without zone: UTC) or seconds since 1970; None for anything else.

    Milliseconds lie beyond the year 9999 and are nothing, like all that is no time between the years 1 and 9999 in UTC.
    """
    try:
        if isinstance(value, str):
            if len(value) > MAX_TIME_TEXT:
                return None
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is UTC:
                return moment
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds: 2026-11-22T11:42:47.381536Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def is_canonical_time(value: object) -> bool:
    """Whether it is a text that format_time could have made; much cheaper than making it again."""
    return isinstance(value, str) and _CANONICAL.fullmatch(value) is not None and _is_day(value[:10])


def are_canonical_times(texts: Sequence[str]) -> bool:
    """Whether each is a text that format_time could have made: one look at all of them together."""
    return (
        {*map(len, texts)} <= {_LENGTH}
        and _ALL_CANONICAL.fullmatch("".join(texts)) is not None
        and all(map(_is_day, {text[:10] for text in texts}))
    )


@lru_cache(1024)
def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def clock_drift(context: ItemContext) -> timedelta:
    """What must be added to the client's times; zero unless its clock is off by more than MAX_DRIFT."""
    if context.sent_at is None:
        return _NO_DRIFT
    drift = context.received_at - context.sent_at
    return drift if abs(drift) > MAX_DRIFT else _NO_DRIFT


def corrected(moment: datetime, drift: timedelta) -> datetime | None:
    """The client's time on our clock; None when that is no date at all."""
    if not drift:
        return moment
    try:
        return moment + drift
    except OverflowError:
        return None
