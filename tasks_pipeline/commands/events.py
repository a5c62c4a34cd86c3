"""`events`: list the newest, and look at one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tasks_pipeline.commands.common.asking import (
    asked_of,
    mistake,
    period_of,
    query_option,
    read_query,
    refuse_beside,
)
from tasks_pipeline.commands.common.command_group import CommandGroup
from tasks_pipeline.commands.common.event_text import described
from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.options import json_option, limit_option, project_option
from tasks_pipeline.commands.common.output import cell, current_home
from tasks_pipeline.commands.common.queries import (
    age,
    find_named,
    group_named,
    lake_of,
    open_state,
    project_number,
    what_waits,
)
from tasks_pipeline.commands.common.since import Since
from tasks_pipeline.commands.common.tables import table
from tasks_pipeline.config.projects import project_name

if TYPE_CHECKING:
    from tasks_pipeline.reading.asked import Asked
    from tasks_pipeline.storage.lake.lake import Lake
    from tasks_pipeline.storage.state.database import StateDatabase

FACTS = "_tasks_pipeline"
_FACTS = (
    "project_id", "group_id", "title", "culprit", "received_at", "user_key", "group_keys", "variant", "algorithm",
    "payload_bytes", "day", "part", "position", "item",
)  # fmt: skip
_LISTED = (
    "event_id", "short_id", "project", "timestamp", "received_at", "level", "title", "environment", "release", "user",
)  # fmt: skip
_COLUMNS = {"event_id": "event", "short_id": "group", "level": "level", "title": "title", "age": "happened"}
_LEVELS = ("fatal", "error", "warning", "info", "debug")
_FILTERED_DAYS = 14
_LEAST_DIGITS = 6
_BEGINNING = re.compile(rf"[0-9a-f]{{{_LEAST_DIGITS},31}}")


@click.group(cls=CommandGroup)
def events() -> None:
    """List the newest events, or look at one."""


@events.command("list")
@query_option
@click.option("--group", "group_id", metavar="ID", help="Of this group only: its id or short id.")
@click.option("--search", metavar="TEXT", default="", help="Title or culprit has this in it, in any case.")
@project_option("Of this project only.")
@click.option("--environment", metavar="NAME", help="Of this environment only.")
@click.option("--release", metavar="VERSION", help="Of this release only.")
@click.option("--level", type=click.Choice(_LEVELS), help="Of this level only.")
@click.option("--user", metavar="WHO", help="Of this user only: an id, a mail address, or what `user` shows.")
@click.option(
    "--since",
    type=Since(),
    help=f"Since when: 24h, 7d, a date.  [default: {_FILTERED_DAYS}d with one of the options above but --group]",
)
@limit_option(20, "events to show")
@json_option
@click.pass_context
def list_command(
    ctx: click.Context,
    query: str | None,
    group_id: str | None,
    search: str,
    project: str | None,
    environment: str | None,
    release: str | None,
    level: str | None,
    user: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the newest events, newest first.

    \b
    Examples:
      tasks-pipeline events list --limit 5
      tasks-pipeline events list --search timeout --environment production
      tasks-pipeline events list --query 'release:latest !user:""'
      tasks-pipeline events list --user anna@acme.example --since 24h
      tasks-pipeline events list --group SHOP-2 --json
    """
    home, now = current_home(ctx), datetime.now(UTC)
    filters = {"--search": search, "--environment": environment, "--release": release, "--level": level}
    refuse_beside(query, filters | {"--user": user})
    if since is None and any((search, project, environment, release, level, user)):
        since = now - timedelta(days=_FILTERED_DAYS)
    with open_state(home) as (state, slugs):
        from tasks_pipeline.groups.lists import short_ids
        from tasks_pipeline.storage.lake.events import EventFilter, newest_events

        project_id = project_number(slugs, project)
        of_group = None if group_id is None else group_named(state, slugs, group_id)["id"]
        wanted = EventFilter(
            project_id=project_id, environment=environment, release=release, level=level, user=user, search=search, since=since,
            group_id=of_group,
        )  # fmt: skip
        with lake_of(home, state) as lake:
            if query is None:
                found = newest_events(state, lake, limit=limit, wanted=wanted)
            else:
                found = _found(asked_of(state, slugs, now), lake, query, project_id, of_group, since, limit)
        names = short_ids(state, slugs, (event["group_id"] for event in found))
    for event in found:
        event |= {
            "short_id": names.get(event["group_id"]),
            "project": project_name(slugs, event["project_id"]),
            "age": age(event["timestamp"], now),
        }
    if as_json:
        print_json([{name: event[name] for name in _LISTED} for event in found])
    elif found:
        table(found, _COLUMNS, cut=["title"], drop=["level", "age"])
    else:
        click.echo(f"no events{f' since {cell(since)} UTC' if since else ''}{what_waits(home)}", err=True)


