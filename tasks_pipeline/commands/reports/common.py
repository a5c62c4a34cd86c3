"""What the commands of reports share: kinds, scopes and keys as people write them, and how a report is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.queries import one_line

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.reports.periods import Kind
    from tasks_pipeline.reports.scopes import Scope

Option = Callable[[Any], Any]
KIND_HELP = "KIND is day, week or month; daily, weekly and monthly mean the same."


def scopes_option(default: str) -> Option:
    """`--scope SCOPE`; `default` says what is meant without it."""
    text = f"organisation, team:NAME or project:SLUG.  [default: {default}]"
    return click.option("--scope", metavar="SCOPE", help=text)


scope_option = scopes_option("organisation")


class KindOfPeriod(click.ParamType["Kind"]):
    """day, week or month."""

    name = "kind"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Kind:
        """Read it."""
        from tasks_pipeline.reports.periods import PeriodError, kind_named

        try:
            return kind_named(str(value))
        except PeriodError as error:
            self.fail(str(error), param, ctx)


kind_argument: Option = click.argument("kind", type=KindOfPeriod(), metavar="KIND")


@contextmanager
def report_errors() -> Iterator[None]:
    """What cannot be told ends the command with a line."""
    from tasks_pipeline.reports.periods import PeriodError
    from tasks_pipeline.reports.scopes import ScopeError
    from tasks_pipeline.reports.store import ReportMissing

    with one_line(PeriodError, ScopeError, ReportMissing):
        yield


def scope_of(config: Config, scope: str | None, project: str | None = None) -> Scope:
    """The scope that options name. Raises UsageError, ScopeError."""
    from tasks_pipeline.reports.scopes import ORGANISATION, scope_named

    if scope is not None and project is not None:
        raise click.UsageError("give either --scope or --project")
    return scope_named(config, f"project:{project}" if project is not None else scope or ORGANISATION)


def key_of(kind: Kind, text: str, config: Config) -> date:
    """The key that somebody writes. Raises PeriodError, also where no period begins on that day."""
    from tasks_pipeline.reports.periods import key_named, period_of

    weeks = config.reports.week_starts
    return period_of(kind, key_named(kind, text, weeks), config.reports.timezone, weeks).key
