"""`reports period`: when a day, week or month of a zone begins and ends."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.tables import field_lines
from tasks_pipeline.commands.reports.common import kind_argument, report_errors


@click.command()
@kind_argument
@click.option("--zone", metavar="ZONE", default="UTC", show_default=True, help="Time zone, as Europe/Berlin.")
@click.option(
    "--week-starts",
    metavar="DAY",
    default="monday",
    show_default=True,
    help="First day of weeks: monday, saturday or sunday.",
)
@click.option(
    "--key", metavar="KEY", help="Its first local day, or its label: 2026-11-16, 2026-W47, 2026-11."
)
@click.option(
    "--at", metavar="INSTANT", help="A moment that it holds, in UTC unless it says otherwise.  [default: now]"
)
@json_option
def period(kind: str, zone: str, week_starts: str, key: str | None, at: str | None, as_json: bool) -> None:
    """Show when a day, week or month begins and ends, in UTC; works without an installation.

    Days begin at the first instant of their date: also where clocks skip midnight, or show it twice. Ends are exclusive.

    \b
    Examples:
      tasks-pipeline reports period week --zone Europe/Berlin --key 2026-W43
      tasks-pipeline reports period day --zone UTC --at 2026-10-03T14:00:00Z
    """
    from tasks_pipeline.reports.periods import key_named, period_at, period_of

    if key is not None and at is not None:
        raise click.UsageError("give either --key or --at")
    with report_errors():
        if key is not None:
            found = period_of(kind, key_named(kind, key, week_starts), zone, week_starts)  # type: ignore[arg-type]
        else:
            found = period_at(kind, _instant(at), zone, week_starts)  # type: ignore[arg-type]
        hours = int(found.hours) if found.hours == int(found.hours) else found.hours
        shown = {
            "start": found.start, "end": found.end, "hours": hours, "label": found.label, "key": found.key,
            "previous_key": found.previous().key,
        }  # fmt: skip
    if as_json:
        print_json(shown)
        return
    texts = {
        name: f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else str(value)
        for name, value in shown.items()
    }
    for line in field_lines((name.replace("_", " "), text) for name, text in texts.items()):
        click.echo(line)


def _instant(text: str | None) -> datetime:
    from tasks_pipeline.reports.periods import FIRST, LAST

    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text[:50]!r} is no moment; allowed are such as 2026-11-22T18:30:00Z", param_hint="--at"
        ) from None
    if not FIRST.year <= found.year < LAST.year:
        raise click.BadParameter(f"{text[:50]} is out of range: from {FIRST} to {LAST}", param_hint="--at")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
