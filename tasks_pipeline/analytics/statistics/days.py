"""Days of statistics: what changed them since, which are due and what they wait for, and the versions of their figures.

Changes are counted where they are made (`storage/state/day_changes.py`). Logs that only grow are not: how far each was read is
kept with the version, and of today and yesterday compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, and_, func, select, text, update

from tasks_pipeline.releases.spans import DAY, begin_of
from tasks_pipeline.storage.ledger.backlog import DayBacklog
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.day_changes import Reason
from tasks_pipeline.storage.state.tables import (
    day_changes,
    deliveries,
    deploys,
    group_actions,
    incidents,
    monitor_check_ins,
    notifications,
    release_stages,
    releases,
    statistics_days,
)
from tasks_pipeline.words import counted

GRACE = timedelta(minutes=2)
"""Receipts of the last second reach the spool after midnight."""
MOST = 31
"""Days that a tick asks for."""

EVENT_TABLES = frozenset({"event_stats", "event_users", "group_stats"})
HEALTH_TABLES = frozenset({"release_health", "session_users"})
"""Tables of the day that `releases/health.py` makes; they are part of its figures, and reports read them."""
LOGGED_TABLES = frozenset(
    {"group_moves", "group_levels", "monitor_stats", "notification_stats", "release_moves"}
)
"""Tables from logs and rows that change one at a time: cheap, and computed each time."""
_RECEIVED = EVENT_TABLES | {"transaction_stats", "outcome_stats", "pipeline_stats"}
ALL_TABLES = _RECEIVED | LOGGED_TABLES | HEALTH_TABLES | {"usage_stats"}
CHANGED_BY: dict[str, frozenset[str]] = {
    "batch": _RECEIVED,
    "recomputed": _RECEIVED,
    "reprocessed": EVENT_TABLES | {"pipeline_stats"},
    "regrouped": EVENT_TABLES | {"pipeline_stats"},
    "sessions": HEALTH_TABLES,
    "facts": frozenset({"usage_stats"}),
    "retention": frozenset(),
    "privacy": EVENT_TABLES | {"transaction_stats"},
    "deleted": _RECEIVED,
}
"""Tables that a reason changes, beside those that are computed each time. What retention takes away is never counted again,
and what goes on purpose (privacy, deleted) only of a day whose figures are not closed yet."""
ON_PURPOSE: frozenset[Reason] = frozenset({"privacy", "deleted"})
"""Reasons for which rows of any day go, also of today."""
GONE_BY_RETENTION = _RECEIVED | {"usage_stats", "group_moves", "group_levels", "release_moves"}
"""Tables that keep what they have, once retention took rows of a day: those that they are made of, and in time groups and releases
that were new on it."""


@dataclass(frozen=True, slots=True)
class DayVersion:
    """A version of the figures of a day: `tables` has rows and digest by name, `causes` why they are not those of the version
    before. `closed`: the day was over, and nothing of it waited. `seen`: how far logs were read."""

    day: date
    version: int
    digest: str
    tables: Mapping[str, Mapping[str, Any]]
    causes: tuple[str, ...]
    closed: bool
    computed_at: datetime
    checked_at: datetime
    seen: Mapping[str, Any] = field(default_factory=dict)

    @property
    def was_over(self) -> bool:
        """Whether the day was over when these figures were computed; before, they are replaced and not kept."""
        return self.checked_at >= begin_of(self.day) + DAY


@dataclass(frozen=True, slots=True)
class Change:
    """How often something happened to the rows of a day, and how many of these times are in its figures."""

    changes: int
    computed: int

    @property
    def is_new(self) -> bool:
        """Whether some of it is not in the figures."""
        return self.changes > self.computed


# ── versions


def versions_of(connection: Connection, days: Collection[date]) -> dict[date, DayVersion]:
    """The newest version of each of these days that has one."""
    s = statistics_days.c
    found: dict[date, DayVersion] = {}
    for day in days:
        newest = select(statistics_days).where(s.day == day).order_by(s.version.desc()).limit(1)
        if row := connection.execute(newest).first():
            found[day] = _version(row)
    return found


def newest_versions(first: date, last: date, *columns: Column[Any]) -> Select[Any]:
    """A query of columns of the newest version of each day from one to another that has one. It seeks each day, however many
    versions there are: a merge of groups makes one of all days of theirs."""
    s, other = statistics_days.c, statistics_days.alias().c
    days = select(func.min(s.day).label("day")).where(s.day.between(first, last)).cte("days", recursive=True)
    following = select(func.min(other.day)).where(other.day > days.c.day, other.day <= last)
    days = days.union_all(select(following.scalar_subquery()).where(days.c.day.is_not(None)))
    newest = select(other.version).where(other.day == days.c.day).order_by(other.version.desc()).limit(1)
    # Said once more by constants: else Postgres may read all days there are and merge.
    of_newest = and_(s.day == days.c.day, s.version == newest.scalar_subquery(), s.day.between(first, last))
    return select(*columns).select_from(days.join(statistics_days, of_newest))


def causes_after(connection: Connection, day: date, version: int) -> list[str]:
    """Why the figures of a day are not those of a version any more, by all versions since; empty where they are."""
    s = statistics_days.c
    rows = connection.execute(select(s.causes).where(s.day == day, s.version > version)).scalars()
    return sorted({cause for causes in rows for cause in causes})


def _version(row: Row[Any]) -> DayVersion:
    times = row.computed_at, row.checked_at
    return DayVersion(
        row.day, row.version, row.digest, row.tables, tuple(row.causes), row.closed, *times, seen=row.seen
    )


def put_version(
    state: StateDatabase, connection: Connection, former: DayVersion | None, new: DayVersion
) -> DayVersion:
    """Keep figures: a further version where they differ from the former ones, unless the day was not over then. Gives what is
    kept. A day that is closed with the same figures has them anew: reports that were made before may be final now."""
    same = former is not None and former.digest == new.digest
    in_place = former is not None and (same or not former.was_over)
    causes = former.causes if former is not None and in_place else new.causes
    version = 1 if former is None else former.version + (not in_place)
    as_before = former is not None and same and former.closed == new.closed
    kept = DayVersion(
        new.day, version, new.digest, new.tables, causes if former is not None else (), new.closed,
        former.computed_at if former is not None and as_before else new.computed_at, new.checked_at, new.seen,
    )  # fmt: skip
    values = {
        "digest": kept.digest, "tables": dict(kept.tables), "causes": list(kept.causes), "seen": dict(kept.seen),
        "computed_at": kept.computed_at, "checked_at": kept.checked_at, "closed": kept.closed,
    }  # fmt: skip
    insert = state.insert(statistics_days).values(day=kept.day, version=kept.version, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["day", "version"], set_=values))
    return kept


# ── changes


def changes_of(connection: Connection, days: Collection[date]) -> dict[date, dict[Reason, Change]]:
    """What happened to these days, by reason."""
    c = day_changes.c
    found: dict[date, dict[Reason, Change]] = {day: {} for day in days}
    for some in chunks(sorted(days)):
        for row in connection.execute(select(day_changes).where(c.day.in_(some))):
            found[row.day][row.reason] = Change(row.changes, row.computed)
    return found


def note_computed(connection: Connection, day: date, known: Mapping[Reason, Change]) -> None:
    """Note that figures hold what had happened to a day as it was known. What came since leaves it due."""
    c = day_changes.c
    for reason, change in sorted(known.items()):
        connection.execute(
            update(day_changes)
            .where(c.day == day, c.reason == reason, c.computed < change.changes)
            .values(computed=change.changes)
        )


def keeps_figures(known: Mapping[Reason, Change], former: DayVersion | None) -> bool:
    """Whether a day keeps the figures that it has: rows that they were made of went since."""
    closed = former is not None and former.closed
    return "retention" in known or (closed and not known.keys().isdisjoint(ON_PURPOSE))


def tables_wanted(known: Mapping[Reason, Change], former: DayVersion | None) -> frozenset[str]:
    """The tables that have to be computed again: all where there are no figures yet, else those that something changed."""
    if former is None:
        return ALL_TABLES
    of_reasons = (CHANGED_BY[reason] for reason, change in known.items() if change.is_new)
    wanted = LOGGED_TABLES.union(*of_reasons, ALL_TABLES - former.tables.keys())
    return wanted - (GONE_BY_RETENTION if keeps_figures(known, former) else frozenset())


def _end(column: Any) -> Any:
    """The greatest value of a column, by the end of its index."""
    return select(column).where(column.is_not(None)).order_by(column.desc()).limit(1)


_LOGS: dict[str, dict[str, Any]] = {
    "decisions": {"group_actions": _end(group_actions.c.id)},
    "notifications": {
        "notifications": _end(notifications.c.id),
        "deliveries": _end(deliveries.c.id),
    },
    "monitors": {
        "monitor_check_ins": _end(monitor_check_ins.c.id),
        "incidents": _end(incidents.c.id),
    },
    "releases": {
        "releases": _end(releases.c.created_at),
        "released": _end(releases.c.released_at),
        "deploys": _end(deploys.c.created_at),
        "release_stages": _end(release_stages.c.since),
    },
}
"""Ends of logs that only grow, by what they are about."""


def logs_seen(connection: Connection) -> dict[str, Any]:
    """How far each log goes now: by the ends of indexes."""
    found: dict[str, Any] = {}
    for ends in _LOGS.values():
        for name, end in ends.items():
            value = connection.execute(end).scalar()
            found[name] = value.isoformat() if isinstance(value, datetime) else value
    return found


def logs_grown(seen: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the logs are about that went on since."""
    return sorted(
        what for what, ends in _LOGS.items() if any(seen.get(name) != now.get(name) for name in ends)
    )


