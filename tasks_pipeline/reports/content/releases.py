"""Releases of a report: those that came, were deployed or were used in the period, with their new groups, health and stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from tasks_pipeline.releases.health_figures import Span, releases_health
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.spans import Bounds, in_moments, in_slots
from tasks_pipeline.reports.report import ReleaseRow
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import release_stages

MOST = 10


@dataclass(frozen=True, slots=True)
class ReleaseFigures:
    """Releases of all projects in a period, at most so many of each project."""

    rows: Sequence[dict[str, Any]]

    def of(self, scope: Scope, slugs: Mapping[int, str]) -> list[ReleaseRow]:
        """Those of a scope: what came or was deployed first, then by sessions."""
        own = sorted((r for r in self.rows if scope.holds(r["project_id"])), key=_newest_first)[:MOST]
        return [_row(r, slugs) for r in own]


def _newest_first(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        not (row["created"] or row["deploys"]),
        -row["sessions"],
        -row["new_groups"],
        row["project_id"],
        row["version"],
    )


def _row(row: Mapping[str, Any], slugs: Mapping[int, str]) -> ReleaseRow:
    health = row["health"]
    return ReleaseRow(
        project=slugs.get(row["project_id"], str(row["project_id"])),
        version=row["version"],
        created=row["created"],
        deploys=int(row["deploys"]),
        new_groups=int(row["new_groups"]),
        sessions=int(row["sessions"]),
        crash_free_sessions=None if health is None else health.crash_free_sessions,
        crash_free_users=None if health is None else health.crash_free_users,
        adoption=round(row["sessions"] / row["of"], 6) if row["of"] else None,
        stages=row["stages"],
    )


def read_releases(lake: Figures, state: StateDatabase, span: Bounds) -> ReleaseFigures:
    """Releases of a period."""
    if not span.days:
        return ReleaseFigures(())
    rows = lake.query(_releases(span))
    health = releases_health(lake, rows, Span(span.start, span.end))
    stages = _stages(state, rows, span)
    for row in rows:
        row["health"] = health.get((row["project_id"], row["version"]), {}).get(None)
        row["stages"] = stages.get((row["project_id"], row["version"]), {})
    return ReleaseFigures(rows)


def _releases(span: Bounds) -> str:
    slots = in_slots(span)
    moved = in_moments(span)
    return f"""
        WITH moves AS (
            SELECT project_id, version, min("at") FILTER (move = 'created') AS created,
            count(*) FILTER (move = 'deployed') AS deploys FROM lake.release_moves WHERE {moved} GROUP BY ALL
        ), events AS (
            SELECT project_id, release AS version, sum(new_groups)::BIGINT AS new_groups FROM lake.event_stats
            WHERE {slots} AND release <> '' GROUP BY ALL
        ), health AS (
            SELECT project_id, release AS version, sum(sessions)::BIGINT AS sessions FROM lake.release_health
            WHERE {slots} GROUP BY ALL
        )
        SELECT project_id, version, created, coalesce(deploys, 0) AS deploys, coalesce(new_groups, 0) AS new_groups,
        coalesce(sessions, 0) AS sessions, (sum(sessions) OVER (PARTITION BY project_id))::BIGINT AS of
        FROM moves FULL JOIN events USING (project_id, version) FULL JOIN health USING (project_id, version)
        QUALIFY row_number() OVER (PARTITION BY project_id ORDER BY created IS NULL AND coalesce(deploys, 0) = 0,
            coalesce(sessions, 0) DESC, coalesce(new_groups, 0) DESC, version) <= {MOST}"""


def _stages(
    state: StateDatabase, rows: Sequence[Mapping[str, Any]], span: Bounds
) -> dict[tuple[int, str], dict[str, str]]:
    """Stages of these releases at the end of the period, by environment."""
    s = release_stages.c
    found: dict[tuple[int, str], dict[str, str]] = {}
    named = {(row["project_id"], row["version"]) for row in rows}
    with state.read() as connection:
        for project_id in sorted({project_id for project_id, _ in named}):
            for chunk in chunks(sorted(version for p, version in named if p == project_id)):
                query = select(s.version, s.environment, s.stage).where(
                    s.project_id == project_id,
                    s.version.in_(chunk),
                    s.since < span.end,
                    or_(s.until.is_(None), s.until >= span.end),
                )
                for version, environment, stage in connection.execute(query):
                    found.setdefault((project_id, version), {})[environment] = stage
    return {key: dict(sorted(stages.items())[:MOST]) for key, stages in found.items()}
