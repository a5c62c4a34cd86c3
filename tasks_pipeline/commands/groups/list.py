"""`groups`: list them, look at one. What is decided about them is in decide.py and merge.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from tasks_pipeline.commands.common.asking import (
    asked_of,
    mistake,
    period_of,
    query_option,
    read_query,
    refuse_beside,
)
from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import (
    age,
    group_named,
    lake_of,
    open_state,
    project_number,
    what_waits,
)
from tasks_pipeline.commands.common.since import Since
from tasks_pipeline.commands.common.tables import field_lines, table
from tasks_pipeline.commands.groups.decide import decisions
from tasks_pipeline.commands.groups.delete import delete
from tasks_pipeline.commands.groups.issues import issue_commands, issue_facts, issues_of_group
from tasks_pipeline.commands.groups.log import status_text
from tasks_pipeline.commands.groups.merge import merging
from tasks_pipeline.commands.groups.preview import preview_rules
from tasks_pipeline.commands.groups.suspects import suspect_facts, suspects_to_show
from tasks_pipeline.reading.told import LOGGED, told
from tasks_pipeline.words import counted, short_commit

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
    from tasks_pipeline.reading.filtered import OfFilter
    from tasks_pipeline.storage.state.database import StateDatabase

SHOWN = (
    "id", "short_id", "project", "title", "culprit", "level", "status", "times_seen", "users", "first_seen", "last_seen",
)  # fmt: skip
DETAILS = (
    "platform", "type", "metadata", "status_changed_at", "assignee", "resolved_in_release", "ignored_until",
    "ignored_until_times_seen", "ignored_until_users", "first_release", "last_release",
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
_LESS = ("first_seen", "level", "users", "times_seen", "last_seen")  # what goes first where it is narrow
_OPEN, _ALL = "open", "all"
_STATUSES = (_OPEN, "unresolved", "regressed", "resolved", "ignored", "discarded", _ALL)
_SORTS = ("last_seen", "first_seen", "events", "users")
_DAYS = 30
_LEAD = 12  # cells of the names in the head of a group
_VALUES_SHOWN = 5
_DAYS_SHOWN = 14
_ACTIONS_SHOWN = 5
_COMMITS_SHOWN = 5
_MESSAGE_SHOWN = 72
_SECTIONS = {
    "Look": ("list", "show", "log", "keys", "similar", "preview-rules"),
    "Decide": ("resolve", "unresolve", "ignore", "assign", "discard", "delete"),
    "Issues and comments": ("link", "create-issue", "unlink", "links", "comment"),
    "Put together": ("merge", "unmerge", "merge-similar"),
}


@click.group(cls=CommandGroup, sections=_SECTIONS)
def groups() -> None:
    """List groups (events that are one and the same problem), look at one, decide about them, merge them."""


for command in (*decisions, *issue_commands, *merging, preview_rules, delete):
    groups.add_command(command)


@groups.command("list")
@query_option
@click.option("--search", metavar="TEXT", default="", help="Title or culprit has this in it, in any case.")
@project_option("Of this project only.")
@click.option(
    "--status",
    "statuses",
    type=click.Choice(_STATUSES),
    multiple=True,
    help="Of this status; may be given several times. `open` is unresolved and regressed, `all` all but discarded."
    "  [default: open]",
)
@click.option("--environment", metavar="NAME", help="With events of this environment.")
@click.option("--release", metavar="VERSION", help="With events of this release.")
@click.option("--assignee", metavar="WHO", help="Of this member (an address) or team:SLUG; or `nobody`.")
@click.option(
    "--since",
    type=Since(),
    help=f"Seen since: 24h, 7d, a date.  [default: {_DAYS}d with another option than --project and --status]",
)
@click.option(
    "--sort",
    type=click.Choice(_SORTS),
    default="last_seen",
    show_default=True,
    help="Newest or largest first.",
)
@limit_option(50, "groups to show")
@json_option
@click.pass_context
def list_command(
    ctx: click.Context,
    query: str | None,
    search: str,
    project: str | None,
    statuses: Sequence[str],
    environment: str | None,
    release: str | None,
    assignee: str | None,
    since: datetime | None,
    sort: str,
    limit: int,
    as_json: bool,
) -> None:
    """List the groups that need somebody: unresolved ones and those that came back, last seen first.

    \b
    Examples:
      tasks-pipeline groups list
      tasks-pipeline groups list --search timeout --environment production
      tasks-pipeline groups list --query 'is:unresolved (timeout OR level:fatal)'
      tasks-pipeline groups list --sort events --since 7d --assignee nobody
      tasks-pipeline groups list --status resolved --status ignored --json
    Prints:
      group   title                        status      events  users  last seen
      SHOP-2  PaymentError: card declined  unresolved      31     12  5 min
    """
    now = datetime.now(UTC)
    filters = {"--search": search, "--status": statuses, "--environment": environment, "--release": release}
    refuse_beside(query, filters | {"--assignee": assignee})
    if query is not None:
        _print_found(ctx, query, project, since, sort, limit, as_json=as_json)
        return
    statuses = statuses or [_OPEN]
    if since is None and (sort != "last_seen" or any((search, environment, release, assignee))):
        since = now - timedelta(days=_DAYS)
    home = current_home(ctx)
    with open_state(home) as (state, slugs):
        from tasks_pipeline.groups.lists import list_groups

        found = list_groups(
            state, slugs, project_id=project_number(slugs, project), status=_statuses(statuses), search=search,
            environment=environment, release=release, assignee=assignee, since=since, sort=sort, limit=limit,
        )  # fmt: skip
        hidden = not found and bool(list_groups(state, slugs, limit=1))
    if as_json:
        print_json([_summary(group) for group in found])
        return
    rows = [group | {name: age(group[name], now) for name in ("first_seen", "last_seen")} for group in found]
    if rows:
        table(rows, _COLUMNS, cut=["title"], drop=_LESS)
    elif hidden:
        seen = f" seen since {cell(since)} UTC (--since)" if since else ""
        click.echo(
            f"no such groups{seen}; --status all shows those of every status{what_waits(home)}", err=True
        )
    else:
        click.echo(f"no groups{what_waits(home)}", err=True)


def _print_found(
    ctx: click.Context,
    text: str,
    project: str | None,
    since: datetime | None,
    sort: str,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Print what a query finds; where that asks events, with the numbers of those."""
    home, now = current_home(ctx), datetime.now(UTC)
    with open_state(home) as (state, slugs):
        from tasks_pipeline.reading.group_list import GroupQuery, asks_events, list_groups
        from tasks_pipeline.reading.parse import QueryError
        from tasks_pipeline.reading.tree import Filter, both

        tree = read_query(text, project_number(slugs, project))
        period = period_of(since, now)
        by_events = asks_events(tree, period if since else None)
        if since and not by_events:
            tree = both(tree, Filter("lastSeen", ((since.isoformat(),),), ">="))
        wanted = GroupQuery(tree, sort, limit=limit, period=period if by_events else None)
        try:
            with lake_of(home, state) if by_events else nullcontext() as lake:
                page = list_groups(asked_of(state, slugs, now), lake, wanted)
        except QueryError as error:
            raise mistake(text, error) from error
    counted_by = {group_id: _of_query(each) for group_id, each in page.of_filter.items()}
    if as_json:
        print_json([_summary(g) | {"of_query": counted_by.get(g["id"])} for g in page.groups])
    elif page.groups:
        rows = [group | counted_by.get(group["id"], {}) for group in page.groups]
        times = ("first_seen", "last_seen")
        table([row | {name: age(row[name], now) for name in times} for row in rows], _COLUMNS, cut=["title"], drop=_LESS)  # fmt: skip
    else:
        click.echo(f"no such groups{what_waits(home)}", err=True)


