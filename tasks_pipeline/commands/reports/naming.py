"""How commands name a report: kind, key and scope, as people write them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.output import cell

if TYPE_CHECKING:
    from tasks_pipeline.notifications.subscriptions import Kind
    from tasks_pipeline.reports.report import Report
    from tasks_pipeline.stores import Stores

scope_option: Callable[[Any], Any] = click.option(
    "--scope",
    default="organisation",
    show_default=True,
    help="Whose: organisation, team:NAME or project:SLUG.",
)


def named_kind(text: str) -> Kind:
    """`week` of week or weekly. Raises ClickException."""
    from tasks_pipeline.reports.periods import PeriodError, kind_named

    try:
        return kind_named(text)
    except PeriodError as error:
        raise click.ClickException(cell(error)) from error


def named_key(kind: Kind, text: str, week_starts: str) -> date:
    """The first day of a period that is named by a date or a label. Raises ClickException."""
    from tasks_pipeline.reports.periods import PeriodError, key_named, period_of

    try:
        return period_of(kind, key_named(kind, text, week_starts), "UTC", week_starts).key
    except PeriodError as error:
        raise click.ClickException(cell(error)) from error


def stored_report(stores: Stores, kind: Kind, key: date, scope: str) -> Report:
    """The newest revision of a report. Raises ClickException when there is none."""
    from tasks_pipeline.reports.scopes import ScopeError
    from tasks_pipeline.reports.store import ReportMissing, read_report

    try:
        return read_report(stores, kind, key, scope)
    except (ScopeError, ReportMissing) as error:
        raise click.ClickException(cell(error)) from error
