"""`reports export`."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import open_all
from tasks_pipeline.commands.reports.naming import named_key, named_kind, scope_option, stored_report


@click.command()
@click.argument("kind")
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
@click.pass_context
def export(ctx: click.Context, kind: str, key: str, scope: str, form: str, folder: Path) -> None:
    """Write the files of a stored report: a table each as CSV or Parquet, all of it as JSON or as one HTML page.

    \b
    Examples:
      tasks-pipeline reports export week 2026-11-16 --format html --to /tmp
      tasks-pipeline reports export month 2026-11 --scope project:shop --format parquet --to figures
    Prints:
      /tmp/week-2026-11-16-report.html
    """
    from tasks_pipeline.reports.files import Format, files_as

    chosen = named_kind(kind)
    assert form in get_args(Format)
    with open_all(current_home(ctx), to_look=True) as stores:
        begins = named_key(chosen, key, stores.config.reports.week_starts)
        report = stored_report(stores, chosen, begins, scope)
    of_scope = "" if scope == "organisation" else f"{scope.replace(':', '-')}-"
    with user_errors(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files_as(report, form).items():  # type: ignore[arg-type]
            path = folder / f"{chosen}-{begins}-{of_scope}{name}"
            path.write_bytes(content)
            click.echo(cell(path))