def _of_query(counted_events: OfFilter) -> dict[str, Any]:
    return {
        name: getattr(counted_events, name) for name in ("times_seen", "users", "first_seen", "last_seen")
    }


def _statuses(chosen: Sequence[str]) -> set[str]:
    """The statuses of groups that options name; empty for all but discarded."""
    from tasks_pipeline.groups.lists import OPEN

    if _ALL in chosen:
        return set(_STATUSES) - {_OPEN, _ALL, "discarded"} | (set(chosen) & {"discarded"})
    return {str(s) for name in chosen for s in (OPEN if name == _OPEN else (name,))}


@groups.command()
@click.argument("group_id", metavar="ID")
@click.option("--why", is_flag=True, help="Show why its first event is grouped so.")
@json_option
@click.pass_context
def show(ctx: click.Context, group_id: str, why: bool, as_json: bool) -> None:
    """Show one group: who sees it, where, since when, the stack of its newest event, and which events are the newest.

    ID is its id or short id, in any case.

    \b
    Examples:
      tasks-pipeline groups show SHOP-2
      tasks-pipeline groups show SHOP-2 --why
      tasks-pipeline groups show 2 --json
    """
    home = current_home(ctx)
    with open_state(home) as (state, slugs):
        from tasks_pipeline.groups.decisions import actions_of, merged_groups
        from tasks_pipeline.groups.explanations import group_explanation
        from tasks_pipeline.groups.incidents import monitor_of_group
        from tasks_pipeline.groups.lists import (
            group_day_counts,
            group_value_counts,
            short_ids,
        )
        from tasks_pipeline.groups.shipped import commits_of_group, resolution_of
        from tasks_pipeline.links.comments import comments_of
        from tasks_pipeline.service.links import links

        group = group_named(state, slugs, group_id)
        values = group_value_counts(state, group["id"])
        days = group_day_counts(state, group["id"])
        with state.read() as connection:
            resolution = resolution_of(connection, group)
            commits = commits_of_group(connection, group["id"])
            issues, why_held = issues_of_group(connection, group["id"])
            comments = comments_of(connection, group["id"])
        explanation = group_explanation(state, group["id"])
        actions = told(state, slugs, actions_of(state, group["id"], _ACTIONS_SHOWN))
        merged = short_ids(state, slugs, merged_groups(state, group["id"]))
        monitor = monitor_of_group(state, group["id"])
        suspects, why_none = suspects_to_show(state, group["id"])
        newest, event = _events(home, state, group["id"])
    details = {
        "page": links(home, home.config_to_look().config).group(group["short_id"]),
        "resolution": resolution,
        "commits": commits,
        "suspect_commits": suspects,
        "external_issues": issues,
        "comments": comments,
        "events": newest,
        "values": {
            f"{kind}s": [{"value": value, "times_seen": n} for value, n in counts]
            for kind, counts in values.items()
        },
        "days": [{"day": day, "times_seen": n} for day, n in days],
        "explanation": explanation,
        "merged": list(merged.values()),
        "actions": [{name: entry[name] for name in LOGGED} for entry in actions],
        "monitor": monitor,
    }
    if as_json:
        print_json(_summary(group) | {key: group[key] for key in DETAILS} | details)
    else:
        _print_group(
            group, details | {"no_suspects": why_none, "why_held": why_held}, actions, event, why=why
        )


