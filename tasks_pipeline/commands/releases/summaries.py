"""What the commands about releases share: finding the one that is named, and what JSON says of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.options import project_option
from tasks_pipeline.commands.common.output import cell
from tasks_pipeline.commands.common.queries import project_number
from tasks_pipeline.protocol.release import parse_release

if TYPE_CHECKING:
    from tasks_pipeline.releases.known import Latest, Row
    from tasks_pipeline.storage.state.database import StateDatabase

in_project = project_option("In this project only.")
in_environment = click.option(
    "--environment",
    "environment",
    metavar="NAME",
    callback=lambda _ctx, _option, name: "" if name == NO_ENVIRONMENT else name,
    help="In this environment only; none: sessions that named none.",
)
"""Gives the name as it is stored: empty for none, None where nothing was said."""
NO_ENVIRONMENT = "none"


def find_named(
    state: StateDatabase, slugs: Mapping[int, str], version: str, project: str | None
) -> list[Row]:
    """The release in each project that has it, or in the one that is named. Raises ClickException when there is none."""
    from tasks_pipeline.releases.known import find_releases

    number = project_number(slugs, project)
    with state.read() as connection:
        rows = find_releases(connection, list(slugs) if number is None else [number], version)
    if not rows:
        where = "" if project is None else f" in {cell(project)}"
        raise click.ClickException(
            f"there is no release {cell(version)}{where}; `tasks-pipeline releases list --status all` shows them"
        )
    return rows


def summaries(
    state: StateDatabase, slugs: Mapping[int, str], rows: Sequence[Row]
) -> tuple[list[dict[str, Any]], dict[int, Latest]]:
    """What JSON says of releases, and by project the latest of all of its releases."""
    from tasks_pipeline.groups.of_release import new_group_counts
    from tasks_pipeline.releases.deploys import deploy_counts
    from tasks_pipeline.releases.known import latest_release

    named = {(row["project_id"], row["version"]) for row in rows}
    with state.read() as connection:
        deployed, new_groups = deploy_counts(connection, named), new_group_counts(connection, named)
        latest = {
            number: found
            for number in dict.fromkeys(row["project_id"] for row in rows)
            if (found := latest_release(connection, number))
        }
    summaries = []
    for row in rows:
        of_project = latest.get(row["project_id"])
        is_latest = of_project is not None and of_project.version == row["version"]
        summaries.append(
            {
                "version": row["version"],
                "short_version": parse_release(row["version"]).short,
                "package": row["package"],
                "project": slugs[row["project_id"]],
                "status": row["status"],
                "latest": is_latest,
                "latest_reason": of_project.reason if of_project and is_latest else None,
                "date_created": row["created_at"],
                "date_started": row["started_at"],
                "date_released": row["released_at"],
                "order_date": row["order_date"],
                "first_event": row["first_event_at"],
                "last_event": row["last_event_at"],
                "url": row["url"],
                "ref": row["ref"],
                "commit_count": row["commit_count"],
                "deploy_count": deployed.get((row["project_id"], row["version"]), 0),
                "new_groups": new_groups.get((row["project_id"], row["version"]), 0),
                **{name: row[name] if row["figures_at"] else None for name in ("events", "users")},
            }
        )
    return summaries, latest
