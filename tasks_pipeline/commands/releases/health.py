"""`releases health`: sessions, users and durations of releases."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.bars import with_bar
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import lake_of, open_state, project_number
from tasks_pipeline.commands.common.since import Since
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.commands.releases.summaries import NO_ENVIRONMENT, in_environment, in_project
from tasks_pipeline.releases.spans import MOST_DAYS

if TYPE_CHECKING:
    from tasks_pipeline.releases.health_figures import Cell, Figures, Span
    from tasks_pipeline.storage.state.database import StateDatabase

ALL_ENVIRONMENTS = "all"
_COLUMNS = {
    "release": "release",
    "project": "project",
    "environment": "environment",
    "sessions": "sessions",
    "crash_free": "crash-free",
    "errored": "errored",
    "unhandled": "unhandled",
    "abnormal": "abnormal",
    "crashed": "crashed",
    "users": "users",
    "crash_free_users": "of users",
    "p50": "p50",
    "p95": "p95",
}

_DROPPED = (
    "abnormal",
    "unhandled",
    "errored",
    "p50",
    "p95",
    "crashed",
    "crash_free_users",
    "users",
    "project",
    "stage",
)


@click.command()
@click.argument("version", required=False)
@in_project
@in_environment
@click.option(
    "--days",
    type=Number(1, MOST_DAYS),
    metavar="N",
    help="The last N days (UTC), today among them.  [default: 14]",
)
@click.option("--since", type=Since(), metavar="TIME", help="From then on instead: 90m, 24h, 7d, 2026-11-22.")
@limit_option(50, "releases to show")
@json_option
@click.pass_context
def health(
    ctx: click.Context,
    version: str | None,
    project: str | None,
    environment: str | None,
    days: int | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show how sessions of releases ended, whom they were of, how long they lasted: the release with the most sessions first.

    Of a release that is named, also in each environment. Users are distinct, and never the sum of rows. Crashed sessions and
    events of crashes need not be as many: sessions are not sampled.

    \b
    Examples:
      tasks-pipeline releases health
      tasks-pipeline releases health shop@2.0.0 --days 7 --json
    """
    if days is not None and since is not None:  # before anything is opened
        raise click.UsageError("--days and --since exclude each other")
    with open_state(current_home(ctx)) as (state, slugs), lake_of(current_home(ctx), state) as lake:
        from tasks_pipeline.releases.health_figures import (
            RELEASE,
            RELEASE_AND_ENVIRONMENT,
            Sessions,
            health_figures,
        )

        number, now = project_number(slugs, project), datetime.now(UTC)
        span = _span(days, since, now)
        of = Sessions(
            list(slugs) if number is None else [number],
            versions=None if version is None else [version],
            environments=None if environment is None else [environment],
        )
        alone = RELEASE_AND_ENVIRONMENT if environment is not None else RELEASE
        levels = [alone] if version is None or environment is not None else [RELEASE, RELEASE_AND_ENVIRONMENT]
        found, waiting = health_figures(lake, span, of, levels, most=limit), uncounted(state, span.since)
    final = span.is_final(now)
    rows = [
        {**_row(slugs, of_cell, figures), "since": span.since, "until": span.until, "final": final}
        for of_cell, figures in sorted(found.items(), key=_most_first)[:limit]
    ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo(f"no {_began(span)}{waiting and f'; {waiting}'}", err=True)
        return
    table([_shown(row) for row in rows], _COLUMNS, cut=["release"], drop=_DROPPED)
    click.echo()
    say(_words(span, final=final))
    if waiting:
        say(waiting)


def _span(days: int | None, since: datetime | None, now: datetime) -> Span:
    """What is asked for, in whole slots. Raises UsageError for more than is shown at once."""
    from tasks_pipeline.releases.health_figures import SHOWN_DAYS, last_days, span_since

    span = last_days(days or SHOWN_DAYS, now) if since is None else span_since(since, now)
    if (span.until - span.since).days > MOST_DAYS:
        raise click.UsageError(f"at most {MOST_DAYS} days are shown at once")
    return span


def uncounted(state: StateDatabase, since: datetime) -> str:
    """What is to be said where sessions came that figures since then do not hold yet; empty where they hold all."""
    from tasks_pipeline.releases.health_days import due_days

    with state.read() as connection:
        waiting = due_days(connection, since.date(), limit=1)
    return (
        "sessions came that are not counted yet: those of today and yesterday are every 15 minutes, others at night"
        if waiting
        else ""
    )


def _most_first(entry: tuple[Cell, Figures]) -> tuple[Any, ...]:
    of_cell, figures = entry
    return -figures.all_sessions, of_cell.release or "", of_cell.project_id or 0, of_cell.environment or ""


def _row(slugs: Mapping[int, str], of_cell: Cell, figures: Figures) -> dict[str, Any]:
    project = slugs[of_cell.project_id or 0]
    return {
        "version": of_cell.release,
        "project": project,
        "environment": of_cell.environment,
        **health_json(figures),
    }


def health_json(figures: Figures) -> dict[str, Any]:
    """What JSON says of the health of a release: counts, shares of 0 to 1, durations in seconds or null."""
    from tasks_pipeline.releases.fold import STATES

    return {
        "sessions": figures.all_sessions,
        **dict(zip(STATES, figures.sessions, strict=True)),
        "users": figures.all_users,
        "crashed_users": figures.crashed_users,
        "crash_free_sessions": figures.crash_free_sessions,
        "crash_free_users": figures.crash_free_users,
        "durations": figures.durations and figures.durations.as_json(),
    }


def environment_words(environment: str | None) -> str:
    """An environment in a table: of all, of those that named none, or the name."""
    if environment is None:
        return ALL_ENVIRONMENTS
    return environment or NO_ENVIRONMENT


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    from tasks_pipeline.releases.shares import crash_free_text

    sessions, users = row["sessions"], row["users"]
    durations = row["durations"] or {}
    return {
        **row,
        "release": row["version"],
        "environment": environment_words(row["environment"]),
        "crash_free": with_bar(
            row["crash_free_sessions"], percent(crash_free_text(row["crashed"], sessions))
        ),
        "crash_free_users": percent(crash_free_text(row["crashed_users"], users)) or "",
        **{name: duration_text(durations.get(name)) for name in ("p50", "p95")},
    }


def percent(text: str | None) -> str | None:
    """The text of a share with its sign."""
    return None if text is None else f"{text} %"


def duration_text(seconds: float | None) -> str:
    """How long something lasted, in the largest unit that leaves three digits: 250 ms, 12.5 s, 3.2 min, 2.5 h; from two of it on."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _began(span: Span) -> str:
    return f"sessions that began from {cell(span.since)[:16]} to {cell(span.until)[:16]} UTC"


def _words(span: Span, *, final: bool) -> str:
    """Which span it is, and whether its figures may change."""
    said = _began(span)
    return (
        f"{said}: final"
        if final
        else f"{said}: not final yet, as sessions are received up to five days later"
    )


def print_health(environments: Mapping[str | None, Figures], stages: Mapping[str, str]) -> None:
    """The health of one release in the last days, a row for each environment, that of all first; nothing without sessions."""
    if not environments:
        return
    from tasks_pipeline.releases.health_figures import SHOWN_DAYS

    rows = [
        _shown({"version": "", "environment": environment, **health_json(figures)})
        | {"stage": stages.get(environment or "", "").replace("_", " ")}
        for environment, figures in sorted(environments.items(), key=lambda entry: entry[0] or "")
    ]
    columns = {name: title for name, title in _COLUMNS.items() if name not in ("release", "project")}
    click.echo(f"\nsessions of the last {SHOWN_DAYS} days")
    table(rows, {**columns, "stage": "stage"}, drop=_DROPPED)