def _summary(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in SHOWN}


def _events(
    home: Home, state: StateDatabase, group_id: int
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """The newest events of a group, and what the newest of them holds."""
    import msgspec

    from tasks_pipeline.storage.lake.events import find_event, newest_events

    with lake_of(home, state) as lake:
        newest = newest_events(state, lake, group_id)
        found = find_event(state, lake, newest[0]["event_id"], newest[0]["project_id"]) if newest else None
    return newest, msgspec.json.decode(found["payload"]) if found and found["payload"] else None


def _print_group(
    group: dict[str, Any],
    details: dict[str, Any],
    actions: Sequence[Mapping[str, Any]],
    event: dict[str, Any] | None,
    *,
    why: bool,
) -> None:
    from tasks_pipeline.commands.common.event_text import stack_lines
    from tasks_pipeline.commands.groups.explanation import explanation_lines

    click.secho(f"{group['short_id']}  {cell(group['title'])}", bold=True)
    click.echo(f"{cell(group['culprit'])}\n" if group["culprit"] else "")
    for line in field_lines(_facts(group, details, datetime.now(UTC)), lead=_LEAD):
        click.echo(line)
    for entry in details["days"][-_DAYS_SHOWN:]:
        click.echo(f"{entry['day']}  {counted(entry['times_seen'], 'event')}")
    if event is not None:
        for line in stack_lines(event, brief=True):
            click.echo(line)
    if why and details["explanation"]:
        click.echo("\nwhy its first event is grouped so")
        for line in explanation_lines(details["explanation"]):
            click.echo(line)
    if details["comments"]:
        click.echo("\ncomments")
        for each in details["comments"]:
            place = f" in {cell(each['issue_key'])}" if each["issue_key"] else ""
            click.echo(f"{cell(each['at'])}  {cell(each['author'])}{place}: {cell(each['body'])}")
    if actions:
        click.echo("\nwhat was decided")
        for entry in actions:
            click.echo(f"{cell(entry['at'])}  {cell(entry['actor'])}: {cell(entry['text'])}")
    if details["events"]:
        click.echo(
            f"\nnewest events; `tasks-pipeline events show {group['short_id']}` shows all of the first"
        )
        columns = {"event_id": "event", "timestamp": "UTC", "environment": "environment", "release": "release", "user": "user"}  # fmt: skip
        table(details["events"], columns, cut=["user", "release"], drop=["environment"])


def _facts(group: Mapping[str, Any], details: Mapping[str, Any], now: datetime) -> list[tuple[str, str]]:
    """The head of a group, by name."""
    status = f"{status_text(group, details['resolution'])}, {group['level']}, {cell(group['platform'])}, project {group['project']}"
    seen = f"{counted(group['times_seen'], 'time')} by {counted(group['users'], 'user')}"
    monitor = details["monitor"]
    named = [
        ("status", status),
        ("since", _moment(group["status_changed_at"], now)),
        ("assigned to", cell(group["assignee"])),
        ("with", ", ".join(details["merged"])),
        ("monitor", _monitor(monitor) if monitor else ""),
        ("seen", seen if not monitor else counted(group["times_seen"], "time")),
    ]
    named += [(name.replace("_", " "), _moment(group[name], now)) for name in ("first_seen", "last_seen")]
    named += [("first in", cell(group["first_release"])), ("last in", cell(group["last_release"]))]
    named += [
        ("commits" if n == 0 else "", _commit(each))
        for n, each in enumerate(details["commits"][:_COMMITS_SHOWN])
    ]
    named += issue_facts(details["external_issues"], details["why_held"])
    named += suspect_facts(details["suspect_commits"], details["no_suspects"])
    for name, counts in details["values"].items():
        shown = ", ".join(f"{cell(c['value'])} ({c['times_seen']})" for c in counts[:_VALUES_SHOWN])
        named.append((name, f"{shown}{' …' if len(counts) > _VALUES_SHOWN else ''}" if shown else ""))
    return [*named, ("page", cell(details["page"]))]


def _commit(commit: Mapping[str, Any]) -> str:
    """A commit that names the group: what it says, by whom, and the release that brought it."""
    from tasks_pipeline.releases.suspects import first_line

    said = cell(first_line(commit["message"]))[:_MESSAGE_SHOWN]
    author = cell((commit["author"] or {}).get("name") or (commit["author"] or {}).get("email"))
    by = f" ({author})" if author else ""
    return f"{short_commit(cell(commit['sha']))} {said}{by}, in {cell(commit['release'])}"


def _monitor(monitor: Mapping[str, Any]) -> str:
    where = f" in {cell(monitor['environment'])}" if monitor["environment"] else ""
    return f"{cell(monitor['slug'])}{where}: tasks-pipeline monitors show {cell(monitor['slug'])}"


def _moment(at: datetime | None, now: datetime) -> str:
    return f"{cell(at)} UTC, {age(at, now)} ago" if at is not None else ""
