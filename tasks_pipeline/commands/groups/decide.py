"""`groups resolve`, `unresolve`, `ignore`, `assign` and `log`: what people decide about groups, and what was decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import Number, json_option, limit_option
from tasks_pipeline.commands.common.output import cell, current_home, user_errors
from tasks_pipeline.commands.common.queries import group_itself, group_named, open_state
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.commands.common.user import user_name
from tasks_pipeline.reading.told import LOGGED, told
from tasks_pipeline.words import counted, short_commit

if TYPE_CHECKING:
    from tasks_pipeline.config import Config
    from tasks_pipeline.storage.state.database import StateDatabase

_DECIDED = ("id", "short_id", "project", "title", "status", "assignee", "times_seen", "users")


group_ids = click.argument("names", metavar="ID...", nargs=-1, required=True)
actor_option = click.option(
    "--actor", metavar="NAME", default=user_name, help="Who decides.  [default: the user of this machine]"
)


@click.command()
@group_ids
@click.option(
    "--in-release",
    metavar="VERSION",
    help="Fixed in this release, which may be still to come, or in the `latest` one; not before.",
)
@click.option(
    "--in-next-release", is_flag=True, help="Fixed in the release after the newest known one, not before."
)
@click.option(
    "--in-commit", metavar="SHA", help="Fixed in the first release that holds this commit, not before."
)
@click.option("--repository", metavar="NAME", help="Of the commit, for the log.")
@actor_option
@json_option
@click.pass_context
def resolve(
    ctx: click.Context,
    names: Sequence[str],
    in_release: str | None,
    in_next_release: bool,
    in_commit: str | None,
    repository: str | None,
    actor: str,
    as_json: bool,
) -> None:
    """Say that groups are fixed. An event that happens later makes a group `regressed`; with --in-release,
    --in-next-release or --in-commit only an event of a release that should have the fix does.

    \b
    Examples:
      tasks-pipeline groups resolve SHOP-2
      tasks-pipeline groups resolve SHOP-2 --in-release shop@2.0.1
      tasks-pipeline groups resolve SHOP-2 SHOP-7 --in-next-release
      tasks-pipeline groups resolve SHOP-2 --in-commit 8097195
    """
    from tasks_pipeline.groups.decisions import resolve_groups

    if sum((in_release is not None, in_next_release, in_commit is not None)) > 1:
        raise click.UsageError("--in-release, --in-next-release and --in-commit cannot be combined")
    if repository is not None and in_commit is None:
        raise click.UsageError("--repository goes with --in-commit")

    def decide(state: StateDatabase, ids: Sequence[int]) -> list[dict[str, Any]]:
        return resolve_groups(
            state, ids, actor,
            in_release=in_release, in_next_release=in_next_release, in_commit=in_commit, repository=repository,
        )  # fmt: skip

    _decide(ctx, names, decide, lambda data: f"is resolved{_how(data)}", as_json=as_json)


def _how(data: Mapping[str, Any]) -> str:
    """When it is fixed, as a resolution is logged."""
    match data:
        case {"in_release_after": release}:
            return f" in the release after {cell(release)}"
        case {"release": release}:
            return f" in {cell(release)}"
        case {"commit": commit}:
            return f" in the first release with commit {short_commit(cell(commit))}"
    return ""


@click.command()
@group_ids
@actor_option
@json_option
@click.pass_context
def unresolve(ctx: click.Context, names: Sequence[str], actor: str, as_json: bool) -> None:
    """Say that groups are not fixed after all, or are to be seen again.

    \b
    Example:
      tasks-pipeline groups unresolve SHOP-2
    """
    from tasks_pipeline.groups.decisions import unresolve_groups

    _decide(
        ctx,
        names,
        lambda state, ids: unresolve_groups(state, ids, actor),
        lambda _data: "is unresolved",
        as_json=as_json,
    )


@click.command()
@group_ids
@click.option(
    "--until",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Only until an event happens at this time (UTC) or later.",
)
@click.option("--times", metavar="N", type=Number(1), help="Only until it was seen N times more.")
@click.option("--users", metavar="N", type=Number(1), help="Only until N users more have seen it.")
@actor_option
@json_option
@click.pass_context
def ignore(
    ctx: click.Context,
    names: Sequence[str],
    until: datetime | None,
    times: int | None,
    users: int | None,
    actor: str,
    as_json: bool,
) -> None:
    """Say that groups are not to be seen: for good, until a time, until N events or users more.

    \b
    Examples:
      tasks-pipeline groups ignore SHOP-2
      tasks-pipeline groups ignore SHOP-2 --until 2027-01-31
      tasks-pipeline groups ignore SHOP-2 SHOP-7 --times 100
      tasks-pipeline groups ignore SHOP-2 --users 20
    """
    from tasks_pipeline.groups.decisions import ignore_groups

    end = until.replace(tzinfo=UTC) if until else None
    if sum(option is not None for option in (end, times, users)) > 1:
        raise click.UsageError("--until, --times and --users cannot be combined")
    if end is not None and end <= datetime.now(UTC):
        raise click.BadParameter(f"{until:%Y-%m-%d %H:%M} UTC is over already", param_hint="--until")
    how = ""
    if end is not None:
        how = f" until {end:%Y-%m-%d %H:%M} UTC"
    elif times is not None:
        how = f" until it was seen {counted(times, 'time')} more"
    elif users is not None:
        how = f" until {counted(users, 'user')} more {'has' if users == 1 else 'have'} seen it"

    def decide(state: StateDatabase, ids: Sequence[int]) -> list[dict[str, Any]]:
        return ignore_groups(state, ids, actor, until=end, more_events=times, more_users=users)

    _decide(ctx, names, decide, lambda _data: f"is ignored{how}", as_json=as_json)


@click.command()
@group_ids
@click.option("--to", "assignee", metavar="WHO", help="The address of a member, or team:SLUG.")
@click.option("--nobody", is_flag=True, help="Take the assignee away.")
@actor_option
@json_option
@click.pass_context
def assign(
    ctx: click.Context, names: Sequence[str], assignee: str | None, nobody: bool, actor: str, as_json: bool
) -> None:
    """Say who takes care of groups. Members and teams are those of the configuration.

    \b
    Examples:
      tasks-pipeline groups assign SHOP-2 SHOP-7 --to anna@acme.example
      tasks-pipeline groups assign SHOP-2 --to team:payments
      tasks-pipeline groups assign SHOP-2 --nobody
    """
    from tasks_pipeline.groups.decisions import assign_groups_to

    if nobody == (assignee is not None):
        raise click.UsageError("one of --to WHO and --nobody is needed")
    if assignee is not None:
        with user_errors():
            assignee = known_assignee(current_home(ctx).config_to_look().config, assignee)
    _decide(
        ctx,
        names,
        lambda state, ids: assign_groups_to(state, ids, actor, assignee),
        lambda _data: f"is assigned to {cell(assignee) if assignee else 'nobody'}",
        as_json=as_json,
    )


def known_assignee(config: Config, who: str) -> str:
    """How the configuration spells a member's address or team:SLUG. Raises ClickException for anybody else: nobody would be told."""
    known = [*(member.email for member in config.members), *(f"team:{team.slug}" for team in config.teams)]
    for name in known:
        if name.casefold() == who.removeprefix("member:").casefold():
            return name
    there = ", ".join(known[:20]) or "none; configure `members` and `teams`"
    raise click.ClickException(f"{cell(who)[:100]!r} is nobody; members and teams are: {there}")


