"""How shipping went in a period: deploys to production, how long commits took to get there, which deploys broke something, and
how long that lasted. Told of months; of shorter periods there are too few deploys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import Connection, func, select

from tasks_pipeline.config.projects import Project
from tasks_pipeline.releases.health_figures import Sessions, Span, health_figures
from tasks_pipeline.releases.spans import SLOT, begin_of
from tasks_pipeline.reports.content.held import Figures
from tasks_pipeline.reports.content.spans import Bounds, in_moments
from tasks_pipeline.reports.scopes import Scope
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import commits, group_actions, groups, release_commits

MOST_DEPLOYS = 500
"""Of more deploys in a period the newest are looked at."""
WATCHED = timedelta(hours=24)
LEAST_USERS = 10
LEAST_SESSIONS = 1_000
WORSE = 0.01


@dataclass(frozen=True, slots=True)
class Deploy:
    """A deploy to production: `commits` are the seconds from commits to it, of those that it shipped first; `failed`, and if so
    `restored_at`, None while it is not."""

    project_id: int
    version: str
    at: datetime
    commits: tuple[float, ...] = ()
    failed: bool = False
    restored_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Shipping:
    """Deploys to production of all projects in a period; where a project sends none, its releases that were finalised."""

    deploys: Sequence[Deploy]
    finalised: Mapping[int, int]

    def of(self, scope: Scope, hours: float) -> dict[str, Any]:
        """Figures of a scope, by their names in a report's releases."""
        own = [d for d in self.deploys if scope.holds(d.project_id)]
        with_deploys = {d.project_id for d in own}
        released = sum(n for p, n in self.finalised.items() if scope.holds(p) and p not in with_deploys)
        shipped = len(own) + released
        lead = [seconds for d in own for seconds in d.commits]
        failed = [d for d in own if d.failed]
        restored = [(d.restored_at - d.at).total_seconds() for d in failed if d.restored_at is not None]
        return {
            "deploys": len(own),
            "deploys_per_week": round(shipped / (hours / 168), 3) if shipped and hours else None,
            "lead_time_seconds": _median(lead),
            "change_failure_rate": round(len(failed) / len(own), 6) if own else None,
            "restore_seconds": _median(restored),
        }


def _median(values: Sequence[float]) -> float | None:
    return round(median(values), 3) if values else None


def read_shipping(lake: Figures, state: StateDatabase, span: Bounds, projects: Sequence[Project]) -> Shipping:
    """How shipping went in a period."""
    if not span.days:
        return Shipping((), {})
    moves = lake.query(
        f'SELECT project_id, version, "at", move, environment FROM lake.release_moves WHERE {in_moments(span)} '
        f"AND move IN ('deployed', 'finalised') ORDER BY \"at\", version"
    )
    production = {project.id: project.production for project in projects}
    shipped = [
        Deploy(m["project_id"], m["version"], m["at"])
        for m in moves
        if m["move"] == "deployed"
        and m["environment"] in production.get(m["project_id"], ("production", "prod"))
    ][-MOST_DEPLOYS:]
    finalised: dict[int, int] = {}
    for m in moves:
        if m["move"] == "finalised":
            finalised[m["project_id"]] = finalised.get(m["project_id"], 0) + 1
    first = _first_ones(lake, span, shipped, production)
    with state.read() as connection:
        lead = _lead_times(connection, [d for d in shipped if (d.project_id, d.version, d.at) in first])
        judged = [
            _judged(
                lake, connection, deploy, _next(shipped, deploy), lead.get((deploy.version, deploy.at), ())
            )
            for deploy in shipped
        ]
    return Shipping(judged, finalised)


def _next(deploys: Iterable[Deploy], after: Deploy) -> datetime | None:
    later = (d.at for d in deploys if d.project_id == after.project_id and d.at > after.at)
    return next(later, None)


