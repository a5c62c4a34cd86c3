"""`groups`: list them, look at one, decide about one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.json_output import print_json
from tasks_pipeline.commands.output import cell, current_home, json_option, table
from tasks_pipeline.commands.preview_rules import preview_rules
from tasks_pipeline.commands.queries import age, group_named, listing, one_line, open_state

if TYPE_CHECKING:
    from tasks_pipeline.groups.lifecycle import Lifecycle
    from tasks_pipeline.home import Home

SHOWN = (
    "id", "short_id", "project", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen",
)  # fmt: skip
_COLUMNS = {
    "short_id": "group",
    "title": "title",
    "level": "level",
    "status": "status",
    "times_seen": "events",
    "users": "users",
    "first_seen": "first seen",
    "last_seen": "last seen",
}
_STATUSES = ("unresolved", "resolved", "ignored", "regressed")
_VALUES_SHOWN = 5
_DAYS_SHOWN = 14


@click.group()
def groups() -> None:
    """List groups (events that are one and the same problem), look at one, resolve or ignore it."""


groups.add_command(preview_rules)


@groups.command("list")
@click.option("--project", metavar="SLUG", help="Groups of this project only.")
@click.option("--status", type=click.Choice(_STATUSES), help="Groups of this status only.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most groups to show."
)
@json_option
@click.pass_context
def list_command(
    ctx: click.Context, project: str | None, status: str | None, limit: int, as_json: bool
) -> None:
    """List groups, last seen first.

    \b
    Examples:
      tasks-pipeline groups list
      tasks-pipeline groups list --project shop --status unresolved --json
    Prints:
      group   title                       level  status      events  users  first seen  last seen
      SHOP-2  PaymentError: card declined error  unresolved      31     12  3 d         5 min
    """
    with open_state(current_home(ctx)) as (state, slugs):
        from tasks_pipeline.storage.groups import list_groups

        project_id = _project_id(slugs, project)
        found = list_groups(state, slugs, project_id=project_id, status=status, limit=limit)
    if as_json:
        print_json([_summary(group) for group in found])
        return
    now = datetime.now(UTC)
    rows = [group | {name: age(group[name], now) for name in ("first_seen", "last_seen")} for group in found]
    if rows:
        listing(rows, _COLUMNS, cut="title")
    else:
        click.echo("no groups", err=True)


@groups.command()
@click.argument("group_id", metavar="ID")
@json_option
@click.pass_context
def show(ctx: click.Context, group_id: str, as_json: bool) -> None:
    """Show one group: who sees it, where, since when, and its newest events. ID is its id or short id, in any case.

    \b
    Examples:
      tasks-pipeline groups show SHOP-2
      tasks-pipeline groups show 2 --json
    """
    home = current_home(ctx)
    with open_state(home) as (state, slugs):
        from tasks_pipeline.storage.groups import group_day_counts, group_value_counts

        group = group_named(state, slugs, group_id)
        values = group_value_counts(state, group["id"])
        days = group_day_counts(state, group["id"])
    details = {
        "events": _events(home, group["id"]),
        "values": {
            f"{kind}s": [{"value": value, "times_seen": n} for value, n in counts]
            for kind, counts in values.items()
        },
        "days": [{"day": day, "times_seen": n} for day, n in days],
    }
    if as_json:
        print_json(_summary(group) | {key: group[key] for key in ("platform", "type", "metadata")} | details)
    else:
        _print_group(group, details, datetime.now(UTC))


@groups.command()
@click.argument("group_id", metavar="ID")
@click.pass_context
def resolve(ctx: click.Context, group_id: str) -> None:
    """Say that a group is fixed. An event that happens later makes it `regressed`.

    \b
    Example:
      tasks-pipeline groups resolve SHOP-2
    """
    from tasks_pipeline.groups.lifecycle import resolve as resolved

    _decide(ctx, group_id, resolved(datetime.now(UTC)), "is resolved")


@groups.command()
@click.argument("group_id", metavar="ID")
@click.pass_context
def unresolve(ctx: click.Context, group_id: str) -> None:
    """Say that a group is not fixed after all, or is to be seen again.

    \b
    Example:
      tasks-pipeline groups unresolve SHOP-2
    """
    from tasks_pipeline.groups.lifecycle import reopen

    _decide(ctx, group_id, reopen(datetime.now(UTC)), "is unresolved")


@groups.command()
@click.argument("group_id", metavar="ID")
@click.option(
    "--until",
    metavar="DATE",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]),
    help="Only until an event happens at this time (UTC) or later.",
)
@click.option("--times", metavar="N", type=click.IntRange(1), help="Only until it was seen N times more.")
@click.pass_context
def ignore(ctx: click.Context, group_id: str, until: datetime | None, times: int | None) -> None:
    """Say that a group is not to be seen: for good, until a time, or until it was seen N times more.

    \b
    Examples:
      tasks-pipeline groups ignore SHOP-2
      tasks-pipeline groups ignore SHOP-2 --until 2027-01-31
      tasks-pipeline groups ignore SHOP-2 --times 100
    """
    from tasks_pipeline.groups.lifecycle import ignore as ignored

    now = datetime.now(UTC)
    end = until.replace(tzinfo=UTC) if until else None
    if end is not None and times is not None:
        raise click.UsageError("--until and --times cannot be combined")
    if end is not None and end <= now:
        raise click.BadParameter(f"{until:%Y-%m-%d %H:%M} UTC is over already", param_hint="--until")
    how = (
        f" until {end:%Y-%m-%d %H:%M} UTC"
        if end
        else f" until it was seen {times} times more"
        if times
        else ""
    )
    _decide(ctx, group_id, ignored(now, end), f"is ignored{how}", more_times=times)


def _decide(ctx: click.Context, text: str, life: Lifecycle, said: str, more_times: int | None = None) -> None:
    from dataclasses import replace

    from tasks_pipeline.storage.groups import set_lifecycle

    with open_state(current_home(ctx)) as (state, slugs):
        group = group_named(state, slugs, text)
        if more_times is not None:
            life = replace(life, ignored_until_times_seen=group["times_seen"] + more_times)
        set_lifecycle(state, group["id"], life)
    click.echo(f"{group['short_id']} {said}: {cell(group['title'])}")


def _project_id(slugs: Any, project: str | None) -> int | None:
    if project is None:
        return None
    for project_id, slug in slugs.items():
        if slug == project.lower():
            return int(project_id)
    raise click.ClickException(f"no project {project!r}; there are: {', '.join(slugs.values())}")


def _summary(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in SHOWN}


def _events(home: Home, group_id: int) -> list[dict[str, Any]]:
    import duckdb

    from tasks_pipeline.storage.events import newest_events
    from tasks_pipeline.storage.lake import open_reader

    with one_line(duckdb.Error), open_reader(home) as lake:
        return newest_events(lake, group_id)


def _print_group(group: dict[str, Any], details: dict[str, Any], now: datetime) -> None:
    click.secho(f"{group['short_id']}  {cell(group['title'])}", bold=True)
    click.echo(f"{cell(group['culprit'])}\n" if group["culprit"] else "")
    click.echo(
        f"status        {group['status']}, {group['level']}, {cell(group['platform'])}, project {group['project']}"
    )
    click.echo(f"seen          {group['times_seen']} times by {group['users']} users")
    for name in ("first_seen", "last_seen"):
        if group[name] is not None:
            click.echo(f"{name.replace('_', ' '):<14}{cell(group[name])} UTC, {age(group[name], now)} ago")
    for name, counts in details["values"].items():
        shown = [f"{cell(c['value'])} ({c['times_seen']})" for c in counts[:_VALUES_SHOWN]]
        if shown:
            click.echo(f"{name:<14}{', '.join(shown)}{' …' if len(counts) > _VALUES_SHOWN else ''}")
    for entry in details["days"][-_DAYS_SHOWN:]:
        click.echo(f"{entry['day']}  {entry['times_seen']} events")
    click.echo("\nnewest events")
    rows = [e | {"timestamp": cell(e["timestamp"])} for e in details["events"]]
    table(
        rows,
        {
            "event_id": "event",
            "timestamp": "UTC",
            "environment": "environment",
            "release": "release",
            "user": "user",
        },
    )
