"""Which reports are due: periods that ended and have none yet, and reports whose days came out otherwise since. Nothing is computed.

What a period waits for is said in words, for who looks at the sensor. Asked every minute: by indexes, and of few periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row, and_, select, text

from tasks_pipeline.analytics.statistics.days import DayVersion, newest_versions, versions_of
from tasks_pipeline.config import Config
from tasks_pipeline.releases.spans import DAY, begin_of
from tasks_pipeline.reports.content.pipeline import sessions_final_at
from tasks_pipeline.reports.content.spans import Bounds
from tasks_pipeline.reports.inputs import has_other_figures, inputs_between
from tasks_pipeline.reports.periods import ADVERBS, KINDS, WEEK_STARTS, Kind, Period, period_at
from tasks_pipeline.reports.scopes import Scope, scopes_of
from tasks_pipeline.storage.ledger.backlog import first_day, waiting_before
from tasks_pipeline.storage.spool.interface import Spool
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.proofs import failed_days, mended_days
from tasks_pipeline.storage.state.tables import (
    day_changes,
    health_days,
    report_revisions,
    reports,
    statistics_days,
)
from tasks_pipeline.words import counted

MISSED: dict[Kind, int] = {"day": 8, "week": 5, "month": 2}
"""So many closed periods are made up for by themselves after downtime; older ones by a backfill."""
OVERLAP = timedelta(hours=1)
"""Changes of figures are looked at for so long: a day is committed some moments after its clock was read, and machines have
clocks of their own."""
SETTLED = timedelta(minutes=5)
"""Figures of a day that still goes on have what was received before a moment when they were computed so long after it."""
_LONGEST = timedelta(days=33)  # of a period, with what zones add


@dataclass(slots=True)
class Due:
    """Keys of reports to be computed, by kind: `fresh` have none yet, `stale` other figures; oldest first. `waits` says what periods
    that ended wait for, and `seen` up to when changes of figures are taken care of: no further as long as one is stale."""

    fresh: dict[Kind, list[date]] = field(default_factory=dict)
    stale: dict[Kind, list[date]] = field(default_factory=dict)
    waits: list[str] = field(default_factory=list)
    next_end: datetime | None = None
    seen: datetime | None = None


def reports_due(
    state: StateDatabase, spool: Spool, config: Config, now: datetime, since: datetime | None = None
) -> Due:
    """What is due. `since`: up to when changes of figures are taken care of."""
    due = Due()
    first = first_day(state, spool)
    scopes = scopes_of(config)
    due.next_end = min(_running(config, scopes, kind, now).end for kind in KINDS)
    if first is None:
        return due
    with state.read() as connection:
        missing = _missing(connection, config, scopes, first, now)
        looked: dict[Period, str] = {}
        for period in missing:
            if period not in looked:
                looked[period] = waits_for(connection, state, spool, config, period, now)
            if not looked[period]:
                due.fresh.setdefault(period.kind, []).append(period.key)
        due.waits = [why for why in dict.fromkeys(looked.values()) if why]
        due.stale, due.seen = _stale(connection, config, since, now)
        kept = begin_of(now.date() - timedelta(days=config.retention.analytics_days))
        for kind, key in _mended(connection, scopes, kept, now):
            due.stale[kind] = sorted({*due.stale.get(kind, ()), key})
    due.fresh = {kind: sorted(set(keys)) for kind, keys in due.fresh.items()}
    for kind, keys in due.fresh.items():  # computing them has what changed
        due.stale[kind] = [key for key in due.stale.get(kind, []) if key not in keys]
    due.stale = {kind: keys for kind, keys in due.stale.items() if keys}
    return due


def _running(config: Config, scopes: Sequence[Scope], kind: Kind, now: datetime) -> Period:
    zones = {scope.zone for scope in scopes}
    found = (period_at(kind, now, zone, config.reports.week_starts) for zone in zones)
    return min(found, key=lambda period: period.end)


def _missing(
    connection: Connection, config: Config, scopes: Sequence[Scope], first: date, now: datetime
) -> list[Period]:
    """Periods that ended and that some scope has no report of, the newest first."""
    zones = sorted({scope.zone for scope in scopes})
    closed = [
        period
        for kind in KINDS
        for zone in zones
        for period in _closed(config, kind, zone, now)
        if period.end > begin_of(first)
    ]
    there = _there(connection, closed)
    missing = [
        period
        for period in closed
        if any(
            scope.zone == period.zone and (period.kind, period.key, period.zone, scope.stored) not in there
            for scope in scopes
        )
    ]
    return sorted(missing, key=lambda period: period.end, reverse=True)


def _closed(config: Config, kind: Kind, zone: str, now: datetime) -> Iterator[Period]:
    period = period_at(kind, now, zone, config.reports.week_starts)
    for _ in range(MISSED[kind]):
        period = period.previous()
        yield period


def _there(connection: Connection, periods: Iterable[Period]) -> set[tuple[str, date, str, str]]:
    r = reports.c
    found: set[tuple[str, date, str, str]] = set()
    by_kind: dict[str, set[date]] = {}
    for period in periods:
        by_kind.setdefault(period.kind, set()).add(period.key)
    for kind, keys in by_kind.items():
        query = select(r.kind, r.key, r.zone, r.scope).where(r.kind == kind, r.key.in_(sorted(keys)))
        found.update((row.kind, row.key, row.zone, row.scope) for row in connection.execute(query))
    return found


def waits_for(
    connection: Connection, state: StateDatabase, spool: Spool, config: Config, period: Period, now: datetime
) -> str:
    """What a period that ended waits for, in words; empty when it can be computed."""
    if now >= period.end + timedelta(hours=config.reports.complete_after_hours):
        return ""
    named = f"{ADVERBS[period.kind]} {period.label} in {period.zone}"
    envelopes = _waiting(state, spool, period)
    if envelopes:
        verb = "waits" if envelopes == 1 else "wait"
        return f"{named}: {counted(envelopes, 'envelope')} received before its end {verb}"
    days = period.utc_days
    due = _due_days(connection, days)
    versions = versions_of(connection, days)
    for day in days:
        if _lacks_figures(day, day in due, versions.get(day), period, now):
            return f"{named}: the figures of {day} are not computed as of its end"
    for day in _sessions_due(connection, days, period.end):
        return f"{named}: the sessions of {day} are not counted as of its end"
    for failed in failed_days(connection, days).values():
        return f"{named}: wrong are the {failed}"
    return ""


def _lacks_figures(
    day: date, is_due: bool, version: DayVersion | None, period: Period, now: datetime
) -> bool:
    """Whether what was received on a day, up to the end of the period, may not be in its figures."""
    if not is_due:
        return False
    if begin_of(day) + DAY <= now:
        return True
    return version is None or version.checked_at < period.end + SETTLED


def _waiting(state: StateDatabase, spool: Spool, period: Period) -> int:
    """Envelopes of a period that are not stored and may be soon; the report counts those of batches that keep failing too."""
    found = waiting_before(state, spool, set(period.utc_days), period.end)
    return sum(b.envelopes for b in found if b.oldest_coming is not None and b.oldest_coming < period.end)


def _due_days(connection: Connection, days: Sequence[date]) -> set[date]:
    query = select(day_changes.c.day).where(text("changes > computed"))
    return (
        set(connection.execute(query.where(day_changes.c.day.between(days[0], days[-1]))).scalars())
        if days
        else set()
    )


def _sessions_due(connection: Connection, days: Sequence[date], end: datetime) -> list[date]:
    h = health_days.c
    if not days:
        return []
    query = (
        select(h.day, h.computed_at)
        .where(h.day.between(days[0], days[-1]), text("changes > computed"))
        .order_by(h.day)
    )
    return [day for day, at in connection.execute(query) if at is None or at < end]


def _stale(
    connection: Connection, config: Config, since: datetime | None, now: datetime
) -> tuple[dict[Kind, list[date]], datetime | None]:
    """Keys of reports whose days have other figures than they were made of, and of those that became final; and up to when
    changes of figures are taken care of. Those that begin before what is kept stay as they are: they are never computed from
    less."""
    first = now.date() - timedelta(days=config.retention.analytics_days)
    kept = begin_of(first)
    looked_from = None if since is None else min(since, now - OVERLAP)
    changed = _changed_days(connection, looked_from, first, now.date())
    rows = chain(_of_other_figures(connection, changed), _became_final(connection, since, kept, now))
    found = {(row.kind, row.key) for row in filter(_computed_again(config, kept), rows)}
    keys: dict[Kind, list[date]] = {}
    for kind, key in sorted(found):
        keys.setdefault(kind, []).append(key)
    return keys, now - OVERLAP if changed and not found else since


def _computed_again(config: Config, kept: datetime) -> Callable[[Row[Any]], bool]:
    """Tells of a stored report (kind, key, scope, zone, start) whether it is computed again: not those of scopes, zones and weeks
    that there are no more, nor those of days that are not kept."""
    scopes = {(scope.stored, scope.zone) for scope in scopes_of(config)}
    weekday = WEEK_STARTS[config.reports.week_starts]

    def is_computed(row: Row[Any]) -> bool:
        begins = row.kind != "week" or row.key.weekday() == weekday
        return begins and row.start >= kept and (row.scope, row.zone) in scopes

    return is_computed


def _changed_days(connection: Connection, since: datetime | None, first: date, last: date) -> list[date]:
    """Days whose figures were computed since, closed ones, in order; of all times those that have any."""
    s = statistics_days.c
    if since is None:
        return sorted(connection.execute(newest_versions(first, last, s.day)).scalars())
    query = select(s.day).where(s.computed_at > since, s.closed)
    return sorted({day for day in connection.execute(query).scalars() if day >= first})


def _of_other_figures(connection: Connection, changed: Sequence[date]) -> Iterator[Row[Any]]:
    """Reports near these days that were made of other figures than closed days have now."""
    if not changed:
        return
    first, last = begin_of(changed[0]), begin_of(changed[-1]) + DAY
    now = inputs_between(connection, changed[0] - _LONGEST, changed[-1] + _LONGEST)
    r, v = reports.c, report_revisions.c
    query = (
        select(r.kind, r.key, r.scope, r.zone, r.start, r.end, v.inputs)
        .select_from(reports.join(report_revisions, and_(v.report_id == r.id, v.revision == r.revision)))
        .where(r.end > first, r.end <= last + _LONGEST, r.start < last)
    )
    for row in connection.execute(query):
        closed = (day for day in Bounds(row.start, row.end).days if day in now and now[day]["closed"])
        if any(has_other_figures(row.inputs.get(day.isoformat()), now[day]) for day in closed):
            yield row


def _mended(
    connection: Connection, scopes: Sequence[Scope], kept: datetime, now: datetime
) -> set[tuple[Kind, date]]:
    """Reports that were made of figures that were known to be wrong, and hold since: they may come out the same, with no version of
    their own."""
    r = reports.c
    of_now = {(scope.stored, scope.zone) for scope in scopes}
    found: set[tuple[Kind, date]] = set()
    for day, at in mended_days(connection, now).items():
        begin = begin_of(day)
        query = select(r.kind, r.key, r.scope, r.zone).where(
            r.end > begin,
            r.end <= begin + _LONGEST,
            r.start < begin + DAY,
            r.start >= kept,
            r.checked_at < at,
        )
        found.update(
            (row.kind, row.key) for row in connection.execute(query) if (row.scope, row.zone) in of_now
        )
    return found


def _became_final(
    connection: Connection, since: datetime | None, kept: datetime, now: datetime
) -> Iterator[Row[Any]]:
    """Reports that were computed while sessions of their days could still be received, and of which none can be any more. Those of
    before `since` were seen to then: what became so during downtime is found however long it was."""
    r, v = reports.c, report_revisions.c
    from_on = kept if since is None else max(kept, min(since, now) - timedelta(days=9))
    query = (
        select(r.kind, r.key, r.scope, r.zone, r.start, r.end, r.checked_at)
        .select_from(reports.join(report_revisions, and_(v.report_id == r.id, v.revision == r.revision)))
        .where(r.end > from_on, r.end <= now - timedelta(days=5), v.final.is_(False))
    )
    for row in connection.execute(query):
        final_at = sessions_final_at(Bounds(row.start, row.end))
        if row.checked_at < final_at <= now:
            yield row