def _found(
    asked: Asked,
    lake: Lake,
    text: str,
    project_id: int | None,
    group_id: int | None,
    since: datetime | None,
    limit: int,
) -> list[dict[str, Any]]:
    """The newest events that a query finds."""
    from tasks_pipeline.reading.events import EventQuery, read_events
    from tasks_pipeline.reading.parse import QueryError

    tree = read_query(text, project_id)
    wanted = EventQuery(group_id, tree, period_of(since, asked.now))
    try:
        rows = read_events(asked, lake, wanted, limit, upwards=False)
    except QueryError as error:
        raise mistake(text, error) from error
    return [row | {"user": row["user_key"]} for row in rows]


@events.command()
@click.argument("name", metavar="EVENT_ID|GROUP")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one event: what happened, when, where, to whom, and the stack trace with the line that failed.

    An event is named by its id (32 hex digits, in any case, with dashes or without), by the first 6 digits of it or more, or
    by the short id of a group, whose newest event it then is. With --json the whole processed event is printed, and under
    `_tasks_pipeline` what this installation knows of it.

    \b
    Examples:
      tasks-pipeline events show 3f0e9c1f5ee54be1a4dfae3b2c9a1f07
      tasks-pipeline events show 3f0e9c1f
      tasks-pipeline events show SHOP-2
      tasks-pipeline events show "$(tasks-pipeline send-test-event)" --json
    """
    from tasks_pipeline.groups.lists import short_ids
    from tasks_pipeline.service.links import links
    from tasks_pipeline.storage.lake.events import find_event

    home = current_home(ctx)
    with open_state(home) as (state, slugs), lake_of(home, state) as lake:
        event_id, project_id = _event_named(state, lake, slugs, name)
        row = find_event(state, lake, event_id, project_id) if event_id is not None else None
        short_id = short_ids(state, slugs, [row["group_id"]]).get(row["group_id"]) if row else None
    if row is None or row["payload"] is None:
        raise click.ClickException(f"there is no event {event_id or cell(name)}{what_waits(home)}")
    payload = msgspec.json.decode(row["payload"])
    facts = {name: row[name] for name in _FACTS} | {
        "short_id": short_id,
        "project": project_name(slugs, row["project_id"]),
        "page": links(home, home.config_to_look().config).event(short_id, row["event_id"])
        if short_id
        else None,
    }
    if as_json:
        print_json(payload | {FACTS: facts})
    else:
        for line in described(payload, facts, datetime.now(UTC)):
            click.echo(line)


def _event_named(
    state: StateDatabase, lake: Lake, slugs: Mapping[int, str], name: str
) -> tuple[str | None, int | None]:
    """The id of the event that is meant, None when there is none, and its project where the name says so. Raises ClickException when it may be several, or cannot be one."""
    from tasks_pipeline.protocol.ids import parse_event_id
    from tasks_pipeline.storage.lake.events import event_ids_beginning, newest_events

    if (whole := parse_event_id(name)) is not None:
        return whole, None
    if "-" in name and find_named(state, slugs, name) is not None:
        group = group_named(state, slugs, name)
        newest = newest_events(state, lake, group["id"], 1)
        if not newest:
            raise click.ClickException(f"{group['short_id']} has no events")
        return newest[0]["event_id"], group["project_id"]
    digits = name.replace("-", "").lower()
    if not _BEGINNING.fullmatch(digits):
        raise click.BadParameter(
            f"{name[:100]!r} is no event and no group; an id has 32 hex digits, of which {_LEAST_DIGITS} are enough",
            param_hint="EVENT_ID",
        )
    found = event_ids_beginning(state, digits)
    if len(found) > 1:
        raise click.ClickException(f"several events begin with {digits}: {', '.join(found)}")
    return (found[0] if found else None), None
