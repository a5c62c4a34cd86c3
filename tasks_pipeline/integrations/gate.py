"""The gate of an integration: whether it may be asked now, for all processes alike, and what its answers say of how it is.

What is counted is written with the next token, with a change of how it is, or every few seconds: not with each request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.exc import SQLAlchemyError

from tasks_pipeline.config.integrations import IntegrationBase
from tasks_pipeline.integrations.pace import (
    LONGEST_SECONDS,
    Limit,
    buckets_of,
    limit_of,
    take,
    wait_for_limit,
)
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import integration_requests, integration_states
from tasks_pipeline.trackers.answers import Do, TrackerError, Verdict
from tasks_pipeline.trackers.calls import Kind, date_of
from tasks_pipeline.trackers.verdicts import LESS

log = logging.getLogger(__name__)

OK, DEGRADED, AUTH_FAILED, RATE_LIMITED, UNREACHABLE, MISCONFIGURED, DISABLED = (
    "ok", "degraded", "auth_failed", "rate_limited", "unreachable", "misconfigured", "disabled",
)  # fmt: skip
LONGEST_SLEEP = 1.5
"""For so many seconds a caller is made to wait here; for longer it is sent away."""
BLOCK = 5
"""So many tokens for reading are taken at once, and used within BLOCK_SECONDS: what others were told meanwhile is not known."""
BLOCK_SECONDS = 1.0
FLUSH_SECONDS = 5.0
BREAKER_FAILURES, BREAKER_SECONDS, BREAKER_LONGEST = 5, 30.0, 3600.0
REFUSALS = 2
"""So often in a row it let us not in: then only checks try it."""
QUARTER = 900.0
MOST_SKEW = 100 * 365 * 86400.0
"""Seconds that a clock may be off: with 1970 it still counts as it is, with the year 9999 no time could be reckoned."""
_BLOCKING = ("integration", "writes of the integration", "comments of the integration")
_FAILED = (Do.RETRY, Do.UNREACHABLE, Do.UNKNOWN, Do.LOOK_AGAIN)


Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@dataclass
class _Counts:
    """What was not written yet."""

    requests: int = 0
    failed: int = 0
    not_modified: int = 0
    limit: Limit = field(default_factory=Limit)
    skew: float | None = None
    waits: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    failures: int | None = None
    """In a row, since what was stored when `reset`; None: nothing to tell."""
    reset: bool = False
    refused: int = 0
    let_in: bool = False
    said: str = ""


class StoredGate:
    """The gate of one integration for one caller; several share what is stored. A context manager: its end writes the last counts."""

    def __init__(
        self,
        state: StateDatabase,
        integration: IntegrationBase,
        *,
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._state, self._integration = state, integration
        self._clock, self._sleep = clock, sleep
        self._counts = _Counts()
        self._limit = Limit()
        self._block = 0
        self._taken_at = self._flushed = clock()
        self._troubled = True

    def __enter__(self) -> StoredGate:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def enter(self, kind: Kind, *, writes: bool = False) -> None:
        """Wait a moment for a token, or raise TrackerError (RATE_LIMITED) with the seconds until one may ask again."""
        now = self._clock()
        fresh = 0 <= (now - self._taken_at).total_seconds() < BLOCK_SECONDS
        if self._block > 0 and fresh and not writes and not wait_for_limit(self._limit, kind, now):
            self._block -= 1
            return
        with self._state.write() as connection:
            row = self._written(connection, now)
            refusal = self._refusal(row, kind, writes, now)
            wait = 0.0 if refusal else self._take(connection, row, kind, writes, now)
        # Outside of the transaction, which holds what was counted.
        if refusal is None and wait > LONGEST_SLEEP:
            scope = "writes of the integration" if writes else "integration"
            refusal = _away(wait, scope, "so much was asked already that this has to wait")
        if refusal is not None:
            raise TrackerError(refusal)
        if wait > 0:
            self._sleep(wait)

    def _take(self, connection: Connection, row: Row[Any], kind: Kind, writes: bool, now: datetime) -> float:
        """A token, and of those for reading a few more for the next requests; nothing when it would have to wait for long."""
        buckets = buckets_of(self._integration, writes=writes)
        wait, levels = take(row.pace.get("tokens") or {}, buckets, kind, now)
        if wait > LONGEST_SLEEP:
            return wait
        self._block, self._taken_at = 0, now
        while not writes and self._block < BLOCK - 1:
            further, after = take(levels, buckets, kind, now)
            if further > 0:
                break
            levels, self._block = after, self._block + 1
        self._set(connection, pace=row.pace | {"tokens": levels})
        return wait

    def note(self, kind: Kind, status: int, headers: Mapping[str, str], verdict: Verdict) -> None:
        """Remember what an answer says: of limits, of clocks, and whether all is well. Never raises: the answer must not be lost."""
        now, counts = self._clock(), self._counts
        counts.requests += 1
        counts.not_modified += status == 304
        found = limit_of(headers, now)
        if found.remaining is not None:
            counts.limit = self._limit = found
        theirs = date_of(headers)
        if theirs is not None:
            counts.skew = min(max((theirs - now).total_seconds(), -MOST_SKEW), MOST_SKEW)
        at_once = self._judge(status, verdict, now)
        if at_once or (now - self._flushed).total_seconds() >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was counted."""
        if self._counts == _Counts():
            return
        try:
            with self._state.write() as connection:
                self._written(connection, self._clock())
        except SQLAlchemyError:
            log.warning("%s: calls could not be counted", self._integration.name, exc_info=True)

    # ── what an answer means

    def _judge(self, status: int, verdict: Verdict, now: datetime) -> bool:
        """Note how it is; whether that is to be written at once."""
        counts = self._counts
        if verdict.do is Do.RATE_LIMITED:
            if verdict.scope in _BLOCKING:
                until = now + timedelta(seconds=min(LONGEST_SECONDS, max(1.0, verdict.wait)))
                counts.waits[verdict.scope] = (until, verdict.said[:300])
                self._block = 0
            return True
        if verdict.do is Do.AUTH_FAILED:
            counts.refused += 1
            counts.said, self._block = verdict.said[:500], 0
            return True
        if verdict.do is Do.MISCONFIGURED:
            counts.said = verdict.said[:500]
            return False
        if verdict.then == LESS:  # it answers, and more than is wanted: it is asked for less
            counts.failed += 1
            return False
        if status == 0 or status >= 500 or verdict.do is Do.UNREACHABLE:
            counts.failed += 1
            counts.failures = (counts.failures or 0) + 1
            counts.said = verdict.said[:500]
            return True
        if verdict.do in _FAILED:
            counts.failed += 1
            return False
        troubled, self._troubled = self._troubled or bool(counts.failures or counts.refused), False
        counts.failures, counts.reset, counts.refused, counts.let_in = 0, True, 0, True
        return troubled

    # ── what is stored

    def _written(self, connection: Connection, now: datetime) -> Row[Any]:
        """The row of the integration with all that was counted in it."""
        counts, self._counts = self._counts, _Counts()
        try:
            row = state_row(self._state, connection, self._integration.name, now)
            if counts == _Counts():
                return row
            self._set(connection, **_values(row, counts, now))
            if counts.requests:
                self._count(connection, counts, now)
        except BaseException:
            self._counts = counts
            raise
        self._flushed = now
        self._troubled = not counts.reset and (self._troubled or bool(counts.failures or counts.refused))
        return state_row(self._state, connection, self._integration.name, now)

    def _count(self, connection: Connection, counts: _Counts, now: datetime) -> None:
        table, added = integration_requests, ("requests", "failed", "not_modified")
        insert = self._state.insert(table).values(
            integration=self._integration.name,
            hour=now.replace(minute=0, second=0, microsecond=0),
            **{name: getattr(counts, name) for name in added},
        )
        more = {name: table.c[name] + insert.excluded[name] for name in added}
        connection.execute(
            insert.on_conflict_do_update(index_elements=[table.c.integration, table.c.hour], set_=more)
        )

    def _set(self, connection: Connection, **values: Any) -> None:
        c = integration_states.c
        mine = (c.integration == self._integration.name, c.tracker == "")
        connection.execute(update(integration_states).where(*mine).values(**values))

    def _refusal(self, row: Row[Any], kind: Kind, writes: bool, now: datetime) -> Verdict | None:
        """Why nothing of this kind may be asked, and until when; None when it may."""
        if row.disabled_at is not None or not self._integration.enabled:
            return _away(3600.0, "integration", f"{self._integration.name} is disabled")
        if kind != "check":
            if row.refused >= REFUSALS or row.status == AUTH_FAILED:
                said = "it lets us not in: nothing is sent before a check gets through"
                return _away(300.0, "integration", said)
            if row.open_until is not None and row.open_until > now:
                seconds = (row.open_until - now).total_seconds()
                return _away(seconds, "integration", "it does not answer: it is left alone for a while")
        for scope, (until, said) in (row.pace.get("waits") or {}).items():
            seconds = datetime.fromisoformat(until).timestamp() - now.timestamp()
            if seconds > 0 and _concerns(scope, kind, writes):
                return _away(
                    seconds, scope, f"it asked us to wait: {said}" if said else "it asked us to wait"
                )
        limit = Limit(row.limit_total, row.limit_remaining, row.limit_resets_at)
        seconds = wait_for_limit(limit, kind, now)
        if not seconds:
            return None
        left = (
            f"{limit.remaining} of {limit.total or '?'} requests are left, which are kept for what goes first"
        )
        return _away(seconds, "integration", left)


