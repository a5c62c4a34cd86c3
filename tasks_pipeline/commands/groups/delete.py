"""`groups delete`: groups with everything of them go for good."""

from __future__ import annotations

from collections.abc import Sequence

import click

from tasks_pipeline.commands.common.deleting import delete_chosen, dry_run_option, yes_option
from tasks_pipeline.commands.common.options import json_option
from tasks_pipeline.commands.common.output import current_home
from tasks_pipeline.commands.common.queries import group_named, open_all
from tasks_pipeline.commands.groups.decide import actor_option, group_ids


@click.command()
@group_ids
@dry_run_option
@yes_option
@actor_option
@json_option
@click.pass_context
def delete(
    ctx: click.Context, names: Sequence[str], dry_run: bool, yes: bool, actor: str, as_json: bool
) -> None:
    """Delete groups with everything of them: events, raw envelopes, attachments, what was decided, messages that tell of them. Groups that
    were merged into them go along.

    Unlike `discard`, which goes on dropping events of the kind, this leaves nothing behind: the next one makes a new group.

    \b
    Examples:
      tasks-pipeline groups delete SHOP-2 --dry-run
      tasks-pipeline groups delete SHOP-2 SHOP-7 --yes
    """
    from tasks_pipeline.deletion.groups import choose_groups
    from tasks_pipeline.groups.lists import short_ids

    with open_all(current_home(ctx), to_look=True) as stores:
        named = [group_named(stores.state, stores.slugs, name) for name in names]
        ids = [group["id"] for group in named]
        chosen = choose_groups(stores.state, ids)
        chosen = chosen.named(short_ids(stores.state, stores.slugs, chosen.groups))
        delete_chosen(stores, chosen, by=actor, dry_run=dry_run, yes=yes, as_json=as_json)
