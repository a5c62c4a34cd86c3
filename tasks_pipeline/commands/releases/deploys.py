"""`releases deploys`: where a release came to, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import open_state
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.releases.summaries import find_named, in_project
from tasks_pipeline.words import lasting


@click.command()
@click.argument("version")
@in_project
@limit_option(50, "deploys to show")
@json_option
@click.pass_context
def deploys(ctx: click.Context, version: str, project: str | None, limit: int, as_json: bool) -> None:
    """List the deploys of a release, the last finished first. One to several projects is one.

    \b
    Examples:
      tasks-pipeline releases deploys shop@2.0.0
      tasks-pipeline releases deploys shop@2.0.0 --project shop --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.deploys import list_deploys

        ids = [row["project_id"] for row in find_named(state, slugs, version, project)]
        with state.read() as connection:
            rows = list_deploys(connection, ids, version, limit)
    found = [deploy_json(row) for row in rows]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no deploys", err=True)
        return
    table(
        [row | {"took": _took(row)} for row in found],
        {
            "environment": "environment",
            "finished_at": "finished (UTC)",
            "took": "took",
            "name": "name",
            "url": "url",
        },
        cut=["name", "url"],
        drop=["url", "name", "took"],
    )


def deploy_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON says of a deploy."""
    from tasks_pipeline.releases.deploys import duration_of

    return {
        "id": row["id"],
        "environment": row["environment"],
        "name": row["name"],
        "url": row["url"],
        "started_at": row["started_at"],
        "finished_at": row["finished_at"],
        "created_at": row["created_at"],
        "duration_seconds": duration_of(row["started_at"], row["finished_at"]),
    }


def _took(deploy: Mapping[str, Any]) -> str:
    seconds = deploy["duration_seconds"]
    return "" if seconds is None else lasting(seconds)