@click.command()
@click.argument("name", metavar="ID")
@limit_option(50, "entries to show")
@json_option
@click.pass_context
def log(ctx: click.Context, name: str, limit: int, as_json: bool) -> None:
    """Show what was decided about a group, by whom and when, newest first. Of a merged group its own log.

    \b
    Example:
      tasks-pipeline groups log SHOP-2
    Prints:
      when (UTC)           who  what
      2026-11-22 19:51:36  ann  SHOP-3 merged into it
    """
    from tasks_pipeline.groups.decisions import actions_of

    with open_state(current_home(ctx)) as (state, slugs):
        group = group_itself(state, slugs, name)
        entries = told(state, slugs, actions_of(state, group["id"], limit))
    if as_json:
        print_json([{key: entry[key] for key in LOGGED} for entry in entries])
    elif entries:
        table(entries, {"at": "when (UTC)", "actor": "who", "text": "what"}, wrap=["text"])
    else:
        click.echo("nothing was decided yet", err=True)


decisions = (resolve, unresolve, ignore, assign, log)


def _decide(
    ctx: click.Context,
    names: Sequence[str],
    decide: Callable[[StateDatabase, Sequence[int]], list[dict[str, Any]]],
    said: Callable[[dict[str, Any]], str],
    *,
    as_json: bool,
) -> None:
    """Make a decision about the named groups and print a line for each. Nothing is decided when one does not exist."""
    from tasks_pipeline.groups.decisions import DecisionError

    with open_state(current_home(ctx)) as (state, slugs), user_errors(DecisionError):
        named = {g["id"]: g for g in (group_named(state, slugs, name) for name in names)}
        logged = decide(state, list(named))
        after = [group_itself(state, slugs, str(group_id)) for group_id in named]
    if as_json:
        print_decided(after)
        return
    for group, data in zip(after, logged, strict=True):
        click.echo(f"{group['short_id']} {said(data)}: {cell(group['title'])}")


def print_decided(groups: Sequence[Mapping[str, Any]]) -> None:
    """Groups as a decision left them, as JSON."""
    print_json([{name: group[name] for name in _DECIDED} for group in groups])
