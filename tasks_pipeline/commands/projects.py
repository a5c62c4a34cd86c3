"""`projects`: which there are, and deleting one with everything of it."""

from __future__ import annotations

import click

from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.deleting import delete_chosen, dry_run_option, yes_option
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import current_home, user_errors
from tasks_pipeline.commands.common.queries import open_all, open_state
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.groups.decide import actor_option


@click.group(cls=CommandGroup)
def projects() -> None:
    """List projects, delete one that is not configured any more."""


@projects.command("list")
@json_option
@click.pass_context
def list_projects(ctx: click.Context, as_json: bool) -> None:
    """List projects: those of the configuration, those of which something is stored, and those that were deleted.

    \b
    Example:
      tasks-pipeline projects list
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.deletion.projects import list_projects as found

        rows = found(state, slugs)
    if as_json:
        print_json(rows)
    elif rows:
        table(rows, ["id", "slug", "status", "deleted_at"])
    else:
        click.echo("there is none", err=True)


@projects.command()
@click.argument("name", metavar="SLUG")
@dry_run_option
@yes_option
@actor_option
@json_option
@click.pass_context
def delete(ctx: click.Context, name: str, dry_run: bool, yes: bool, actor: str, as_json: bool) -> None:
    """Delete a project with everything of it, by its slug or number. It has to be taken out of the configuration first, so that no
    client sends to it any more; its number is never used again.

    \b
    Examples:
      tasks-pipeline projects delete shop --dry-run
      tasks-pipeline projects delete 7 --yes
    """
    from tasks_pipeline.deletion.projects import Configured, UnknownProject, choose_project

    with open_all(current_home(ctx), to_look=True) as stores, user_errors(Configured, UnknownProject):
        chosen = choose_project(stores, name)
        note = f"its number, {chosen.projects[0]}, is used up; monitors of other projects, members and tokens stay"
        delete_chosen(stores, chosen, by=actor, dry_run=dry_run, yes=yes, as_json=as_json, notes=[note])
