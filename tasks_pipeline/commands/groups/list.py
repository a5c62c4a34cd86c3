"""`groups`: list them, look at one. What is decided about them is in decide.py and merge.py."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.output import cell, current_home, json_option, table
from tasks_pipeline.commands.common.queries import age, group_named, listing, one_line, open_state
from tasks_pipeline.commands.groups.decide import decisions
from tasks_pipeline.commands.groups.explanation import explanation_lines
from tasks_pipeline.commands.groups.log import status_text, told
from tasks_pipeline.commands.groups.merge import merging
from tasks_pipeline.commands.groups.preview import preview_rules

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.storage.state.database import StateDatabase

SHOWN = (
    "id", "short_id", "project", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen",
)  # fmt: skip
DETAILS = (
    "platform", "type", "metadata", "status_changed_at", "assignee", "resolved_in_release", "ignored_until",
    "ignored_until_times_seen", "ignored_until_users",
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
_STATUSES = ("unresolved", "resolved", "ignored", "regressed", "discarded")
_VALUES_SHOWN = 5
_DAYS_SHOWN = 14
_ACTIONS_SHOWN = 5


@click.group()
def groups() -> None:
    """List groups (events that are one and the same problem), look at one, decide about them, merge them."""


for command in (*decisions, *merging, preview_rules):
    groups.add_command(command)


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
        from tasks_pipeline.groups.lists import list_groups

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
        from tasks_pipeline.groups.decisions import actions_of, merged_groups
        from tasks_pipeline.groups.explanations import group_explanation
        from tasks_pipeline.groups.lists import (
            first_release_of,
            group_day_counts,
            group_value_counts,
            short_ids,
        )

        group = group_named(state, slugs, group_id)
        values = group_value_counts(state, group["id"])
        days = group_day_counts(state, group["id"])
        first_release = first_release_of(state, group["id"])
        explanation = group_explanation(state, group["id"])
        actions = told(state, slugs, actions_of(state, group["id"], _ACTIONS_SHOWN))
        merged = short_ids(state, slugs, merged_groups(state, group["id"]))
        newest = _events(home, state, group["id"])
    details = {
        "first_release": first_release,
        "events": newest,
        "values": {
            f"{kind}s": [{"value": value, "times_seen": n} for value, n in counts]
            for kind, counts in values.items()
        },
        "days": [{"day": day, "times_seen": n} for day, n in days],
        "explanation": explanation,
        "merged": list(merged.values()),
        "actions": [{name: entry[name] for name in ("at", "actor", "action", "data")} for entry in actions],
    }
    if as_json:
        print_json(_summary(group) | {key: group[key] for key in DETAILS} | details)
    else:
        _print_group(group, details, actions, datetime.now(UTC))


def _project_id(slugs: Any, project: str | None) -> int | None:
    if project is None:
        return None
    for project_id, slug in slugs.items():
        if slug == project.lower():
            return int(project_id)
    raise click.ClickException(f"no project {project!r}; there are: {', '.join(slugs.values())}")


def _summary(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in SHOWN}


def _events(home: Home, state: StateDatabase, group_id: int) -> list[dict[str, Any]]:
    import duckdb

    from tasks_pipeline.storage.lake.events import newest_events
    from tasks_pipeline.storage.lake.lake import Lake

    with one_line(duckdb.Error), closing(Lake(home, state)) as lake:
        return newest_events(state, lake, group_id)


def _print_group(
    group: dict[str, Any], details: dict[str, Any], actions: list[dict[str, Any]], now: datetime
) -> None:
    click.secho(f"{group['short_id']}  {cell(group['title'])}", bold=True)
    click.echo(f"{cell(group['culprit'])}\n" if group["culprit"] else "")
    click.echo(
        f"status        {status_text(group)}, {group['level']}, {cell(group['platform'])}, project {group['project']}"
    )
    if group["status_changed_at"] is not None:
        click.echo(f"since         {_moment(group['status_changed_at'], now)}")
    if group["assignee"] is not None:
        click.echo(f"assigned to   {cell(group['assignee'])}")
    if details["merged"]:
        click.echo(f"with          {', '.join(details['merged'])}")
    click.echo(f"seen          {group['times_seen']} times by {group['users']} users")
    for name in ("first_seen", "last_seen"):
        if group[name] is not None:
            click.echo(f"{name.replace('_', ' '):<14}{_moment(group[name], now)}")
    if details["first_release"]:
        click.echo(f"{'first in':<14}{cell(details['first_release'])}")
    for name, counts in details["values"].items():
        shown = [f"{cell(c['value'])} ({c['times_seen']})" for c in counts[:_VALUES_SHOWN]]
        if shown:
            click.echo(f"{name:<14}{', '.join(shown)}{' …' if len(counts) > _VALUES_SHOWN else ''}")
    for entry in details["days"][-_DAYS_SHOWN:]:
        click.echo(f"{entry['day']}  {entry['times_seen']} events")
    if details["explanation"]:
        click.echo("\nwhy its first event is grouped so")
        for line in explanation_lines(details["explanation"]):
            click.echo(line)
    if actions:
        click.echo("\nwhat was decided")
        for entry in actions:
            click.echo(f"{cell(entry['at'])}  {cell(entry['actor'])}: {cell(entry['text'])}")
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


def _moment(at: datetime, now: datetime) -> str:
    return f"{cell(at)} UTC, {age(at, now)} ago"
