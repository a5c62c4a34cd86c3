"""`releases show`: one release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_state
from tasks_pipeline.commands.common.tables import field_lines, table
from tasks_pipeline.commands.releases.health import print_health
from tasks_pipeline.commands.releases.summaries import COMING_DETAILS, find_named, in_project, summaries
from tasks_pipeline.commands.releases.with_health import add_health, health_of

if TYPE_CHECKING:
    from tasks_pipeline.releases.known import Row

_MOST_DEPLOYS = 1000
_DEPLOYS_SHOWN = 5


@click.command()
@click.argument("version")
@in_project
@json_option
@click.pass_context
def show(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Show one release: what its name tells, its dates, its deploys. --project says which, where several projects have it.

    \b
    Examples:
      tasks-pipeline releases show shop@2.0.0
      tasks-pipeline releases show shop@2.0.0 --project shop --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import list_deploys

        rows = find_named(state, slugs, version, project)
        if len(rows) > 1:
            having = ", ".join(slugs[row["project_id"]] for row in rows)
            raise click.ClickException(
                f"{cell(version)} is in several projects; --project says which: {having}"
            )
        ((summary,), _) = summaries(state, slugs, rows)
        now = datetime.now(UTC)
        add_health(current_home(ctx), state, rows, [summary], now)
        health, figures = health_of(current_home(ctx), state, rows[0], now)
        with state.read() as connection:
            deploys = list_deploys(connection, [rows[0]["project_id"]], version, _MOST_DEPLOYS)
    details = {"deploys": deploys, **dict.fromkeys(COMING_DETAILS), "health": health}
    if as_json:
        print_json(summary | details)
    else:
        _print_release(summary, deploys, now)
        print_health(figures, summary["stages"])


def _print_release(summary: Mapping[str, Any], deploys: Sequence[Row], now: datetime) -> None:
    click.secho(f"{cell(summary['version'])}  {cell(summary['short_version'])}", bold=True)
    dates = {
        "first heard of": "date_created", "started": "date_started", "released": "date_released",
        "first event": "first_event", "last event": "last_event",
    }  # fmt: skip
    facts = [
        ("status", f"{summary['status']}, project {summary['project']}"),
        ("latest", cell(summary["latest_reason"]) if summary["latest"] else ""),
        *(
            (title, f"{cell(summary[name])} UTC, {age(summary[name], now)} ago")
            for title, name in dates.items()
            if summary[name] is not None
        ),
        ("url", cell(summary["url"])),
        ("deploys", str(summary["deploy_count"])),
    ]
    for line in field_lines(facts):
        click.echo(line)
    click.echo()
    if deploys:
        table(
            deploys[:_DEPLOYS_SHOWN],
            {"environment": "environment", "name": "name", "finished_at": "UTC", "url": "url"},
            cut=["name", "url"],
            drop=["url", "name"],
        )
