"""Monitors of a report: runs that were expected and what became of them, uptime, incidents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.measures import Measure
from tasks_pipeline.reports.content.spans import Bounds, in_slots
from tasks_pipeline.reports.report import MonitorRow, Monitors
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import incidents, monitor_environments, monitors

MOST = 20
_COUNTS = ("expected", "ok", "error", "missed", "timed_out")


@dataclass(frozen=True, slots=True)
class MonitorFigures:
    """Monitors of all projects in a period, at most so many of each project, the worst first."""

    rows: Sequence[dict[str, Any]]

    def of(self, scope: Scope, measure: Measure, slugs: Mapping[int, str]) -> Monitors:
        """The section of a scope."""
        own = sorted((r for r in self.rows if scope.holds(r["project_id"])), key=_worst_first)[:MOST]
        return Monitors(
            failed=measure.failed_monitors, incidents=measure.incidents, rows=[_row(r, slugs) for r in own]
        )


def _worst_first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    bad = row["error"] + row["missed"] + row["timed_out"]
    return -row["incidents"], -bad, row["project_id"], row["monitor"], row["environment"]


def _row(row: Mapping[str, Any], slugs: Mapping[int, str]) -> MonitorRow:
    observed = row["observed_seconds"] if row["kind"] == "uptime" else 0
    return MonitorRow(
        project=slugs.get(row["project_id"], str(row["project_id"])),
        monitor=row["monitor"],
        kind=row["kind"],
        environment=row["environment"],
        uptime=round(1 - row["down_seconds"] / observed, 6) if observed else None,
        incidents=row["incidents"],
        **{name: int(row[name]) for name in _COUNTS},
    )


def read_monitors(lake: Figures, state: StateDatabase, span: Bounds) -> MonitorFigures:
    """Monitors of a period."""
    if not span.days:
        return MonitorFigures(())
    troubled = _incidents(state, span)
    counts = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _COUNTS)
    added = (
        f"SELECT project_id, monitor, kind, environment, {counts}, sum(down_seconds) AS down_seconds, "
        f"sum(observed_seconds) AS observed_seconds FROM lake.monitor_stats WHERE {in_slots(span)} GROUP BY ALL"
    )
    worst = "row_number() OVER (PARTITION BY project_id ORDER BY error + missed + timed_out DESC, monitor, environment)"
    rows = lake.query(
        f"SELECT * FROM ({added}) QUALIFY {worst} <= {MOST} "
        "OR list_contains($troubled, project_id::VARCHAR || '/' || monitor)",
        {"troubled": [f"{project_id}/{slug}" for project_id, slug, _ in troubled]},
    )
    for row in rows:
        place = (row["project_id"], row["monitor"], "" if row["kind"] == "uptime" else row["environment"])
        row["incidents"] = troubled[place]
    return MonitorFigures(rows)


def _incidents(state: StateDatabase, span: Bounds) -> Counter[tuple[int, str, str]]:
    """Incidents that began in a span by project, monitor and environment (empty of addresses)."""
    i, m, e = incidents.c, monitors.c, monitor_environments.c
    query = (
        select(i.project_id, m.slug, m.type, e.environment)
        .select_from(
            incidents.join(monitor_environments, e.id == i.environment_id).join(
                monitors, m.id == e.monitor_id
            )
        )
        .where(i.opened_at >= span.start, i.opened_at < span.end)
    )
    with state.read() as connection:
        return Counter(
            (row.project_id, row.slug, "" if row.type == "uptime" else row.environment)
            for row in connection.execute(query)
        )
