"""`reports preview`: what a report would say, of any period, without storing or sending anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home
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
    from tasks_pipeline.reports.periods import Kind, Period
    from tasks_pipeline.reports.recipients import Recipient
    from tasks_pipeline.stores import Stores


@click.command()
@kind_argument
@click.option("--key", metavar="KEY", help="Its first day or its label.  [default: the period of now]")
@scope_option
@project_option("Of this project; the same as --scope project:SLUG.")
@click.option(
    "--for", "member", metavar="ADDRESS", help="What this member would get, also of several projects."
)
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
        recipient = None if member is None else _recipient(config, member, kind)
        wanted = scope_of(config, recipient.scope if recipient else scope, project)
        starts = config.reports.week_starts
        if key is None:
            period = period_at(kind, now, wanted.zone, starts)
        else:
            period = period_of(kind, key_of(kind, key, config), wanted.zone, starts)
        _refuse(stores, period, now)
        only = recipient.projects if recipient else None
        report = generate_analytics_report(stores, period, wanted, now, projects=only)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(report, str_keys=True))
    else:
        print_report(report)
    if recipient and recipient.reason:
        click.echo(f"note: it would not be sent to {cell(recipient.email)}: {recipient.reason}", err=True)


def _recipient(config: Config, address: str, kind: Kind) -> Recipient:
    """A member as reports are sent to them. Raises PeriodError where there is nothing to tell them of."""
    from tasks_pipeline.reports.periods import PeriodError
    from tasks_pipeline.reports.recipients import NO_PROJECTS, recipient_of_member

    found = recipient_of_member(config, _member(config, address), kind)
    if found.reason == NO_PROJECTS:
        raise PeriodError(f"{cell(found.email)} gets no reports: {NO_PROJECTS}")
    return found


def _member(config: Config, address: str) -> Member:
    if (member := config.member(address)) is not None:
        return member
    there = ", ".join(member.email for member in config.members) or "none"
    raise click.ClickException(f"no member {address[:100]!r}; there are: {there}")


def _refuse(stores: Stores, period: Period, now: datetime) -> None:
    """Raises PeriodError for a period that is still to come, and for one before anything was received."""
    from tasks_pipeline.reports.periods import PeriodError
    from tasks_pipeline.reports.possible import why_no_figures
    from tasks_pipeline.storage.ledger.backlog import first_day

    if why := why_no_figures(period, first_day(stores.state, stores.spool), now):
        raise PeriodError(why)
