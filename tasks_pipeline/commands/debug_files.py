"""`debug-files`: what was uploaded for symbolication."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import age, open_state, project_number
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.config.projects import project_name
from tasks_pipeline.words import counted

_COLUMNS = {"project": "project", "kind": "kind", "id": "debug id or release", "name": "name", "holds": "holds", "size": "bytes", "uploaded": "uploaded"}  # fmt: skip


@click.group(cls=CommandGroup, name="debug-files")
def debug_files() -> None:
    """Look at uploaded debug files and artifact bundles (sources and source maps)."""


@debug_files.command("list")
@project_option("What was uploaded to this project only.")
@limit_option(50, "of each")
@json_option
@click.pass_context
def list_command(ctx: click.Context, project: str | None, limit: int, as_json: bool) -> None:
    """List debug files and artifact bundles, newest first.

    \b
    Examples:
      tasks-pipeline debug-files list
      tasks-pipeline debug-files list --project shop --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.uploads.known import list_bundles
        from tasks_pipeline.uploads.known import list_debug_files as list_files

        project_id = project_number(slugs, project)
        with state.read() as connection:
            files = list_files(connection, project_id, limit=limit)
            bundles = list_bundles(connection, project_id, limit=limit)
    if as_json:
        print_json(
            {
                "debug_files": [_with_slug(row, slugs) for row in files],
                "artifact_bundles": [_with_slug(row, slugs) for row in bundles],
            }
        )
        return
    now = datetime.now(UTC)
    rows = [_file_row(row, slugs, now) for row in files] + [_bundle_row(row, slugs, now) for row in bundles]
    if rows:
        table(rows, _COLUMNS, cut=["name", "holds"], drop=["holds", "project", "size", "uploaded"])
    else:
        click.echo("nothing was uploaded", err=True)


def _with_slug(row: Mapping[str, Any], slugs: Mapping[int, str]) -> dict[str, Any]:
    return {"project": project_name(slugs, row["project_id"]), **row}


def _file_row(row: Mapping[str, Any], slugs: Mapping[int, str], now: datetime) -> dict[str, Any]:
    return {
        "project": project_name(slugs, row["project_id"]),
        "kind": row["kind"],
        "id": row["debug_id"],
        "name": row["name"],
        "holds": _holds(row),
        "size": row["size"],
        "uploaded": age(row["created_at"], now),
    }


def _holds(row: Mapping[str, Any]) -> str:
    """What is in an object; a mapping has neither architecture nor kind."""
    kind = "" if row["kind"] == row["object_kind"] else f"{row['arch']} {row['object_kind']}: "
    return kind + " ".join(row["features"])


def _bundle_row(row: Mapping[str, Any], slugs: Mapping[int, str], now: datetime) -> dict[str, Any]:
    return {
        "project": project_name(slugs, row["project_id"]),
        "kind": "bundle",
        "id": row["release"] or "",
        "name": row["sha1"],
        "holds": counted(row["files"], "file") + (f", dist {row['dist']}" if row["dist"] else ""),
        "size": row["size"],
        "uploaded": age(row["created_at"], now),
    }
