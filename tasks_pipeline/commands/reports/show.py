"""`reports show`: a stored report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, json_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import one_line, open_all
from tasks_pipeline.commands.reports.common import (
    key_of,
    kind_argument,
    report_errors,
    scope_of,
    scope_option,
)
from tasks_pipeline.commands.reports.text import print_report
from tasks_pipeline.texts import printable

if TYPE_CHECKING:
    from tasks_pipeline.stores import Stores


@click.command()
@kind_argument
@click.argument("key")
@scope_option
@click.option("--zone", metavar="ZONE", help="In the zone that the scope had once.  [default: that of now]")
@click.option(
    "--revision", type=Number(1, 1_000_000), metavar="N", help="A former revision.  [default: the newest]"
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write its page there."
)
@json_option
@click.pass_context
def show(
    ctx: click.Context,
    kind: Any,
    key: str,
    scope: str | None,
    zone: str | None,
    revision: int | None,
    html: Path | None,
    as_json: bool,
) -> None:
    """Show a stored report of a day, week or month. KEY is its first day or its label: 2026-11-16, 2026-W47, 2026-11.

    \b
    Examples:
      tasks-pipeline reports show week 2026-W47
      tasks-pipeline reports show month 2026-11 --scope project:shop --json
      tasks-pipeline reports show day 2026-11-22 --html day.html
    """
    from tasks_pipeline.reports.periods import PeriodError
    from tasks_pipeline.reports.store import ReportMissing, find_revision, read_report, revisions_of
    from tasks_pipeline.zones import zone_named

    with report_errors(), open_all(current_home(ctx), to_look=True) as stores:
        wanted = scope_of(stores.config, scope)
        if zone is not None:
            try:
                zone_named(zone)
            except ValueError as error:
                raise PeriodError(str(error)) from None
            from dataclasses import replace

            wanted = replace(wanted, zone=zone)
        first = key_of(kind, key, stores.config)
        report = read_report(stores, kind, first, wanted, revision)
        if zone is not None and report.zone != zone:
            raise ReportMissing(
                f"report {kind} {first} of {wanted.name} was computed in {report.zone}, and never in {zone}"
            )
        if html is not None:
            _write_html(stores, find_revision(stores, kind, first, wanted, revision).files, html)
            return
        revisions = revisions_of(stores, kind, first, wanted)
    if as_json:
        import msgspec

        print_json(msgspec.to_builtins(report, str_keys=True))
    else:
        print_report(report, revisions)


def _write_html(stores: Stores, files: dict[str, str], path: Path) -> None:
    from tasks_pipeline.reports.store import ReportMissing
    from tasks_pipeline.storage.blobs import BlobMissing

    try:
        page = stores.blobs.get(files["report.html"])
    except (KeyError, BlobMissing):
        raise ReportMissing("this revision has no page") from None
    with one_line(OSError):
        path.write_bytes(page)
    click.echo(f"written to {printable(str(path))}", err=True)
