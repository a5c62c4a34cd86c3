"""`releases archive`, `restore` and `delete`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from tasks_pipeline.commands.common.deleting import delete_chosen, dry_run_option, yes_option
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import open_all, open_state, project_number
from tasks_pipeline.commands.groups.decide import actor_option
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
@click.option(
    "--with-events",
    is_flag=True,
    help="With everything of it: events, sessions, check-ins, uploaded bundles, and groups that have no other events.",
)
@dry_run_option
@yes_option
@actor_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context,
    version: str,
    project: str | None,
    with_events: bool,
    dry_run: bool,
    yes: bool,
    actor: str,
    as_json: bool,
) -> None:
    """Forget a release and its deploys. Its events and artifacts stay, and its next event makes it again; with --with-events they go for
    good, after it was shown what goes.

    \b
    Examples:
      tasks-pipeline releases delete shop@2.0.0
      tasks-pipeline releases delete shop@2.0.0 --with-events --dry-run
    """
    if with_events:
        _delete_with_events(ctx, version, project, actor, dry_run=dry_run, yes=yes, as_json=as_json)
        return
    if dry_run or yes:
        raise click.UsageError("--dry-run and --yes go with --with-events")
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.releases.known import delete_release

        ids = [row["project_id"] for row in find_named(state, slugs, version, project)]
        delete_release(state, ids, version)
    _say(
        slugs, ids, version, "deleted", as_json,
        "is deleted; its next event makes it again. `releases archive` is what people usually mean",
    )  # fmt: skip


def _delete_with_events(
    ctx: click.Context,
    version: str,
    project: str | None,
    actor: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    from tasks_pipeline.deletion.releases import UnknownRelease, choose_release

    with open_all(current_home(ctx), to_look=True) as stores, user_errors(UnknownRelease):
        number = project_number(stores.slugs, project)
        chosen = choose_release(stores, version, None if number is None else [number])
        delete_chosen(stores, chosen, by=actor, dry_run=dry_run, yes=yes, as_json=as_json)


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
