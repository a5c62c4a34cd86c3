"""How long a tracker wants to be left alone, by the headers of its answer: with a floor, a cap, and a little left to chance."""

from __future__ import annotations

import email.utils
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

FLOOR = 1.0
CAP = 6 * 3600.0
_JITTER = 0.1
_RESET_MARGIN = (1.0, 5.0)
_UNSAID = 60.0
_EPOCH = 1e9  # what is less counts from now
_MILLISECONDS = 1e11
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,9})?")


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds to wait, between FLOOR and CAP."""

    seconds: float


def a_minute() -> float:
    """Where a limit comes without a word about time: a minute, and up to a tenth more."""
    return _bounded(_UNSAID * random.uniform(1, 1 + _JITTER))


def pause(headers: Mapping[str, str], at: datetime) -> Pause | None:
    """What `Retry-After` says (seconds or a date: RFC 9110, 10.2.3), else when a limit that is used up is there again (`…-Reset`: seconds
    since 1970 or from now, or a date in ISO 8601). Names are in lower case. By their clock where they tell it (`Date`), else by ours.

    Roundup sends `Retry-After: 0` and refuses again: hence the floor. None: nothing is said.
    """
    now = _date(headers.get("date", "")) or at
    after = _seconds(headers.get("retry-after", ""), now)
    if after is not None:
        return Pause(_bounded(max(after, FLOOR) * random.uniform(1, 1 + _JITTER)))
    for prefix in ("x-ratelimit", "ratelimit"):
        left = _number(headers.get(f"{prefix}-remaining", ""))
        reset = _reset(headers.get(f"{prefix}-reset", ""), now)
        if left is not None and left <= 0 and reset is not None:
            return Pause(_bounded(max(reset, 0.0) + random.uniform(*_RESET_MARGIN)))
    return None


def _bounded(seconds: float) -> float:
    return min(max(seconds, FLOOR), CAP)


def _seconds(text: str, now: datetime) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    date = _date(text)
    return None if date is None else (date - now).total_seconds()


def _reset(text: str, now: datetime) -> float | None:
    number = _number(text)
    if number is None:
        try:
            date = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        except ValueError:
            return _seconds(text, now)
        return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - now).total_seconds()
    if number < _EPOCH:
        return number
    return (number / 1000 if number > _MILLISECONDS else number) - now.timestamp()


def _number(text: str) -> float | None:
    text = text.strip()
    if not text.isascii() or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _date(text: str) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text.strip())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
