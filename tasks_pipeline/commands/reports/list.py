"""`reports list`: the reports that are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import open_state
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.commands.reports.common import KindOfPeriod, report_errors, scopes_option

if TYPE_CHECKING:
    from tasks_pipeline.reports.periods import Kind

_COLUMNS = ("kind", "label", "key", "scope", "zone", "revision", "state", "computed_at", "deliveries")


@click.command("list")
@click.option("--kind", type=KindOfPeriod(), metavar="KIND", help="Only of days, weeks or months.")
@scopes_option("all")
@limit_option(50, "reports to show")
@json_option
@click.pass_context
def list_command(ctx: click.Context, kind: Kind | None, scope: str | None, limit: int, as_json: bool) -> None:
    """List stored reports, the newest period first.

    \b
    Examples:
      tasks-pipeline reports list
      tasks-pipeline reports list --kind week --scope project:shop
    """
    from tasks_pipeline.reports.scopes import scope_named
    from tasks_pipeline.reports.store import list_reports

    home = current_home(ctx)
    with report_errors(), open_state(home) as (state, _):
        config = home.config_to_look().config
        stored = None if scope is None else scope_named(config, scope).stored
        rows = list_reports(state, config, kind=kind, scope=stored, limit=limit)
    if as_json:
        print_json(rows)
        return
    if not rows:
        say("No report is stored yet: the first comes when a day has ended and is counted. Once something was received, "
            "`tasks-pipeline reports preview day` shows what that of today would say.")  # fmt: skip
        return
    for row in rows:
        row["state"] = "final" if row["final"] else "open"
        row["deliveries"] = ", ".join(
            f"{count} {status}" for status, count in sorted(row["deliveries"].items())
        )
    unused = [] if any(row["deliveries"] for row in rows) else ["deliveries"]
    columns = [name for name in _COLUMNS if name not in unused]
    table(rows, columns, drop=["key", "zone", "computed_at", "deliveries"])