# ── what is due


@dataclass(frozen=True, slots=True)
class Due:
    """Days whose figures are to be computed, the newest first, and for those that wait what they wait for."""

    days: Sequence[date] = ()
    waiting: Sequence[str] = ()


def recent_due(connection: Connection, now: datetime) -> list[date]:
    """Today, and yesterday as long as its figures are not closed or logs went on that may be about it: where something changed."""
    today = now.date()
    recent = [today, today - timedelta(days=1)]
    known, versions = changes_of(connection, recent), versions_of(connection, recent)
    seen = logs_seen(connection)
    return [
        day
        for day in recent
        if any(change.is_new for change in known[day].values())
        or (day in versions and logs_grown(versions[day].seen, seen))
    ]


def closed_due(connection: Connection, backlogs: Sequence[DayBacklog], now: datetime) -> Due:
    """Days that are over and changed since, or were never closed; not those of which envelopes may be stored soon. Of those
    that changed the newest."""
    today = (now - GRACE).date()
    c = day_changes.c
    changed = select(c.day).where(text("changes > computed"), c.day < today)
    days = set(connection.execute(changed.distinct().order_by(c.day.desc()).limit(4 * MOST)).scalars())
    open_days = _never_closed(connection, today)
    waits = {b.day: b for b in backlogs if b.envelopes and b.oldest_coming is not None}
    stuck = {b.day for b in backlogs if b.envelopes} - waits.keys()
    days |= {day for day in open_days if day not in stuck}
    free = sorted((day for day in days if day not in waits), reverse=True)
    waiting = [
        f"{day}: {counted(waits[day].envelopes, 'envelope')} still {'waits' if waits[day].envelopes == 1 else 'wait'}"
        for day in sorted(waits)
        if day < today  # also those of which nothing is stored yet
    ]
    return Due(free, waiting)


def _never_closed(connection: Connection, today: date) -> set[date]:
    """Days before today, from the first one with figures on, whose figures are not closed or that have none: however long a
    standstill was, those of it are among them."""
    s = statistics_days.c
    first = connection.execute(select(func.min(s.day))).scalar()
    if first is None:
        return set()
    closed = {
        row.day for row in connection.execute(newest_versions(first, today, s.day, s.closed)) if row.closed
    }
    return {first + timedelta(days=n) for n in range((today - first).days)} - closed
