"""`reports preview`: what a report would say, of any period, without storing or sending anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import open_all
from tasks_pipeline.commands.reports.common import (
    key_of,
    kind_argument,
    report_errors,
    scope_of,
    scope_option,
)
from tasks_pipeline.commands.reports.text import print_report

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.config.people import Member
    from tasks_pipeline.reports.periods import Period
    from tasks_pipeline.stores import Stores


@click.command()
@kind_argument
@click.option("--key", metavar="KEY", help="Its first day or its label.  [default: the period of now]")
@scope_option
@project_option("Of this project; the same as --scope project:SLUG.")
@click.option("--for", "member", metavar="ADDRESS", help="Of the projects that this member is told of.")
@json_option
@click.pass_context
def preview(
    ctx: click.Context,
    kind: Any,
    key: str | None,
    scope: str | None,
    project: str | None,
    member: str | None,
    as_json: bool,
) -> None:
    """Show what the report of a period would say; nothing is stored or sent.

    A period that goes on is marked so, and not compared: what is unfinished cannot be. Its figures are as of when they were last
    computed, at most 15 minutes ago while the service runs.

    \b
    Examples:
      tasks-pipeline reports preview day
      tasks-pipeline reports preview week --project shop
      tasks-pipeline reports preview month --scope organisation --json
    """
    from tasks_pipeline.reports.generate import generate_analytics_report
    from tasks_pipeline.reports.periods import period_at, period_of

    if member is not None and (scope is not None or project is not None):
        raise click.UsageError("give either --for, or --scope or --project")
    now = datetime.now(UTC)
    with report_errors(), open_all(current_home(ctx), to_look=True) as stores:
        config = stores.config
        wanted = scope_of(config, scope, project)
        only = None if member is None else projects_of(config, _member(config, member))
        starts = config.reports.week_starts
        if key is None:
            period = period_at(kind, now, wanted.zone, starts)
        else:
            period = period_of(kind, key_of(kind, key, config), wanted.zone, starts)
        _refuse(stores, period, now)
        report = generate_analytics_report(stores, period, wanted, now, projects=only)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(report, str_keys=True))
    else:
        print_report(report)


def _member(config: Config, address: str) -> Member:
    if (member := config.member(address)) is not None:
        return member
    there = ", ".join(member.email for member in config.members) or "none"
    raise click.ClickException(f"no member {address[:100]!r}; there are: {there}")


def projects_of(config: Config, member: Member) -> list[int]:
    """The numbers of the projects that a member's reports tell of."""
    wanted = member.reports.projects
    if wanted == "all":
        return [p.id for p in config.projects]
    if wanted == "mine":
        slugs = {slug for team in config.teams if member.email in team.members for slug in team.projects}
    else:
        slugs = set(wanted)
    return [p.id for p in config.projects if p.slug in slugs]


def _refuse(stores: Stores, period: Period, now: datetime) -> None:
    """Raises PeriodError for a period that is still to come, and for one before anything was received."""
    from tasks_pipeline.reports.periods import PeriodError
    from tasks_pipeline.reports.possible import why_no_figures
    from tasks_pipeline.storage.ledger.backlog import first_day

    if why := why_no_figures(period, first_day(stores.state, stores.spool), now):
        raise PeriodError(why)
