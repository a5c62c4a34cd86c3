"""`groups merge`, `unmerge`, `discard`, `keys`, `similar` and `merge-similar`: what belongs together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import (
    group_itself,
    group_named,
    open_all,
    open_state,
)
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.groups.decide import actor_option, group_ids, print_decided
from tasks_pipeline.words import counted

if TYPE_CHECKING:
    from tasks_pipeline.groups.similarity import Pair
    from tasks_pipeline.stores import Stores


@click.command()
@click.argument("target", metavar="TARGET")
@click.argument("others", metavar="OTHER...", nargs=-1, required=True)
@actor_option
@json_option
@click.pass_context
def merge(ctx: click.Context, target: str, others: Sequence[str], actor: str, as_json: bool) -> None:
    """Make groups part of another. Its status and assignee stay, their short ids lead to it, their events and those
    that come are its own. `groups unmerge` undoes it.

    \b
    Example:
      tasks-pipeline groups merge SHOP-2 SHOP-3 SHOP-7
    Prints:
      SHOP-2 with SHOP-3, SHOP-7 was seen 43 times by 12 users: PaymentError
    """
    from tasks_pipeline.groups.merging import merge_groups

    with _deciding(ctx) as stores:
        chosen = group_named(stores.state, stores.slugs, target)
        parts = [group_named(stores.state, stores.slugs, name) for name in others]
        ids = sorted({group["id"] for group in parts} - {chosen["id"]})
        merge_groups(stores.state, chosen["id"], ids, actor)
        _finish(stores)
        now = group_itself(stores.state, stores.slugs, str(chosen["id"]))
    names = ", ".join(dict.fromkeys(group["short_id"] for group in parts))
    if as_json:
        print_decided([now])
    else:
        click.echo(f"{now['short_id']} with {names} {_seen(now)}: {cell(now['title'])}")


@click.command()
@click.argument("name", metavar="ID")
@click.option(
    "--key", "keys", metavar="KEY", multiple=True, help="Take out the events of this key alone; repeatable."
)
@actor_option
@json_option
@click.pass_context
def unmerge(ctx: click.Context, name: str, keys: Sequence[str], actor: str, as_json: bool) -> None:
    """Take a merged group out of the one it is part of, with everything that came from it. With --key, take keys out of
    a group, merged or not, into a new group; `groups keys` shows them. The two are never proposed as similar again.

    \b
    Examples:
      tasks-pipeline groups unmerge SHOP-3
      tasks-pipeline groups unmerge SHOP-2 --key 0f3a… --key 77c1…
    Prints:
      SHOP-3 was seen 12 times by 3 users: ConnectionError: connection refused
      SHOP-2 was seen 31 times by 9 users: PaymentError: card declined
    """
    from tasks_pipeline.groups.merging import split_group, unmerge_group

    with _deciding(ctx) as stores:
        if keys:
            kept = group_named(stores.state, stores.slugs, name)
            slug = stores.slugs.get(kept["project_id"], kept["project"])
            pair = split_group(stores.state, kept["id"], set(keys), slug, actor), kept["id"]
        else:
            group = group_itself(stores.state, stores.slugs, name)
            pair = group["id"], unmerge_group(stores.state, group["id"], actor)
        _finish(stores)
        now = [group_itself(stores.state, stores.slugs, str(group_id)) for group_id in pair]
    if as_json:
        print_decided(now)
        return
    for group in now:
        click.echo(f"{group['short_id']} {_seen(group)}: {cell(group['title'])}")


@click.command()
@group_ids
@click.option("--undo", is_flag=True, help="Keep the events of these groups again, from now on.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@actor_option
@json_option
@click.pass_context
def discard(
    ctx: click.Context, names: Sequence[str], undo: bool, yes: bool, actor: str, as_json: bool
) -> None:
    """Remove the stored events of groups, and drop what comes of them: it is counted as discarded.

    On a terminal it says how many events go, and asks. With --undo, events are kept again; those of days whose raw envelopes
    are still there come back with `tasks-pipeline backfill`, the others are gone.

    \b
    Examples:
      tasks-pipeline groups discard SHOP-3
      tasks-pipeline groups discard --undo SHOP-3
    Prints:
      SHOP-3 is discarded, 12 events were removed: ConnectionError: refused
    """
    from tasks_pipeline.groups.merging import discard_groups, keep_groups

    with _deciding(ctx) as stores:
        named = {g["id"]: g for g in (group_named(stores.state, stores.slugs, name) for name in names)}
        if not undo and not yes and sys.stdin.isatty():
            _ask(list(named.values()), stores.config.retention.raw_days)
        (keep_groups if undo else discard_groups)(stores.state, list(named), actor)
        _finish(stores)
        after = [group_itself(stores.state, stores.slugs, str(group_id)) for group_id in named]
    if as_json:
        print_decided(after)
        return
    for group in named.values():
        removed = (
            f"{counted(group['times_seen'], 'event')} {'was' if group['times_seen'] == 1 else 'were'} removed"
        )
        click.echo(
            f"{group['short_id']} {'is kept again' if undo else f'is discarded, {removed}'}: {cell(group['title'])}"
        )


def _ask(named: Sequence[dict[str, Any]], raw_days: float) -> None:
    """Ask before stored events go; ends the command unless the answer is yes."""
    for group in named:
        seen = f"{counted(group['times_seen'], 'event')} of {counted(group['users'], 'user')}"
        click.echo(f"{group['short_id']}  {seen}: {cell(group['title'])}", err=True)
    total = counted(sum(group["times_seen"] for group in named), "event")
    back = (
        f"those received in the last {raw_days:g} days can be brought back"
        if raw_days
        else "none can be brought back"
    )
    click.confirm(
        f"{total} will be removed ({back}), and what comes is dropped. Go on?", abort=True, err=True
    )


@click.command()
@click.argument("name", metavar="ID")
@json_option
@click.pass_context
def keys(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show the keys of a group, and from which merged group each came.

    \b
    Example:
      tasks-pipeline groups keys SHOP-2
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.groups.lists import short_ids
        from tasks_pipeline.groups.merging import keys_of_group

        group = group_named(state, slugs, name)
        found = keys_of_group(state, group["id"])
        names = short_ids(state, slugs, (key["origin"] for key in found if key["origin"] is not None))
    rows = [key | {"origin": names.get(key["origin"])} for key in found]
    if as_json:
        print_json(rows)
    else:
        table(rows, {"key": "key", "created_at": "since", "origin": "from"})


@click.command()
@click.argument("name", metavar="[ID]", required=False)
@limit_option(50, "pairs to show")
@json_option
@click.pass_context
def similar(ctx: click.Context, name: str | None, limit: int, as_json: bool) -> None:
    """Show pairs of groups that look alike, of all or of one group, the most similar first.

    \b
    Examples:
      tasks-pipeline groups similar
      tasks-pipeline groups similar SHOP-2 --json
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.groups.similar import proposed_pairs

        group_id = group_named(state, slugs, name)["id"] if name else None
        pairs = proposed_pairs(state, group_id=group_id)[:limit]
        found: list[dict[str, Any]] = [
            {
                "group": group_itself(state, slugs, str(older)),
                "similar": group_itself(state, slugs, str(newer)),
                "similarity": score,
            }
            for older, newer, score in pairs
        ]
    if as_json:
        print_json(
            [
                {
                    side: {key: row[side][key] for key in ("id", "short_id", "project", "title")}
                    for side in ("group", "similar")
                }
                | {"similarity": row["similarity"]}
                for row in found
            ]
        )
    elif found:
        rows = [
            {
                "group": row["group"]["short_id"],
                "similar": row["similar"]["short_id"],
                "similarity": f"{row['similarity']:.2f}",
                "title": row["similar"]["title"],
            }
            for row in found
        ]
        columns = {
            "group": "group",
            "similar": "similar",
            "similarity": "similarity",
            "title": "title of the similar one",
        }
        table(rows, columns, cut=["title"])
    else:
        click.echo(
            "no similar groups are known; `tasks-pipeline groups merge-similar` looks for some", err=True
        )