def _away(seconds: float, scope: str, said: str) -> Verdict:
    return Verdict(Do.RATE_LIMITED, wait=seconds, scope=scope, said=said)


def open_gate(state: StateDatabase, integration: IntegrationBase) -> StoredGate:
    """The gate of an integration."""
    return StoredGate(state, integration)


def state_row(
    state: StateDatabase, connection: Connection, integration: str, now: datetime, tracker: str = ""
) -> Row[Any]:
    """The row of an integration, or of one of its trackers, which nobody else changes until the transaction ends; made when it is not
    there."""
    c = integration_states.c
    mine = select(integration_states).where(c.integration == integration, c.tracker == tracker)
    row = connection.execute(mine.with_for_update()).first()
    if row is None:
        insert = state.insert(integration_states).values(
            integration=integration, tracker=tracker, status="", since=now, pace={}, noted={}
        )
        connection.execute(insert.on_conflict_do_nothing())
        row = connection.execute(mine.with_for_update()).one()
    return row


def _concerns(scope: str, kind: Kind, writes: bool) -> bool:
    if scope == "writes of the integration":
        return writes
    return scope == "integration" or kind == "comment"


def _values(row: Row[Any], counts: _Counts, now: datetime) -> dict[str, Any]:
    """What the row holds once the counts are in it."""
    pace = dict(row.pace)
    waits = {s: w for s, w in (pace.get("waits") or {}).items() if datetime.fromisoformat(w[0]) > now}
    pace["waits"] = waits | {
        scope: [until.isoformat(), said] for scope, (until, said) in counts.waits.items()
    }
    pace["calls"] = recent_calls(pace.get("calls"), now, counts.requests, counts.failed)
    if counts.said:
        pace["said"] = counts.said
    values: dict[str, Any] = {"pace": pace}
    if counts.limit.remaining is not None:
        values |= {
            "limit_total": counts.limit.total, "limit_remaining": counts.limit.remaining,
            "limit_resets_at": counts.limit.resets_at,
        }  # fmt: skip
    if counts.skew is not None and abs(counts.skew - (row.clock_skew_seconds or 0.0)) >= 1:
        values["clock_skew_seconds"] = round(counts.skew, 1)
    values["refused"] = counts.refused if counts.let_in else row.refused + counts.refused
    if counts.failures is not None:
        failures = counts.failures if counts.reset else row.failures + counts.failures
        over = failures - BREAKER_FAILURES
        seconds = 0.0 if over < 0 else min(BREAKER_LONGEST, BREAKER_SECONDS * 2.0 ** min(over, 20))
        values |= {"failures": failures, "open_until": now + timedelta(seconds=seconds) if seconds else None}
    return values