def _first_ones(
    lake: Figures, span: Bounds, deploys: Sequence[Deploy], production: Mapping[int, Sequence[str]]
) -> set[tuple[int, str, datetime]]:
    """Those that were the first of their release to production ever: commits were shipped by them."""
    rows = lake.query(
        'SELECT project_id, version, environment, min("at") AS "at" FROM lake.release_moves WHERE move = \'deployed\' '
        f"AND day <= DATE '{span.end.date().isoformat()}' AND version IN (SELECT unnest($versions::VARCHAR[])) GROUP BY ALL",
        {"versions": sorted({d.version for d in deploys})},
    )
    first: dict[tuple[int, str], datetime] = {}
    for row in rows:
        if row["environment"] in production.get(row["project_id"], ("production", "prod")):
            key = row["project_id"], row["version"]
            first[key] = min(row["at"], first.get(key, row["at"]))
    return {(*key, at) for key, at in first.items()}


def _lead_times(
    connection: Connection, deploys: Sequence[Deploy]
) -> dict[tuple[str, datetime], tuple[float, ...]]:
    """Seconds from each commit of a release to its deploy; those after it (clocks differ) count as none."""
    c, r = commits.c, release_commits.c
    authored: dict[str, list[datetime]] = {}
    for chunk in chunks(sorted({d.version for d in deploys})):
        query = (
            select(r.version, c.committed_at)
            .select_from(release_commits.join(commits, c.sha == r.sha))
            .where(r.version.in_(chunk), c.committed_at.is_not(None))
        )
        for version, at in connection.execute(query):
            authored.setdefault(version, []).append(at)
    return {
        (d.version, d.at): tuple(max(0.0, (d.at - at).total_seconds()) for at in authored.get(d.version, ()))
        for d in deploys
    }


def _judged(
    lake: Figures, connection: Connection, deploy: Deploy, following: datetime | None, lead: tuple[float, ...]
) -> Deploy:
    """Whether a deploy broke something within a day, and until when."""
    broken = _broken(connection, deploy)
    failed = bool(broken) or _less_crash_free(lake, deploy)
    ends = [at for at in (following, _resolved(connection, deploy, broken)) if at is not None]
    return Deploy(
        deploy.project_id,
        deploy.version,
        deploy.at,
        lead,
        failed,
        min(ends, default=None) if failed else None,
    )


def _broken(connection: Connection, deploy: Deploy) -> list[int]:
    """Groups that came back in the release, or are new in it and reached ten users, within a day of the deploy."""
    a, g = group_actions.c, groups.c
    until = deploy.at + WATCHED
    returned = select(a.group_id).where(
        a.release.is_not(None), a.project_id == deploy.project_id, a.release == deploy.version,
        a.action == "regress", a.at >= deploy.at, a.at < until,
    )  # fmt: skip
    new = select(g.id).where(
        g.first_release.is_not(None), g.project_id == deploy.project_id, g.first_release == deploy.version,
        g.created_at >= deploy.at, g.created_at < until, g.users >= LEAST_USERS,
    )  # fmt: skip
    found = {
        *connection.execute(returned.limit(1000)).scalars(),
        *connection.execute(new.limit(1000)).scalars(),
    }
    return sorted(found)


def _resolved(connection: Connection, deploy: Deploy, broken: Sequence[int]) -> datetime | None:
    """When the last of what it broke was first resolved after it; None while something of it never was."""
    a = group_actions.c
    found: dict[int, datetime] = {}
    for chunk in chunks(broken):
        query = (
            select(a.group_id, func.min(a.at))
            .where(a.group_id.in_(chunk), a.action == "resolve", a.at > deploy.at)
            .group_by(a.group_id)
        )
        found.update({group_id: _aware(at, deploy.at) for group_id, at in connection.execute(query)})
    return max(found.values()) if broken and len(found) == len(broken) else None


def _aware(at: datetime, like: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=like.tzinfo)


def _less_crash_free(lake: Figures, deploy: Deploy) -> bool:
    """Whether crash-free sessions of the project fell by a point from the day before the deploy to the day after it."""
    at = deploy.at - (deploy.at - begin_of(deploy.at.date())) % SLOT
    shares = []
    for since in (at - WATCHED, at):
        found = health_figures(
            lake,
            Span(since, since + WATCHED),
            Sessions([deploy.project_id]),
            [()],
            users=False,
            durations=False,
        )
        figures = next(iter(found.values()), None)
        if figures is None or figures.all_sessions < LEAST_SESSIONS or figures.crash_free_sessions is None:
            return False
        shares.append(figures.crash_free_sessions)
    return shares[0] - shares[1] >= WORSE
