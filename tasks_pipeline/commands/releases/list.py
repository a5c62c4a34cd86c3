"""`releases list`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import age, open_state, project_number
from tasks_pipeline.commands.common.tables import say, table
from tasks_pipeline.commands.releases.health import uncounted
from tasks_pipeline.commands.releases.summaries import in_project, summaries
from tasks_pipeline.commands.releases.with_health import HEALTH_COLUMNS, add_health, counted_lake

_COLUMNS = {
    "version": "release",
    "project": "project",
    "latest": "latest",
    "status": "status",
    "created": "first heard of",
    "released": "released",
    "last_event": "last event",
    "commits": "commits",
    "new_groups": "new groups",
    "events": "events",
    "users": "users",
    **HEALTH_COLUMNS,
    "deploys": "deploys",
}


@click.command("list")
@in_project
@click.option(
    "--status",
    type=click.Choice(["open", "archived", "all"]),
    default="open",
    show_default=True,
    help="Which to list.",
)
@limit_option(50, "releases to show")
@json_option
@click.pass_context
def list_command(ctx: click.Context, project: str | None, status: str, limit: int, as_json: bool) -> None:
    """List releases, newest first by date of release or else of creation, and say which is the latest and why.

    Sessions and crash-free are of the last 14 days, adoption is the share in the sessions of the last 24 hours.

    \b
    Examples:
      tasks-pipeline releases list
      tasks-pipeline releases list --project shop --status all --json
    Prints:
      release     project  latest  sessions  crash-free  adoption  stage
      shop@1.9.1  shop                  212  100 %       2.317 %   low adoption
      shop@2.0.0  shop     latest      8934  99.932 %    97.682 %  adopted
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.health_figures import SHOWN_DAYS
        from tasks_pipeline.releases.known import STATUSES, list_releases

        number = project_number(slugs, project)
        chosen = list(slugs) if number is None else [number]
        statuses = STATUSES if status == "all" else (status,)
        with state.read() as connection:
            rows = list_releases(connection, chosen, statuses=statuses, limit=limit)
        found, latest = summaries(state, slugs, rows)
        now = datetime.now(UTC)
        with counted_lake(current_home(ctx), state) as lake:
            health = add_health(lake, state, rows, found, now)
        waiting = uncounted(state, now - timedelta(days=SHOWN_DAYS))
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no releases", err=True)
        return
    table(
        [_shown(row, now) | more for row, more in zip(found, health, strict=True)],
        _COLUMNS,
        cut=["version"],
        drop=[
            "created",
            "status",
            "commits",
            "users",
            "deploys",
            "events",
            "new_groups",
            "stage",
            "last_event",
            "sessions",
            "adopted",
            "crash_free",
            "released",
        ],
    )
    click.echo()
    for project_id, one in latest.items():
        say(f"latest of {slugs[project_id]}: {cell(one.version)} ({cell(one.reason)})")
    if waiting:
        say(waiting)


def _shown(summary: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        **{name: summary[name] for name in ("version", "project", "status", "new_groups", "events", "users")},
        "latest": "latest" if summary["latest"] else "",
        "created": age(summary["date_created"], now),
        "released": age(summary["date_released"], now),
        "last_event": age(summary["last_event"], now),
        "commits": summary["commit_count"],
        "deploys": summary["deploy_count"],
    }