def recent_calls(known: Any, now: datetime, requests: int = 0, failed: int = 0) -> list[Any]:
    """Calls of this quarter of an hour and of the one before: [its begin in seconds since 1970, calls, failed, calls before, failed
    before]."""
    begin = now.timestamp() // QUARTER * QUARTER
    then, calls, bad, before, bad_before = known or [begin, 0, 0, 0, 0]
    if then != begin:
        follows = begin - then == QUARTER
        before, bad_before = (calls, bad) if follows else (0, 0)
        calls = bad = 0
    return [begin, calls + requests, bad + failed, before, bad_before]


def requests_within_an_hour(connection: Connection, now: datetime) -> dict[str, int]:
    """By integration: requests within about the last hour, of the hours counted."""
    c = integration_requests.c
    hour = now.replace(minute=0, second=0, microsecond=0)
    share = 1.0 - (now - hour).total_seconds() / 3600.0
    found: dict[str, float] = {}
    query = select(c.integration, c.hour, c.requests).where(c.hour >= hour - timedelta(hours=1))
    for row in connection.execute(query):
        part = row.requests if row.hour >= hour else row.requests * share
        found[row.integration] = found.get(row.integration, 0.0) + part
    return {name: round(value) for name, value in found.items()}


def states_of(connection: Connection) -> Mapping[str, Mapping[str, Row[Any]]]:
    """Rows by integration and tracker; the tracker of an integration as a whole is empty."""
    found: dict[str, dict[str, Row[Any]]] = {}
    for row in connection.execute(select(integration_states)):
        found.setdefault(row.integration, {})[row.tracker] = row
    return found
