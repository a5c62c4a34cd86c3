"""`events`: list the newest, and look at one."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from tasks_pipeline.commands.common.json_output import print_json
from tasks_pipeline.commands.common.output import cell, current_home, json_option
from tasks_pipeline.commands.common.queries import age, group_named, listing, one_line, open_state

if TYPE_CHECKING:
    from tasks_pipeline.home import Home
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
_BREADCRUMBS = 10


@click.group()
def events() -> None:
    """List the newest events, or look at one."""


@events.command("list")
@click.option("--group", "group_id", metavar="ID", help="Events of this group only: its id or short id.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Most events to show."
)
@json_option
@click.pass_context
def list_command(ctx: click.Context, group_id: str | None, limit: int, as_json: bool) -> None:
    """List the newest events, newest first.

    \b
    Examples:
      tasks-pipeline events list --limit 5
      tasks-pipeline events list --group SHOP-2 --json
    """
    from tasks_pipeline.groups.lists import short_ids

    home = current_home(ctx)
    with open_state(home) as (state, slugs):
        only = group_named(state, slugs, group_id)["id"] if group_id is not None else None
        found = _newest(home, state, only, limit)
        names = short_ids(state, slugs, (event["group_id"] for event in found))
    now = datetime.now(UTC)
    for event in found:
        project_id = event["project_id"]
        event |= {
            "short_id": names.get(event["group_id"]),
            "project": slugs.get(project_id, str(project_id)),
            "age": age(event["timestamp"], now),
        }
    if as_json:
        print_json([{name: event[name] for name in _LISTED} for event in found])
    elif found:
        listing(found, _COLUMNS, cut="title")
    else:
        click.echo("no events", err=True)


@events.command()
@click.argument("event_id", metavar="EVENT_ID")
@json_option
@click.pass_context
def show(ctx: click.Context, event_id: str, as_json: bool) -> None:
    """Show one event: what happened, when, where, to whom, and the stack trace with the line that failed.

    EVENT_ID is 32 hex digits, in any case, with dashes or without. With --json the whole processed event is printed,
    and under `_tasks_pipeline` what this installation knows of it.

    \b
    Examples:
      tasks-pipeline events show 3f0e9c1f5ee54be1a4dfae3b2c9a1f07
      tasks-pipeline events show "$(tasks-pipeline send-test-event)" --json
    """
    from tasks_pipeline.groups.lists import short_ids
    from tasks_pipeline.protocol.ids import parse_event_id

    digits = parse_event_id(event_id)
    if digits is None:
        raise click.BadParameter(f"{event_id!r} is not 32 hex digits", param_hint="EVENT_ID")
    home = current_home(ctx)
    with open_state(home) as (state, slugs):
        row = _find(home, state, digits)
        if row is None:
            raise click.ClickException(
                f"there is no event {digits}; one that came a moment ago may wait still (tasks-pipeline status)"
            )
        short_id = short_ids(state, slugs, [row["group_id"]]).get(row["group_id"])
    payload = msgspec.json.decode(row["payload"])
    facts = {name: row[name] for name in _FACTS} | {
        "short_id": short_id,
        "project": slugs.get(row["project_id"], str(row["project_id"])),
    }
    if as_json:
        print_json(payload | {FACTS: facts})
    else:
        for line in described(payload, facts, datetime.now(UTC)):
            click.echo(line)


def _find(home: Home, state: StateDatabase, event_id: str) -> dict[str, Any] | None:
    import duckdb

    from tasks_pipeline.storage.lake.events import find_event
    from tasks_pipeline.storage.lake.lake import Lake

    with one_line(duckdb.Error), closing(Lake(home, state)) as lake:
        return find_event(state, lake, event_id)


def _newest(home: Home, state: StateDatabase, group_id: int | None, limit: int) -> list[dict[str, Any]]:
    import duckdb

    from tasks_pipeline.storage.lake.events import newest_events
    from tasks_pipeline.storage.lake.lake import Lake

    with one_line(duckdb.Error), closing(Lake(home, state)) as lake:
        return newest_events(state, lake, group_id, limit)


def described(event: dict[str, Any], facts: dict[str, Any], now: datetime) -> list[str]:
    """A processed event as lines for people, with everything a stranger sent made printable."""
    happened = datetime.fromisoformat(event["timestamp"])
    request = _dict(event.get("request"))
    lines = [
        f"{facts['short_id']}  {cell(facts['title'])}",
        *([cell(facts["culprit"])] if facts["culprit"] else []),
        "",
        *_line(
            "event",
            f"{event['event_id']}, {cell(event.get('level', 'error'))}, {cell(event.get('platform'))}",
        ),
        *_line("happened", f"{cell(happened)} UTC, {age(happened, now)} ago"),
        *_line("received", f"{cell(facts['received_at'])} UTC, project {facts['project']}"),
        *_line(
            "where",
            _joined(event, ("environment", "release", "dist", "server_name", "transaction", "logger")),
        ),
        *_line("request", " ".join(cell(request[k]) for k in ("method", "url") if request.get(k))),
        *_line("user", _joined(_dict(event.get("user")), ("id", "email", "username", "ip_address"))),
        *_line("tags", ", ".join(f"{cell(k)}={cell(v)}" for k, v in _dict(event.get("tags")).items())),
    ]
    for exception in reversed(_values(event, "exception")):
        lines += ["", f"{cell(exception.get('type') or 'Error')}: {cell(exception.get('value'))}"]
        lines += _frames(exception)
    if not event.get("exception"):
        message = _dict(event.get("logentry"))
        lines += _line("message", cell(message.get("formatted") or message.get("message")))
        lines += _frames(event)
        for thread in _values(event, "threads"):
            if thread.get("crashed") or thread.get("current"):
                lines += ["", f"thread {cell(thread.get('name') or thread.get('id'))}", *_frames(thread)]
    crumbs = _values(event, "breadcrumbs")[-_BREADCRUMBS:]
    return lines + (
        ["", "breadcrumbs, the last first", *map(_breadcrumb, reversed(crumbs))] if crumbs else []
    )


def _line(name: str, text: str) -> list[str]:
    return [f"{name:<10}{text}"] if text else []


def _joined(values: dict[str, Any], names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} {cell(values[name])}" for name in names if values.get(name) not in (None, ""))


def _frames(holder: dict[str, Any]) -> list[str]:
    """The frames of a stack trace, the crash first, with its source line and the lines around it."""
    frames = [f for f in _list(_dict(holder.get("stacktrace")).get("frames")) if isinstance(f, dict)]
    lines: list[str] = []
    for depth, frame in enumerate(reversed(frames)):
        file = (
            frame.get("filename")
            or frame.get("module")
            or frame.get("package")
            or frame.get("instruction_addr")
            or "?"
        )
        line = f":{frame['lineno']}" if frame.get("lineno") is not None else ""
        mark = "" if frame.get("in_app") is not False else "  (library)"
        lines.append(f"  {cell(file)}{line} in {cell(frame.get('function') or '?')}{mark}")
        lines += _source(frame, around=depth == 0)
    return lines


def _source(frame: dict[str, Any], *, around: bool) -> list[str]:
    if frame.get("context_line") is None:
        return []
    before, after = (_list(frame.get(name)) if around else [] for name in ("pre_context", "post_context"))
    return [
        *(f"      {_code(text)}" for text in before),
        f"    > {_code(frame['context_line'])}",
        *(f"      {_code(text)}" for text in after),
    ]


def _code(text: object) -> str:
    return cell(str(text).expandtabs(4)).rstrip()


def _breadcrumb(crumb: dict[str, Any]) -> str:
    when = str(crumb.get("timestamp") or "")[11:19]
    told = crumb.get("message") or " ".join(f"{k}={v}" for k, v in _dict(crumb.get("data")).items())
    return f"  {cell(when):<8}  {cell(crumb.get('category') or crumb.get('type')):<12}  {cell(told)}"


def _values(event: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [v for v in _list(_dict(event.get(name)).get("values")) if isinstance(v, dict)]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
