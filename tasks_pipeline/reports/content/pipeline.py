"""The pipeline in a report: how long events waited, what it could not read, which days may still change."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import select

from tasks_pipeline.analytics.statistics.days import newest_versions
from tasks_pipeline.releases.durations import percentile
from tasks_pipeline.releases.spans import is_final
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.spans import Bounds, in_slots
from tasks_pipeline.reports.report import Pipeline
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.proofs import failed_days
from tasks_pipeline.storage.state.removals import removed_days
from tasks_pipeline.storage.state.tables import day_changes, health_days, statistics_days

TAKE_AWAY = ("regrouped", "retention", "privacy", "deleted", "recomputed", "reprocessed")
"""Reasons of changes after which fewer events may be there than were stored once."""


@dataclass(frozen=True, slots=True)
class Days:
    """What is known of the UTC days of a period: which may still change, of which a check says that the figures are wrong, whether
    events of one went since they were stored, and which have all events that their figures are of."""

    open_days: list[date] = field(default_factory=list)
    wrong_days: list[date] = field(default_factory=list)
    may_be_gone: bool = False
    whole_days: list[date] = field(default_factory=list)


def days_of(state: StateDatabase, span: Bounds, now: datetime) -> Days:
    """The days of a period. A day is open while it is not over, while its figures are not those of all that was received on it,
    and while sessions that began on it may still be received, where there are any."""
    days = span.days
    if not days:
        return Days()
    between = (days[0], days[-1])
    with state.read() as connection:
        versions = newest_versions(*between, statistics_days.c.day, statistics_days.c.closed)
        closed = {row.day: row.closed for row in connection.execute(versions)}
        with_sessions = set(
            connection.execute(select(health_days.c.day).where(health_days.c.day.between(*between))).scalars()
        )
        changes = connection.execute(
            select(
                day_changes.c.day, day_changes.c.reason, day_changes.c.changes > day_changes.c.computed
            ).where(day_changes.c.day.between(*between))
        ).all()
        wrong = failed_days(connection, days)
        removed = removed_days(connection, "events", *between).projects
    counted = closed.keys() - {day for day, _, is_new in changes if is_new} - removed.keys()
    for day in {
        day for day, _, _ in changes
    }:  # of what nothing was ever stored there are no figures to wait for
        closed.setdefault(day, False)
    today = now.date()
    return Days(
        [day for day in days if not _is_closed(day, closed, with_sessions, today)],
        sorted(wrong),
        any(reason in TAKE_AWAY for _, reason, _ in changes),
        [day for day in days if day in counted and day < today],
    )


def pipeline_of(lake: Figures, span: Bounds, scope: Scope, days: Days) -> Pipeline:
    """The section of a scope; how long batches waited is told of the organisation alone."""
    if not span.days:
        return Pipeline(open_days=days.open_days, wrong_days=days.wrong_days)
    slots = in_slots(span)
    dead = lake.query(
        "SELECT project_id, sum(quantity)::BIGINT AS n FROM lake.outcome_stats "
        f"WHERE {slots} AND outcome = 'invalid' GROUP BY ALL"
    )
    lag = None
    if scope.project_ids is None and scope.team is None:
        rows = lake.query(
            "SELECT bucket, sum(n)::BIGINT AS n FROM (SELECT unnest(map_keys(lag)) AS bucket, unnest(map_values(lag)) AS n "
            f"FROM lake.pipeline_stats WHERE {slots}) GROUP BY ALL"
        )
        lag = percentile({row["bucket"]: int(row["n"]) for row in rows}, 95)
    return Pipeline(
        lag_p95_seconds=None if lag is None else round(lag, 3),
        dead_letters=sum(int(row["n"]) for row in dead if scope.holds(row["project_id"])),
        open_days=days.open_days,
        wrong_days=days.wrong_days,
    )


def _is_closed(day: date, closed: dict[date, bool], with_sessions: Collection[date], today: date) -> bool:
    if day >= today or not closed.get(day, True):
        return False
    return day not in with_sessions or is_final(day, today)


def sessions_final_at(span: Bounds) -> datetime:
    """When no session that began in a period can be received any more."""
    last = span.days[-1] if span.days else span.end.date()
    moment_ = datetime(last.year, last.month, last.day, tzinfo=span.end.tzinfo)
    return moment_ + timedelta(days=6)
