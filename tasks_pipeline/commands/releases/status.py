"""`releases archive`, `restore` and `delete`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import open_state
from tasks_pipeline.commands.releases.summaries import find_named, in_project


@click.command()
@click.argument("version")
@in_project
@json_option
@click.pass_context
def archive(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Archive a release: it leaves the lists and is not the latest any more. Its events go on as before.

    \b
    Example:
      tasks-pipeline releases archive shop@999.9.9
    """
    _set_status(ctx, version, project, "archived", "is archived; `releases restore` undoes that", as_json)


@click.command()
@click.argument("version")
@in_project
@json_option
@click.pass_context
def restore(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Open an archived release again.

    \b
    Example:
      tasks-pipeline releases restore shop@2.0.0
    """
    _set_status(ctx, version, project, "open", "is open", as_json)


@click.command()
@click.argument("version")
@in_project
@json_option
@click.pass_context
def delete(ctx: click.Context, version: str, project: str | None, as_json: bool) -> None:
    """Forget a release and its deploys. Its events and artifacts stay, and its next event makes it again.

    \b
    Example:
      tasks-pipeline releases delete shop@2.0.0
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import delete_release

        ids = [row["project_id"] for row in find_named(state, slugs, version, project)]
        delete_release(state, ids, version)
    _say(
        slugs, ids, version, "deleted", as_json,
        "is deleted; its next event makes it again. `releases archive` is what people usually mean",
    )  # fmt: skip


def _set_status(
    ctx: click.Context, version: str, project: str | None, status: str, said: str, as_json: bool
) -> None:
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import save_release

        ids = [row["project_id"] for row in find_named(state, slugs, version, project)]
        save_release(state, ids, version, {"status": status})
    _say(slugs, ids, version, status, as_json, said)


def _say(
    slugs: Mapping[int, str], ids: Sequence[int], version: str, status: str, as_json: bool, said: str
) -> None:
    """What was done with a release in some projects."""
    where = [slugs[project_id] for project_id in ids]
    if as_json:
        print_json([{"version": version, "project": slug, "status": status} for slug in where])
    else:
        click.echo(f"{cell(version)} in {', '.join(where)} {said}")