@click.command("merge-similar")
@click.option(
    "--above",
    metavar="SIMILARITY",
    type=click.FloatRange(0.5, 1),
    help="Merge pairs at least so similar.  [default: merging.merge_above of each project]",
)
@click.option("--dry-run", is_flag=True, help="Look for similar groups, but merge none.")
@actor_option
@json_option
@click.pass_context
def merge_similar(ctx: click.Context, above: float | None, dry_run: bool, actor: str, as_json: bool) -> None:
    """Look for similar groups now, as the job `merge_events` does every hour, and merge what is similar enough.

    \b
    Examples:
      tasks-pipeline groups merge-similar
      tasks-pipeline groups merge-similar --above 0.9 --dry-run
    Prints:
      SHOP-2 and SHOP-3: 0.94, would be merged
      3 groups compared for the first time, 1 pair proposed, 1 would be merged
    """
    from tasks_pipeline.groups.propose import merge_events

    with _deciding(ctx) as stores:
        report = merge_events(stores, merge_above=above, dry_run=dry_run, actor=actor)
        pairs = _named_pairs(stores, report.merged)
    if as_json:
        print_json(
            {
                "compared": report.signed,
                "proposed": report.proposed,
                "merged": [{"group": a, "similar": b, "similarity": score} for a, b, score in pairs],
                "dry_run": dry_run,
            }
        )
        return
    for older, newer, score in pairs:
        click.echo(f"{older} and {newer}: {score:.2f}, {'would be merged' if dry_run else 'merged'}")
    merged = f"{len(report.merged)} {'would be ' if dry_run else ''}merged"
    click.echo(
        f"{counted(report.signed, 'group')} compared for the first time, {counted(report.proposed, 'pair')} proposed, {merged}"
    )


merging = (merge, unmerge, discard, keys, similar, merge_similar)


def _named_pairs(stores: Stores, pairs: Sequence[Pair]) -> list[tuple[str, str, float]]:
    """Pairs of groups by their short ids."""
    from tasks_pipeline.groups.lists import short_ids

    names = short_ids(stores.state, stores.slugs, (group_id for pair in pairs for group_id in pair[:2]))
    return [(names[older], names[newer], score) for older, newer, score in pairs]


def _seen(group: dict[str, Any]) -> str:
    return f"was seen {counted(group['times_seen'], 'time')} by {counted(group['users'], 'user')}"


@contextmanager
def _deciding(ctx: click.Context) -> Iterator[Stores]:
    """Open stores, without secrets; what cannot be decided, and stores that cannot be used, end the command with a line."""
    from tasks_pipeline.groups.decisions import DecisionError

    with user_errors(DecisionError), open_all(current_home(ctx), to_look=True) as stores:
        yield stores


def _finish(stores: Stores) -> None:
    """Let stored events follow, as any drain would."""
    from tasks_pipeline.groups.regrouping import finish_regroupings

    with stores.lake.lock():
        finish_regroupings(stores.state, stores.lake)
