"""Measures: what happened in a project in a span, in the few numbers that reports compare with other spans.

A user is one of a project, and so is everything else here: measures of a scope are those of its projects, added up. What is
measured once is kept, so that a backfill of a year reads each period once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select

from tasks_pipeline.releases.health_figures import Sessions, Span, health_figures
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.spans import (
    ON_DAY,
    ON_MOMENT,
    ON_SLOT,
    Bounds,
    has_slot,
    in_days,
    moment,
    spans_table,
)
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import incidents, projects

OPEN = "('unresolved', 'regressed')"
"""Statuses of groups that need somebody, in SQL."""
BOOKED = "('stored', 'duplicate', 'filtered', 'discarded', 'invalid')"
"""Outcomes of what was accepted, in SQL."""
AT_ONCE = 40  # spans in one query


@dataclass(slots=True)
class Measure:
    """Of a project, or of several together, in a span. `open_groups` is as of its end; the rest counts what happened in it."""

    errors: int = 0
    users: int = 0
    new_groups: int = 0
    open_groups: int = 0
    moves: int = 0
    sessions: int = 0
    crashed: int = 0
    session_users: int = 0
    crashed_users: int = 0
    transactions: int = 0
    failed_transactions: int = 0
    satisfied: int = 0
    tolerable: int = 0
    items: int = 0
    check_ins: int = 0
    incidents: int = 0
    failed_monitors: int = 0
    notifications: int = 0
    deploys: int = 0

    def add(self, other: Measure) -> None:
        """Add those of another project."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


ByProject = dict[int, Measure]


@dataclass(slots=True)
class Measures:
    """Measures of spans, read when they are first asked for."""

    lake: Figures
    whole: Figures
    state: StateDatabase
    configured: Collection[int] = ()
    _known: dict[Bounds, ByProject] = field(default_factory=dict)
    _first: dict[int, datetime] | None = None

    def of(self, span: Bounds, scope: Scope) -> Measure:
        """Those of a scope together."""
        self.read([span])
        total = Measure()
        for project_id, measure in self._known[span].items():
            if scope.holds(project_id):
                total.add(measure)
        return total

    def by_project(self, span: Bounds, scope: Scope) -> ByProject:
        """Those of each project of a scope in which something happened."""
        self.read([span])
        return {p: m for p, m in sorted(self._known[span].items()) if scope.holds(p)}

    def read(self, spans: Iterable[Bounds]) -> None:
        """Read those of spans that are not known yet, many at once."""
        missing = [span for span in dict.fromkeys(spans) if span not in self._known]
        for start in range(0, len(missing), AT_ONCE):
            chunk = missing[start : start + AT_ONCE]
            self._known.update(
                zip(chunk, _measured(self.lake, self.state, chunk, self.configured), strict=True)
            )

    def forget_before(self, at: datetime) -> None:
        """Drop what ended before a moment: a backfill goes forward, and does not look back for ever."""
        for span in [span for span in self._known if span.end < at]:
            del self._known[span]

    def first(self, scope: Scope) -> datetime | None:
        """When something of a scope was first received; None when nothing ever was."""
        if self._first is None:
            rows = self.whole.query(
                "SELECT project_id, min(slot) AS first FROM lake.outcome_stats GROUP BY project_id"
            )
            self._first = {row["project_id"]: row["first"] for row in rows}
        return min((at for p, at in self._first.items() if scope.holds(p)), default=None)


