"""Health and stages of releases, as the objects that clients know: `healthData` and `adoptionStages`.

Shares are percent, 0 to 100, cut after three digits, so that 100 means all; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from tasks_pipeline.releases.health_figures import (
    RELEASE,
    Cell,
    Figures,
    Sessions,
    Span,
    health_figures,
    releases_health,
    span_since,
)
from tasks_pipeline.releases.shares import crash_free_text, percent_text
from tasks_pipeline.releases.spans import DAY, HOUR, Queried, full_hour, hours_between
from tasks_pipeline.releases.stages import current_stages, overall

Row = Mapping[str, Any]
_NOTHING = Figures()


def health_data(
    lake: Queried,
    rows: Sequence[Row],
    since: datetime,
    until: datetime,
    *,
    environments: Collection[str] | None = None,
    details: bool = True,
) -> dict[tuple[int, str], dict[str, Any]]:
    """`healthData` of releases (rows with project_id and version) by project and version: figures of a span, adoption and `stats`
    of the 24 full hours before its end; of some environments, or of all. Those without sessions in either are left out.

    Without `details` durations and `stats` are not looked up, for lists that are only sorted by what remains.
    """
    named = {(row["project_id"], row["version"]) for row in rows}
    if not named:
        return {}
    span = span_since(since, until - timedelta(microseconds=1))
    health = releases_health(lake, rows, span, environments=environments, durations=details)
    at = full_hour(until)
    day, projects = Span(at - DAY, at), {project_id for project_id, _ in named}
    of_releases = Sessions(projects, named, environments=environments)
    active = health_figures(
        lake, day, of_releases, [RELEASE], every=HOUR if details else None, durations=False
    )
    of_projects = Sessions(projects, environments=environments)
    everyone = health_figures(lake, day, of_projects, [("project_id",)], durations=False)
    found = {}
    for project_id, version in named:
        figures = health.get((project_id, version), {}).get(None, _NOTHING)
        now = active.get(Cell(project_id, version), _NOTHING)
        if figures.all_sessions or now.all_sessions:
            stats = _stats(active, project_id, version, day) if details else []
            found[project_id, version] = _health_json(
                figures, now, everyone.get(Cell(project_id), _NOTHING), stats
            )
    return found


def _health_json(
    figures: Figures, active: Figures, everyone: Figures, stats: list[list[int]]
) -> dict[str, Any]:
    durations = figures.durations.percentiles if figures.durations else {}
    return {
        "totalSessions": figures.all_sessions,
        "totalUsers": figures.all_users,
        "crashFreeSessions": _percent(crash_free_text(figures.crashed, figures.all_sessions)),
        "crashFreeUsers": _percent(crash_free_text(figures.crashed_users, figures.all_users)),
        "sessionsCrashed": figures.crashed,
        "sessionsErrored": figures.sessions[1],
        "adoption": _percent(percent_text(active.all_users, everyone.all_users)),
        "sessionsAdoption": _percent(percent_text(active.all_sessions, everyone.all_sessions)),
        "totalSessions24h": active.all_sessions,
        "totalUsers24h": active.all_users,
        "totalProjectSessions24h": everyone.all_sessions,
        "totalProjectUsers24h": everyone.all_users,
        "durationP50": durations.get(50),
        "durationP90": durations.get(90),
        "stats": {"24h": stats},
        "hasHealthData": True,
    }


def _percent(text: str | None) -> float | None:
    return None if text is None else float(text)


def _stats(hours: Mapping[Cell, Figures], project_id: int, version: str, day: Span) -> list[list[int]]:
    """Pairs of the begin of an hour, in seconds since 1970, and its sessions."""
    return [
        [int(hour.timestamp()), hours.get(Cell(project_id, version, None, number), _NOTHING).all_sessions]
        for number, hour in enumerate(hours_between(day.since, day.until))
    ]


def adoption_stages(
    connection: Connection, rows: Sequence[Row], *, environments: Collection[str] | None = None
) -> dict[tuple[int, str], dict[str, Any]]:
    """What `adoptionStages` says of releases (rows with project_id and version), by project and version: the best stage of some
    environments, or of all. Those without a stage are left out."""
    found = {}
    of_rows = current_stages(connection, {(row["project_id"], row["version"]) for row in rows})
    for key, stages in of_rows.items():
        chosen = [one for one in stages.values() if environments is None or one.environment in environments]
        if stage := overall(chosen):
            found[key] = {"stage": stage.stage, "adopted": stage.adopted_at, "unadopted": stage.unadopted_at}
    return found
