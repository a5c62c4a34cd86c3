"""How fast an integration may be asked: token buckets, what it says of its own limits, and waits that it asked for. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tasks_pipeline.config.integrations import IntegrationBase
from tasks_pipeline.trackers.calls import Kind

RESERVES: Mapping[Kind, float] = {
    "state": 0.0, "check": 0.02, "create": 0.05, "comment": 0.1, "poll": 0.2, "enrich": 0.5,
}  # fmt: skip
"""The share of a limit that is left to what goes first: at so little a kind of call waits."""
LONGEST_SECONDS = 6 * 3600.0
_HOUR = 3600.0
_EPOCHS_FROM = 1_000_000_000
"""A reset that is so large is a moment; a smaller one is seconds to come."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """`most` tokens, refilled by `each` a second."""

    name: str
    most: float
    each: float


@dataclass(frozen=True, slots=True)
class Limit:
    """What an answer says of a limit; None where it says nothing."""

    total: int | None = None
    remaining: int | None = None
    resets_at: datetime | None = None


Levels = dict[str, tuple[float, float]]
"""By name of a bucket: tokens, and when it held so many, in seconds since 1970. As it is stored."""


def buckets_of(integration: IntegrationBase, *, writes: bool) -> tuple[Bucket, ...]:
    """The buckets that a request takes a token of each."""
    pace = integration.pace
    per_second = integration.requests_per_second or pace.per_second
    asks = Bucket("asks", max(1.0, per_second), per_second)
    if not writes:
        return (asks,)
    writing = min(per_second, pace.writes_per_second)
    per_hour = float(pace.writes_per_hour)
    return asks, Bucket("writes", max(1.0, writing), writing), Bucket("hour", per_hour, per_hour / _HOUR)


def take(
    levels: Mapping[str, Sequence[float]], buckets: Sequence[Bucket], kind: Kind, now: datetime
) -> tuple[float, Levels]:
    """A token of each bucket: the seconds to wait before the request is made, and the levels once it is.

    Of the hour's bucket something is left to what goes before `kind`.
    """
    at, wait = now.timestamp(), 0.0
    after: Levels = {name: (tokens, then) for name, (tokens, then) in levels.items()}
    for bucket in buckets:
        tokens, then = after.get(bucket.name, (bucket.most, at))
        tokens = min(bucket.most, tokens + max(0.0, at - then) * bucket.each)
        needed = 1.0 + (RESERVES[kind] * bucket.most if bucket.name == "hour" else 0.0)
        wait = max(wait, (needed - tokens) / bucket.each)
        after[bucket.name] = (round(tokens - 1.0, 4), at)
    return wait, after


def limit_of(headers: Mapping[str, str], now: datetime) -> Limit:
    """The limit that an answer tells of, in any of the usual spellings; names of headers in lower case."""
    for prefix in ("x-ratelimit-", "ratelimit-"):
        remaining = _number(headers.get(f"{prefix}remaining"))
        if remaining is not None and headers.get(f"{prefix}resource", "core") == "core":
            total = _number(headers.get(f"{prefix}limit"))
            return Limit(total, remaining, _moment(headers.get(f"{prefix}reset"), now))
    return Limit()


def _number(text: str | None) -> int | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return int(found) if 0 <= found < 1e9 else None


def _moment(text: str | None, now: datetime) -> datetime | None:
    """A reset: seconds since 1970, seconds to come, or ISO 8601. Never further away than is sensible."""
    if not text:
        return None
    latest = now + timedelta(seconds=LONGEST_SECONDS)
    try:
        seconds = float(text)
        if not math.isfinite(seconds) or seconds < 0:
            return None
        if seconds < _EPOCHS_FROM:
            return min(latest, now + timedelta(seconds=min(seconds, LONGEST_SECONDS)))
        return datetime.fromtimestamp(min(seconds, latest.timestamp()), UTC)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return min(latest, found if found.tzinfo else found.replace(tzinfo=UTC))


def wait_for_limit(limit: Limit, kind: Kind, now: datetime) -> float:
    """Seconds until a kind of call may be made by what is left of a limit; 0 when it may."""
    if limit.remaining is None or limit.resets_at is None or limit.resets_at <= now:
        return 0.0
    least = RESERVES[kind] * (limit.total or 0)
    if limit.remaining > least or (limit.remaining > 0 and kind == "state"):
        return 0.0
    return (limit.resets_at - now).total_seconds() + 1.0