def _measured(
    lake: Figures, state: StateDatabase, spans: Sequence[Bounds], configured: Collection[int]
) -> list[ByProject]:
    found: list[ByProject] = [{} for _ in spans]

    def take(rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            measure = found[row.pop("number")].setdefault(row.pop("project_id"), Measure())
            for name, value in row.items():
                setattr(measure, name, int(value or 0))

    if any(span.days for span in spans):
        for sql in _QUERIES:
            take(lake.query(sql(spans)))
        take(_incidents(state, spans))
        ids = sorted({*configured, *known_projects(state)})
        for number, span in enumerate(spans):
            take(_sessions(lake, ids, number, span))
    return found


def _counted(table: str, columns: str, condition: str = "") -> Callable[[Sequence[Bounds]], str]:
    """SQL of counts by span and project in a table with slots."""

    def sql(spans: Sequence[Bounds]) -> str:
        return (
            f"SELECT number, project_id, {columns} FROM lake.{table} JOIN {spans_table(spans)} ON {ON_SLOT} "
            f"WHERE {in_days(spans)} {condition} GROUP BY number, project_id"
        )

    return sql


def _users(spans: Sequence[Bounds]) -> str:
    return (
        f"SELECT number, project_id, count(DISTINCT user_hash) AS users FROM lake.event_users JOIN {spans_table(spans)} "
        f"ON {ON_DAY} WHERE {in_days(spans)} AND {has_slot('slots')} GROUP BY number, project_id"
    )


def _moves(spans: Sequence[Bounds]) -> str:
    return (
        "SELECT number, project_id, count(*) AS moves, count(*) FILTER (move = 'created') AS new_groups "
        f"FROM lake.group_moves JOIN {spans_table(spans)} ON {ON_MOMENT} WHERE {in_days(spans)} GROUP BY number, project_id"
    )


def _levels(spans: Sequence[Bounds]) -> str:
    """Groups that were open at the end of each span: by the newest move of each before it."""
    until = max(span.end for span in spans)
    last = (
        f"SELECT number, project_id, group_id, {newest('status_to')} AS status FROM lake.group_moves "
        f'JOIN {spans_table(spans)} ON "at" < ends WHERE {up_to(until)} GROUP BY ALL'
    )
    return (
        f"SELECT number, project_id, count(*) AS open_groups FROM ({last}) WHERE status IN {OPEN} "
        "GROUP BY number, project_id"
    )


def newest(column: str) -> str:
    """SQL: the value that the newest row of group_moves has; also when that is null."""
    return f"arg_max({{'v': {column}}}, (\"at\", coalesce(action_id, 0))).v"


def up_to(until: datetime) -> str:
    """SQL: rows of group_moves before a moment."""
    return f"day <= DATE '{until.date().isoformat()}' AND \"at\" < {moment(until)}"


_QUERIES: tuple[Callable[[Sequence[Bounds]], str], ...] = (
    _counted("event_stats", "sum(events) AS errors"),
    _users,
    _moves,
    _levels,
    _counted(
        "transaction_stats",
        "sum(count) AS transactions, sum(failed) AS failed_transactions, sum(satisfied) AS satisfied, "
        "sum(tolerable) AS tolerable",
    ),
    _counted(
        "outcome_stats",
        "sum(quantity) AS items, sum(quantity) FILTER (category = 'monitor' AND outcome = 'stored') AS check_ins",
        f"AND outcome IN {BOOKED}",
    ),
    _counted("notification_stats", "sum(count) AS notifications", "AND status = 'sent'"),
    lambda spans: (
        "SELECT number, project_id, count(*) FILTER (move = 'deployed') AS deploys FROM lake.release_moves "
        f"JOIN {spans_table(spans)} ON {ON_MOMENT} WHERE {in_days(spans)} GROUP BY number, project_id"
    ),
)


def _sessions(lake: Figures, ids: Sequence[int], number: int, span: Bounds) -> list[dict[str, Any]]:
    if not span.days:
        return []
    found = health_figures(
        lake, Span(span.start, span.end), Sessions(ids), [("project_id",)], durations=False
    )
    return [
        {
            "number": number, "project_id": cell.project_id, "sessions": f.all_sessions, "crashed": f.crashed,
            "session_users": f.all_users, "crashed_users": f.crashed_users,
        }
        for cell, f in found.items()
    ]  # fmt: skip


def _incidents(state: StateDatabase, spans: Sequence[Bounds]) -> list[dict[str, Any]]:
    """Incidents of monitors that began in each span, and the monitors that had one."""
    i = incidents.c
    found: list[dict[str, Any]] = []
    with state.read() as connection:
        for number, span in enumerate(spans):
            rows = connection.execute(
                select(i.project_id, i.environment_id).where(
                    i.opened_at >= span.start, i.opened_at < span.end, i.kind != "pipeline"
                )
            ).all()
            for project_id in {row.project_id for row in rows}:
                own = [row.environment_id for row in rows if row.project_id == project_id]
                counts = {"incidents": len(own), "failed_monitors": len(set(own))}
                found.append({"number": number, "project_id": project_id, **counts})
    return found


def known_projects(state: StateDatabase) -> list[int]:
    """The numbers of all projects that ever had a group, also of those that are not configured any more."""
    with state.read() as connection:
        return list(connection.execute(select(projects.c.id).order_by(projects.c.id)).scalars())
