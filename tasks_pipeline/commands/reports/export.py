"""`reports export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import open_all
from tasks_pipeline.commands.reports.common import (
    key_of,
    kind_argument,
    report_errors,
    scope_of,
    scope_option,
)

if TYPE_CHECKING:
    from tasks_pipeline.notifications.subscriptions import Kind


@click.command()
@kind_argument
@click.argument("key")
@scope_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet", "json", "html"]),
    default="csv",
    show_default=True,
    help="What kind of files.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to.  [default: here]",
)
@json_option
@click.pass_context
def export(
    ctx: click.Context, kind: Kind, key: str, scope: str | None, form: str, folder: Path, as_json: bool
) -> None:
    """Write the files of a stored report: a table each as CSV or Parquet, all of it as JSON or as one HTML page.

    \b
    Examples:
      tasks-pipeline reports export week 2026-11-16 --format html --to /tmp
      tasks-pipeline reports export month 2026-11 --scope project:shop --to out
    Prints:
      /tmp/week-2026-11-16-report.html
    """
    from tasks_pipeline.reports.files import Format, files_as
    from tasks_pipeline.reports.store import read_report

    assert form in get_args(Format)
    with report_errors(), open_all(current_home(ctx), to_look=True) as stores:
        report = read_report(stores, kind, key_of(kind, key, stores.config), scope_of(stores.config, scope))
    of_scope = "" if ":" not in report.scope else f"{report.scope.replace(':', '-')}-"
    files = {
        folder / f"{kind}-{report.key}-{of_scope}{name}": content
        for name, content in files_as(report, form).items()  # type: ignore[arg-type]
    }
    with user_errors(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            path.write_bytes(content)
    if as_json:
        print_json([{"file": str(path), "bytes": len(content)} for path, content in files.items()])
        return
    for path in files:
        click.echo(cell(path))
